package demo

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/qiongdev/qiong"
	"github.com/qiongdev/qiong/kit/beijing"
	"github.com/qiongdev/qiong/kit/client"
	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/gm"
	"github.com/qiongdev/qiong/kit/receipt"
	"github.com/qiongdev/qiong/tool/demo/agencies"
)

// show is a show under way.
type show struct {
	c       *qiong.Console
	council *agencies.Council
	house   *client.Client
	data    string
	secret  string // of the producer: it makes keys of order numbers
	number  int
	seen    []*view // every record as it was seen last
}

// record is what the demo sends, with what it keeps for itself.
type record struct {
	ID         string         `json:"id"`
	Type       string         `json:"type"`
	Commitment []byte         `json:"commitment"`
	Facts      map[string]any `json:"facts"`
	original   receipt.Original
	sent       time.Time
}

// view is a record as the house shows it.
type view struct {
	ID      string   `json:"id"`
	Type    string   `json:"type"`
	State   string   `json:"state"`
	Index   *uint64  `json:"index,omitempty"`
	Signed  []string `json:"signed,omitempty"`
	Owed    []string `json:"owed,omitempty"`
	Rule    *verdict `json:"rule,omitempty"`
	Receipt string   `json:"receipt,omitempty"`
}

type verdict struct {
	Name    string `json:"name"`
	Version uint64 `json:"version"`
	Outcome string `json:"outcome"`
	Clause  string `json:"clause,omitempty"`
}

// made makes a record of data that nobody else will see: the log gets a salted commitment and the facts.
func (s *show) made(kind, typ string, data map[string]any, facts map[string]any) *record {
	text, err := json.Marshal(data)
	if err != nil {
		panic(err) // strings and numbers
	}
	r := &record{ID: "demo-" + kind + "-" + strings.ToLower(rand.Text()[:10]), Type: typ, Facts: facts, original: receipt.Original{Data: text}}
	_, _ = rand.Read(r.original.Salt[:]) // never fails
	commitment := r.original.Commitment()
	r.Commitment = commitment[:]
	return r
}

// order makes an order of an amount in 分.
func (s *show) order(amount int) *record {
	s.number++
	number, at := fmt.Sprintf("FAKE-%012d", s.number), beijing.At(time.Now())
	key := gm.HMAC([]byte(s.secret), []byte(number))
	return s.made("order", "trade.order/1", map[string]any{"order": number, "goods": s.c.Say("样例商品", "sample goods"), "amount": amount, "fake": true},
		map[string]any{"order": base64.StdEncoding.EncodeToString(key[:]), "amount": amount, "at": at})
}

// voucher makes a return voucher for an order.
func (s *show) voucher(order *record, amount int) *record {
	return s.made("return", "trade.return/1", map[string]any{"order": order.ID, "amount": amount, "fake": true},
		map[string]any{"order": order.Facts["order"], "amount": amount, "at": beijing.At(time.Now()), "reason": "QUALITY"})
}

func (s *show) title(zh, en string) { say(s.c, "\n"+zh+"\n", "\n"+en+"\n") }

func (s *show) send(ctx context.Context, records ...*record) error {
	now := time.Now()
	for _, r := range records {
		r.sent = now
	}
	return s.house.Do(ctx, client.Request{Method: http.MethodPost, Path: "/api/evidence/records", Body: map[string]any{"records": records}}, nil)
}

// patience is how long a receipt may take: nodes need some seconds to start, and to catch up.
const patience = 60 * time.Second

