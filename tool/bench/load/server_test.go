package load_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/label"
	"github.com/qiongdev/qiong/tool/bench/load"
	"github.com/qiongdev/qiong/tool/bench/noop"
	"github.com/qiongdev/qiong/tool/bench/scenario"
	"github.com/qiongdev/qiong/tool/bench/schedule"
	"github.com/qiongdev/qiong/tool/bench/tally"
)

// rude runs a server that treats every connection as the test says.
func rude(t *testing.T, treat func(net.Conn)) string {
	t.Helper()
	l := listen(t)
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				treat(c)
			}()
		}
	}()
	return l.Addr().String()
}

// The server stops once, for a while: all that is due meanwhile is late, and the response times say so. Only lower bounds
// are held to, which a slow machine meets the more.
func TestAStallIsSeenByEveryRequestThatWaits(t *testing.T) {
	engines(t, func(t *testing.T, portable bool) {
		const stall = 300 * time.Millisecond
		var n atomic.Int64
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if n.Add(1) == 100 {
				time.Sleep(stall) // that is what is measured
			}
		}))
		defer s.Close()
		p := plan(t, s.Listener.Addr().String())
		p.Conns, p.Schedule, p.Portable = 1, schedule.Constant(1000, 600*time.Millisecond), portable
		o, err := load.Run(t.Context(), p)
		if err != nil {
			t.Fatal(err)
		}
		slow := int64(0)
		for _, bar := range o.Tally.Response.Distribution() {
			if bar.From >= (50 * time.Millisecond).Microseconds() {
				slow += bar.Count
			}
		}
		if o.Tally.Sent != 600 || slow < 245 || o.Tally.Late < 290 {
			t.Errorf("%d sent; %d took over 50 ms, and 250 had to; %d late", o.Tally.Sent, slow, o.Tally.Late)
		}
	})
}

// What requests say arrives, whole and different each time.
func TestRequestsArrive(t *testing.T) {
	engines(t, func(t *testing.T, portable bool) {
		var mu sync.Mutex
		seen := map[string]bool{}
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			body, err := io.ReadAll(r.Body)
			number := strings.TrimSuffix(strings.TrimPrefix(string(body), `{"slot":"s1","visitors":[{"kind":"resident","number":"`), `"}]}`)
			if err != nil || r.Method != "POST" || r.URL.Path != "/api/booking/reserve" || r.Header.Get("X-Region") != "HN" || r.Header.Get("Content-Type") != "application/json" || label.IDCard(number) != nil || !label.IsFake(number) {
				t.Errorf("%v, %s %s, %v, %q", err, r.Method, r.URL, r.Header, body)
			}
			mu.Lock()
			defer mu.Unlock()
			seen[r.Header.Get("Idempotency-Key")+number] = true
		}))
		defer s.Close()
		p := plan(t, s.Listener.Addr().String())
		p.Conns, p.Workers, p.Schedule, p.Portable = 8, 2, schedule.Constant(1000, 200*time.Millisecond), portable
		o, err := load.Run(t.Context(), p)
		if err != nil || o.Tally.Done() != 200 {
			t.Fatal(err, o)
		}
		mu.Lock()
		defer mu.Unlock()
		if len(seen) != 200 {
			t.Errorf("%d different requests of 200", len(seen))
		}
	})
}

