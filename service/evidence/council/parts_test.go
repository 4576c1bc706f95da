package council

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	abci "github.com/cometbft/cometbft/abci/types"
	cmtproto "github.com/cometbft/cometbft/proto/tendermint/types"
	cmttypes "github.com/cometbft/cometbft/types"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/qiongdev/qiong/kit/errs"
)

func TestListen(t *testing.T) {
	for _, c := range []struct {
		address string
		beyond  bool
		good    bool
	}{
		{"127.0.0.1:26656", false, true},
		{"[::1]:26656", false, true},
		{"0.0.0.0:26656", false, false},
		{"10.0.0.1:26656", false, false},
		{"[::]:26656", false, false},
		{":26656", true, false},
		{"localhost:26656", true, false},
		{"10.0.0.1", true, false},
		{"10.0.0.1:26656", true, true},
		{"0.0.0.0:26656", true, true},
	} {
		if err := checkListen(c.address, c.beyond); (err == nil) != c.good || err != nil && !errs.Is(err, errs.Invalid) {
			t.Errorf("%s, beyond %v: %v", c.address, c.beyond, err)
		}
	}
}

func TestCometBFTAcceptsTheSettings(t *testing.T) {
	c := &Config{Home: newHome(t, "customs"), Listen: "127.0.0.1:1", Propose: time.Second, Heartbeat: time.Second, tolerance: time.Minute}
	s := c.settings()
	if err := s.ValidateBasic(); err != nil {
		t.Error(err)
	}
	if s.RPC.ListenAddress != "" || s.RPC.GRPCListenAddress != "" || s.RPC.PprofListenAddress != "" || s.Instrumentation.Prometheus || s.P2P.PexReactor || !s.FilterPeers {
		t.Error("CometBFT listens to more than its peers")
	}
}

// Who is needed by name votes, leaves and comes with equal weight.
func TestRosterUpdates(t *testing.T) {
	g, err := NewGenesis("hainan", founding, nil, fourPublics(t))
	if err != nil {
		t.Fatal(err)
	}
	r := newRoster(g.Members)
	if got := r.updates(g.Members); got != nil {
		t.Errorf("nothing changed, and %v", got)
	}
	members := slices.Clone(g.Members)
	members[0].Votes = false // follows
	members[1].P2P = "10.9.9.9:1"
	members = append(members[:3], Member{Public: newPublic(t, "zhejiang", "127.0.0.1:9"), Votes: true}) // instead of tax
	power := map[string]int64{}
	for _, u := range r.updates(members) {
		power[string(u.PubKey.GetEd25519())] = u.Power
	}
	want := map[string]int64{string(g.Members[0].Consensus): 0, string(g.Members[3].Consensus): 0, string(members[3].Consensus): votingPower}
	if len(power) != len(want) {
		t.Errorf("%d updates", len(power))
	}
	for key, p := range want {
		if got, ok := power[key]; !ok || got != p {
			t.Errorf("a power of %d (%v), want %d", got, ok, p)
		}
	}
	if r.agency(members[3].address()) != "" || r.agency(g.Members[3].address()) != "tax" {
		t.Error("the roster knows more than was committed")
	}
}

// A block reaches the ledger in names.
func TestBlockInNames(t *testing.T) {
	g, err := NewGenesis("hainan", founding, nil, fourPublics(t))
	if err != nil {
		t.Fatal(err)
	}
	a := &app{roster: newRoster(g.Members)}
	val := func(i int) abci.Validator { return abci.Validator{Address: address(t, g.Members[i])} }
	b := a.block(&abci.RequestFinalizeBlock{Height: 7, Time: founding, Txs: [][]byte{[]byte("x")}, ProposerAddress: address(t, g.Members[2]),
		DecidedLastCommit: abci.CommitInfo{Votes: []abci.VoteInfo{
			{Validator: val(3), BlockIdFlag: cmtproto.BlockIDFlagCommit}, {Validator: val(0), BlockIdFlag: cmtproto.BlockIDFlagNil},
			{Validator: val(2), BlockIdFlag: cmtproto.BlockIDFlagAbsent}, {Validator: val(1), BlockIdFlag: cmtproto.BlockIDFlagCommit}}},
		Misbehavior: []abci.Misbehavior{{Validator: val(1), Height: 5, Time: founding}, {Validator: abci.Validator{Address: make([]byte, 20)}, Height: 4}}})
	if b.Height != 7 || b.Proposer != "forex" || !slices.Equal(b.Signed, []string{"customs", "tax"}) || len(b.Txs) != 1 {
		t.Errorf("the block is %+v", b)
	}
	if m := b.Misbehaviors; len(m) != 2 || m[0].Agency != "customs" || m[0].Height != 5 || m[1].Agency != "" || m[1].Address != strings.Repeat("0", 40) {
		t.Errorf("the misbehaviors are %+v", m)
	}
}

