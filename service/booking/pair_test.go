package booking_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/qiongdev/qiong"
	"github.com/qiongdev/qiong/house/qiongtest"
	"github.com/qiongdev/qiong/kit/auth"
	"github.com/qiongdev/qiong/kit/client"
	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/gm"
	"github.com/qiongdev/qiong/kit/httpsig"
	"github.com/qiongdev/qiong/kit/keys"
	"github.com/qiongdev/qiong/kit/lease"
	"github.com/qiongdev/qiong/kit/wal"
	"github.com/qiongdev/qiong/service/booking"
	"github.com/qiongdev/qiong/service/evidence"
	"github.com/qiongdev/qiong/service/witness"
)

// couple is two servers that share bookings, and a witness, in this process.
type couple struct {
	t      *testing.T
	data   map[string]string
	listen map[string]string
	rings  map[string]*keys.Ring
	houses map[string]*qiongtest.House
	office map[string]*client.Client // of an operator of each
	spots  string
}

// newCouple makes the folders and the keys; alike says whether the servers share the secrets of bookings.
func newCouple(t *testing.T, alike bool) *couple {
	c := &couple{t: t, data: map[string]string{}, listen: map[string]string{}, rings: map[string]*keys.Ring{}, houses: map[string]*qiongtest.House{}, office: map[string]*client.Client{}, spots: t.TempDir()}
	if err := os.WriteFile(filepath.Join(c.spots, "bay.yaml"), []byte(bay), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"a", "b", "w"} {
		c.data[name], c.listen[name] = filepath.Join(t.TempDir(), name), quietAddress(t)
		folder := filepath.Join(c.data[name], "keys")
		if name == "b" && alike {
			copyKeys(t, filepath.Join(c.data["a"], "keys"), folder)
		}
		ring, err := keys.Open(folder, keys.Options{CreateMaster: true})
		if err != nil {
			t.Fatal(err)
		}
		c.rings[name] = ring
		if name == "a" {
			shared(t, ring)
		}
	}
	for name, ring := range c.rings {
		key, err := ring.Signer(lease.OwnKey)
		if err != nil {
			t.Fatal(err)
		}
		for other, theirs := range c.rings {
			if other != name {
				if err := theirs.Trust(lease.OwnKey+"."+name, key.PublicKey()); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	return c
}

// shared makes the keys of bookings that both servers must have.
func shared(t *testing.T, ring *keys.Ring) {
	t.Helper()
	for _, name := range []string{"booking.persons", "booking.salts", "booking.rooms"} {
		if _, err := ring.Secret(name, 32); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := ring.Sealer("booking.visitors"); err != nil {
		t.Fatal(err)
	}
	if _, err := ring.Signer("booking.tickets"); err != nil {
		t.Fatal(err)
	}
}

func copyKeys(t *testing.T, from, to string) {
	t.Helper()
	if err := os.MkdirAll(to, 0o700); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(from, "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err == nil {
			err = os.WriteFile(filepath.Join(to, filepath.Base(file)), data, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// quietAddress returns an address below the ports that the kernel hands out.
func quietAddress(t *testing.T) string {
	t.Helper()
	for range 100 {
		if l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", 10000+rand.IntN(20000))); err == nil {
			defer l.Close()
			return l.Addr().String()
		}
	}
	t.Fatal("no free port")
	return ""
}

func (c *couple) url(name string) string { return "http://" + c.listen[name] }

// start runs a server, or the witness.
func (c *couple) start(name string) {
	c.t.Helper()
	list := fmt.Sprintf("a=%s,b=%s,w=%s", c.url("a"), c.url("b"), c.url("w"))
	set := map[string]string{"house.listen": c.listen[name], "witness.name": name, "witness.replicas": "a,b", "witness.leases": "booking/*"}
	if name == "w" {
		c.houses[name] = qiongtest.Start(c.t, qiongtest.Options{Services: []*qiong.Service{witness.Service}, Data: c.data[name], Set: set})
		return
	}
	set["booking.spots"], set["booking.name"], set["booking.voters"] = c.spots, name, list
	set["booking.peers"] = fmt.Sprintf("a=%s,b=%s", c.url("a"), c.url("b"))
	c.houses[name] = qiongtest.Start(c.t, qiongtest.Options{Services: []*qiong.Service{booking.Service, evidence.New(), witness.Service}, Data: c.data[name], Set: set, Log: c.log(name)})
	c.office[name] = c.houses[name].As("operator", auth.Operator)
}

func (c *couple) log(name string) io.Writer {
	if os.Getenv("QIONG_TEST_LOG") == "" {
		return nil
	}
	return os.Stderr
}

// view asks a server about the pair; one that is stopped says nothing.
func (c *couple) view(name string) (v booking.PairView) {
	_ = c.office[name].Do(context.Background(), client.Request{Method: "GET", Path: "/api/booking/pair"}, &v)
	return v
}

// leads waits until one of the servers named leads, and all of them are in sync.
func (c *couple) leads(names ...string) (leader string) {
	c.t.Helper()
	eventually(c.t, fmt.Sprintf("one of %v leads, all in sync", names), func() bool {
		for _, name := range names {
			if v := c.view(name); v.Role == "leader" && slices.Equal(v.InSync, names) && ready(c.url(name)) {
				leader = name
				return true
			}
		}
		return false
	})
	return leader
}

func other(name string) string { return map[string]string{"a": "b", "b": "a"}[name] }

func ready(url string) bool {
	resp, err := http.Get(url + "/readyz")
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}

// book makes a booking at a server's door, with tokens of the one that leads.
func (c *couple) book(door, leader string, n uint64) (booking.Answer, error) {
	c.t.Helper()
	visitor := c.houses[leader].As("visitor", auth.Applicant)
	slot := slots(c.t, c.houses[leader])[0].ID
	visitor.URL = c.url(door)
	return reserve(visitor, fmt.Sprintf("pair-%08d", n), map[string]any{"slot": slot, "visitors": []any{someone(n)}})
}

func TestPairHandsOver(t *testing.T) {
	c := newCouple(t, true)
	for _, name := range []string{"w", "a", "b"} {
		c.start(name)
	}
	leader := c.leads("a", "b")
	standby := other(leader)
	if !ready(c.url(standby)) {
		t.Error("the standby is not ready")
	}
	var made []string
	for n, door := range []string{leader, standby} {
		answer, err := c.book(door, leader, uint64(n))
		if err != nil {
			t.Fatalf("at %s: %v", door, err)
		}
		made = append(made, answer.ID)
	}
	if v := c.view(standby); v.Role != "standby" || v.Leader != leader || v.Epoch != c.view(leader).Epoch {
		t.Errorf("%+v", v)
	}
	c.houses[leader].Stop()
	eventually(t, "the standby leads", func() bool { return c.view(standby).Role == "leader" && ready(c.url(standby)) })
	var ids []string
	for _, l := range ledgerOf(t, c.houses[standby]) {
		ids = append(ids, l.ID)
	}
	for _, id := range made {
		if !slices.Contains(ids, id) {
			t.Errorf("booking %s is lost", id)
		}
	}
	if again, err := c.book(standby, standby, 1); err != nil || again.ID != made[1] {
		t.Errorf("the same key made %v at one server and %v at the other: %v", made[1], again, err)
	}
	if _, err := c.book(standby, standby, 2); err != nil {
		t.Error(err)
	}
	c.start(leader)
	if now := c.leads("a", "b"); now != standby {
		t.Errorf("%s leads", now)
	}
}

// Who takes over knows what was paid to the other: a booking that is cancelled after it is paid back, as if its order had
// been made here.
func TestPairRemembersMoney(t *testing.T) {
	c := newCouple(t, true)
	for _, name := range []string{"w", "a", "b"} {
		c.start(name)
	}
	leader := c.leads("a", "b")
	visitor := c.houses[leader].As("visitor", auth.Applicant)
	made, err := reserve(visitor, "money-0000001", map[string]any{"slot": slots(t, c.houses[leader])[5].ID, "product": "boat", "visitors": []any{someone(1)}})
	if err != nil {
		t.Fatal(err)
	}
	var paying booking.PaymentView
	if err := visitor.Do(t.Context(), client.Request{Method: "POST", Path: "/api/booking/bookings/" + made.ID + "/pay"}, &paying); err != nil {
		t.Fatal(err)
	}
	pay(t, c.houses[leader], paying.Cashier)
	state := func(visitor *client.Client) (v booking.BookingView) {
		get(t, visitor, "/api/booking/bookings/"+made.ID, &v)
		return v
	}
	eventually(t, "confirmed", func() bool { return state(visitor).Status == "confirmed" })
	c.houses[leader].Stop()
	now := other(leader)
	eventually(t, "the other leads", func() bool { return c.view(now).Role == "leader" && ready(c.url(now)) })
	visitor = c.houses[now].As("visitor", auth.Applicant)
	if v := state(visitor); v.Status != "confirmed" || v.Payment != nil || v.Code == "" {
		t.Fatalf("%+v", v)
	}
	if err := visitor.Do(t.Context(), client.Request{Method: "POST", Path: "/api/booking/bookings/" + made.ID + "/cancel", Body: map[string]any{}}, nil); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the payment is known here", func() bool { v := state(visitor); return v.Refund == 12000 && v.Payment != nil })
}

// A standby goes away while people book: they wait for it a moment and then no longer. It is in sync again when it is back.
func TestPairGoesOnWithoutItsStandby(t *testing.T) {
	c := newCouple(t, true)
	for _, name := range []string{"w", "a", "b"} {
		c.start(name)
	}
	leader := c.leads("a", "b")
	c.houses[other(leader)].Stop()
	if _, err := c.book(leader, leader, 1); err != nil {
		t.Fatal(err)
	}
	c.leads(leader)
	for n := range uint64(20) {
		if _, err := c.book(leader, leader, 10+n); err != nil {
			t.Fatal(err)
		}
	}
	c.start(other(leader))
	c.leads("a", "b")
	v := c.view(leader)
	if len(v.Standbys) != 1 || !v.Standbys[0].Connected || v.Standbys[0].Lag != 0 {
		t.Errorf("%+v", v)
	}
}

// A server whose disk was lost is not mistaken for one that has all, though the register says that it is in sync.
func TestPairDoesNotFollowAnEmptyDisk(t *testing.T) {
	c := newCouple(t, true)
	for _, name := range []string{"w", "a", "b"} {
		c.start(name)
	}
	leader := c.leads("a", "b")
	lost := other(leader)
	made, err := c.book(leader, leader, 1)
	if err != nil {
		t.Fatal(err)
	}
	c.houses[lost].Stop() // first, so that it never leads
	c.houses[leader].Stop()
	if err := os.RemoveAll(filepath.Join(c.data[lost], "booking")); err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{"booking.db", "booking.db-wal", "booking.db-shm"} {
		if err := os.Remove(filepath.Join(c.data[lost], "db", file)); err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
	}
	c.start(lost)
	<-time.After(2 * lease.DefaultTTL) // long enough to take what is free
	if v := c.view(lost); v.Role != "standby" {
		t.Fatalf("%+v", v)
	}
	c.start(leader)
	c.leads("a", "b")
	if lines := ledgerOf(t, c.houses[leader]); len(lines) != 1 || lines[0].ID != made.ID {
		t.Errorf("%+v", lines)
	}
	c.houses[leader].Stop()
	eventually(t, "the other leads", func() bool { return c.view(lost).Role == "leader" && ready(c.url(lost)) })
	if lines := ledgerOf(t, c.houses[lost]); len(lines) != 1 || lines[0].ID != made.ID {
		t.Errorf("after it was filled again: %+v", lines)
	}
}

// A server that was alone becomes one of a pair, with its bookings, whichever is started first.
func TestPairFromAlone(t *testing.T) {
	c := newCouple(t, true)
	h := qiongtest.Start(t, qiongtest.Options{Services: services, Data: c.data["a"], Set: map[string]string{"booking.spots": c.spots}})
	eventually(t, "slots", func() bool { return len(slots(t, h)) > 0 })
	made, err := reserve(h.As("visitor", auth.Applicant), "alone-0000001", map[string]any{"slot": slots(t, h)[0].ID, "visitors": []any{someone(1)}})
	if err != nil {
		t.Fatal(err)
	}
	h.Stop()
	for _, name := range []string{"w", "b", "a"} {
		c.start(name)
	}
	if leader := c.leads("a", "b"); leader != "a" {
		t.Fatalf("%s leads", leader)
	}
	c.houses["a"].Stop()
	eventually(t, "b leads", func() bool { return c.view("b").Role == "leader" && ready(c.url("b")) })
	if lines := ledgerOf(t, c.houses["b"]); len(lines) != 1 || lines[0].ID != made.ID {
		t.Errorf("%+v", lines)
	}
}

func TestPairWithOtherKeysIsNone(t *testing.T) {
	c := newCouple(t, false)
	for _, name := range []string{"w", "a", "b"} {
		c.start(name)
	}
	for _, name := range []string{"a", "b"} {
		eventually(t, "it says so", func() bool {
			problem := c.view(name).Problem
			for _, key := range []string{"booking.persons", "booking.visitors", "booking.salts", "booking.rooms", "booking.tickets"} {
				if !strings.Contains(problem, key) {
					return false
				}
			}
			return true
		})
		if ready(c.url(name)) {
			t.Errorf("%s is ready", name)
		}
	}
	<-time.After(lease.DefaultTTL)
	if v := c.view("a"); v.Role != "standby" {
		t.Errorf("%+v", v)
	}
}

// impostor speaks to a leader as server b, with its keys or others.
type impostor struct {
	c    *couple
	ring *keys.Ring
	to   string
}

// send sends a signed request on a connection of its own, and returns the answer and the connection.
func (i *impostor) send(path string, in any, header http.Header) (*http.Response, []byte, net.Conn, []byte) {
	i.c.t.Helper()
	key, err := i.ring.Signer(lease.OwnKey)
	if err != nil {
		i.c.t.Fatal(err)
	}
	body, _ := json.Marshal(in)
	req, err := http.NewRequest("POST", i.c.url(i.to)+path, bytes.NewReader(body))
	if err != nil {
		i.c.t.Fatal(err)
	}
	for name, values := range header {
		req.Header[name] = values
	}
	req.Header.Set("Content-Type", "application/json")
	if err := httpsig.SignRequest(req, body, key, time.Now(), httpsig.NewNonce()); err != nil {
		i.c.t.Fatal(err)
	}
	var raw bytes.Buffer
	if err := req.Write(&raw); err != nil {
		i.c.t.Fatal(err)
	}
	resp, answer, conn := i.raw(raw.Bytes())
	return resp, answer, conn, raw.Bytes()
}

func (i *impostor) raw(request []byte) (*http.Response, []byte, net.Conn) {
	i.c.t.Helper()
	conn, err := net.Dial("tcp", i.c.listen[i.to])
	if err != nil {
		i.c.t.Fatal(err)
	}
	i.c.t.Cleanup(func() { conn.Close() })
	if _, err := conn.Write(request); err != nil {
		i.c.t.Fatal(err)
	}
	in := bufio.NewReader(conn)
	resp, err := http.ReadResponse(in, nil)
	if err != nil {
		i.c.t.Fatal(err)
	}
	if resp.StatusCode == http.StatusSwitchingProtocols {
		return resp, nil, &ahead{conn, in}
	}
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		i.c.t.Fatal(err)
	}
	return resp, answer, conn
}

// ahead is a connection of which a reader may have read ahead.
type ahead struct {
	net.Conn
	in io.Reader
}

func (c *ahead) Read(p []byte) (int, error) { return c.in.Read(p) }

// meet shows that it has the keys, and returns a ticket.
func (i *impostor) meet() string {
	i.c.t.Helper()
	challenge := httpsig.NewNonce()
	about := []byte("qiong booking pair b " + challenge)
	proofs := map[string]string{}
	for _, name := range []string{"booking.persons", "booking.salts", "booking.rooms"} {
		secret, err := i.c.rings["b"].Secret(name, 32)
		if err != nil {
			i.c.t.Fatal(err)
		}
		sum := gm.HMAC(secret, about)
		proofs[name] = hex.EncodeToString(sum[:])
	}
	tickets, err := i.c.rings["b"].Signer("booking.tickets")
	if err != nil {
		i.c.t.Fatal(err)
	}
	proofs["booking.tickets"] = tickets.KeyID()
	sealer, err := i.c.rings["b"].Sealer("booking.visitors")
	if err != nil {
		i.c.t.Fatal(err)
	}
	resp, answer, _, _ := i.send("/api/booking/pair/meet", map[string]any{"challenge": challenge, "keys": proofs, "sealed": sealer.Seal([]byte(challenge), about), "shards": 1}, nil)
	var met struct{ Ticket string }
	if err := json.Unmarshal(answer, &met); err != nil || resp.StatusCode != http.StatusOK || met.Ticket == "" {
		i.c.t.Fatalf("%d %s", resp.StatusCode, answer)
	}
	return met.Ticket
}

var upgrading = http.Header{"Connection": {"Upgrade"}, "Upgrade": {"qiong-booking-log"}}

// board turns a ticket into the connection of the log.
func (i *impostor) board(ticket string) (status int, conn net.Conn, request []byte) {
	i.c.t.Helper()
	resp, _, conn, request := i.send("/api/booking/pair/ship", map[string]any{"ticket": ticket, "shard": 0}, upgrading)
	return resp.StatusCode, conn, request
}

// alone returns a couple of which a leads and b is stopped.
func aloneLeader(t *testing.T) (*couple, string, *impostor) {
	c := newCouple(t, true)
	for _, name := range []string{"w", "a", "b"} {
		c.start(name)
	}
	for c.leads("a", "b") != "a" { // the impostor is b
		c.houses["b"].Stop()
		eventually(t, "a leads", func() bool { return c.view("a").Role == "leader" })
		c.start("b")
	}
	c.houses["b"].Stop()
	c.leads("a")
	return c, "a", &impostor{c, c.rings["b"], "a"}
}

func TestNobodyElseGetsTheLogs(t *testing.T) {
	c, _, b := aloneLeader(t)
	stranger, err := keys.Open(filepath.Join(t.TempDir(), "keys"), keys.Options{CreateMaster: true})
	if err != nil {
		t.Fatal(err)
	}
	if status, _, _ := (&impostor{c, stranger, "a"}).board(b.meet()); status != http.StatusUnauthorized {
		t.Errorf("a stranger with a ticket: %d", status)
	}
	if status, _, _ := (&impostor{c, c.rings["w"], "a"}).board(b.meet()); status != http.StatusUnauthorized {
		t.Errorf("the witness with a ticket: %d", status)
	}
	resp, err := http.Post(c.url("a")+"/api/booking/pair/ship", "application/json", strings.NewReader(`{"ticket":"x","shard":0}`))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusUnauthorized {
		t.Errorf("without a signature: %d", resp.StatusCode)
	}
	if status, _, _ := b.board("none-such"); status != http.StatusForbidden {
		t.Errorf("without a ticket: %d", status)
	}
	status, conn, request := b.board(b.meet())
	if status != http.StatusSwitchingProtocols {
		t.Fatalf("b with its ticket: %d", status)
	}
	conn.Close()
	if resp, _, _ := b.raw(request); resp.StatusCode != http.StatusForbidden {
		t.Errorf("the same request sent again: %d", resp.StatusCode)
	}
	if resp, _, _ := b.raw(bytes.Replace(request, []byte(`"shard":0`), []byte(`"shard":1`), 1)); resp.StatusCode != http.StatusUnauthorized {
		t.Errorf("a request that was altered: %d", resp.StatusCode)
	}
}

// liar is a connection on which acknowledgements say more than is true.
type liar struct {
	net.Conn
	more uint64
}

func (l *liar) Write(p []byte) (int, error) {
	const ack = 4 // see doc/formats/wal.md
	if le := binary.LittleEndian; le.Uint32(p) == ack && l.more > 0 {
		p = bytes.Clone(p)
		le.PutUint64(p[12:], le.Uint64(p[12:])+l.more)
		table := crc32.MakeTable(crc32.Castagnoli)
		le.PutUint32(p[8:], crc32.Update(crc32.Checksum(p[:8], table), table, p[12:]))
	}
	return l.Conn.Write(p)
}

// A standby that acknowledges what it does not have is cut off, shown and counted, people go on booking, and it comes back
// when it is pardoned.
func TestStandbyThatLies(t *testing.T) {
	c, leader, b := aloneLeader(t)
	copied, err := wal.OpenStandby(filepath.Join(c.data["b"], "booking", "shard-000"), wal.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer copied.Close()
	follow := func(more uint64) (end func() error) {
		status, conn, _ := b.board(b.meet())
		if status != http.StatusSwitchingProtocols {
			t.Fatalf("it may not connect: %d", status)
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- copied.Follow(ctx, &liar{conn, more}) }()
		return func() error { cancel(); return <-ended }
	}
	end := follow(0) // honest at first, and in sync
	c.leads("a", "b")
	_ = end()
	end = follow(1000)
	eventually(t, "it is cut off", func() bool {
		v := c.view(leader)
		return len(v.Standbys) == 1 && v.Standbys[0].CutOff && v.Standbys[0].Lies == 1 && !v.Standbys[0].InSync && slices.Equal(v.InSync, []string{"a"})
	})
	_ = end()
	if _, err := c.book(leader, leader, 1); err != nil {
		t.Error(err)
	}
	metrics := scrape(t, c.url(leader))
	for _, want := range []string{"qiong_booking_pair_lies_total 1", "qiong_booking_pair_leads 1", "qiong_booking_pair_in_sync 1"} {
		if !strings.Contains(metrics, want) {
			t.Errorf("the metrics lack %s", want)
		}
	}
	end = follow(0)
	<-time.After(100 * time.Millisecond) // time to be let in, which it must not be
	if v := c.view(leader); v.Standbys[0].Connected {
		t.Error("who has lied is let in again")
	}
	_ = end()
	if err := c.houses[leader].As("operator", auth.Operator).Do(t.Context(), pardonB, nil); err != nil {
		t.Fatal(err)
	}
	end = follow(0)
	c.leads("a", "b")
	_ = end()
}

var pardonB = client.Request{Method: "POST", Path: "/api/booking/pair/standbys/b/pardon"}

func TestPairConfig(t *testing.T) {
	for field, change := range map[string]func(*booking.Config){
		"booking.name":   func(c *booking.Config) { c.Name = "No Name" },
		"booking.peers":  func(c *booking.Config) { c.Peers = []string{"a=http://a"} },
		"booking.voters": func(c *booking.Config) { c.Voters = []string{"a=http://a", "a=http://b", "w=http://w"} },
	} {
		c := booking.Defaults
		c.Name, c.Peers, c.Voters = "a", []string{"b=http://b"}, []string{"a=http://a", "b=http://b", "w=http://w"}
		if err := c.Validate(); err != nil {
			t.Fatal(err)
		}
		change(&c)
		if err := c.Validate(); errs.As(err) == nil || errs.As(err).Field != field {
			t.Errorf("%s: %v", field, err)
		}
	}
}

func scrape(t *testing.T, url string) string {
	t.Helper()
	resp, err := http.Get(url + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
