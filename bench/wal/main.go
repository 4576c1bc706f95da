// Wal measures the log against what the disk can do: batches of records of 100 bytes, beside one write and one
// fdatasync of as many bytes into a file that grows, and into one that was allocated before. Then how fast a log is read
// again, with everything verified.
//
// Rounds are interleaved and ratios taken round by round. It is run in the folder bench: go run ./wal
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"syscall"
	"time"

	"github.com/qiongdev/qiong/bench/internal/measure"
	"github.com/qiongdev/qiong/bench/internal/report"
	"github.com/qiongdev/qiong/kit/wal"
)

const (
	growing   = "write + fdatasync, growing file"
	allocated = "write + fdatasync, allocated file"
	one       = "kit/wal, one batch at a time"
	double    = "kit/wal, the next batch forms meanwhile"
	sha       = "kit/wal with SHA-256, the next batch forms meanwhile"
	replay    = "kit/wal, read again"
	record    = 100
)

func main() {
	log.SetFlags(0)
	rounds := flag.Int("rounds", 5, "rounds of each system")
	each := flag.Duration("each", 500*time.Millisecond, "length of a round")
	dir := flag.String("dir", "", "a `folder` on the disk to measure; a temporary one otherwise")
	out := flag.String("json", "", "also write the results as JSON to this `file`")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, *rounds, *each, *dir, *out); err != nil {
		log.Fatal(err)
	}
}

// system writes batches of n records until the time is over, and returns how many records.
type system struct {
	name string
	do   func(ctx context.Context, n int, until time.Time) (int64, error)
}

func run(ctx context.Context, rounds int, each time.Duration, dir, out string) error {
	temp, err := os.MkdirTemp(dir, "wal-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(temp)
	systems := []system{
		{growing, raw(temp, false)}, {allocated, raw(temp, true)},
		{one, logged(temp, 1, wal.SM3)}, {sha, logged(temp, 3, wal.SHA256)}, {double, logged(temp, 3, wal.SM3)},
	}
	r := report.New("Wal: batches of records of 100 bytes",
		fmt.Sprintf("%d rounds of %v each, interleaved; an operation is a record. The log that is read again has SM3.", rounds, each))
	for range rounds {
		for _, n := range []int{1, 16, 256, 4096} {
			for _, s := range systems {
				if err := sample(ctx, r, s, n, each); err != nil {
					return fmt.Errorf("%s: %w", s.name, err)
				}
			}
		}
		if err := again(r, temp); err != nil {
			return err
		}
	}
	for _, n := range []int{1, 16, 256, 4096} {
		for _, s := range []string{one, double, sha} {
			r.Judge(report.Goal{Load: load(n), System: s, Peer: growing, Figure: "rate"})
			r.Judge(report.Goal{Load: load(n), System: s, Peer: allocated, Figure: "rate"})
		}
	}
	costs(r)
	return r.Write(os.Stdout, out)
}

// costs notes the processor time of a record.
func costs(r *report.Report) {
	all := map[[2]string][]float64{}
	var order [][2]string
	for _, s := range r.Samples {
		key := [2]string{s.System, s.Load}
		if all[key] == nil {
			order = append(order, key)
		}
		all[key] = append(all[key], s.CPU["process"])
	}
	for _, key := range order {
		r.Notes = append(r.Notes, fmt.Sprintf("%s, %s: %.2f µs of processor time a record", key[0], key[1], report.Median(all[key])))
	}
}

func load(n int) string { return fmt.Sprintf("%d a batch", n) }

// used is the processor time of this process.
func used() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func sample(ctx context.Context, r *report.Report, s system, n int, each time.Duration) error {
	runtime.GC()
	before, began := used(), time.Now()
	records, err := s.do(ctx, n, began.Add(each))
	took := time.Since(began)
	if err = errors.Join(err, ctx.Err()); err != nil {
		return err
	}
	r.Add(of(s.name, load(n), records, took, used()-before))
	return nil
}

func of(name, load string, records int64, took, cpu time.Duration) measure.Sample {
	return measure.Sample{System: name, Load: load, Ops: records, Seconds: took.Seconds(),
		CPU: map[string]float64{"process": float64(cpu.Nanoseconds()) / 1000 / float64(records)}}
}

// raw writes the bytes of a batch, and nothing around them.
func raw(dir string, allocate bool) func(context.Context, int, time.Time) (int64, error) {
	return func(ctx context.Context, n int, until time.Time) (records int64, err error) {
		path := filepath.Join(dir, "raw")
		f, err := os.Create(path)
		if err != nil {
			return 0, err
		}
		defer func() { err = errors.Join(err, f.Close(), os.Remove(path)) }()
		if allocate {
			if err := syscall.Fallocate(int(f.Fd()), 0, 0, 1<<30); err != nil {
				return 0, err
			}
		}
		batch := make([]byte, 0, n*record)
		var at int64
		for time.Now().Before(until) && ctx.Err() == nil {
			batch = batch[:0]
			for i := range n {
				batch = append(batch, payload(records+int64(i))...)
			}
			if _, err := f.WriteAt(batch, at); err != nil {
				return 0, err
			}
			if err := syscall.Fdatasync(int(f.Fd())); err != nil {
				return 0, err
			}
			at += int64(len(batch))
			records += int64(n)
		}
		return records, nil
	}
}

var buffer [record]byte

// payload returns a record that is not like the last.
func payload(n int64) []byte {
	for i := range buffer {
		buffer[i] = byte(n>>(i%8)) | 1
	}
	return buffer[:]
}

// logged writes batches to a new log, as many at a time as ahead.
func logged(dir string, ahead int, hash wal.Hash) func(context.Context, int, time.Time) (int64, error) {
	return func(ctx context.Context, n int, until time.Time) (records int64, err error) {
		path := filepath.Join(dir, "log")
		if err := os.RemoveAll(path); err != nil {
			return 0, err
		}
		l, err := wal.Open(path, wal.Options{Unfenced: true, Hash: hash})
		if err != nil {
			return 0, err
		}
		defer func() { err = errors.Join(err, l.Close()) }()
		flying := make(chan struct{}, ahead)
		failed := make(chan error, 1)
		for time.Now().Before(until) && ctx.Err() == nil {
			flying <- struct{}{}
			b := l.Batch()
			for i := range n {
				b.Append(payload(records + int64(i)))
			}
			l.Commit(b, func(err error) {
				if err != nil {
					select {
					case failed <- err:
					default:
					}
				}
				<-flying
			})
			records += int64(n)
		}
		for range ahead {
			flying <- struct{}{}
		}
		select {
		case err = <-failed:
		default:
		}
		return records, err
	}
}

// again reads the log that was written last.
func again(r *report.Report, dir string) (err error) {
	l, err := wal.Open(filepath.Join(dir, "log"), wal.Options{Unfenced: true})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	before, began := used(), time.Now()
	var records int64
	for _, err := range l.Read(0) {
		if err != nil {
			return err
		}
		records++
	}
	r.Add(of(replay, load(4096), records, time.Since(began), used()-before))
	return nil
}