func address(t *testing.T, m Member) []byte {
	t.Helper()
	b, err := hex.DecodeString(m.address())
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Blocks are kept up to a number and up to a size, whichever is less, and the last in any case.
func TestBlocksAreKeptBySize(t *testing.T) {
	r := retention{blocks: 10, bytes: 100}
	for h := int64(1); h <= 100; h++ {
		size, want := int64(1), max(h-10, 1)
		if h > 50 {
			size = 30
			want = map[int64]int64{51: 41, 52: 42, 53: 43}[h] // 30, 60 and 90 with 8 or 7 of 1
			if h > 53 {
				want = h - 2
			}
		}
		if h == 100 {
			size, want = 1000, 100
		}
		r.add(h, size)
		if got := r.height(h); got != want {
			t.Errorf("at %d: from %d, want %d", h, got, want)
		}
	}
	any := retention{blocks: 10}
	for h := range int64(50) {
		any.add(h, 1<<40)
	}
	if any.height(50) != 40 || len(any.sizes) > 0 {
		t.Errorf("without a bound of bytes: from %d, %d sizes in memory", any.height(50), len(any.sizes))
	}
}

type sized []int64 // from height 5 on

func (s sized) Base() int64   { return 5 }
func (s sized) Height() int64 { return 4 + int64(len(s)) }
func (s sized) LoadBlockMeta(h int64) *cmttypes.BlockMeta {
	return &cmttypes.BlockMeta{BlockSize: int(s[h-5])}
}

func TestBlocksOfBeforeCount(t *testing.T) {
	r := retention{bytes: 100}
	r.count(sized{60, 50, 40, 30})
	if got := r.height(8); got != 7 {
		t.Errorf("from %d, want 7", got)
	}
	r.add(9, 100)
	if got := r.height(9); got != 9 {
		t.Errorf("from %d, want 9", got)
	}
}

// Blocks go twenty at a time, and none that a node needs which begins with the oldest snapshot.
func TestRetain(t *testing.T) {
	for _, c := range []struct{ retain, height, snapshot, want int64 }{
		{0, 1000, -1, 0}, {100, 1000, -1, 900}, {100, 999, -1, 0}, {100, 80, -1, 0}, {100, 1000, 0, 0}, {100, 1000, 850, 850}, {100, 1000, 950, 900},
	} {
		a := &app{retain: retention{blocks: c.retain}, height: c.height}
		if c.snapshot >= 0 {
			a.snapshots = &snapshots{every: 50}
			if c.snapshot > 0 {
				a.snapshots.heights = []int64{c.snapshot}
			}
		}
		if got := a.retainHeight(); got != c.want {
			t.Errorf("at %d, keeping %d, oldest snapshot %d: from %d, want %d", c.height, c.retain, c.snapshot, got, c.want)
		}
	}
}

func TestTrimWAL(t *testing.T) {
	dir := t.TempDir()
	moment := time.Now()
	for name, age := range map[string]time.Duration{"wal": time.Hour, "wal.000": time.Hour, "wal.001": time.Minute, "wal.002": -time.Minute} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, moment, moment.Add(-age)); err != nil {
			t.Fatal(err)
		}
	}
	if err := trimWAL(dir, moment); err != nil {
		t.Fatal(err)
	}
	left, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(left) != 2 || filepath.Base(left[0]) != "wal" || filepath.Base(left[1]) != "wal.002" {
		t.Errorf("left are %v, %v", left, err)
	}
}

// CometBFT's chatter is for debugging; what stops a node is not lost.
func TestLog(t *testing.T) {
	var out bytes.Buffer
	var failed error
	q := quiet{slog.New(slog.NewTextHandler(&out, nil)), func(err error) { failed = err }}
	q.With("module", "consensus").Info("finalizing commit")
	q.Debug("x")
	if out.Len() > 0 {
		t.Errorf("said %s", &out)
	}
	q.With("module", "p2p").Error("dialing failed", "err", errors.New("refused"))
	if failed != nil || !strings.Contains(out.String(), "level=WARN") || !strings.Contains(out.String(), "module=p2p err=refused") {
		t.Errorf("said %s, failed %v", &out, failed)
	}
	q.Error("CONSENSUS FAILURE!!!", "err", "a reason")
	if failed == nil || failed.Error() != "CONSENSUS FAILURE: a reason" {
		t.Errorf("failed with %v", failed)
	}
	q.Error("State sync failed", "odd")
	if failed.Error() != "State sync failed: no reason given" {
		t.Errorf("failed with %v", failed)
	}
}

// Before it runs a node says so, and takes nothing.
func TestBeforeRun(t *testing.T) {
	g, err := NewGenesis("hainan", founding, nil, fourPublics(t))
	if err != nil {
		t.Fatal(err)
	}
	meter := prometheus.NewRegistry()
	n, err := Open(Config{Home: newHome(t, "customs"), Genesis: g, Ledger: new(book), Listen: "127.0.0.1:1", Metrics: meter})
	if err != nil {
		t.Fatal(err)
	}
	if s := n.Status(); s.Running || s.Agency != "customs" || len(s.Peers) != 4 { // its key is not the one of the genesis
		t.Errorf("the status is %+v", s)
	}
	if err := n.Submit(context.Background(), []byte("a:x")); !errs.Is(err, errs.Unavailable) {
		t.Errorf("a transaction: %v", err)
	}
	if err := n.Submit(context.Background(), make([]byte, MaxTx+1)); !errs.Is(err, errs.TooLarge) {
		t.Errorf("one too large: %v", err)
	}
	if _, err := n.LightBlock(1); !errs.Is(err, errs.Unavailable) {
		t.Errorf("a block: %v", err)
	}
	if families, err := meter.Gather(); err != nil || len(families) != 6 {
		t.Errorf("%d metrics, %v", len(families), err)
	}
}
