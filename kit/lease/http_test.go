package lease

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/gm"
	"github.com/qiongdev/qiong/kit/httpsig"
)

func newKey(t testing.TB) *gm.PrivateKey {
	t.Helper()
	key, err := gm.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func public(t testing.TB, key *gm.PrivateKey) *gm.PublicKey {
	t.Helper()
	pub, err := gm.PublicKeyOf(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	return pub
}

// stand is a voter behind HTTP, whose answers can be tampered with.
type stand struct {
	bench    *bench
	voter, a *gm.PrivateKey
	server   *httptest.Server
	mu       sync.Mutex
	handler  *Handler
	requests []*http.Request
	bodies   []string
	tamper   func(http.Header, []byte) []byte
}

func newStand(t *testing.T) *stand {
	s := &stand{bench: newBench(t), voter: newKey(t), a: newKey(t)}
	s.begin(t)
	s.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		defer s.mu.Unlock()
		body, _ := io.ReadAll(r.Body)
		s.requests, s.bodies = append(s.requests, r), append(s.bodies, string(body))
		r.Body = io.NopCloser(bytes.NewReader(body))
		rec := httptest.NewRecorder()
		s.handler.ServeHTTP(rec, r)
		answer := rec.Body.Bytes()
		for k, v := range rec.Header() {
			w.Header()[k] = v
		}
		if s.tamper != nil {
			answer = s.tamper(w.Header(), answer)
		}
		w.WriteHeader(rec.Code)
		_, _ = w.Write(answer)
	}))
	t.Cleanup(s.server.Close)
	return s
}

// begin begins a life of the voter.
func (s *stand) begin(t *testing.T) {
	s.bench.restart()
	s.mu.Lock()
	s.handler = NewHandler(s.bench.Voter, "v", s.voter, Keys{"a": public(t, s.a)})
	s.mu.Unlock()
}

func (s *stand) remote(t *testing.T, voter, me *gm.PrivateKey) *Remote {
	return NewRemote("v", s.server.URL+Path, public(t, voter), me, s.server.Client())
}

