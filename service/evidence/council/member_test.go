package council

import (
	"bufio"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	cmtproto "github.com/cometbft/cometbft/proto/tendermint/types"
	cmttypes "github.com/cometbft/cometbft/types"

	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/gm"
)

// The test binary is also the member: one process each, as in the real thing.
const roleEnv = "QIONG_COUNCIL_MEMBER"

func TestMain(m *testing.M) {
	if role := os.Getenv(roleEnv); role != "" {
		if err := member(role); err != nil {
			fmt.Fprintln(os.Stderr, "member:", err)
			os.Exit(1)
		}
		return
	}
	if n := runtime.NumGoroutine(); n != 1 { // CometBFT comes with every program of the house
		fmt.Fprintf(os.Stderr, "importing the package starts %d goroutines\n", n-1)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// role says how a member process is to be.
type role struct {
	Dir, Genesis, HTTP, Listen string
	Retain, SnapshotEvery      int64
	Heartbeat                  time.Duration
	Sync                       bool
	Trust                      []Member      // for Sync
	Shift                      time.Duration // its clock, as far as it signs votes
	Tolerance                  time.Duration
	Twice                      bool  // it signs every block twice
	Fails, Strays              int64 // the height at which its ledger does
}

func member(config string) error {
	var r role
	if err := json.Unmarshal([]byte(config), &r); err != nil {
		return err
	}
	home, err := OpenHome(r.Dir)
	if err != nil {
		return err
	}
	data, err := os.ReadFile(r.Genesis)
	if err != nil {
		return err
	}
	genesis, err := ParseGenesis(data)
	if err != nil {
		return err
	}
	ledger, err := openBook(filepath.Join(r.Dir, "book"))
	if err != nil {
		return err
	}
	ledger.fails, ledger.strays = r.Fails, r.Strays
	cfg := Config{Home: home, Genesis: genesis, Ledger: ledger, Listen: r.Listen,
		Retain: r.Retain, SnapshotEvery: r.SnapshotEvery, Heartbeat: r.Heartbeat, tolerance: r.Tolerance,
		Log: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level()}))}
	if r.Sync {
		cfg.Sync = &Sync{Fetch: fetchLight, Members: r.Trust}
	}
	if r.Shift != 0 {
		cfg.sign = func(s cmttypes.PrivValidator) cmttypes.PrivValidator { return shifted{s, r.Shift} }
	}
	node, err := Open(cfg)
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	go func() { // the parent is gone when its pipe closes
		_, _ = io.Copy(io.Discard, os.Stdin)
		stop()
	}()
	listener, err := net.Listen("tcp", r.HTTP)
	if err != nil {
		return err
	}
	go func() { _ = http.Serve(listener, face(node, ledger)) }()
	if r.Twice {
		go signTwice(ctx, node, home)
	}
	fmt.Println("ready")
	return node.Run(ctx)
}

func level() slog.Level {
	if os.Getenv("QIONG_COUNCIL_DEBUG") != "" {
		return slog.LevelDebug
	}
	return slog.LevelInfo
}

func fetchLight(ctx context.Context, from Member, height int64) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("%s/light?height=%d", from.HTTP, height), nil)
	if err != nil {
		return nil, err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return nil, errors.New(res.Status)
	}
	return io.ReadAll(res.Body)
}

// report is what the parent asks for.
type report struct {
	Status Status
	Height int64
	Hash   string
	Txs    int
	Guilty []string
}

// face is the member's HTTP face.
func face(n *Node, b *book) http.Handler {
	mux := http.NewServeMux()
	fail := func(w http.ResponseWriter, err error) { http.Error(w, err.Error(), errs.KindOf(err).HTTP()) }
	mux.HandleFunc("POST /submit", func(w http.ResponseWriter, r *http.Request) {
		tx, err := io.ReadAll(r.Body)
		if err == nil {
			err = n.Submit(r.Context(), tx)
		}
		if err != nil {
			fail(w, err)
		}
	})
	mux.HandleFunc("GET /report", func(w http.ResponseWriter, _ *http.Request) {
		b.mu.Lock()
		rep := report{Height: b.page.height, Hash: hex.EncodeToString(b.page.hash), Txs: len(b.at), Guilty: b.page.guilty}
		b.mu.Unlock()
		rep.Status = n.Status()
		_ = json.NewEncoder(w).Encode(rep)
	})
	mux.HandleFunc("GET /until", func(w http.ResponseWriter, r *http.Request) { // a height, a transaction or a guilty one
		q := r.URL.Query()
		height, _ := strconv.ParseInt(q.Get("height"), 10, 64)
		err := b.until(r.Context(), func() bool {
			_, has := b.at[q.Get("tx")]
			return b.page.height >= height && (q.Get("tx") == "" || has) && (q.Get("guilty") == "" || len(b.page.guilty) > 0)
		})
		if err != nil {
			fail(w, err)
		}
	})
	mux.HandleFunc("GET /light", func(w http.ResponseWriter, r *http.Request) {
		height, _ := strconv.ParseInt(r.URL.Query().Get("height"), 10, 64)
		data, err := n.LightBlock(height)
		if err != nil {
			fail(w, err)
			return
		}
		_, _ = w.Write(data)
	})
	return mux
}