func TestBadServers(t *testing.T) {
	read := func(c net.Conn) error {
		_, err := http.ReadRequest(bufio.NewReader(c))
		return err
	}
	for _, b := range []struct {
		name  string
		treat func(net.Conn)
		want  tally.Failure
	}{
		{"closes without an answer", func(c net.Conn) { _ = read(c) }, tally.Closed},
		{"closes within an answer", func(c net.Conn) { _ = read(c); io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhal") }, tally.Closed},
		{"speaks another protocol", func(c net.Conn) { _ = read(c); io.WriteString(c, "220 mail.example ESMTP\r\n\r\n") }, tally.Malformed},
		{"answers twice", func(c net.Conn) { _ = read(c); io.WriteString(c, strings.Repeat("HTTP/1.1 204 No\r\n\r\n", 2)) }, tally.Malformed},
		{"never answers", func(c net.Conn) { io.Copy(io.Discard, c) }, tally.TimedOut},
		{"refuses", func(c net.Conn) {
			_ = read(c)
			io.WriteString(c, "HTTP/1.1 500 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
		}, tally.Check},
	} {
		t.Run(b.name, func(t *testing.T) {
			engines(t, func(t *testing.T, portable bool) {
				p := plan(t, rude(t, b.treat))
				p.Conns, p.Timeout, p.Schedule, p.Portable = 4, 100*time.Millisecond, schedule.Constant(100, 100*time.Millisecond), portable
				o, err := load.Run(t.Context(), p)
				if err != nil {
					t.Fatal(err)
				}
				y := o.Tally
				if y.Failures[b.want] == 0 || y.Failures[b.want]+y.Dropped < 10-y.Failures[tally.Closed] || y.Response.TotalCount() != 10 {
					t.Errorf("failures %v, %d dropped, %d in the response times", y.Failures, y.Dropped, y.Response.TotalCount())
				}
			})
		})
	}
}

func TestNobodyThere(t *testing.T) {
	l := listen(t)
	addr := l.Addr().String()
	l.Close()
	engines(t, func(t *testing.T, portable bool) {
		p := plan(t, addr)
		p.Closed, p.Portable = time.Second, portable
		if _, err := load.Run(t.Context(), p); !errs.Is(err, errs.Unavailable) {
			t.Errorf("got %v", err)
		}
	})
}

// The server goes away in the middle: what is due from then on is dropped or fails, and all is counted.
func TestServerGoesAway(t *testing.T) {
	engines(t, func(t *testing.T, portable bool) {
		ctx, cancel := context.WithCancel(t.Context())
		l := listen(t)
		done := make(chan error, 1)
		go func() { done <- noop.Serve(ctx, l) }()
		p := plan(t, l.Addr().String())
		p.Conns, p.Timeout, p.Schedule, p.Portable = 4, 50*time.Millisecond, schedule.Constant(1000, 300*time.Millisecond), portable
		p.Start = func() time.Time {
			time.AfterFunc(100*time.Millisecond, cancel)
			return time.Now()
		}
		o, err := load.Run(t.Context(), p)
		if err != nil {
			t.Fatal(err)
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
		if y := o.Tally; y.Done() == 0 || y.Done() == 300 || y.Response.TotalCount() != 300 {
			t.Errorf("%d done, %d dropped, failures %v, %d in the response times", y.Done(), y.Dropped, y.Failures, y.Response.TotalCount())
		}
	})
}

// A body larger than what a socket takes at once, and an answer larger than what is read at once.
func TestLargeMessages(t *testing.T) {
	engines(t, func(t *testing.T, portable bool) {
		big := strings.Repeat("x", 8<<20)
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			n, err := io.Copy(io.Discard, r.Body)
			if err != nil || n != int64(len(big)) {
				t.Errorf("%d bytes, %v", n, err)
			}
			w.Write([]byte(big)) // chunked
		}))
		defer s.Close()
		addr := s.Listener.Addr().String()
		d := scenario.Definition{Requests: []scenario.RequestDef{{Path: "/", Headers: map[string]string{"Content-Type": "text/plain"}, Body: big}}}
		program, err := d.Compile(addr, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		p := plan(t, addr)
		p.Conns, p.Timeout, p.Schedule, p.Portable = 1, time.Minute, schedule.Constant(30, 100*time.Millisecond), portable
		p.Source = func(part, parts int) load.Source { return program.Stream(part, parts, 1, nil) }
		o, err := load.Run(t.Context(), p)
		if err != nil || o.Tally.Done() != 3 || o.Tally.Bytes != int64(3*len(big)) || o.Tally.Failed() != 0 {
			t.Errorf("%v, %+v", err, o)
		}
	})
}

func TestProtocols(t *testing.T) {
	var versions atomic.Value
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		versions.Store(r.Proto)
		body, err := io.ReadAll(r.Body)
		if err != nil || !bytes.Contains(body, []byte(`"slot":"s1"`)) || r.Header.Get("X-Region") != "HN" {
			t.Errorf("%v, %q, %v", err, body, r.Header)
		}
		io.WriteString(w, "{}")
	})
	for _, c := range []struct {
		name     string
		secure   bool
		protocol load.Protocol
		want     string
	}{
		{"HTTP/1.1 over TLS", true, load.HTTP1, "HTTP/1.1"},
		{"HTTP/2 over TLS", true, load.HTTP2, "HTTP/2.0"},
		{"HTTP/2 in clear text", false, load.HTTP2, "HTTP/2.0"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := httptest.NewUnstartedServer(handler)
			s.EnableHTTP2 = true
			if c.secure {
				s.StartTLS()
			} else {
				s.Config.Protocols = new(http.Protocols)
				s.Config.Protocols.SetUnencryptedHTTP2(true)
				s.Start()
			}
			defer s.Close()
			p := plan(t, s.Listener.Addr().String())
			p.Conns, p.Streams, p.Schedule, p.Target.Protocol = 2, 3, schedule.Constant(500, 100*time.Millisecond), c.protocol
			if c.secure {
				p.Target.TLS = &tls.Config{InsecureSkipVerify: true}
			}
			o, err := load.Run(t.Context(), p)
			if err != nil {
				t.Fatal(err)
			}
			if o.Tally.Done() != 50 || o.Tally.Failed() != 0 || versions.Load() != c.want {
				t.Errorf("%d done, failures %v, by %v", o.Tally.Done(), o.Tally.Failures, versions.Load())
			}
			if c.secure {
				p.Target.TLS = &tls.Config{}
				if _, err := load.Run(t.Context(), p); !errs.Is(err, errs.Unavailable) {
					t.Errorf("a certificate that nobody vouches for: %v", err)
				}
			}
		})
	}
}

