package node

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/gm"
	"github.com/qiongdev/qiong/service/evidence/council"
)

// Four nodes order a batch and serve their cosigned notes, of one root; a stranger's batch is refused.
func TestFourNodesOrderABatch(t *testing.T) {
	t.Parallel()
	ctx := deadline(t, time.Minute)
	l := newLab(t, four...)
	begun := time.Now()
	l.start()
	size := l.place(ctx, l.seats, "a-1", "a-2", "a-3")
	n := l.cosigned(ctx, size, l.seats...)
	t.Logf("three records were cosigned by four %v after the start", time.Since(begun))
	l.verified(ctx, filepath.Join(l.dir, "trust.pem"), n, l.seats[0], four)

	stranger, err := gm.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	for name, tx := range map[string][]byte{
		"another key":     batch(t, "house", stranger, "x"),
		"another gateway": batch(t, "shed", l.gateway, "x"),
	} {
		if err := l.seats[0].client.Submit(ctx, tx); !errs.Is(err, errs.Forbidden) {
			t.Errorf("%s: %v", name, err)
		}
	}
	l.seats[1].shows(ctx, size)

	urls := []string{"status"}
	for _, s := range l.seats {
		urls = append(urls, s.url)
	}
	out := must(t, urls...)
	for _, want := range []string{"AGENCY", "clearing", "customs   running", "forex", "tax", fmt.Sprintf("%d", size)} {
		if !strings.Contains(out, want) {
			t.Errorf("status does not say %q:\n%s", want, out)
		}
	}
	if err := l.seats[0].end(syscall.SIGTERM); err != nil {
		t.Errorf("ended by a signal: %v", err)
	}
	out, err = run(append(urls, "--json")...)
	if err == nil || !strings.Contains(out, `"problem":"the agency's node can't be reached"`) || !strings.Contains(out, `"agency":"tax"`) {
		t.Errorf("status without one: %v\n%s", err, out)
	}
}

// shows asks for everything else that a node serves.
func (s *seat) shows(ctx context.Context, size uint64) {
	t := s.t
	t.Helper()
	for _, c := range []struct {
		method, path, body string
		status             int
		words              string
	}{
		{"GET", "/healthz", "", 200, "ok\n"},
		{"GET", "/genesis", "", 200, `"chain": "hainan-trade"`},
		{"GET", "/light/1", "", 200, ""},
		{"GET", "/light/0", "", 400, `"field":"height"`},
		{"GET", "/light/99999", "", 404, `"kind":"not-found"`},
		{"GET", "/metrics", "", 200, fmt.Sprintf("qiong_council_cosigned %d\n", size)},
		{"GET", "/metrics", "", 200, `qiong_council_peer_connected{agency="tax"} 1`},
		{"GET", "/policy", "", 200, `"history":[{"version":1,"height":1,`},
		{"GET", "/checkpoint", "", 200, fmt.Sprintf("hainan-trade\n%d\n", size)},
		{"GET", "/tile/entries/000.p/3", "", 200, "qiong-record/v1"},
		{"GET", "/nothing", "", 404, `"kind":"not-found"`},
		{"POST", "/status", "", 404, `"kind":"not-found"`},
		{"POST", "/submit", "x", 400, `"code":"evidence.transaction"`},
		{"POST", "/submit", strings.Repeat("x", council.MaxTx+1), 413, `"kind":"too-large"`},
	} {
		req, err := http.NewRequestWithContext(ctx, c.method, s.url+c.path, strings.NewReader(c.body))
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || resp.StatusCode != c.status || !bytes.Contains(body, []byte(c.words)) {
			t.Errorf("%s %s: %d, want %d with %q: %.300s %v", c.method, c.path, resp.StatusCode, c.status, c.words, body, err)
		}
		if c.words != "" && c.status >= 400 && resp.Header.Get("Content-Type") != "application/problem+json" {
			t.Errorf("%s %s: a problem as %s", c.method, c.path, resp.Header.Get("Content-Type"))
		}
	}
	st, err := s.client.Status(ctx)
	if err != nil || st.Agency != s.name || st.Chain != "hainan-trade" || !st.Running || st.CatchingUp || st.Turn == "" || st.Policy != 1 ||
		st.Size != size || st.CosignedSize != size || len(st.Peers) != 3 || st.BlockTime == 0 {
		t.Errorf("the status is %+v, %v", st, err)
	}
}

