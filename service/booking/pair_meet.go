package booking

import (
	"bytes"
	"context"
	"crypto/hmac"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/gm"
	"github.com/qiongdev/qiong/kit/httpapi"
	"github.com/qiongdev/qiong/kit/httpsig"
	"github.com/qiongdev/qiong/kit/strictjson"
)

// Two servers of a pair speak HTTP, signed with the keys by which they vote: POST meet says who leads and whether the two
// have the same keys, and gives the one who follows a ticket; POST ship turns, for a ticket, into the connection of a log;
// POST rooms lends a waiting room. A ticket goes with one server, and with each shard and the rooms once, and not for long:
// an old request that is sent again opens nothing.
const (
	pairBase  = base + "/pair"
	meetPath  = pairBase + "/meet"
	shipPath  = pairBase + "/ship"
	pairLog   = "qiong-booking-log" // the protocol that a ship request turns into
	maxMeet   = 64 << 10
	doors     = 32 // requests that are read at a time: each costs the verification of a signature
	meetFor   = 2 * time.Second
	ticketFor = 10 * time.Second
	// anyAge is the window of signatures: clocks may be wrong, and tickets tell what is old.
	anyAge = 200 * 365 * 24 * time.Hour
)

const codeUnlike = "booking.pair-unlike"

// meeting is what one server asks another.
type meeting struct {
	Challenge string            `json:"challenge"`
	Keys      map[string]string `json:"keys"` // proofs of having them, by name
	Sealed    []byte            `json:"sealed"`
	Shards    int               `json:"shards"`
}

// met is the answer.
type met struct {
	Server  string            `json:"server"`
	Leading bool              `json:"leading"`
	Epoch   uint64            `json:"epoch"`
	Records uint64            `json:"records"`
	Ticket  string            `json:"ticket"`
	Unlike  []string          `json:"unlike"` // keys that the two do not share
	Keys    map[string]string `json:"keys"`
	Sealed  []byte            `json:"sealed"`
	Shards  int               `json:"shards"`
}

// proofs returns what shows another server that this one has the keys that both must have, and nothing about them.
func (p *pair) proofs(challenge, who string) (map[string]string, []byte) {
	about := []byte("qiong booking pair " + who + " " + challenge)
	proofs := map[string]string{"booking.tickets": p.b.key.KeyID()}
	for name, secret := range p.secrets {
		sum := gm.HMAC(secret, about)
		proofs[name] = hex.EncodeToString(sum[:])
	}
	return proofs, p.b.sealer.Seal([]byte(challenge), about)
}

// unlike returns the names of the keys that somebody has not shown to share.
func (p *pair) unlike(challenge, who string, proofs map[string]string, sealed []byte) (names []string) {
	want, _ := p.proofs(challenge, who)
	for name, proof := range want {
		if !hmac.Equal([]byte(proof), []byte(proofs[name])) {
			names = append(names, name)
		}
	}
	plain, err := p.b.sealer.Open(sealed, []byte("qiong booking pair "+who+" "+challenge))
	if err != nil || string(plain) != challenge {
		names = append(names, "booking.visitors")
	}
	slices.Sort(names)
	return names
}

// ask meets another server.
func (p *pair) ask(ctx context.Context, other peer) (v sighting, err error) {
	in := meeting{Challenge: httpsig.NewNonce(), Shards: len(p.b.seats)}
	in.Keys, in.Sealed = p.proofs(in.Challenge, p.me)
	ctx, cancel := context.WithTimeout(ctx, meetFor)
	defer cancel()
	req, err := p.signed(ctx, other.url+meetPath, in, nil)
	if err != nil {
		return v, err
	}
	resp, err := p.front.meets.Do(req)
	if err != nil {
		return v, errs.Wrap(err, errs.Unavailable, "对方服务器没有答复", "the other server does not answer")
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxMeet+1))
	if err != nil || resp.StatusCode != http.StatusOK {
		return v, errs.Newf(errs.Unavailable, "对方服务器以状态 %d 答复", "the other server answered with status %d", resp.StatusCode)
	}
	if err := p.answeredBy(other.name, resp, body, req); err != nil {
		return v, err
	}
	var out met
	if err := strictjson.Unmarshal(body, &out); err != nil || out.Server != other.name {
		return v, errs.New(errs.Unavailable, "对方服务器的答复不符合协议", "the other server's answer breaks the protocol")
	}
	unlike := append(p.unlike(in.Challenge, out.Server, out.Keys, out.Sealed), out.Unlike...)
	slices.Sort(unlike)
	switch unlike = slices.Compact(unlike); {
	case len(unlike) > 0:
		return v, errs.Newf(errs.Conflict, "与 %s 的密钥不同：%s", "%s has other keys: %s", other.name, strings.Join(unlike, " ")).WithCode(codeUnlike).
			WithHint("两台服务器须用同一主密钥，并把 keys 目录中的 booking.*.key 复制过去；见 doc/booking-pair.md", "both servers need the same master secret and the same booking.*.key files in keys; see doc/booking-pair.en.md")
	case out.Shards != in.Shards:
		return v, errs.Newf(errs.Conflict, "%s 的分片数不同", "%s has another number of shards", other.name).WithCode(codeUnlike).WithField("booking.shards")
	}
	return sighting{other, out.Leading, out.Epoch, out.Records, out.Ticket, time.Now()}, nil
}

