package leak

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"runtime"
	"runtime/pprof"
	"strings"
	"testing"
	"time"

	"github.com/qiongdev/qiong/kit/leak/stack"
)

func get(h http.Handler, url string, change func(*http.Request)) *httptest.ResponseRecorder {
	r := httptest.NewRequest("GET", url, nil)
	r.RemoteAddr, r.Host = "127.0.0.1:5000", "localhost:8080"
	if change != nil {
		change(r)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func TestHandlerIsForThisMachineAlone(t *testing.T) {
	for name, change := range map[string]func(*http.Request){
		"another machine":      func(r *http.Request) { r.RemoteAddr = "10.0.0.7:5000" },
		"a proxy's header":     func(r *http.Request) { r.Header.Set("X-Forwarded-For", "10.0.0.7") },
		"another host's name":  func(r *http.Request) { r.Host = "tickets.example.cn" },
		"an address of no one": func(r *http.Request) { r.RemoteAddr = "@" },
	} {
		if w := get(Handler(), "/debug/leak", change); w.Code != http.StatusForbidden || strings.Contains(w.Body.String(), "groups") {
			t.Errorf("%s: %d %s", name, w.Code, w.Body)
		}
	}
	for name, change := range map[string]func(*http.Request){
		"localhost": nil,
		"IPv6":      func(r *http.Request) { r.RemoteAddr, r.Host = "[::1]:5000", "[::1]:8080" },
	} {
		if w := get(Handler(), "/debug/leak", change); w.Code != http.StatusOK {
			t.Errorf("%s: %d %s", name, w.Code, w.Body)
		}
	}
}

func TestHandlerRefusesWhatItDoesNotServe(t *testing.T) {
	for url, change := range map[string]func(*http.Request){
		"/?profile=heap": nil,
		"/":              func(r *http.Request) { r.Method = "POST" },
	} {
		w := get(Handler(), url, change)
		if w.Code != http.StatusBadRequest || w.Header().Get("Content-Type") != "application/problem+json" {
			t.Errorf("%s: %d %s", url, w.Code, w.Body)
		}
	}
}

func TestOneCollectionAtATime(t *testing.T) {
	c := newCollector(new(Labels))
	c.mu.Lock()
	if _, err := c.collect(false); err == nil || !strings.Contains(err.Error(), "under way") {
		t.Errorf("a second one: %v", err)
	}
	c.mu.Unlock()
	// One that takes a second by this clock.
	now := time.Unix(0, 0)
	steps := []time.Duration{0, time.Second, 2 * time.Second, 11 * time.Second, 11 * time.Second}
	c.now = func() time.Time { at := now.Add(steps[0]); steps = steps[1:]; return at }
	if _, err := c.collect(false); err != nil {
		t.Fatal(err)
	}
	if _, err := c.collect(false); err == nil {
		t.Error("a slow collection was repeated at once")
	}
	if _, err := c.collect(false); err != nil {
		t.Errorf("after its rest: %v", err)
	}
	busy := new(Labels).Handler(func(*http.Request) error { return busy(1500 * time.Millisecond) })
	if w := get(busy, "/", nil); w.Code != http.StatusTooManyRequests || w.Header().Get("Retry-After") != "2" {
		t.Errorf("%d, Retry-After %q", w.Code, w.Header().Get("Retry-After"))
	}
}

// ticks waits for a ticker that a function around it makes; plain waits for a channel.
func ticks(period time.Duration, stop chan struct{}) chan struct{} {
	t := time.NewTicker(period)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-t.C:
			case <-stop:
				t.Stop()
				return
			}
		}
	}()
	return done
}

func plain(stop chan struct{}) chan struct{} {
	done := make(chan struct{})
	go func() {
		defer close(done)
		<-stop
	}()
	return done
}

