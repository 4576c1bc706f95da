// Leak measures what labels cost a request, how long a collection takes, and whether a clean service raises an alarm.
//
// The same handler is served with labels and without, on one processor, in interleaved rounds; ratios are taken round by
// round. Then a process parks goroutines and collects. Last, clean routes are served for a minute and watched. It is run
// in the folder bench, with the experiment: GOEXPERIMENT=goroutineleakprofile go run ./leak
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"os/signal"
	"runtime"
	"runtime/pprof"
	"sync"
	"time"

	"github.com/qiongdev/qiong/bench/internal/measure"
	"github.com/qiongdev/qiong/bench/internal/report"
	"github.com/qiongdev/qiong/kit/leak"
	"github.com/qiongdev/qiong/tool/leak/trend"
)

const (
	requests = "1000 requests in process"
	bare     = "handler"
	labelled = "handler, labels"
	over     = "requests over loopback"
	soaking  = "soak"
)

func main() {
	log.SetFlags(0)
	rounds := flag.Int("rounds", 15, "rounds of each system")
	each := flag.Duration("each", 200*time.Millisecond, "length of a round")
	soak := flag.Duration("soak", time.Minute, "length of the clean soak; 0 for none")
	out := flag.String("json", "", "also write the results as JSON to this `file`")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, *rounds, *each, *soak, *out); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, rounds int, each, soak time.Duration, out string) error {
	r := report.New("Leak: labels, collections, a clean soak", fmt.Sprintf("%d rounds of %v each, interleaved; medians.", rounds, each))
	if err := labels(ctx, r, rounds, each); err != nil {
		return err
	}
	for _, n := range []int{100, 10_000, 100_000} {
		if err := collections(r, n); err != nil {
			return err
		}
	}
	if soak > 0 {
		if err := clean(ctx, r, soak); err != nil {
			return err
		}
	}
	r.Judge(report.Goal{Load: requests, System: labelled, Peer: bare, Figure: "rate"})
	r.Judge(report.Goal{Load: over, System: labelled, Peer: bare, Figure: "rate"})
	return r.Write(os.Stdout, out)
}

// routes answers like a service does: a few bytes of JSON.
func routes() *http.ServeMux {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /api/booking/reserve", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(`{"id":"0000000000001","state":"held"}`))
	})
	return mux
}

// task serves mux under labels where the pattern is known to a middleware in front, as kit/telemetry does in a house.
func task(l *leak.Labels, mux *http.ServeMux) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		t := l.Route("POST /api/booking/reserve")
		t.Begin()
		defer t.End(r.Context())
		mux.ServeHTTP(w, r)
	})
}

// nobody throws an answer away.
type nobody struct{ h http.Header }

func (n nobody) Header() http.Header         { return n.h }
func (n nobody) Write(p []byte) (int, error) { return len(p), nil }
func (n nobody) WriteHeader(int)             {}

func labels(ctx context.Context, r *report.Report, rounds int, each time.Duration) error {
	var l leak.Labels
	systems := []struct {
		name string
		h    http.Handler
	}{{bare, routes()}, {labelled, task(&l, routes())}, {"handler, labels, leak.Wrap", l.Wrap(routes())}}
	servers := make([]*httptest.Server, len(systems))
	for i, s := range systems {
		servers[i] = httptest.NewServer(s.h)
		defer servers[i].Close()
	}
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 8}}
	defer client.CloseIdleConnections()
	for range rounds {
		for i, s := range systems {
			before := runtime.GOMAXPROCS(1)
			sample, err := measure.Closed(ctx, 1, each, nil, func(context.Context, int) error {
				req, w := httptest.NewRequest("POST", "/api/booking/reserve", nil), nobody{http.Header{}}
				for range 1000 {
					s.h.ServeHTTP(w, req)
				}
				return nil
			})
			runtime.GOMAXPROCS(before)
			if err != nil {
				return err
			}
			sample.System, sample.Load = s.name, requests
			r.Add(sample)
			sample, err = measure.Closed(ctx, 4, each, nil, func(ctx context.Context, _ int) error {
				return post(ctx, client, servers[i].URL+"/api/booking/reserve")
			})
			if err != nil {
				return err
			}
			sample.System, sample.Load = s.name, over
			r.Add(sample)
		}
	}
	var rates = map[string][]float64{}
	for _, s := range r.Samples {
		if s.Load == requests {
			rates[s.System] = append(rates[s.System], s.Rate())
		}
	}
	for _, s := range systems[1:] {
		r.Notes = append(r.Notes, fmt.Sprintf("%s: %+.0f ns a request", s.name, 1e6/report.Median(rates[s.name])-1e6/report.Median(rates[bare])))
	}
	return nil
}