// signed returns a request that this server has signed.
func (p *pair) signed(ctx context.Context, url string, in any, header http.Header) (*http.Request, error) {
	body, err := json.Marshal(in)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	for name, values := range header {
		req.Header[name] = values
	}
	req.Header.Set("Content-Type", "application/json")
	return req, httpsig.SignRequest(req, body, p.key, time.Now(), httpsig.NewNonce())
}

// answeredBy returns an error where it was not a server of that name which answered this very request.
func (p *pair) answeredBy(name string, resp *http.Response, body []byte, req *http.Request) error {
	_, err := httpsig.VerifyResponse(resp, body, req, p.only(name), time.Now(), anyAge)
	return err
}

func (p *pair) only(name string) httpsig.Lookup { return only(p.known[name]) }

// admit reads a request of another server, which has signed it, and returns who that is.
func (p *pair) admit(w http.ResponseWriter, r *http.Request, in any) (name string, err error) {
	select {
	case p.doors <- struct{}{}:
		defer func() { <-p.doors }()
	default:
		return "", errs.New(errs.TooMany, "请求过多", "too many requests").WithRetryAfter(time.Second)
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxMeet))
	if err != nil {
		return "", errs.Wrap(err, errs.Invalid, "请求不完整或过长", "the request is cut, or too long")
	}
	_, err = httpsig.VerifyRequest(r, body, func(keyID string) (*gm.PublicKey, error) {
		for known, pub := range p.known {
			if gm.KeyID(pub) == keyID {
				name = known
				return pub, nil
			}
		}
		return nil, errs.New(errs.NotFound, "没有这个密钥", "there is no such key")
	}, time.Now(), anyAge)
	if err != nil {
		return "", err
	}
	return name, strictjson.Unmarshal(body, in)
}

// meet answers another server.
func (p *pair) meet(w http.ResponseWriter, r *http.Request) error {
	var in meeting
	name, err := p.admit(w, r, &in)
	if err != nil {
		return err
	}
	out := met{Server: p.me, Shards: len(p.b.seats), Unlike: p.unlike(in.Challenge, name, in.Keys, in.Sealed)}
	out.Keys, out.Sealed = p.proofs(in.Challenge, p.me)
	p.mu.Lock()
	if t := p.term; t != nil {
		out.Leading, out.Epoch = t.holder.Valid(), t.holder.Epoch()
		for _, log := range t.logs {
			out.Records += log.Durable()
		}
	} else if p.stand != nil {
		out.Records = p.stand.records()
	}
	p.mu.Unlock()
	if out.Leading && len(out.Unlike) == 0 && in.Shards == out.Shards {
		out.Ticket = p.tickets.issue(name)
	}
	return p.tell(w, r, out)
}

// tell answers another server, signed.
func (p *pair) tell(w http.ResponseWriter, r *http.Request, answer any) error {
	body, err := json.Marshal(answer)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	if err := httpsig.SignResponse(w.Header(), http.StatusOK, body, r, p.key, time.Now(), httpsig.NewNonce()); err != nil {
		return err
	}
	_, err = w.Write(body)
	return err
}

// routes registers what the servers of a pair say to each other, which goes by no other door.
func (p *pair) routes() {
	serve := func(f func(http.ResponseWriter, *http.Request) error) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			if err := f(w, r); err != nil {
				httpapi.WriteProblem(w, r, err)
			}
		}
	}
	p.b.host.Mux.HandleFunc("POST "+meetPath, serve(p.meet))
	p.b.host.Mux.HandleFunc("POST "+shipPath, serve(p.ship))
	p.b.host.Mux.HandleFunc("POST "+roomsPath, serve(p.lend))
}