func TestOverHTTP(t *testing.T) {
	s := newStand(t)
	p := s.remote(t, s.voter, s.a)
	for _, r := range []Request{look("a/1"), prepare(1, "a/1"), accept(1, "a/1", 1, 1)} {
		if a, err := p.Ask(t.Context(), r); err != nil || !a.OK {
			t.Fatalf("%s: %+v, %v", r.Kind, a, err)
		}
	}
	if len(s.requests) != 4 {
		t.Errorf("%d requests for three and a session", len(s.requests))
	}
	s.begin(t)
	if a, err := p.Ask(t.Context(), look("a/1")); err != nil || a.Register.Epoch != 1 {
		t.Errorf("of a voter that was restarted: %+v, %v", a, err)
	}
	c, err := NewClient(Options{Me: "a", Voters: []Peer{p}, Now: func() time.Duration { return s.bench.now }})
	if err != nil {
		t.Fatal(err)
	}
	s.bench.now = time.Minute
	h, err := c.TryAcquire(t.Context(), "shard")
	if err != nil || h.Epoch() != 2 {
		t.Fatal(err)
	}
	if err := h.Release(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestForgedRequestsAreRefused(t *testing.T) {
	s := newStand(t)
	if _, err := s.remote(t, s.voter, newKey(t)).Ask(t.Context(), look("a/1")); !errs.Is(err, errs.Forbidden) {
		t.Errorf("signed with a key that nobody knows: %v", err)
	}
	if _, err := s.remote(t, s.voter, s.a).Ask(t.Context(), look("b/1")); !errs.Is(err, errs.Forbidden) {
		t.Errorf("in another's name: %v", err)
	}
	_, err := s.remote(t, s.voter, s.a).Ask(t.Context(), prepare(1, "a/1"))
	if err != nil {
		t.Fatal(err)
	}
	last := len(s.requests) - 1
	r, body := s.requests[last], s.bodies[last]
	for name, c := range map[string]struct {
		body   string
		change func(*http.Request)
	}{
		"tampered":  {strings.Replace(body, `"n":1`, `"n":9`, 1), func(*http.Request) {}},
		"unsigned":  {body, func(r *http.Request) { r.Header.Del("Signature") }},
		"elsewhere": {body, func(r *http.Request) { r.Host = "other.example" }},
		"too long":  {body + strings.Repeat(" ", maxMessage), func(*http.Request) {}},
		"other way": {body, func(r *http.Request) { r.Method = http.MethodPut }},
	} {
		again := r.Clone(context.Background())
		again.Body = io.NopCloser(strings.NewReader(c.body))
		c.change(again)
		rec := httptest.NewRecorder()
		s.handler.ServeHTTP(rec, again)
		if rec.Code != http.StatusUnauthorized && rec.Code != http.StatusRequestEntityTooLarge {
			t.Errorf("%s: %d %s", name, rec.Code, rec.Body)
		}
	}
}

// What was sent before does nothing when it is sent again, neither in this life of the voter nor in the next.
func TestReplayedRequestsDoNothing(t *testing.T) {
	s := newStand(t)
	p := s.remote(t, s.voter, s.a)
	for _, r := range []Request{prepare(1, "a/1"), accept(1, "a/1", 1, 1), accept(1, "a/1", 1, 2)} {
		if _, err := p.Ask(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	replay := func() (stale int) {
		for i, r := range s.requests {
			again := r.Clone(context.Background())
			again.Body = io.NopCloser(strings.NewReader(s.bodies[i]))
			rec := httptest.NewRecorder()
			s.handler.ServeHTTP(rec, again)
			if m, err := parseAnswered(rec.Body.Bytes()); err != nil || rec.Code != http.StatusOK {
				t.Errorf("%d %v", rec.Code, err)
			} else if m.Answer == nil {
				stale++
			}
		}
		return stale
	}
	s.bench.now = 700 * time.Millisecond
	replay()
	if a := s.bench.ask(look("b/1")); a.Held != 300 {
		t.Errorf("after a replay others wait for %d ms", a.Held)
	}
	s.begin(t)
	s.bench.now += 800 * time.Millisecond
	if stale := replay(); stale != len(s.requests) {
		t.Errorf("%d of %d requests to an earlier life are not heard", stale, len(s.requests))
	}
	if a := s.bench.ask(look("b/1")); a.Held != 200 {
		t.Errorf("after a replay of an earlier life others wait for %d ms", a.Held)
	}
}

func TestForgedAnswersAreNotBelieved(t *testing.T) {
	s := newStand(t)
	p := s.remote(t, s.voter, s.a)
	if _, err := p.Ask(t.Context(), look("a/1")); err != nil {
		t.Fatal(err)
	}
	var kept http.Header
	var answer []byte
	s.tamper = func(h http.Header, body []byte) []byte { kept, answer = h.Clone(), body; return body }
	if _, err := p.Ask(t.Context(), prepare(1, "a/1")); err != nil {
		t.Fatal(err)
	}
	for name, tamper := range map[string]func(http.Header, []byte) []byte{
		"changed": func(_ http.Header, b []byte) []byte {
			return bytes.Replace(b, []byte(`"ok":true`), []byte(`"ok":false`), 1)
		},
		"unsigned": func(h http.Header, b []byte) []byte { h.Del("Signature"); return b },
		"of another request": func(h http.Header, _ []byte) []byte {
			for k, v := range kept {
				h[k] = v
			}
			return answer
		},
		"empty":   func(http.Header, []byte) []byte { return nil },
		"endless": func(_ http.Header, b []byte) []byte { return append(b, make([]byte, maxMessage)...) },
	} {
		s.tamper = tamper
		if a, err := p.Ask(t.Context(), look("a/1")); !errs.Is(err, errs.Unavailable) {
			t.Errorf("%s: %+v, %v", name, a, err)
		}
	}
	s.tamper = nil
	if _, err := s.remote(t, newKey(t), s.a).Ask(t.Context(), look("a/1")); !errs.Is(err, errs.Unavailable) {
		t.Errorf("of another voter's key: %v", err)
	}
	s.handler.Name = "w"
	if _, err := p.Ask(t.Context(), look("a/1")); !errs.Is(err, errs.Unavailable) {
		t.Errorf("in another voter's name: %v", err)
	}
}

// The time of day plays no part: here a replica's is ten years behind.
func TestClocksMayBeWrong(t *testing.T) {
	s := newStand(t)
	body := encode(asked{s.handler.session, prepare(1, "a/1")})
	r := httptest.NewRequest(http.MethodPost, "http://voter.example"+Path, bytes.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	if err := httpsig.SignRequest(r, body, s.a, time.Now().AddDate(-10, 0, 0), httpsig.NewNonce()); err != nil {
		t.Fatal(err)
	}
	rec := httptest.NewRecorder()
	s.handler.ServeHTTP(rec, r)
	if m, err := parseAnswered(rec.Body.Bytes()); err != nil || m.Answer == nil || !m.Answer.OK {
		t.Errorf("%d %s", rec.Code, rec.Body)
	}
}

func TestAVoterThatIsAway(t *testing.T) {
	s := newStand(t)
	p := s.remote(t, s.voter, s.a)
	s.server.Close()
	if _, err := p.Ask(t.Context(), look("a/1")); !errs.Is(err, errs.Unavailable) {
		t.Errorf("%v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := p.Ask(ctx, look("a/1")); !errs.Is(err, errs.Canceled) {
		t.Errorf("%v", err)
	}
}

func TestParseVoter(t *testing.T) {
	name, address, err := ParseVoter("w=https://witness.example/")
	if err != nil || name != "w" || address != "https://witness.example"+Path {
		t.Errorf("%q %q %v", name, address, err)
	}
	for _, s := range []string{"", "w", "w=", "=http://x", "w=ftp://x", "W=http://x", "w=http://", "w=http://u:p@x", "w=http://x?y", "w=http://x#y", "w=http://%zz"} {
		if _, _, err := ParseVoter(s); !errs.Is(err, errs.Invalid) {
			t.Errorf("%q: %v", s, err)
		}
	}
}

func FuzzParseAsked(f *testing.F) {
	f.Add(encode(asked{"s", look("a/1")}))
	f.Add(encode(asked{"s", prepare(1, "a/1")}))
	f.Add(encode(asked{"s", accept(1, "a/1", 1, 1)}))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := parseAsked(data)
		if err != nil {
			return
		}
		if err := m.Request.Check(); err != nil {
			t.Fatal(err)
		}
		again, err := parseAsked(encode(m))
		if err != nil || !bytes.Equal(encode(again), encode(m)) {
			t.Fatalf("%s, %v", encode(m), err)
		}
		v, err := OpenVoter(t.Context(), VoterOptions{Store: &memory{all: map[string]Record{}}})
		if err != nil {
			t.Fatal(err)
		}
		replica, _ := validBy(m.Request.Ballot.By)
		a, err := v.Ask(t.Context(), replica, m.Request)
		if err == nil && a.check() != nil {
			t.Fatalf("%+v: %v", a, a.check())
		}
	})
}

func FuzzParseAnswered(f *testing.F) {
	f.Add(encode(answered{Session: "s", Voter: "v"}))
	f.Add(encode(answered{Session: "s", Voter: "v", Answer: &Answer{OK: true, Promised: Ballot{2, "b/1"}, Accepted: Ballot{1, "a/1"},
		Register: Register{Holder: "a", Epoch: 1, InSync: []string{"a"}, TTL: 1}}}))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := parseAnswered(data)
		if err != nil || m.Answer == nil {
			return
		}
		if m.Answer.Held < 0 || m.Answer.Register.Epoch > 0 && m.Answer.Register.Check() != nil {
			t.Fatalf("%+v", m.Answer)
		}
	})
}
