package node

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// heard notes when an agency's note of a size or beyond was first there.
type heard struct {
	mu   sync.Mutex
	size map[string]uint64
	news chan struct{}
}

func (h *heard) follow(ctx context.Context, s *seat, from uint64) {
	for ctx.Err() == nil {
		notes, err := s.log.Notes(ctx, from, 20*time.Second)
		if err != nil || len(notes) == 0 {
			continue
		}
		from = notes[len(notes)-1].Checkpoint.Size
		h.mu.Lock()
		h.size[s.name] = from
		close(h.news)
		h.news = make(chan struct{})
		h.mu.Unlock()
	}
}

// three waits until three agencies have cosigned a size.
func (h *heard) three(ctx context.Context, size uint64) {
	for ctx.Err() == nil {
		h.mu.Lock()
		have, news := 0, h.news
		for _, n := range h.size {
			if n >= size {
				have++
			}
		}
		h.mu.Unlock()
		if have >= 3 {
			return
		}
		select {
		case <-ctx.Done():
		case <-news:
		}
	}
}

// How long it takes from a gateway's sending until it has three agencies' notes, and what memory a node takes.
func TestMeasure(t *testing.T) {
	n, err := strconv.Atoi(os.Getenv("QIONG_MEASURE"))
	if err != nil {
		t.Skip("QIONG_MEASURE says how many batches to send")
	}
	ctx := deadline(t, time.Hour)
	l := newLab(t, four...)
	l.start()
	l.place(ctx, l.seats, "first")
	measure(ctx, t, l, n)
}

// measure sends n batches of 100 records, one each 100 ms, and logs how long each took to bear three cosignatures.
func measure(ctx context.Context, t *testing.T, l *lab, n int) {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	h := &heard{size: map[string]uint64{}, news: make(chan struct{})}
	size := l.reader.leaf.Size()
	for _, s := range l.seats {
		go h.follow(ctx, s, size)
	}
	took := make([]time.Duration, n)
	var waiting sync.WaitGroup
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for i := range n {
		<-tick.C
		ids := make([]string, 100)
		for j := range ids {
			ids[j] = fmt.Sprintf("m-%d-%d", i, j)
		}
		tx := batch(t, "house", l.gateway, ids...)
		size += 100
		want, begun := size, time.Now()
		if err := l.seats[i%4].client.Submit(ctx, tx); err != nil {
			t.Fatal(err)
		}
		waiting.Go(func() {
			h.three(ctx, want)
			took[i] = time.Since(begun)
		})
	}
	waiting.Wait()
	slices.Sort(took)
	load, _ := os.ReadFile("/proc/loadavg")
	t.Logf("%d batches of 100 records, 10 a second: from Submit to three notes p50 %v p90 %v p99 %v max %v; load %s",
		n, took[n/2], took[n*9/10], took[n*99/100], took[n-1], strings.TrimSpace(string(load)))
	for _, s := range l.seats {
		data, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", s.cmd.Process.Pid))
		if err != nil {
			t.Fatal(err)
		}
		var lines []string
		for line := range strings.Lines(string(data)) {
			if strings.HasPrefix(line, "Pss:") || strings.HasPrefix(line, "Pss_Anon:") {
				lines = append(lines, strings.Join(strings.Fields(line), " "))
			}
		}
		t.Logf("%s: %s", s.name, strings.Join(lines, ", "))
	}
}