// shifted signs votes by a clock that is off. (CometBFT takes the time of a vote from its signer, that of a proposal not.)
type shifted struct {
	cmttypes.PrivValidator
	by time.Duration
}

func (s shifted) SignVote(chain string, v *cmtproto.Vote) error {
	if now := time.Now().Add(s.by); now.After(v.Timestamp) {
		v.Timestamp = now
	}
	return s.PrivValidator.SignVote(chain, v)
}

// council is a council of member processes.
type council struct {
	t       *testing.T
	genesis string
	g       *Genesis
	seats   []*seat
}

// seat is a member's home and, while it runs, its process.
type seat struct {
	c    *council
	role role
	pub  Public
	cmd  *exec.Cmd
	in   io.Closer
	gone chan error
	log  *journal
}

// journal keeps what a process says, and lets tests wait for words.
type journal struct {
	mu   sync.Mutex
	text []byte
	more chan struct{}
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.text = append(j.text, p...)
	close(j.more)
	j.more = make(chan struct{})
	return len(p), nil
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return string(j.text)
}

// ends waits until the process has ended by itself, which it must with an error that has the words.
func (s *seat) ends(ctx context.Context, words ...string) {
	s.c.t.Helper()
	select {
	case err := <-s.gone:
		s.gone <- err // for kill
		if err == nil {
			s.c.t.Errorf("%s ended without an error", s.pub.Agency)
		}
	case <-ctx.Done():
		s.c.t.Fatalf("%s goes on", s.pub.Agency)
	}
	s.says(ctx, append(words, "member:")...)
}

// says waits until the process has logged a line with all of the words.
func (s *seat) says(ctx context.Context, words ...string) {
	s.c.t.Helper()
	for {
		s.log.mu.Lock()
		text, more := string(s.log.text), s.log.more
		s.log.mu.Unlock()
		for line := range strings.Lines(text) {
			if !slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(line, w) }) {
				return
			}
		}
		select {
		case <-ctx.Done():
			s.c.t.Fatalf("%s never said %q", s.pub.Agency, words)
		case <-more:
		}
	}
}

var nextPort atomic.Int32

// port returns one outside the range from which the system takes ports for outgoing connections: a member that returns
// must find its own free.
func port(t testing.TB) string {
	for {
		p := 20000 + (int(nextPort.Add(1))+os.Getpid()*37)%12000
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", p))
		if err != nil {
			continue
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		return l.Addr().String()
	}
}

// newCouncil holds the ceremony for the agencies; nobody runs yet.
func newCouncil(t *testing.T, set func(*role), agencies ...string) *council {
	t.Helper()
	c := &council{t: t, genesis: filepath.Join(t.TempDir(), "genesis.json")}
	var pubs []Public
	for _, name := range agencies {
		s := c.seat(name, set)
		pubs = append(pubs, s.pub)
	}
	g, err := NewGenesis("test", time.Now().Truncate(time.Second), []byte("state"), pubs)
	if err != nil {
		t.Fatal(err)
	}
	data, err := g.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(c.genesis, data, 0o600); err != nil {
		t.Fatal(err)
	}
	c.g = g
	return c
}

// seat makes a home.
func (c *council) seat(name string, set func(*role)) *seat {
	c.t.Helper()
	r := role{Dir: c.t.TempDir(), Genesis: c.genesis, HTTP: port(c.t), Listen: port(c.t)}
	if set != nil {
		set(&r)
	}
	home, err := NewHome(r.Dir, name)
	if err != nil {
		c.t.Fatal(err)
	}
	key, err := gm.GenerateKey()
	if err != nil {
		c.t.Fatal(err)
	}
	pub, err := home.Public(r.Listen, "http://"+r.HTTP, key.PublicKey().PEM())
	if err != nil {
		c.t.Fatal(err)
	}
	s := &seat{c: c, role: r, pub: pub}
	c.seats = append(c.seats, s)
	c.t.Cleanup(s.kill)
	return s
}

// start runs the members given, or all.
func (c *council) start(seats ...*seat) {
	c.t.Helper()
	if seats == nil {
		seats = c.seats
	}
	for _, s := range seats {
		s.start()
	}
}

func (s *seat) start() {
	t := s.c.t
	t.Helper()
	config, err := json.Marshal(s.role)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), roleEnv+"="+string(config), "GOMAXPROCS=2")
	s.log = &journal{more: make(chan struct{})}
	cmd.Stderr = s.log
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	s.cmd, s.in, s.gone = cmd, in, make(chan error, 1)
	if word, err := bufio.NewReader(out).ReadString('\n'); word != "ready\n" {
		_ = cmd.Wait()
		t.Fatalf("%s did not start: %v\n%s", s.pub.Agency, err, s.log)
	}
	go func(gone chan error) { gone <- cmd.Wait() }(s.gone)
}