// follow shows each step of a record until it has come so far, or further.
func (s *show) follow(ctx context.Context, r *record, state string) (*view, error) {
	limit, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	shown := ""
	for {
		var v view
		if err := s.house.Do(limit, client.Request{Method: http.MethodGet, Path: "/api/evidence/" + r.ID}, &v); err != nil && limit.Err() == nil {
			return nil, err
		}
		if step := v.State + strings.Join(v.Signed, ","); v.State != "" && step != shown {
			shown = step
			s.step(ctx, r, &v)
		}
		switch {
		case v.State == "refused":
			return nil, errs.New(errs.Conflict, "账本拒收了演示的记录", "the ledger will not have a record of the show")
		case v.State == "complete" || v.State == state:
			s.note(&v)
			return &v, nil
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-limit.Done():
			return nil, errs.New(errs.Timeout, "回执没有按时到来", "the receipt did not come in time")
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// note keeps a record as it was seen last.
func (s *show) note(v *view) {
	for i, have := range s.seen {
		if have.ID == v.ID {
			s.seen[i] = v
			return
		}
	}
	s.seen = append(s.seen, v)
}

// step says where a record stands, and whose turn it is.
func (s *show) step(ctx context.Context, r *record, v *view) {
	if s.c.JSON {
		return
	}
	words := map[string]string{"waiting": s.c.Say("待排序", "waiting"), "ordered": s.c.Say("已排序", "ordered"),
		"provisional": s.c.Say("暂定", "provisional"), "complete": s.c.Say("齐签", "complete"), "refused": s.c.Say("拒收", "refused")}
	colour := map[string]string{"waiting": "2", "ordered": "36", "provisional": "33", "complete": "32", "refused": "31"}[v.State]
	text := fmt.Sprintf("  %6.2f s  %s  %s", time.Since(r.sent).Seconds(), r.ID, words[v.State])
	if len(v.Signed) > 0 {
		text += s.c.Say("；已签：", "; signed: ") + strings.Join(v.Signed, " ")
	}
	if len(v.Owed) > 0 {
		text += s.c.Say("；尚欠：", "; owed: ") + strings.Join(v.Owed, " ")
	}
	if v.Rule != nil {
		text += s.c.Say("；规则 ", "; rule ") + s.verdict(v.Rule)
	}
	if turn := s.turn(ctx); turn != "" {
		text += s.c.Say("；轮到 ", "; turn: ") + turn
	}
	if s.c.Color {
		text = "\x1b[" + colour + "m" + text + "\x1b[0m"
	}
	_, _ = fmt.Fprintln(s.c.Out, text) // a display, not an answer
}

func (s *show) verdict(v *verdict) string {
	text := fmt.Sprintf("%s/%d ", v.Name, v.Version)
	switch v.Outcome {
	case "passed":
		return text + s.c.Say("通过", "passed")
	case "failed":
		return text + s.c.Say("不符条款 ", "failed the clause ") + v.Clause
	}
	return text + s.c.Say("不适用", "does not apply")
}

// turn asks whose turn it is to propose; empty where the house does not know.
func (s *show) turn(ctx context.Context) string {
	var status struct {
		Signers []struct {
			Name string
			Turn bool
		}
	}
	if s.house.Do(ctx, client.Request{Method: http.MethodGet, Path: "/api/evidence/status"}, &status) != nil {
		return ""
	}
	for _, signer := range status.Signers {
		if signer.Turn {
			return signer.Name
		}
	}
	return ""
}

// kept is where the show's proof was put, and what it has shown.
type kept struct {
	Receipt  string  `json:"receipt"`
	Original string  `json:"original"`
	Trust    string  `json:"trust"`
	Records  []*view `json:"records"`
}

// keep writes a record's receipt and its original, and the keys of those who sign, into the data folder.
func (s *show) keep(ctx context.Context, r *record, proof string) (*kept, error) {
	answer, err := s.house.Send(ctx, client.Request{Method: http.MethodGet, Path: "/evidence/trust.pem"})
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	trust, err := io.ReadAll(io.LimitReader(answer.Body, 1<<20))
	if err != nil {
		return nil, err
	}
	k := &kept{Receipt: filepath.Join(s.data, r.ID+".receipt"), Original: filepath.Join(s.data, r.ID+".original"), Trust: filepath.Join(s.data, "trust.pem")}
	for path, text := range map[string][]byte{k.Receipt: []byte(proof), k.Original: r.original.Marshal(), k.Trust: trust} {
		if err := os.WriteFile(path, text, 0o600); err != nil {
			return nil, err
		}
	}
	return k, nil
}