func TestSnapshotTellsWhoWaitsForWhat(t *testing.T) {
	var l Labels
	stop := make(chan struct{})
	task := l.Route("GET /slow/{id}")
	task.Begin()
	a, b := ticks(time.Hour, stop), plain(stop)
	task.End(t.Context())
	defer func() { close(stop); <-a; <-b }()
	want := map[string]stack.Kind{"ticks": stack.Timer, "plain": stack.Receive}
	if runtime.GOOS != "linux" {
		want["ticks"] = stack.Select
	}
	for deadline := time.Now().Add(10 * time.Second); ; runtime.Gosched() {
		w := get(l.Handler(nil), "/", nil)
		var s Snapshot
		if err := json.Unmarshal(w.Body.Bytes(), &s); err != nil {
			t.Fatalf("%v: %s", err, w.Body)
		}
		if s.Format != Format || s.Profile != "goroutine" || s.Goroutines < 3 || s.Heap == 0 || s.Descriptors < 1 ||
			len(s.Counts) != 1 || s.Counts[0].Begun != 1 || s.Counts[0].Ended != 1 {
			t.Fatalf("%+v", s)
		}
		have := map[string]stack.Kind{}
		for _, g := range s.Groups {
			if g.Labels[Route] == "GET /slow/{id}" {
				for name := range want {
					if strings.Contains(g.Site().Func, "leak."+name+".") {
						have[name] = g.Kind
					}
				}
			}
		}
		if have["ticks"] == want["ticks"] && have["plain"] == want["plain"] {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("kinds %v, want %v", have, want)
		}
	}
}

func stuck(c chan int) { c <- 1 }

func TestLeakProfile(t *testing.T) {
	h := new(Labels).Handler(nil)
	if pprof.Lookup("goroutineleak") == nil {
		w := get(h, "/?profile=leak", nil)
		if w.Code != http.StatusServiceUnavailable || !strings.Contains(w.Body.String(), "GOEXPERIMENT=goroutineleakprofile") {
			t.Errorf("%d %s", w.Code, w.Body)
		}
		return
	}
	go stuck(make(chan int)) // for ever: that is the point
	for deadline := time.Now().Add(10 * time.Second); ; {
		w := get(h, "/?profile=leak", nil)
		var s Snapshot
		if err := json.Unmarshal(w.Body.Bytes(), &s); err != nil {
			t.Fatalf("%v: %s", err, w.Body)
		}
		if len(s.Groups) > 0 && strings.HasSuffix(s.Groups[0].Site().Func, "leak.stuck") && s.Groups[0].Leaked == 1 && s.Groups[0].Kind == stack.Send {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%+v", s)
		}
	}
}

func TestTargetsOfCalls(t *testing.T) {
	for _, c := range []struct {
		arch string
		text []byte
		want int64
		ok   bool
	}{
		{"amd64", []byte{0xe8, 0x10, 0, 0, 0}, 0x15, true},
		{"amd64", []byte{0xe8, 0xfb, 0xff, 0xff, 0xff}, 0, true},
		{"amd64", []byte{0xe9, 0x10, 0, 0, 0}, 0, false},
		{"amd64", []byte{0xe8, 0x10}, 0, false},
		{"arm64", []byte{0x04, 0, 0, 0x94}, 0x10, true},         // BL +16
		{"arm64", []byte{0xff, 0xff, 0xff, 0x97}, -4, true},     // BL -4
		{"arm64", []byte{0x04, 0, 0, 0x14}, 0, false},           // B +16
		{"loong64", []byte{0x00, 0x10, 0, 0x54}, 0x10, true},    // BL +16
		{"loong64", []byte{0xff, 0xff, 0xff, 0x57}, -4, true},   // BL -4
		{"loong64", []byte{0x01, 0x10, 0, 0x54}, 0x40010, true}, // BL +0x40010
		{"loong64", []byte{0x00, 0x10, 0, 0x50}, 0, false},      // B +16
		{"riscv64", []byte{0xe8, 0x10, 0, 0, 0}, 0, false},
	} {
		if got, ok := target(c.arch, c.text, 0); got != c.want || ok != c.ok {
			t.Errorf("%s % x: %#x, %v; want %#x, %v", c.arch, c.text, got, ok, c.want, c.ok)
		}
	}
}

func TestTimersInUseAreCounted(t *testing.T) {
	rate := runtime.MemProfileRate
	runtime.MemProfileRate = 1
	defer func() { runtime.MemProfileRate = rate }()
	var kept []*time.Timer
	for range 1000 {
		kept = append(kept, time.NewTimer(time.Hour))
	}
	runtime.GC()
	runtime.GC() // what is allocated shows after the second
	found := 0
	for _, m := range timers() {
		if strings.HasSuffix(m.Stack[0].Func, "TestTimersInUseAreCounted") {
			found = m.Count
		}
	}
	if found < 1000 || found > 2100 { // a timer and its channel may count as one each
		t.Errorf("%d timers", found)
	}
	runtime.KeepAlive(kept)
}
