package council

import (
	"bytes"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestMeasure gives the figures of a council on this machine, where QIONG_COUNCIL_MEASURE says for how long, such as
// 20s: batches of 100 KB, from one gateway, in an open loop; from submitting one until it is in every ledger.
func TestMeasure(t *testing.T) {
	long, err := time.ParseDuration(os.Getenv("QIONG_COUNCIL_MEASURE"))
	if err != nil {
		t.Skip("set QIONG_COUNCIL_MEASURE to a duration")
	}
	for _, every := range []time.Duration{200 * time.Millisecond, 100 * time.Millisecond} {
		for _, dead := range []int{0, 1} {
			measure(t, every, long, dead)
		}
	}
}

func measure(t *testing.T, every, long time.Duration, dead int) {
	ctx := deadline(t, long+time.Minute)
	c := newCouncil(t, func(r *role) { r.Retain, r.SnapshotEvery = 100, 0 }, four...)
	c.start()
	c.place(ctx, "first:x", c.seats...)
	c.agree(ctx, "first", c.seats...)
	up := c.seats[:4-dead]
	for _, s := range c.seats[4-dead:] {
		s.kill()
	}
	before := up[0].report(ctx)
	payload := random(100 << 10) // which doesn't compress
	var mu sync.Mutex
	var took []time.Duration
	var work sync.WaitGroup
	tick := time.NewTicker(every)
	defer tick.Stop()
	n := int(long / every)
	for i := range n {
		<-tick.C
		work.Go(func() {
			id := fmt.Sprintf("m%d", i)
			begun := time.Now()
			if err := up[0].submit(ctx, fmt.Sprintf("%s:%d%s", id, rand.Uint64(), payload)); err != nil {
				t.Error(err)
				return
			}
			for _, s := range up {
				if _, err := s.get(ctx, "/until?tx="+id); err != nil {
					t.Error(err)
					return
				}
			}
			mu.Lock()
			defer mu.Unlock()
			took = append(took, time.Since(begun))
		})
	}
	work.Wait()
	after := up[0].report(ctx)
	slices.Sort(took)
	heights := after.Height - before.Height
	t.Logf("a batch each %v, %d dead: %d batches in %d heights; in all ledgers p50 %v p99 %v max %v", every, dead, len(took), heights,
		at(took, 0.5), at(took, 0.99), took[len(took)-1])
	var pss []string
	for _, s := range up {
		pss = append(pss, smaps(t, s.cmd.Process.Pid))
	}
	t.Logf("  Pss %s; data folder %d KB, of it the write-ahead log %d KB; sent %d KB", strings.Join(pss, ", "),
		size(t, filepath.Join(up[0].role.Dir, "data"))>>10, size(t, filepath.Join(up[0].role.Dir, "data", "cs.wal"))>>10, n*100)
	for _, s := range c.seats {
		s.kill()
	}
}

func at(sorted []time.Duration, q float64) time.Duration {
	return sorted[int(q*float64(len(sorted)-1))].Round(time.Millisecond)
}

func smaps(t *testing.T, pid int) string {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	if err != nil {
		t.Fatal(err)
	}
	var pss, anon string
	for line := range bytes.Lines(data) {
		if f := strings.Fields(string(line)); len(f) == 3 {
			switch f[0] {
			case "Pss:":
				pss = f[1]
			case "Pss_Anon:":
				anon = f[1]
			}
		}
	}
	return pss + " KB (anonymous " + anon + ")"
}

func size(t *testing.T, dir string) (sum int64) {
	err := filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			sum += info.Size()
		}
		return nil // a file may just have gone
	})
	if err != nil {
		t.Log(err)
	}
	return sum
}