func post(ctx context.Context, client *http.Client, url string) error {
	req, err := http.NewRequestWithContext(ctx, "POST", url, nil)
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	return err
}

// deep parks a goroutine below some calls, as those of a service are.
func deep(n int, c <-chan struct{}) {
	if n == 0 {
		<-c
		return
	}
	deep(n-1, c)
}

// collections parks n goroutines under labels, half of them where nobody can reach them, and collects a few times.
func collections(r *report.Report, n int) error {
	var l leak.Labels
	stop := make(chan struct{})
	var parked sync.WaitGroup
	for i := range n {
		t := l.Route(fmt.Sprintf("GET /route/%d", i%20))
		t.Begin()
		parked.Go(func() { deep(6, stop) })
		t.End(context.Background())
	}
	h := l.Handler(nil)
	for _, profile := range []string{"goroutine", "leak"} {
		if profile == "leak" && pprof.Lookup("goroutineleak") == nil {
			continue
		}
		var took []float64
		for range 5 {
			s, err := collect(h, profile)
			if err != nil {
				return err
			}
			took = append(took, s.Millis)
			if profile == "goroutine" && s.Goroutines < n {
				return fmt.Errorf("%d goroutines are there, and %d were told", n, s.Goroutines)
			}
		}
		verdict := "kept"
		if report.Median(took) > 250 {
			verdict = "missed"
		}
		r.Notes = append(r.Notes, fmt.Sprintf("A collection of %d goroutines, profile %s: %.1f ms (slowest %.1f); goal 250 ms %s",
			n, profile, report.Median(took), took[len(took)-1], verdict))
	}
	close(stop)
	parked.Wait()
	return nil
}

// collect asks the handler until it is not busy: after a slow collection it rests.
func collect(h http.Handler, profile string) (*leak.Snapshot, error) {
	for {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("GET", "/?profile="+profile, nil))
		if w.Code == http.StatusTooManyRequests {
			time.Sleep(time.Second)
			continue
		}
		s := new(leak.Snapshot)
		if err := json.Unmarshal(w.Body.Bytes(), s); err != nil || w.Code != http.StatusOK {
			return nil, fmt.Errorf("collection: status %d, %w", w.Code, err)
		}
		return s, nil
	}
}

// clean serves routes that leave nothing behind, and watches.
func clean(ctx context.Context, r *report.Report, length time.Duration) error {
	var l leak.Labels
	mux := routes()
	mux.HandleFunc("POST /fan", func(http.ResponseWriter, *http.Request) {
		var all sync.WaitGroup
		for range 8 {
			all.Go(func() { time.Sleep(time.Millisecond) })
		}
		all.Wait()
	})
	mux.HandleFunc("POST /after", func(_ http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), 100*time.Millisecond)
		go func() { defer cancel(); <-ctx.Done() }()
	})
	server := httptest.NewServer(l.Wrap(mux))
	defer server.Close()
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 32}}
	defer client.CloseIdleConnections()
	h := l.Handler(nil)
	var series trend.Series
	leaks := pprof.Lookup("goroutineleak") != nil
	look := func(profile string) error {
		s, err := collect(h, profile)
		if err == nil {
			series.Add(s)
		}
		return err
	}
	if leaks {
		if err := look("leak"); err != nil {
			return err
		}
	}
	for range 12 {
		if err := look("goroutine"); err != nil {
			return err
		}
		n := make([]int, 16)
		sample, err := measure.Closed(ctx, len(n), length/12, nil, func(ctx context.Context, worker int) error {
			n[worker]++
			return post(ctx, client, server.URL+[]string{"/api/booking/reserve", "/fan", "/after"}[n[worker]%3])
		})
		if err != nil {
			return err
		}
		sample.System, sample.Load = labelled, soaking
		r.Add(sample)
	}
	if err := look("goroutine"); err != nil {
		return err
	}
	if leaks {
		if err := look("leak"); err != nil {
			return err
		}
	}
	judged := series.Judge()
	r.Notes = append(r.Notes, fmt.Sprintf("A clean soak of %v, %d looks: %s, %d findings", length, judged.Looks, judged.Verdict, len(judged.Findings)))
	if judged.Verdict != trend.Clean {
		return fmt.Errorf("a false alarm: %+v", judged.Findings)
	}
	return nil
}