// One agency stops, and it goes on; two stop, and nothing is ordered until one returns. Who was away cosigns what it missed.
func TestAgenciesStopAndReturn(t *testing.T) {
	t.Parallel()
	ctx := deadline(t, time.Minute)
	l := newLab(t, four...)
	l.start()
	l.cosigned(ctx, l.place(ctx, l.seats, "a-1"), l.seats...)

	tax, forex, rest := l.seats[3], l.seats[2], l.seats[:2]
	if err := tax.stdin.Close(); err != nil { // as when its parent dies
		t.Fatal(err)
	}
	if err := tax.cmd.Wait(); err != nil {
		t.Errorf("the node ended with %v: %s", err, tax.tail())
	}
	tax.cmd = nil
	size := l.place(ctx, l.seats[:3], "b-1")
	l.cosigned(ctx, size, l.seats[:3]...)

	if err := forex.end(syscall.SIGKILL); err == nil {
		t.Error("a killed process ended well")
	}
	tx := batch(t, "house", l.gateway, "c-1")
	until(ctx, t, "taking a transaction", func() (bool, error) {
		err := rest[0].client.Submit(ctx, tx)
		return err == nil, err
	})
	if notes, err := rest[0].log.Notes(ctx, size, 2*time.Second); err != nil || len(notes) > 0 { // how long we look at nothing happening
		t.Errorf("two of four decided %v, %v", notes, err)
	}
	begun := time.Now()
	forex.start()
	more := l.place(ctx, l.seats[:3], "c-1")
	t.Logf("ordered %v after the start of the third", time.Since(begun))
	l.cosigned(ctx, more, l.seats[:3]...)

	begun = time.Now()
	if os.Getenv("QIONG_TAIL") != "" {
		tax.args = append(tax.args, "--log-level", "debug")
	}
	tax.start()
	l.cosigned(ctx, size, tax)
	n := l.cosigned(ctx, more, l.seats...)
	if os.Getenv("QIONG_TAIL") != "" {
		t.Log(tax.tail())
	}
	t.Logf("what was missed was cosigned %v after the start of the fourth", time.Since(begun))
	l.verified(ctx, filepath.Join(l.dir, "trust.pem"), n, tax, four)
}

// A second process on one home is refused before it touches anything, and so is another genesis.
func TestAHomeIsOneProcess(t *testing.T) {
	t.Parallel()
	l := newLab(t, "customs")
	s := l.seats[0]
	refused(t, "the first start needs --genesis", "node", "--home", s.dir)
	refused(t, "customs/public.json agency: there is no such field", "node", "--home", s.dir, "--genesis", s.public())
	s.start()
	refused(t, "another process uses this folder", "node", "--home", s.dir)
	other := filepath.Join(l.dir, "other")
	must(t, "init", "--chain", "other", "--gateway", "house="+filepath.Join(l.dir, "house.pem"), "--out", other, s.public())
	refused(t, "not the genesis that this node began with", "node", "--home", s.dir, "--genesis", filepath.Join(other, "genesis.json"))
}

// A change of policy rotates an agency's key for cosigning, and another one adds a fifth agency; receipts of before and
// after are verified by one file of keys.
func TestPolicyChanges(t *testing.T) {
	t.Parallel()
	ctx := deadline(t, 90*time.Second)
	l := newLab(t, four...)
	l.start()
	before := l.cosigned(ctx, l.place(ctx, l.seats, "a-1"), l.seats...)
	customs, change := l.seats[1], filepath.Join(l.dir, "rotate.json")

	must(t, "key", "--home", customs.dir, "--rotate")
	out := must(t, "policy", "propose", "--home", customs.dir, "--rotate", customs.public(), "--out", change)
	if !strings.Contains(out, "policy version 2\n  agency customs cosigns with key ") {
		t.Errorf("propose said %s", out)
	}
	refused(t, "the file exists", "policy", "propose", "--home", customs.dir, "--needs", "tax", "--out", change)
	refused(t, "not signed yet: clearing, customs, forex, tax", "policy", "submit", change, "--node", customs.url)
	copies := []string{change}
	for i, s := range l.seats[:3] { // each on a copy of its own
		file := fmt.Sprintf("%s.%d", change, i)
		data, err := os.ReadFile(change)
		if err != nil {
			t.Fatal(err)
		}
		write(t, file, string(data))
		out := must(t, "policy", "sign", file, "--home", s.dir)
		if !strings.Contains(out, "agency customs cosigns with key ") || !strings.Contains(out, "signed; 2 more needed") {
			t.Errorf("sign said %s", out)
		}
		copies = append(copies, file)
	}
	refused(t, "1 more signatures are needed", append([]string{"policy", "submit", "--home", customs.dir}, copies[:3]...)...)
	if out := must(t, append([]string{"policy", "submit", "--home", customs.dir}, copies...)...); out != "policy version 2 is in force\n" {
		t.Errorf("submit said %s", out)
	}
	must(t, append([]string{"policy", "submit", "--home", customs.dir}, copies...)...) // nothing more to do
	after := l.cosigned(ctx, l.place(ctx, l.seats, "b-1"), l.seats...)
	if before.Signatures[1].KeyID == after.Signatures[1].KeyID || before.Signatures[0].KeyID != after.Signatures[0].KeyID {
		t.Errorf("signed by %v before, by %v after", before.Signatures, after.Signatures)
	}

	fifth := l.seat("ports", "ports")
	add := filepath.Join(l.dir, "add.json")
	must(t, "policy", "propose", "--node", customs.url, "--add", fifth.public(), "--needs", "customs,ports", "--out", add)
	refused(t, "does not vote", "policy", "sign", add, "--home", fifth.dir, "--node", customs.url)
	for _, s := range []*seat{l.seats[0], l.seats[1], l.seats[3]} {
		must(t, "policy", "sign", add, "--home", s.dir)
	}
	must(t, "policy", "submit", add, "--node", customs.url)
	refused(t, "version 3 is in force, the change is version 2", "policy", "sign", change, "--home", customs.dir)
	fifth.start()
	size := l.place(ctx, l.seats[:4], "c-1")
	n := l.cosigned(ctx, size, l.seats...)
	trust := filepath.Join(l.dir, "trust-now.pem")
	out = must(t, "policy", "show", "--node", fifth.url, "--trust", trust)
	if !strings.Contains(out, "version 3 since block ") || !strings.Contains(out, "agency\tports\tvotes\t") {
		t.Errorf("show said %s", out)
	}
	l.verified(ctx, trust, before, fifth, four)
	l.verified(ctx, trust, after, fifth, four)
	l.verified(ctx, trust, n, fifth, []string{"customs", "ports"})
}

