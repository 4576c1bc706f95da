package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/qiongdev/qiong/kit/client"
	"github.com/qiongdev/qiong/kit/keys"
	"github.com/qiongdev/qiong/kit/lease"
	"github.com/qiongdev/qiong/service/booking"
)

// takeOvers is how often a test kills the leader: QIONG_TAKEOVERS, or 2.
func takeOvers(t *testing.T) int {
	t.Helper()
	text := os.Getenv("QIONG_TAKEOVERS")
	if text == "" {
		return 2
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		t.Fatal("QIONG_TAKEOVERS is not a positive number")
	}
	return n
}

// perSlot is how many places a slot has: the first days are sold out soon, the last never.
func perSlot(t *testing.T) int { return 200 * takeOvers(t) }

const (
	pairDays = 60
	pairSpot = `
spot: cape
code: 9
title: { zh: 海角, en: Cape }
realName: false
products: [ { name: entry, title: { zh: 入园, en: Entry }, price: 0 } ]
party: 5
hold: 15m
cancel: 1h
entry: { early: 24h, late: 1h }
sale: { ahead: %d, at: "00:00", room: "off" }
hours: [ { from: "00:00", to: "24:00", quotas: { online: %d, window: 1, walk-in: 1, agency: 1, elderly: 1 } } ]
`
)

// trio is two servers that share bookings, and a witness.
type trio struct {
	t         *testing.T
	binary    string
	servers   map[string]*program // a and b
	witness   *program
	applicant map[string]*client.Client
	operator  map[string]*client.Client
}

func newTrio(t *testing.T) *trio {
	dir, binary := t.TempDir(), build(t, "build")
	spots := filepath.Join(dir, "spots")
	if err := os.MkdirAll(spots, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(spots, "cape.yaml"), []byte(fmt.Sprintf(pairSpot, pairDays, perSlot(t))), 0o600); err != nil {
		t.Fatal(err)
	}
	x := &trio{t: t, binary: binary, servers: map[string]*program{}, applicant: map[string]*client.Client{}, operator: map[string]*client.Client{}}
	all := map[string]*program{}
	for _, name := range []string{"a", "b", "w"} {
		data := filepath.Join(dir, name)
		p := &program{t: t, data: data, listen: quietPort(t), log: filepath.Join(dir, name+".log")}
		p.env = slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "QIONG_") })
		p.env = append(p.env, "LANG=en_US.UTF-8", "TMPDIR="+dir)
		t.Cleanup(p.kill)
		all[name] = p
	}
	share(t, all)
	list := strings.Join([]string{"a=" + all["a"].url(), "b=" + all["b"].url(), "w=" + all["w"].url()}, ",")
	for name, p := range all {
		house := []string{"--house.data=" + p.data, "--house.listen=" + p.listen, "--house.log-level=info", "--witness.name=" + name, "--witness.replicas=a,b", "--witness.leases=booking/*"}
		if name == "w" {
			p.command = append([]string{binary, "witness"}, house...)
			x.witness = p
			continue
		}
		p.command = append([]string{binary, "up", "--booking.spots=" + spots, "--booking.attempts=1000000000", "--booking.name=" + name, "--booking.voters=" + list,
			"--booking.peers=a=" + all["a"].url() + ",b=" + all["b"].url()}, house...)
		x.servers[name] = p
	}
	x.witness.start()
	x.servers["a"].begin() // which is first, and leads, is left to them
	x.servers["b"].begin()
	for name, p := range x.servers {
		p.healthy()
		x.applicant[name], x.operator[name] = p.tokens()
	}
	return x
}

// share gives the two servers the same secrets of bookings, and has all three trust each other, as doc/booking-pair.md
// tells people to.
func share(t *testing.T, all map[string]*program) {
	t.Helper()
	must := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	open := func(name string) *keys.Ring {
		ring, err := keys.Open(filepath.Join(all[name].data, "keys"), keys.Options{CreateMaster: true})
		must(err)
		return ring
	}
	a := open("a")
	for _, name := range []string{"booking.persons", "booking.salts", "booking.rooms"} {
		_, err := a.Secret(name, 32)
		must(err)
	}
	_, err := a.Sealer("booking.visitors")
	must(err)
	for _, name := range []string{"booking.tickets", "booking.payments"} {
		_, err = a.Signer(name)
		must(err)
	}
	files, err := filepath.Glob(filepath.Join(all["a"].data, "keys", "*"))
	must(err)
	must(os.MkdirAll(filepath.Join(all["b"].data, "keys"), 0o700))
	for _, file := range files {
		data, err := os.ReadFile(file)
		must(err)
		must(os.WriteFile(filepath.Join(all["b"].data, "keys", filepath.Base(file)), data, 0o600))
	}
	rings := map[string]*keys.Ring{"a": a, "b": open("b"), "w": open("w")}
	for name, ring := range rings {
		key, err := ring.Signer(lease.OwnKey)
		must(err)
		for other, theirs := range rings {
			if other != name {
				must(theirs.Trust(lease.OwnKey+"."+name, key.PublicKey()))
			}
		}
	}
}