// kill ends the process as a power cut would.
func (s *seat) kill() {
	if s.cmd == nil {
		return
	}
	_ = s.cmd.Process.Signal(syscall.SIGKILL) // it may have ended
	err := <-s.gone
	if s.c.t.Failed() || os.Getenv("QIONG_COUNCIL_DEBUG") == "all" {
		s.c.t.Logf("%s (%v) said:\n%s", s.pub.Agency, err, tail(s.log.String(), 400))
	}
	if _, race, found := strings.Cut(s.log.String(), "WARNING: DATA RACE"); found {
		s.c.t.Errorf("%s had a data race: %.3000s", s.pub.Agency, race)
	}
	s.cmd = nil
}

// stop ends the process in order.
func (s *seat) stop() {
	s.c.t.Helper()
	if err := s.in.Close(); err != nil {
		s.c.t.Fatal(err)
	}
	if err := <-s.gone; err != nil {
		s.c.t.Fatalf("%s ended with %v\n%s", s.pub.Agency, err, s.log)
	}
	s.cmd = nil
}

func tail(text string, n int) string {
	lines := strings.Split(text, "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

var client = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}

func (s *seat) get(ctx context.Context, path string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.pub.HTTP+path, nil)
	if err != nil {
		return nil, err
	}
	return s.do(req)
}

func (s *seat) do(req *http.Request) ([]byte, error) {
	res, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	data, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", res.Status, data)
	}
	return data, err
}

func (s *seat) report(ctx context.Context) (r report) {
	s.c.t.Helper()
	data, err := s.get(ctx, "/report")
	if err == nil {
		err = json.Unmarshal(data, &r)
	}
	if err != nil {
		s.c.t.Fatal(err)
	}
	return r
}

func (s *seat) submit(ctx context.Context, tx string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.pub.HTTP+"/submit", strings.NewReader(tx))
	if err != nil {
		return err
	}
	_, err = s.do(req)
	return err
}

// place submits to the seats by turns, again and again, until one of them has the transaction in its ledger.
func (c *council) place(ctx context.Context, tx string, seats ...*seat) {
	c.t.Helper()
	id, _, _ := strings.Cut(tx, ":")
	for i := 0; ; i++ {
		s := seats[i%len(seats)]
		try, done := context.WithTimeout(ctx, 3*time.Second)
		err := s.submit(try, tx)
		if err == nil || strings.Contains(err.Error(), "again") {
			_, err = s.get(try, "/until?tx="+id)
		}
		if err != nil && !strings.Contains(err.Error(), "deadline") {
			<-time.After(50 * time.Millisecond) // it starts, or is dead: no busy loop
		}
		done()
		if err == nil {
			return
		}
		if ctx.Err() != nil {
			c.t.Errorf("%s is in no ledger: %v", id, err)
			return
		}
	}
}

// agree waits until the seats' ledgers hold the transaction and holds their states to each other.
func (c *council) agree(ctx context.Context, id string, seats ...*seat) report {
	c.t.Helper()
	for _, s := range seats {
		if _, err := s.get(ctx, "/until?tx="+id); err != nil {
			c.t.Fatalf("%s has no %s: %v", s.pub.Agency, id, err)
		}
	}
	first := seats[0].report(ctx)
	for _, s := range seats[1:] {
		if r := s.report(ctx); r.Hash != first.Hash || r.Txs != first.Txs {
			c.t.Errorf("%s has %d transactions and hash %.12s, %s has %d and %.12s", s.pub.Agency, r.Txs, r.Hash,
				seats[0].pub.Agency, first.Txs, first.Hash)
		}
	}
	return first
}

func deadline(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, stop := context.WithTimeout(context.Background(), d)
	t.Cleanup(stop)
	return ctx
}