// An agency whose disk is lost, but for its keys and what it has signed, begins again with the others' snapshot.
func TestALostLedgerIsSynced(t *testing.T) {
	t.Parallel()
	ctx := deadline(t, 90*time.Second)
	l := newLab(t, four...)
	for _, s := range l.seats {
		s.args = append(s.args, "--snapshots", "5", "--retain", "5")
	}
	l.start()
	for i := range 20 {
		l.place(ctx, l.seats, fmt.Sprintf("a-%d", i))
	}
	tax, rest := l.seats[3], l.seats[:3]
	tax.end(syscall.SIGKILL)
	for _, lost := range []string{"ledger.db", "ledger.db-wal", "ledger.db-shm", "council/data", "council/snapshots"} {
		if err := os.RemoveAll(filepath.Join(tax.dir, lost)); err != nil {
			t.Fatal(err)
		}
	}
	write(t, filepath.Join(l.dir, "members.json"), must(t, "policy", "show", "--node", l.seats[0].url, "--json"))
	tax.args = append(tax.args, "--sync", "--sync-policy", filepath.Join(l.dir, "members.json"))
	begun := time.Now()
	tax.start()
	if _, err := tax.client.Policies(ctx); !errs.Is(err, errs.Unavailable) {
		t.Errorf("while it has nothing: %v", err)
	}
	i := 0
	until(ctx, t, "tax catching up", func() (bool, error) { // blocks come meanwhile
		l.place(ctx, rest, fmt.Sprintf("b-%d", i))
		i++
		s, err := tax.client.Status(ctx)
		return err == nil && !s.CatchingUp && s.Size > 0, err
	})
	size := l.place(ctx, rest, "c-1")
	l.cosigned(ctx, size, l.seats...)
	t.Logf("synced %v after the start", time.Since(begun))
	if !strings.Contains(tax.tail(), "imported a snapshot") {
		t.Errorf("the node did not begin with a snapshot: %s", tax.tail())
	}
	again := &reader{seen: map[string]int{}}
	if err := again.read(ctx, tax); err != nil || again.leaf.Root() != l.reader.leaf.Root() {
		t.Errorf("the new log is not the old one: %v", err)
	}
}

// kills is how many nodes are killed: few here, many where QIONG_KILLS says so.
func kills(t *testing.T) int {
	if n, err := strconv.Atoi(os.Getenv("QIONG_KILLS")); err == nil {
		return n
	}
	if testing.Short() {
		t.Skip("kills processes")
	}
	return 4
}

// Nodes are killed at random moments while a gateway sends: every record is in every log, once, under one root.
func TestKill(t *testing.T) {
	t.Parallel()
	n := kills(t)
	ctx := deadline(t, time.Minute+time.Duration(n)*10*time.Second)
	l := newLab(t, four...)
	l.start()
	l.place(ctx, l.seats, "first")
	stop, placed := make(chan struct{}), make(chan int)
	go func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				placed <- i
				return
			default:
				l.place(ctx, l.seats, fmt.Sprintf("k-%d-1", i), fmt.Sprintf("k-%d-2", i))
			}
		}
	}()
	for range n {
		pause := time.NewTimer(time.Duration(rand.IntN(1500)) * time.Millisecond) // the random moment
		<-pause.C
		s := l.seats[rand.IntN(4)]
		s.end(syscall.SIGKILL)
		s.start()
	}
	close(stop)
	batches := <-placed
	size := l.place(ctx, l.seats, "last")
	l.cosigned(ctx, size, l.seats...)
	if want := uint64(2*batches + 2); size != want {
		t.Errorf("%d records, placed %d", size, want)
	}
	for id, times := range l.reader.seen {
		if times != 1 {
			t.Errorf("%s is there %d times", id, times)
		}
	}
	t.Logf("%d kills, %d records", n, size)
}