// view asks a server about the pair.
func (x *trio) view(name string) (v booking.PairView, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	return v, x.operator[name].Do(ctx, client.Request{Method: "GET", Path: "/api/booking/pair"}, &v)
}

// leader waits until one leads and the other is in sync, and returns their names.
func (x *trio) leader() (leader, standby string) {
	x.t.Helper()
	for range 3000 {
		for name, other := range map[string]string{"a": "b", "b": "a"} {
			if v, err := x.view(name); err == nil && v.Role == "leader" && len(v.InSync) == 2 {
				return name, other
			}
		}
		<-time.After(20 * time.Millisecond)
	}
	x.t.Fatalf("the two do not get in sync:\n%s\n%s", x.servers["a"].said(), x.servers["b"].said())
	return "", ""
}

// rush is a load of reservations on both servers, each with a key of its own that is sent again until it is answered.
type rush struct {
	x        *trio
	slots    []string
	stop     chan struct{}
	workers  sync.WaitGroup
	mu       sync.Mutex
	acked    map[string]string    // ids by key
	last     map[string]time.Time // when the last request that each server acknowledged was sent
	first    time.Time            // of the first acknowledgement by wanted, after since
	wanted   string
	soldOut  int
	retries  int
	problems map[string]int
}

func newRush(x *trio, workers int) *rush {
	r := &rush{x: x, stop: make(chan struct{}), acked: map[string]string{}, last: map[string]time.Time{}, problems: map[string]int{}}
	leader, _ := x.leader()
	var list struct{ Items []booking.SlotView }
	if err := x.applicant[leader].Do(context.Background(), client.Request{Method: "GET", Path: "/api/booking/slots"}, &list); err != nil {
		x.t.Fatal(err)
	}
	for _, s := range list.Items {
		if !time.Now().Before(time.UnixMilli(int64(s.Opens))) {
			r.slots = append(r.slots, s.ID)
		}
	}
	for w := range workers {
		r.workers.Go(func() { r.work(w) })
	}
	return r
}

func (r *rush) work(w int) {
	random := rand.New(rand.NewPCG(uint64(w), 1))
	at := []string{"a", "b"}[w%2]
	server := at // whose token is asked for
	h := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 2}}
	for n := 0; ; n++ {
		key := fmt.Sprintf("worker-%03d-%08d", w, n)
		body := fmt.Sprintf(`{"slot":%q,"channel":"online","quantity":1}`, r.slots[int(math.Pow(random.Float64(), 4)*float64(len(r.slots)))])
		for done := false; !done; {
			select {
			case <-r.stop:
				return
			default:
			}
			if done = r.try(h, &at, &server, key, body); !done {
				<-time.After(10 * time.Millisecond) // as a caller does who has no answer
			}
		}
	}
}

// try sends a reservation once, and reports whether it was answered for good.
func (r *rush) try(h *http.Client, at, server *string, key, body string) bool {
	req, err := http.NewRequest("POST", r.x.servers[*at].url()+"/api/booking/reserve", strings.NewReader(body))
	if err != nil {
		r.x.t.Error(err)
		return true
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Idempotency-Key", key)
	req.Header.Set("Authorization", "Bearer "+r.x.applicant[*server].Token)
	sent := time.Now()
	resp, err := h.Do(req)
	if err != nil {
		*at = map[string]string{"a": "b", "b": "a"}[*at]
		r.failed("no connection")
		return false
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		r.failed("cut")
		return false
	}
	by := resp.Header.Get("Qiong-Booking-Server")
	switch {
	case resp.StatusCode == http.StatusCreated || resp.StatusCode == http.StatusOK:
		var made booking.Answer
		if err := json.Unmarshal(answer, &made); err != nil || made.ID == "" {
			r.x.t.Errorf("answered %s", answer)
		}
		r.took(key, made.ID, by, sent)
		return true
	case resp.StatusCode == http.StatusConflict && bytes.Contains(answer, []byte("booking.sold-out")):
		r.mu.Lock()
		defer r.mu.Unlock()
		r.soldOut++
		return true
	case resp.StatusCode == http.StatusUnauthorized && by != "" && by != *server:
		*server = by
		return false
	case resp.StatusCode == http.StatusServiceUnavailable || resp.StatusCode == http.StatusTooManyRequests:
		r.failed(string(answer))
		return false
	}
	r.x.t.Errorf("%d %s", resp.StatusCode, answer)
	return true
}

func (r *rush) failed(why string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.retries++
	if i := strings.Index(why, `"code":"`); i >= 0 {
		why, _, _ = strings.Cut(why[i+8:], `"`)
	}
	r.problems[why]++
}

func (r *rush) took(key, id, by string, sent time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if was := r.acked[key]; was != "" && was != id {
		r.x.t.Errorf("the key %s made %s and %s", key, was, id)
	}
	r.acked[key] = id
	if sent.After(r.last[by]) {
		r.last[by] = sent
	}
	if by == r.wanted && r.first.IsZero() {
		r.first = time.Now()
	}
}

func (r *rush) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.acked)
}

