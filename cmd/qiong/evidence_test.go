package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/qiongdev/qiong/kit/client"
	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/receipt"
	"github.com/qiongdev/qiong/service/evidence"
)

var killedCouncil = []string{"clearing", "customs", "forex", "tax"}

// TestKillEvidence kills the gateway and the agencies' nodes of a council at random moments while records are put, and
// finds every record that was accepted in the log once, with a receipt that all agencies have signed.
func TestKillEvidence(t *testing.T) {
	t.Parallel()
	data := filepath.Join(t.TempDir(), "data")
	p := newProgram(t, data, build(t, "build"), "up", "--evidence.council="+strings.Join(killedCouncil, ","), "--evidence.origin=hainan-trade")
	p.start()
	_, operator := p.tokens()

	n, r := kills(t), rand.New(rand.NewPCG(4, 0))
	if os.Getenv("QIONG_KILLS") == "" {
		n = 8 // a council comes back more slowly than a house
	}
	stop, accepted := make(chan struct{}), make(chan []string)
	var putting atomic.Int64
	go func() { accepted <- putRecords(operator, stop, &putting) }()
	gateways := 0
	for range n {
		before := putting.Load()
		<-time.After(time.Duration(50+r.IntN(1500)) * time.Millisecond) // the moment is the test
		if r.IntN(3) == 0 {
			gateways++
			p.kill()
			if t.Failed() {
				return
			}
			p.start()
		} else {
			killNode(t, p.pid(), killedCouncil[r.IntN(len(killedCouncil))])
		}
		eventually(t, "records are accepted again", time.Minute, func() bool { return putting.Load() > before })
	}
	close(stop)
	ids := <-accepted
	receipts := complete(t, operator, ids)
	trust, err := os.ReadFile(filepath.Join(data, "evidence", "trust.pem"))
	if err != nil {
		t.Fatal(err)
	}
	verified(t, receipts, trust)
	var status evidence.StatusView
	if err := operator.Do(context.Background(), client.Request{Method: http.MethodGet, Path: "/api/evidence/status"}, &status); err != nil {
		t.Fatal(err)
	}
	if status.Size != uint64(len(ids)) || status.Waiting != 0 {
		t.Errorf("the log has %d records and %d wait; %d were accepted", status.Size, status.Waiting, len(ids))
	}
	if log := p.said(); strings.Contains(log, "panic") || strings.Contains(log, "another log than the quorum") {
		t.Errorf("the house logged:\n%s", log)
	}
	t.Logf("%d records, %d kills, %d of them of the gateway", len(ids), n, gateways)
}

// putRecords puts records, a few at a time and the same ones again until they are accepted, until stop is closed; it
// returns the ids of those that were.
func putRecords(c *client.Client, stop <-chan struct{}, done *atomic.Int64) (ids []string) {
	for batch := 0; ; batch++ {
		var records []map[string]any
		var names []string
		for i := range 5 {
			id := fmt.Sprintf("kill-%d-%d", batch, i)
			names = append(names, id)
			records = append(records, map[string]any{"id": id, "type": "test.act/1", "commitment": receipt.Commit([]byte(id)).String(), "time": "2026-11-22T20:00:00.000+08:00"})
		}
		for {
			err := c.Do(context.Background(), client.Request{Method: http.MethodPost, Path: "/api/evidence/records", Body: map[string]any{"records": records}}, nil)
			if err == nil {
				break
			}
			if k := errs.KindOf(err); k != errs.Unavailable && k != errs.TooMany && k != errs.Timeout && !noAnswer(err) {
				panic(fmt.Sprintf("records were refused: %v", err)) // the test ends at once
			}
			<-time.After(20 * time.Millisecond)
		}
		ids = append(ids, names...)
		done.Add(1)
		select {
		case <-stop:
			return ids
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// killNode kills the node of an agency, a child of the house; one that is not up at the moment is spared.
func killNode(t *testing.T, house int, agency string) {
	t.Helper()
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range dirs {
		line, _ := os.ReadFile(filepath.Join(dir, "cmdline")) // a process may have ended since
		stat, _ := os.ReadFile(filepath.Join(dir, "stat"))
		_, rest, _ := strings.Cut(string(stat), ") ")
		fields := strings.Fields(rest)
		if len(fields) < 2 || fields[1] != strconv.Itoa(house) || !strings.Contains(string(line), "evidence\x00"+agency+"\x00") && !strings.Contains(string(line), "/"+agency+"\x00") {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(dir))
		if err != nil {
			t.Fatal(err)
		}
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
			t.Fatal(err)
		}
	}
}

// complete waits until every record has a receipt that all have signed, and returns the receipts by id.
func complete(t *testing.T, c *client.Client, ids []string) map[string]string {
	t.Helper()
	receipts := map[string]string{}
	for _, id := range ids {
		eventually(t, id+" is complete", 2*time.Minute, func() bool {
			var v evidence.RecordView
			if err := c.Do(context.Background(), client.Request{Method: http.MethodGet, Path: "/api/evidence/" + id}, &v); err != nil {
				return false
			}
			receipts[id] = v.Receipt
			return v.State == "complete"
		})
	}
	return receipts
}

// verified holds receipts to the council's keys, and each to a place of its own in the log.
func verified(t *testing.T, receipts map[string]string, keys []byte) {
	t.Helper()
	trust, err := receipt.ParseTrust(keys)
	if err != nil {
		t.Fatal(err)
	}
	places := map[uint64]string{}
	for id, text := range receipts {
		r, err := receipt.Parse([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		result, err := receipt.Verify(r, trust, []byte(id))
		if err != nil || result.State != receipt.Complete || r.Record.ID != id {
			t.Fatalf("%s: %+v, %v", id, result, err)
		}
		if other := places[r.Index]; other != "" {
			t.Errorf("%s and %s have one place", id, other)
		}
		places[r.Index] = id
	}
}

func eventually(t *testing.T, what string, limit time.Duration, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(limit); !ok(); {
		if time.Now().After(deadline) {
			t.Fatalf("not within %s: %s", limit, what)
		}
		<-time.After(20 * time.Millisecond)
	}
}