// An HTTP/2 connection that is lost is opened anew.
func TestHTTP2ConnectionsComeBack(t *testing.T) {
	var n atomic.Int64
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if n.Add(1) == 10 {
			panic(http.ErrAbortHandler) // ends the stream
		}
		if n.Load() == 20 {
			w.Header().Set("Connection", "close") // ends the connection, once it is idle
		}
	}))
	s.Config.Protocols = new(http.Protocols)
	s.Config.Protocols.SetUnencryptedHTTP2(true)
	s.Start()
	defer s.Close()
	p := plan(t, s.Listener.Addr().String())
	p.Conns, p.Schedule, p.Target.Protocol = 1, schedule.Constant(500, 200*time.Millisecond), load.HTTP2
	o, err := load.Run(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	if o.Tally.Done() < 97 || o.Tally.Response.TotalCount() != 100 {
		t.Errorf("%d done, failures %v", o.Tally.Done(), o.Tally.Failures)
	}
}

// healthServer answers calls for a service named missing with NotFound, and takes down the region they come from.
type healthServer struct {
	grpc_health_v1.UnimplementedHealthServer
	region atomic.Value
}

func (h *healthServer) Check(ctx context.Context, r *grpc_health_v1.HealthCheckRequest) (*grpc_health_v1.HealthCheckResponse, error) {
	md, _ := metadata.FromIncomingContext(ctx)
	h.region.Store(strings.Join(md.Get("x-region"), ","))
	if r.Service == "missing" {
		return nil, status.Error(codes.NotFound, "no")
	}
	return &grpc_health_v1.HealthCheckResponse{Status: grpc_health_v1.HealthCheckResponse_SERVING}, nil
}

func TestGRPC(t *testing.T) {
	l := listen(t)
	g := grpc.NewServer()
	h := &healthServer{}
	grpc_health_v1.RegisterHealthServer(g, h)
	done := make(chan error, 1)
	go func() { done <- g.Serve(l) }()
	defer func() {
		g.Stop()
		if err := <-done; err != nil && !errors.Is(err, grpc.ErrServerStopped) {
			t.Error(err)
		}
	}()
	d := scenario.Definition{Protocol: "grpc", Requests: []scenario.RequestDef{
		{Name: "there", Path: "/grpc.health.v1.Health/Check", Headers: map[string]string{"X-Region": "HN"}},
		{Name: "missing", Path: "/grpc.health.v1.Health/Check", BodyHex: "0a07" + "6d697373696e67", Headers: map[string]string{"X-Region": "HN"}},
	}}
	program, err := d.Compile(l.Addr().String(), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	p := plan(t, l.Addr().String())
	p.Conns, p.Streams, p.Schedule, p.Target.Protocol, p.Kinds = 2, 2, schedule.Constant(1000, 100*time.Millisecond), load.GRPC, program.Names()
	p.Source = func(part, parts int) load.Source { return program.Stream(part, parts, 1, nil) }
	o, err := load.Run(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	y := o.Tally
	if y.Done() != 100 || y.Status[0]+y.Status[5] != 100 || y.Kinds[0].Failed != 0 || y.Kinds[1].Failed != y.Kinds[1].Done || y.Kinds[1].Done == 0 || h.region.Load() != "HN" {
		t.Errorf("%d done, %v, %+v, region %v", y.Done(), y.Status, y.Kinds, h.region.Load())
	}
}
