package express_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/qiongdev/qiong/kit/httpapi/express"
)

// server is one that tells what it is asked.
type server struct {
	*http.Server
	t      *testing.T
	l      *express.Listener // nil: net/http alone
	addr   string
	ours   atomic.Int64  // requests that did not go through net/http
	inside chan struct{} // somebody is at /wait
	on     chan struct{} // and may go
	said   bytes.Buffer
}

func start(t *testing.T, routes ...string) *server {
	t.Helper()
	return startIdling(t, time.Minute, routes...)
}

func startIdling(t *testing.T, idle time.Duration, routes ...string) *server {
	t.Helper()
	s := &server{t: t, inside: make(chan struct{}), on: make(chan struct{})}
	s.Server = &http.Server{Handler: http.HandlerFunc(s.handle), IdleTimeout: idle, WriteTimeout: time.Minute, ErrorLog: log.New(&s.said, "", 0)}
	var l net.Listener
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.addr = l.Addr().String()
	if len(routes) > 0 {
		if s.l, err = express.Listen(l, s.Server, routes); err != nil {
			t.Fatal(err)
		}
		l = s.l
	}
	done := make(chan error, 1)
	go func() { done <- s.Serve(l) }()
	t.Cleanup(func() {
		_ = s.Server.Close()
		if err := <-done; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
	return s
}

func (s *server) handle(w http.ResponseWriter, r *http.Request) {
	if _, flushes := w.(http.Flusher); !flushes { // net/http's does
		s.ours.Add(1)
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	switch string(body) {
	case "wait":
		s.inside <- struct{}{}
		<-s.on
	case "panic":
		panic("the handler is at fault")
	case "abort":
		panic(http.ErrAbortHandler)
	case "nothing":
		w.WriteHeader(http.StatusNoContent)
		_, err := w.Write([]byte("x"))
		if !errors.Is(err, http.ErrBodyNotAllowed) {
			s.t.Error(err)
		}
		return
	case "silence":
		return
	case "early":
		w.WriteHeader(http.StatusEarlyHints)
	case "fields":
		w.Header()["X-A"] = []string{"1", "2\r\nX-Evil: 3"}
		w.Header().Set("Date", "never")
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusTeapot)
		w.WriteHeader(http.StatusOK)
	}
	_, _ = fmt.Fprintf(w, "%s %s %s %s %d %v %v %.99q\n", r.Method, r.URL, r.RequestURI, r.Host, r.ContentLength, r.Close, r.Form, body)
	for _, name := range slices.Sorted(maps.Keys(r.Header)) {
		_, _ = fmt.Fprintf(w, "%s: %q\n", name, r.Header[name])
	}
}

// say sends pieces with pauses between, closes its half, and returns all that is answered, as far as it is the same in
// every run.
func (s *server) say(pieces ...string) string {
	s.t.Helper()
	c, err := net.Dial("tcp", s.addr)
	if err != nil {
		s.t.Fatal(err)
	}
	defer c.Close()
	answers := bufio.NewReader(c)
	var all strings.Builder
	for _, p := range pieces {
		whole := strings.HasSuffix(p, "\x00")
		if _, err := io.WriteString(c, strings.TrimSuffix(p, "\x00")); err != nil {
			break // it has hung up, and what it has said comes below
		}
		if whole {
			all.WriteString(answer(s.t, answers))
		}
		time.Sleep(10 * time.Millisecond) // for net/http to come to rest: what comes before is its own
	}
	_ = c.(*net.TCPConn).CloseWrite()
	for {
		if _, err := answers.Peek(1); err != nil {
			return all.String()
		}
		all.WriteString(answer(s.t, answers))
	}
}

// answer reads one answer.
func answer(t *testing.T, r *bufio.Reader) string {
	t.Helper()
	resp, err := http.ReadResponse(r, nil)
	if err != nil {
		return "ended: " + strings.TrimSpace(fmt.Sprint(errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF))) + "\n"
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if date := resp.Header.Get("Date"); date != "" && date != "never" {
		if at, err := http.ParseTime(date); err != nil || time.Since(at).Abs() > time.Minute {
			t.Errorf("Date: %s", date)
		}
		resp.Header.Del("Date")
	}
	return fmt.Sprintf("%s %d %v %v %q\n", resp.Status, resp.ContentLength, resp.Close, resp.Header, body)
}

func post(path, body string, fields ...string) string {
	return "POST " + path + " HTTP/1.1\r\nHost: a\r\n" + strings.Join(append(fields, ""), "\r\n") + fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(body), body)
}

func get(path string) string { return "GET " + path + " HTTP/1.1\r\nHost: a\r\n\r\n" }

// Whatever is said, the answers are those of net/http; and what is plain is ours, from a connection's second request on.
func TestSameAsNetHTTP(t *testing.T) {
	hot := post("/hot", `{"a":1}`)
	const end = "\x00" // wait for the answer
	for name, test := range map[string]struct {
		pieces []string
		ours   int64
	}{
		"plain":                  {[]string{hot + end, hot + end, hot + end}, 2},
		"other values":           {[]string{post("/hot", "1", "X: a") + end, post("/hot", "2", "X: b") + end, post("/hot", "22", "X: c\t ") + end}, 2},
		"other fields":           {[]string{post("/hot", "1", "X: a") + end, post("/hot", "2", "Y: b", "Z: 1") + end, post("/hot", "3", "Z: c") + end, post("/hot", "4", "Z: d", "X: e") + end, post("/hot", "5") + end}, 4},
		"another case":           {[]string{hot + end, post("/hot", "2", "x-aBc: b") + end, post("/hot", "3", "X-Abc: b") + end}, 2},
		"no route":               {[]string{get("/") + end, get("/other") + end, get("/hot") + end, hot + end, get("/hot") + end, hot + end}, 2},
		"with a query":           {[]string{hot + end, post("/hot?a=1", "x") + end, hot + end}, 1},
		"not quite the path":     {[]string{hot + end, post("/hot/", "x") + end, post("//hot", "x") + end, post("/%68ot", "x") + end}, 0},
		"absolute":               {[]string{hot + end, post("http://a/hot", "x") + end}, 0},
		"in pieces":              {[]string{hot + end, hot[:5], hot[5:40], hot[40:] + end, hot + end}, 1},
		"body later":             {[]string{hot + end, hot[:len(hot)-7], `{"a":1}` + end, hot + end}, 1},
		"two at once":            {[]string{hot + end, hot + hot, hot}, 1},
		"a little more":          {[]string{hot + "PO" + end, hot[2:] + end, hot + end}, 1},
		"a little that is wrong": {[]string{hot + "XYZ" + end, hot + end, hot + end}, 1},
		"one more byte":          {[]string{hot + end, hot + "X", hot}, 0},
		"long":                   {[]string{hot + end, post("/hot", strings.Repeat("x", 4000)) + end, post("/hot", strings.Repeat("y", 20000)) + end, post("/hot", strings.Repeat("z", 3900)) + end}, 2},
		"nothing":                {[]string{hot + end, post("/hot", "nothing") + end, post("/hot", "silence") + end, hot + end}, 3},
		"fields of its own":      {[]string{hot + end, post("/hot", "fields") + end, hot + end}, 2},
		"empty":                  {[]string{hot + end, post("/hot", "") + end, hot + end}, 2},
		"no length":              {[]string{hot + end, "POST /hot HTTP/1.1\r\nHost: a\r\n\r\n" + end, hot + end}, 1},
		"chunked":                {[]string{hot + end, "POST /hot HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n" + end, hot + end}, 1},
		"chunked and a length":   {[]string{hot + end, post("/hot", "5\r\nhello\r\n0\r\n\r\n", "Transfer-Encoding: chunked") + end, hot}, 1},
		"two lengths":            {[]string{hot + end, post("/hot", "x", "Content-Length: 1") + end, post("/hot", "x", "Content-Length: 2") + end}, 0},
		"a signed length":        {[]string{hot + end, "POST /hot HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\nx" + end}, 0},
		"two hosts":              {[]string{hot + end, post("/hot", "x", "Host: b") + end}, 0},
		"no host":                {[]string{hot + end, "POST /hot HTTP/1.1\r\nContent-Length: 1\r\n\r\nx" + end}, 0},
		"an empty host":          {[]string{hot + end, "POST /hot HTTP/1.1\r\nHost:\r\nContent-Length: 1\r\n\r\nx" + end}, 0},
		"a bad host":             {[]string{hot + end, "POST /hot HTTP/1.1\r\nHost: a b\r\nContent-Length: 1\r\n\r\nx" + end}, 0},
		"HTTP/1.0":               {[]string{hot + end, strings.Replace(hot, "1.1", "1.0", 1) + end}, 0},
		"close":                  {[]string{hot + end, post("/hot", "x", "Connection: close") + end, hot}, 0},
		"keep-alive":             {[]string{hot + end, post("/hot", "x", "Connection: Keep-Alive") + end, hot + end}, 2},
		"expect":                 {[]string{hot + end, post("/hot", "x", "Expect: 100-continue"), hot}, 1},
		"a space before a colon": {[]string{hot + end, post("/hot", "x", "X : y") + end}, 0},
		"a folded line":          {[]string{hot + end, post("/hot", "x", "X: y", " z") + end}, 0},
		"bare line feeds":        {[]string{hot + end, strings.ReplaceAll(hot, "\r\n", "\n") + end, hot + end}, 1},
		"a bare return":          {[]string{hot + end, post("/hot", "x", "X: y\rz") + end}, 0},
		"a zero byte":            {[]string{hot + end, post("/hot", "x", "X: y\x00z") + end}, 0},
		"letters of 琼":           {[]string{hot + end, post("/hot", "琼", "X: 琼") + end, hot + end}, 1},
		"the same field twice":   {[]string{hot + end, post("/hot", "x", "X: y", "X: z") + end, hot + end}, 1},
		"panic":                  {[]string{hot + end, post("/hot", "panic") + end}, 1},
		"abort":                  {[]string{hot + end, post("/hot", "abort") + end}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			want := start(t).say(test.pieces...)
			s := start(t, "POST /hot", "PUT /also")
			if got := s.say(test.pieces...); got != want {
				t.Errorf("net/http says\n%s\nand here it is\n%s", want, got)
			}
			if n := s.ours.Load(); n != test.ours {
				t.Errorf("%d requests did not go through net/http, want %d", n, test.ours)
			}
		})
	}
}