// await waits for the first booking that a server acknowledges from now on, and returns how long it took.
func (r *rush) await(server string, since time.Time) time.Duration {
	r.x.t.Helper()
	r.mu.Lock()
	r.wanted, r.first = server, time.Time{}
	r.mu.Unlock()
	for range 3000 {
		r.mu.Lock()
		first := r.first
		r.mu.Unlock()
		if !first.IsZero() {
			return first.Sub(since)
		}
		<-time.After(10 * time.Millisecond)
	}
	r.x.t.Fatalf("server %s acknowledges nothing: %v\n%s\n%s", server, r.problems, r.x.servers["a"].said(), r.x.servers["b"].said())
	return 0
}

func (r *rush) end() {
	close(r.stop)
	r.workers.Wait()
}

// check holds what was acknowledged against a server's ledger.
func (r *rush) check(server string) {
	t := r.x.t
	t.Helper()
	r.mu.Lock()
	acked := make(map[string]string, len(r.acked))
	for key, id := range r.acked {
		acked[key] = id
	}
	r.mu.Unlock()
	lines := r.x.ledger(server)
	byKey, sold := map[string]string{}, map[string]int{}
	for _, l := range lines {
		if other := byKey[l.Key]; other != "" {
			t.Errorf("double: the key %s made %s and %s", l.Key, other, l.ID)
		}
		byKey[l.Key] = l.ID
		if l.Status == "held" || l.Status == "confirmed" || l.Status == "used" {
			if l.Channel != "online" {
				t.Errorf("%+v", l)
			}
			sold[l.Slot] += l.Quantity
		}
	}
	lost := 0
	for key, id := range acked {
		if byKey[key] != id {
			if lost++; lost < 5 {
				t.Errorf("lost: %s was acknowledged as %s, the ledger of %s has %q", key, id, server, byKey[key])
			}
		}
	}
	over := 0
	for slot, n := range sold {
		if most := perSlot(t); n > most {
			over += n - most
			t.Errorf("oversold: slot %s by %d", slot, n-most)
		}
	}
	t.Logf("ledger of %s: %d bookings, %d acknowledged, %d lost, %d oversold", server, len(lines), len(acked), lost, over)
}

func (x *trio) ledger(server string) (lines []booking.LedgerLine) {
	x.t.Helper()
	after := ""
	for {
		resp, err := x.operator[server].Send(context.Background(), client.Request{Method: "GET", Path: "/api/booking/ledger?after=" + after})
		if err != nil {
			x.t.Fatal(err)
		}
		for in := json.NewDecoder(resp.Body); ; {
			var l booking.LedgerLine
			if err := in.Decode(&l); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				x.t.Fatal(err)
			}
			lines = append(lines, l)
		}
		resp.Body.Close()
		if after = resp.Header.Get("Next-After"); after == "" {
			return lines
		}
	}
}

// told runs qiong booking pair status about a server, which must say something.
func (x *trio) told(server, want string) {
	x.t.Helper()
	cmd := exec.Command(x.binary, "booking", "pair", "status", x.servers[server].url())
	cmd.Env = append(slices.Clone(x.witness.env), "QIONG_TOKEN="+x.operator[server].Token)
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), server+" "+want) {
		x.t.Errorf("%s, %v; it lacks %q", out, err, want)
	}
}

