// Package load asks an HTTP server as cheaply as it can: requests formed beforehand but for their Idempotency-Key, on
// connections that stay open, answers read no further than their status and length. It is for servers on the loopback
// that speak HTTP/1.1 and say how long an answer is.
package load

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/qiongdev/qiong/bench/internal/measure"
)

// keyDigits is how long an Idempotency-Key is.
const keyDigits = 20

// Request is a request whose Idempotency-Key is another each time.
type Request struct {
	bytes []byte
	key   int // where the key stands
}

// Post forms a POST of a JSON body. token may be empty.
func Post(host, path, token string, body []byte) Request {
	var b bytes.Buffer
	fmt.Fprintf(&b, "POST %s HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n", path, host, len(body))
	if token != "" {
		fmt.Fprintf(&b, "Authorization: Bearer %s\r\n", token)
	}
	b.WriteString("Idempotency-Key: ")
	key := b.Len()
	fmt.Fprintf(&b, "%0*d\r\n\r\n", keyDigits, 0)
	b.Write(body)
	return Request{b.Bytes(), key}
}

// Conn is one connection, used by one goroutine.
type Conn struct {
	net.Conn
	r       *bufio.Reader
	request []byte
	key     int
}

// Dial opens a connection for a request.
func Dial(addr string, r Request) (*Conn, error) {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	return &Conn{c, bufio.NewReaderSize(c, 8<<10), bytes.Clone(r.bytes), r.key}, nil
}

// Do sends the request under key n and returns the status of the answer.
func (c *Conn) Do(n int64) (status int, err error) {
	for i, at := n, c.key+keyDigits-1; at >= c.key; i, at = i/10, at-1 {
		c.request[at] = byte('0' + i%10)
	}
	if err := c.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		return 0, err
	}
	if _, err := c.Write(c.request); err != nil {
		return 0, err
	}
	return c.answer()
}

// answer reads one answer and leaves its body behind.
func (c *Conn) answer() (int, error) {
	line, err := c.r.ReadSlice('\n')
	if err != nil {
		return 0, err
	}
	if len(line) < 12 || !bytes.HasPrefix(line, []byte("HTTP/1.1 ")) {
		return 0, errors.New("the answer is not HTTP/1.1")
	}
	status, err := strconv.Atoi(string(line[9:12]))
	if err != nil {
		return 0, fmt.Errorf("status: %w", err)
	}
	length := -1
	for {
		if line, err = c.r.ReadSlice('\n'); err != nil {
			return 0, err
		}
		line = bytes.TrimRight(line, "\r\n")
		if len(line) == 0 {
			break
		}
		name, value, _ := bytes.Cut(line, []byte(":"))
		if bytes.EqualFold(name, []byte("Content-Length")) {
			if length, err = strconv.Atoi(string(bytes.TrimSpace(value))); err != nil {
				return 0, fmt.Errorf("length: %w", err)
			}
		}
	}
	if length < 0 {
		return 0, errors.New("the answer does not say how long it is")
	}
	_, err = c.r.Discard(length)
	return status, err
}

// Count is how many requests were answered by which status.
type Count struct {
	mu sync.Mutex
	by map[int]int64
}

func (c *Count) add(status int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.by == nil {
		c.by = map[int]int64{}
	}
	c.by[status]++
}

// Of returns how many were answered by a status.
func (c *Count) Of(status int) int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.by[status]
}

// Others describes answers by any other status, or is empty.
func (c *Count) Others(status int) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := ""
	for other, n := range c.by {
		if other != status {
			s += fmt.Sprintf("%d answered %d; ", n, other)
		}
	}
	return s
}

// Closed has conns connections ask one request after the other for a time. Keys begin after first.
func Closed(ctx context.Context, addr string, r Request, conns int, d time.Duration, m measure.Meter, count *Count, first *atomic.Int64) (measure.Sample, error) {
	all, err := dial(addr, r, conns)
	if err != nil {
		return measure.Sample{}, err
	}
	defer closeAll(all)
	s, err := measure.Closed(ctx, conns, d, m, func(_ context.Context, worker int) error {
		status, err := all[worker].Do(first.Add(1))
		if err == nil {
			count.add(status)
		}
		return err
	})
	s.Load = fmt.Sprintf("%d connections", conns)
	return s, err
}

// Open asks at a constant rate for a time, whatever the server answers, and takes latencies from when a request was due.
// A request that is due while all connections are busy is sent late, and its wait counts.
func Open(ctx context.Context, addr string, r Request, conns int, rate float64, d time.Duration, m measure.Meter, count *Count, first *atomic.Int64) (measure.Sample, error) {
	all, err := dial(addr, r, conns)
	if err != nil {
		return measure.Sample{}, err
	}
	defer closeAll(all)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	total := int64(rate * d.Seconds())
	var next atomic.Int64
	hists := make([]*hdrhistogram.Histogram, conns)
	var wg sync.WaitGroup
	usage := m.Begin()
	began := time.Now()
	for i, c := range all {
		hists[i] = measure.Histogram()
		wg.Go(func() {
			for n := next.Add(1) - 1; n < total && ctx.Err() == nil; n = next.Add(1) - 1 {
				due := began.Add(time.Duration(float64(n) / rate * float64(time.Second)))
				time.Sleep(time.Until(due))
				status, err := c.Do(first.Add(1))
				if err != nil {
					cancel(err)
					return
				}
				count.add(status)
				_ = hists[i].RecordValue(time.Since(due).Microseconds()) // two minutes are beyond Do's own limit
			}
		})
	}
	wg.Wait()
	took := time.Since(began)
	if err := context.Cause(ctx); err != nil {
		return measure.Sample{}, err
	}
	for _, h := range hists[1:] {
		hists[0].Merge(h)
	}
	s := measure.Of(hists[0], took)
	usage.End(&s)
	s.Load = fmt.Sprintf("%.0f a second, open loop", rate)
	return s, nil
}

func dial(addr string, r Request, conns int) ([]*Conn, error) {
	var all []*Conn
	for range conns {
		c, err := Dial(addr, r)
		if err != nil {
			closeAll(all)
			return nil, err
		}
		all = append(all, c)
	}
	return all, nil
}

func closeAll(all []*Conn) {
	for _, c := range all {
		_ = c.Close() // nothing is under way
	}
}