// A request under way at Shutdown is answered, and the connection closed; Wait waits for it.
func TestShutdown(t *testing.T) {
	s := start(t, "POST /hot")
	c, err := net.Dial("tcp", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	answers := bufio.NewReader(c)
	_, _ = io.WriteString(c, post("/hot", "first"))
	answer(t, answers)
	_, _ = io.WriteString(c, post("/hot", "wait"))
	<-s.inside
	idle, err := net.Dial("tcp", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer idle.Close()
	_, _ = io.WriteString(idle, post("/hot", "x"))
	answer(t, bufio.NewReader(idle))
	if err := s.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := idle.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("the idle connection: %v", err)
	}
	soon, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := s.l.Wait(soon); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Wait: %v, with a request under way", err)
	}
	s.on <- struct{}{}
	resp, err := http.ReadResponse(answers, nil)
	if err != nil || resp.StatusCode != 200 || !resp.Close {
		t.Fatalf("%+v, %v", resp, err)
	}
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		t.Error(err)
	}
	if err := s.l.Wait(t.Context()); err != nil {
		t.Error(err)
	}
	if _, err := answers.ReadByte(); !errors.Is(err, io.EOF) {
		t.Errorf("the connection: %v", err)
	}
}

// A connection that is used lives on beyond the limit on idling, and one that is not ends at it.
func TestIdle(t *testing.T) {
	const limit = 400 * time.Millisecond
	s := startIdling(t, limit, "POST /hot")
	c, err := net.Dial("tcp", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	answers := bufio.NewReader(c)
	for range 12 {
		if _, err := io.WriteString(c, post("/hot", "x")); err != nil {
			t.Fatal(err)
		}
		if got := answer(t, answers); !strings.HasPrefix(got, "200") {
			t.Fatal(got)
		}
		time.Sleep(limit / 8)
	}
	if _, err := answers.ReadByte(); !errors.Is(err, io.EOF) {
		t.Errorf("idle: %v", err)
	}
	if s.ours.Load() != 11 {
		t.Errorf("%d of 11", s.ours.Load())
	}
}

// Many connections say many things, while some of them are cut.
func TestManyAtOnce(t *testing.T) {
	s := start(t, "POST /hot")
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 1}, Timeout: 10 * time.Second}
			defer client.CloseIdleConnections()
			for j := range 200 {
				body := fmt.Sprintf("%d/%d", i, j)
				ctx, cancel := context.WithCancel(t.Context())
				if j%17 == 16 {
					time.AfterFunc(time.Duration(j)*time.Microsecond, cancel)
				}
				path := "/hot"
				if j%5 == 4 {
					path = "/other"
				}
				req, err := http.NewRequestWithContext(ctx, "POST", "http://"+s.addr+path, strings.NewReader(body))
				if err != nil {
					t.Error(err)
				}
				req.Header.Set("X", body)
				resp, err := client.Do(req)
				if err == nil {
					var all []byte
					all, err = io.ReadAll(resp.Body)
					_ = resp.Body.Close()
					if err == nil && (!bytes.Contains(all, fmt.Appendf(nil, "[]") /* no form */) && !bytes.Contains(all, fmt.Appendf(nil, "%q", body)) || !bytes.Contains(all, fmt.Appendf(nil, "X: [%q]", body))) {
						t.Errorf("for %s: %s", body, all)
					}
				}
				cancel()
				if err != nil && !errors.Is(err, context.Canceled) {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if s.ours.Load() < 1000 {
		t.Errorf("%d were ours", s.ours.Load())
	}
}

// What a handler's leftovers read after the answer is nothing of the next request.
func TestLateReader(t *testing.T) {
	var kept io.ReadCloser
	s := start(t, "POST /hot")
	s.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if kept == nil && r.ContentLength == 4 {
			kept = r.Body
		}
	})
	s.say(post("/hot", "first")+"\x00", post("/hot", "late")+"\x00", post("/hot", "secret")+"\x00")
	if all, err := io.ReadAll(kept); len(all) > 0 || err == nil {
		t.Errorf("%q, %v", all, err)
	}
}

// Informational answers are not sent.
func TestEarlyHints(t *testing.T) {
	s := start(t, "POST /hot")
	if got := s.say(post("/hot", "x")+"\x00", post("/hot", "early")+"\x00"); strings.Contains(got, "103") || strings.Count(got, "200 OK") != 2 || s.ours.Load() != 1 {
		t.Error(got)
	}
}

func TestRouteThatIsNone(t *testing.T) {
	if _, err := express.Listen(nil, &http.Server{}, []string{"POST nowhere"}); err == nil {
		t.Error("taken")
	}
}