// TestTakeOverBooking kills the leader of two servers while people book on both, and finds every acknowledged booking at
// the one that takes over, none twice, and no slot oversold.
func TestTakeOverBooking(t *testing.T) {
	x := newTrio(t)
	r := newRush(x, 8)
	var took, back []time.Duration
	for n := range takeOvers(t) {
		leader, standby := x.leader()
		r.await(leader, time.Now())
		<-time.After(time.Duration(100+rand.IntN(900)) * time.Millisecond) // the moment is the test
		at := time.Now()
		x.servers[leader].kill()
		took = append(took, r.await(standby, at))
		at = time.Now()
		x.servers[leader].begin()
		x.servers[leader].healthy()
		x.leader()
		back = append(back, time.Since(at))
		r.check(standby)
		t.Logf("take-over %d: %s for %s after %v; in sync again %v after its start", n+1, standby, leader, took[n].Round(time.Millisecond), back[n].Round(time.Millisecond))
		if t.Failed() {
			t.Fatalf("%s\n%s", x.servers["a"].said(), x.servers["b"].said())
		}
	}
	r.end()
	leader, standby := x.leader()
	r.check(leader)
	x.told(leader, "leads, epoch ")
	x.told(standby, "is a standby of "+leader)
	slices.Sort(took)
	t.Logf("%d take-overs under load: first acknowledgement after %v to %v, median %v; %d acknowledged, %d told sold out, retried %v", len(took),
		took[0].Round(time.Millisecond), took[len(took)-1].Round(time.Millisecond), took[len(took)/2].Round(time.Millisecond), r.count(), r.soldOut, r.problems)
}

// halt stops a process and returns when none of its threads runs any more, which is a while after kill has returned.
func halt(t *testing.T, pid int) {
	t.Helper()
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	stats := fmt.Sprintf("/proc/%d/task/*/stat", pid)
	for start := time.Now(); ; time.Sleep(time.Millisecond) {
		if time.Since(start) > 10*time.Second {
			t.Fatalf("process %d goes on", pid)
		}
		files, err := filepath.Glob(stats)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.ContainsFunc(files, func(file string) bool {
			stat, err := os.ReadFile(file)
			_, state, _ := bytes.Cut(stat, []byte(") "))
			return err != nil || !bytes.HasPrefix(state, []byte("T"))
		}) {
			return
		}
	}
}

// TestStoppedLeaderAcknowledgesNothing stops the leader for longer than its lease lasts, as a machine does that is paused.
// Awake again it may still send the answers that the stop has cut short, whose bookings the standby has; it must not
// acknowledge what was asked of it since.
func TestStoppedLeaderAcknowledgesNothing(t *testing.T) {
	x := newTrio(t)
	r := newRush(x, 8)
	leader, standby := x.leader()
	r.await(leader, time.Now())
	at := time.Now()
	halt(t, x.servers[leader].pid())
	stopped := time.Now()
	took := r.await(standby, at)
	<-time.After(time.Second) // the world has gone on
	if err := syscall.Kill(x.servers[leader].pid(), syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	if now, _ := x.leader(); now != standby {
		t.Errorf("%s leads", now)
	}
	r.end()
	r.mu.Lock()
	last := r.last[leader]
	r.mu.Unlock()
	if last.After(stopped) {
		t.Errorf("the leader acknowledged what was asked of it %v after it was stopped", last.Sub(stopped))
	}
	r.check(standby)
	t.Logf("taken over after %v; retried %v", took.Round(time.Millisecond), r.problems)
}

// TestStalledStandby stops the standby, whose connections stay open: people wait a moment for it and then no longer.
func TestStalledStandby(t *testing.T) {
	x := newTrio(t)
	r := newRush(x, 8)
	leader, standby := x.leader()
	r.await(leader, time.Now())
	at := time.Now()
	halt(t, x.servers[standby].pid())
	<-time.After(100 * time.Millisecond) // what is under way lands
	took := r.await(leader, at)
	if err := syscall.Kill(x.servers[standby].pid(), syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	if now, _ := x.leader(); now != leader {
		t.Errorf("%s leads", now)
	}
	r.end()
	r.check(leader)
	t.Logf("bookings went on %v after the standby was stopped; retried %v", took.Round(time.Millisecond), r.problems)
}

// TestWitnessAway has the leader go on while the witness is away, as long as its standby is there, and nobody take over.
func TestWitnessAway(t *testing.T) {
	x := newTrio(t)
	r := newRush(x, 4)
	leader, standby := x.leader()
	x.witness.kill()
	before, _ := x.view(leader)
	<-time.After(2 * lease.DefaultTTL) // longer than a lease lasts that nobody renews
	r.await(leader, time.Now())
	if v, err := x.view(leader); err != nil || v.Role != "leader" || v.Epoch != before.Epoch || len(v.InSync) != 2 {
		t.Errorf("%+v, %v", v, err)
	}
	x.servers[leader].kill()
	<-time.After(2 * lease.DefaultTTL)
	if v, err := x.view(standby); err != nil || v.Role != "standby" {
		t.Errorf("without a majority: %+v, %v", v, err)
	}
	at := time.Now()
	x.witness.start()
	t.Logf("taken over %v after the witness came back", r.await(standby, at).Round(time.Millisecond))
	r.end()
	r.check(standby)
}
