// Command planted leaks on purpose: five routes, each in a way of its own, and clean ones beside them. It prints its
// address, and ends when its standard input does.
package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/qiongdev/qiong/kit/leak"
)

func main() {
	labels := &leak.Labels{}
	mux := http.NewServeMux()
	s := &shop{kept: map[chan int]bool{}}
	s.routes(mux)
	mux.Handle("GET /debug/leak", labels.Handler(leak.Local))
	at, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println("http://" + at.Addr().String())
	go func() { _ = http.Serve(at, labels.Wrap(mux)) }()
	_, _ = io.Copy(io.Discard, os.Stdin)
}

// shop keeps what its leaks wait for where it can be reached, unless it is told not to: then the runtime finds them.
type shop struct {
	mu   sync.Mutex
	kept map[chan int]bool
	lock sync.Mutex
}

// channel returns a channel that nobody else uses: lost, or one that can be reached, which the runtime must take for one
// that somebody may still use.
func (s *shop) channel(r *http.Request) chan int {
	c := make(chan int)
	if r.URL.Query().Get("lost") == "" {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.kept[c] = true
	}
	return c
}

func (s *shop) routes(mux *http.ServeMux) {
	mux.HandleFunc("POST /send/{id}", func(_ http.ResponseWriter, r *http.Request) {
		c := s.channel(r)
		go func() { c <- 1 }()
	})
	mux.HandleFunc("GET /receive/{id}", func(_ http.ResponseWriter, r *http.Request) {
		c := s.channel(r)
		go func() { <-c }()
	})
	mux.HandleFunc("GET /select/{id}", func(_ http.ResponseWriter, r *http.Request) {
		a, b := s.channel(r), s.channel(r)
		go func() {
			select {
			case <-a:
			case b <- 1:
			}
		}()
	})
	mux.HandleFunc("GET /timer/{id}", func(http.ResponseWriter, *http.Request) {
		t := time.NewTicker(time.Hour)
		go func() {
			for range t.C {
			}
		}()
	})
	mux.HandleFunc("PUT /mutex/{id}", func(_ http.ResponseWriter, r *http.Request) {
		lock := &s.lock
		if r.URL.Query().Get("lost") != "" {
			lock = new(sync.Mutex)
		}
		lock.TryLock() // and never unlocked
		go func() {
			lock.Lock()
			defer lock.Unlock()
		}()
	})
	s.clean(mux)
}

// clean registers routes that leave nothing behind.
func (s *shop) clean(mux *http.ServeMux) {
	mux.HandleFunc("GET /clean/plain", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("ok")) })
	mux.HandleFunc("GET /clean/fan", func(w http.ResponseWriter, _ *http.Request) {
		var all sync.WaitGroup
		for range 8 {
			all.Go(func() { time.Sleep(time.Millisecond) })
		}
		all.Wait()
	})
	mux.HandleFunc("GET /clean/after", func(_ http.ResponseWriter, r *http.Request) { // goes on after the answer
		ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), 50*time.Millisecond)
		go func() { defer cancel(); <-ctx.Done() }()
	})
	var busy sync.Mutex
	mux.HandleFunc("GET /clean/lock", func(http.ResponseWriter, *http.Request) {
		busy.Lock()
		defer busy.Unlock()
		time.Sleep(100 * time.Microsecond)
	})
	mux.HandleFunc("GET /clean/stream", func(w http.ResponseWriter, r *http.Request) {
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	})
	jobs := make(chan func())
	for range 4 {
		go func() {
			for f := range jobs {
				f()
			}
		}()
	}
	mux.HandleFunc("GET /clean/pool", func(http.ResponseWriter, *http.Request) {
		done := make(chan int)
		jobs <- func() { close(done) }
		<-done
	})
}
