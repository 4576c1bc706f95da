package signer

import (
	"bytes"
	"crypto"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/gm"
)

func TestSigningThroughASocket(t *testing.T) {
	l := newLab(t, nil)
	c := l.client(t, ClientOptions{})
	keys, err := c.Keys(t.Context())
	if err != nil || len(keys) != 2 || keys[0].Name != "a" || !keys[1].Key.Equal(l.public(1)) {
		t.Fatalf("%v, %v", keys, err)
	}
	if info, err := os.Stat(l.socket); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	var all sync.WaitGroup
	for i := range 40 {
		all.Go(func() {
			pub := l.public(i % 2)
			msg := fmt.Appendf(nil, "message %d", i)
			sig, err := gm.Sign(c.Signer(pub), []byte(gm.DefaultID), msg)
			if err == nil {
				err = gm.Verify(pub, []byte(gm.DefaultID), msg, sig)
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if n := l.recorded(); n != 40 {
		t.Errorf("%d signatures are on record", n)
	}
	s := l.signings[0]
	if s.User != uint32(os.Geteuid()) || s.PID != int32(os.Getpid()) || s.KeyID != gm.KeyID(l.public(0)) && s.KeyID != gm.KeyID(l.public(1)) || s.Time.IsZero() || s.Digest == [32]byte{} {
		t.Errorf("%+v", s)
	}
	if pub, err := c.Find("b"); err != nil || !pub.Equal(l.public(1)) {
		t.Error(err)
	}
	if _, err := c.Find("c"); !errs.Is(err, errs.NotFound) || !strings.Contains(err.Error(), l.socket) {
		t.Error(err)
	}
	if err := l.stop(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(l.socket); !errors.Is(err, os.ErrNotExist) {
		t.Error("the socket is left", err)
	}
}

func digest(text string) []byte {
	d := gm.SM3([]byte(text))
	return d[:]
}

func TestWhatASignerRefuses(t *testing.T) {
	away := errs.New(errs.Unavailable, "不在", "away")
	other, err := gm.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		change func(*Options)
		pub    *gm.PublicKey
		kind   errs.Kind
		code   string
	}{
		"another key":             {nil, other.PublicKey(), errs.NotFound, CodeNoKey},
		"another user":            {func(o *Options) { o.Users = []uint32{uint32(os.Geteuid()) + 1} }, nil, errs.Forbidden, CodeRefused},
		"the record is full":      {func(o *Options) { o.Record = func(Signing) error { return errors.New("no room") } }, nil, errs.Unavailable, CodeAway},
		"the module is away":      {func(o *Options) { o.Keys[0].Signer = module{o.Keys[0].Signer.(*gm.PrivateKey), away} }, nil, errs.Unavailable, CodeAway},
		"the module fails":        {func(o *Options) { o.Keys[0].Signer = module{o.Keys[0].Signer.(*gm.PrivateKey), io.EOF} }, nil, errs.Internal, CodeAway},
		"the module says nothing": {func(o *Options) { o.Keys[0].Signer = module{o.Keys[0].Signer.(*gm.PrivateKey), nil} }, nil, errs.Internal, CodeAway},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t, c.change)
			pub := c.pub
			if pub == nil {
				pub = l.public(0)
			}
			_, err := gm.Sign(l.client(t, ClientOptions{}).Signer(pub), []byte(gm.DefaultID), []byte("m"))
			if !errs.Is(err, c.kind) || errs.As(err).Code != c.code || !strings.Contains(err.Error(), l.socket) {
				t.Errorf("%v", err)
			}
			if l.recorded() > 0 {
				t.Error("it is on record as done")
			}
		})
	}
}

// module is a signer that fails.
type module struct {
	*gm.PrivateKey
	err error
}

func (m module) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) { return nil, m.err }

func TestTheRateOfAKey(t *testing.T) {
	now := time.Unix(1_790_000_000, 0)
	l := newLab(t, func(o *Options) { o.Rate, o.Now = 2, func() time.Time { return now } }) // its clock stands
	c := l.client(t, ClientOptions{Wait: 400 * time.Millisecond})
	a, b := c.Signer(l.public(0)), c.Signer(l.public(1))
	for range 2 {
		if _, err := a.Sign(nil, digest("x"), nil); err != nil {
			t.Fatal(err)
		}
	}
	_, err := a.Sign(nil, digest("x"), nil)
	if !errs.Is(err, errs.TooMany) || errs.As(err).RetryAfter != 500*time.Millisecond {
		t.Errorf("the third: %v", err)
	}
	if _, err := b.Sign(nil, digest("x"), nil); err != nil {
		t.Errorf("another key: %v", err)
	}
}

func TestABucketFills(t *testing.T) {
	at := time.Unix(1_790_000_000, 0)
	b := bucket{rate: 10}
	taken := 0
	for range 1000 {
		if b.take(at) == 0 {
			taken++
		}
		at = at.Add(10 * time.Millisecond)
	}
	if taken < 105 || taken > 110 {
		t.Errorf("%d in ten seconds", taken)
	}
}

// What is not of the protocol is answered by its reason, ends the connection, and leaves the others alone.
func TestNonsenseIsRefused(t *testing.T) {
	l := newLab(t, nil)
	good := (&request{askSign, idOf(l.public(0)), [32]byte{1}}).append(nil)
	for name, c := range map[string]struct {
		bytes []byte
		why   reason
	}{
		"a web browser":   {[]byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n"), malformed},
		"no length":       {[]byte{0, 0, 0, 0}, malformed},
		"a huge length":   {[]byte{0xff, 0xff, 0xff, 0xff}, malformed},
		"another version": {append([]byte{0, 0, 0, 2, 7}, 1), otherForm},
		"another kind":    {append([]byte{0, 0, 0, 2, 1}, 3), malformed},
		"a short digest":  {append([]byte{0, 0, 0, 41}, good[4:45]...), malformed},
	} {
		conn := l.raw(t)
		if _, err := conn.Write(c.bytes); err != nil {
			t.Fatal(err)
		}
		a, err := readAnswer(conn)
		if err != nil || a.kind != sayNo || a.why != c.why {
			t.Errorf("%s: %+v, %v", name, a, err)
		}
		if n, err := conn.Read(make([]byte, 1)); n > 0 || err == nil {
			t.Errorf("%s: the connection goes on", name)
		}
	}
	cut := l.raw(t)
	if _, err := cut.Write(good[:10]); err != nil {
		t.Fatal(err)
	}
	if err := cut.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := l.client(t, ClientOptions{}).Signer(l.public(0)).Sign(nil, digest("x"), nil); err != nil {
		t.Error(err)
	}
}

// A module in another process, written apart: one that is right is believed, and what a wrong one gives out nobody gets.
func TestAModuleInAProcess(t *testing.T) {
	pub := fakeKey().PublicKey()
	for fault, want := range map[string]struct {
		kind errs.Kind
		code string
	}{
		"none":                      {},
		"signs another digest":      {errs.Internal, CodeWrong},
		"signs with another key":    {errs.Internal, CodeWrong},
		"signs nought":              {errs.Internal, CodeWrong},
		"is slow":                   {errs.Timeout, CodeAway},
		"closes mid-frame":          {errs.Unavailable, CodeAway},
		"speaks of another length":  {errs.Internal, CodeStrange},
		"speaks another version":    {errs.Internal, CodeStrange},
		"answers what nobody asked": {errs.Internal, CodeStrange},
		"gives an unknown reason":   {errs.Internal, CodeAway},
	} {
		t.Run(fault, func(t *testing.T) {
			p := newProcess(t, fault)
			wait := time.Minute
			if want.code == CodeAway {
				wait = 500 * time.Millisecond
			}
			c := NewClient(p.socket, ClientOptions{Wait: wait})
			defer c.Close()
			sig, err := c.Signer(pub).Sign(nil, digest("x"), nil)
			if fault == "none" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if sig != nil || !errs.Is(err, want.kind) || errs.As(err).Code != want.code || !strings.Contains(err.Error(), p.socket) {
				t.Errorf("%x, %v", sig, err)
			}
		})
	}
}

// Whoever asks while the process is killed waits until it is there again, up to a bound, and then is told where it is not.
func TestTheProcessIsKilledAndComesBack(t *testing.T) {
	p := newProcess(t, "none")
	c := NewClient(p.socket, ClientOptions{Wait: time.Minute})
	defer c.Close()
	key := c.Signer(fakeKey().PublicKey())
	var all sync.WaitGroup
	stop := make(chan struct{})
	for range 3 {
		all.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if _, err := key.Sign(nil, digest("x"), nil); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	for range 5 {
		if _, err := key.Sign(nil, digest("x"), nil); err != nil {
			t.Fatal(err)
		}
		p.kill()
		p.start()
	}
	close(stop)
	all.Wait()
	p.kill()
	short := NewClient(p.socket, ClientOptions{Wait: 100 * time.Millisecond})
	_, err := short.Signer(fakeKey().PublicKey()).Sign(nil, digest("x"), nil)
	if !errs.Is(err, errs.Unavailable) || errs.As(err).Code != CodeAway || !strings.Contains(err.Error(), p.socket) {
		t.Error(err)
	}
	_, err = NewClient(filepath.Join(t.TempDir(), "nobody"), ClientOptions{Wait: 100 * time.Millisecond}).Keys(t.Context())
	if !errs.Is(err, errs.Unavailable) {
		t.Error(err)
	}
}

func TestListen(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "s")
	stale, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	stale.(*net.UnixListener).SetUnlinkOnClose(false)
	if err := stale.Close(); err != nil {
		t.Fatal(err)
	}
	l, err := Listen(path, -1)
	if err != nil {
		t.Fatalf("over a stale socket: %v", err)
	}
	if _, err := Listen(path, -1); !errs.Is(err, errs.Conflict) {
		t.Errorf("where one runs: %v", err)
	}
	if _, err := net.Dial("unix", path); err != nil {
		t.Errorf("the one that runs: %v", err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("a letter"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Listen(path, -1); !errs.Is(err, errs.Conflict) {
		t.Errorf("over a file: %v", err)
	}
	if text, err := os.ReadFile(path); err != nil || string(text) != "a letter" {
		t.Error("the file is gone", err)
	}
	if _, err := Listen(filepath.Join(dir, strings.Repeat("x", 120)), -1); !errs.Is(err, errs.Invalid) {
		t.Errorf("a long path: %v", err)
	}
	if _, err := Listen(filepath.Join(dir, "no", "s"), -1); !errs.Is(err, errs.Invalid) {
		t.Errorf("no folder: %v", err)
	}
	grouped := filepath.Join(dir, "grouped")
	l, err = Listen(grouped, os.Getegid())
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if info, err := os.Stat(grouped); err != nil || info.Mode().Perm() != 0o660 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
}

// A socket that is not for this user is no signer that is away.
func TestASocketOfAnother(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("root may open any")
	}
	l := newLab(t, nil)
	if err := os.Chmod(l.socket, 0); err != nil {
		t.Fatal(err)
	}
	if _, err := l.client(t, ClientOptions{Wait: time.Minute}).Keys(t.Context()); !errs.Is(err, errs.Forbidden) || errs.As(err).Code != CodeRefused {
		t.Error(err)
	}
}

func TestServersThatCannotBe(t *testing.T) {
	k, err := gm.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	record := func(Signing) error { return nil }
	for name, o := range map[string]Options{
		"no keys":     {Record: record},
		"no record":   {Keys: []Key{{"a", k}}},
		"a key twice": {Keys: []Key{{"a", k}, {"b", k}}, Record: record},
		"no name":     {Keys: []Key{{"", k}}, Record: record},
		"a long name": {Keys: []Key{{strings.Repeat("n", 65), k}}, Record: record},
		"a bad rate":  {Keys: []Key{{"a", k}}, Record: record, Rate: -1},
	} {
		if _, err := NewServer(o); !errs.Is(err, errs.Invalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzParseRequest(f *testing.F) {
	f.Add((&request{kind: askKeys}).append(nil)[4:])
	f.Add((&request{askSign, keyID{1}, [32]byte{2}}).append(nil)[4:])
	f.Fuzz(func(t *testing.T, p []byte) {
		if r, err := parseRequest(p); err == nil && !bytes.Equal(r.append(nil)[4:], p) {
			t.Error("two ways to write one request")
		}
	})
}

func FuzzParseAnswer(f *testing.F) {
	f.Add((&answer{kind: sayKeys, keys: []Public{{"a", fakeKey().PublicKey()}}}).append(nil)[4:])
	f.Add((&answer{kind: saySigned, sig: [64]byte{1}}).append(nil)[4:])
	f.Add((&answer{kind: sayNo, why: tooMany, wait: time.Second}).append(nil)[4:])
	f.Fuzz(func(t *testing.T, p []byte) {
		if a, err := parseAnswer(p); err == nil && !bytes.Equal(a.append(nil)[4:], p) {
			t.Error("two ways to write one answer")
		}
	})
}

// FuzzServer writes any bytes to a server: it must answer frames of the protocol alone, and go on for others.
func FuzzServer(f *testing.F) {
	l := newLab(f, nil)
	f.Add((&request{kind: askKeys}).append(nil))
	f.Add((&request{askSign, idOf(l.public(0)), [32]byte{2}}).append((&request{kind: askKeys}).append(nil)))
	f.Add([]byte{0, 0, 0, 2, 1, 9})
	f.Fuzz(func(t *testing.T, p []byte) {
		conn := l.raw(t)
		go func() {
			_, _ = conn.Write(p) // it may be refused before the end
			_ = conn.(*net.UnixConn).CloseWrite()
		}()
		for {
			if _, err := readAnswer(conn); errors.Is(err, errStrange) {
				t.Fatal(err)
			} else if err != nil {
				break
			}
		}
	})
}

// FuzzClient answers a client with any bytes: what it gives out verifies.
func FuzzClient(f *testing.F) {
	path := filepath.Join(f.TempDir(), "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { _ = l.Close() })
	answers := make(chan []byte, 1)
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			p := <-answers
			answers <- p
			_, _ = conn.Write(p) // the client may have gone
			_ = conn.Close()
		}
	}()
	key := fakeKey()
	der, err := key.Sign(nil, digest("x"), nil)
	if err != nil {
		f.Fatal(err)
	}
	sig, _ := toNumbers(der)
	f.Add((&answer{kind: saySigned, sig: sig}).append(nil))
	f.Add((&answer{kind: saySigned, sig: [64]byte{1}}).append(nil))
	f.Add((&answer{kind: sayNo, why: tooMany, wait: time.Hour}).append(nil))
	f.Add([]byte{0, 0, 0, 9, 1})
	f.Fuzz(func(t *testing.T, p []byte) {
		answers <- p
		defer func() { <-answers }()
		c := NewClient(path, ClientOptions{Wait: 5 * time.Millisecond})
		defer c.Close()
		if sig, err := c.Signer(key.PublicKey()).Sign(nil, digest("x"), nil); err == nil && gm.VerifyDigest(key.PublicKey(), digest("x"), sig) != nil {
			t.Error("a wrong signature was given out")
		}
	})
}

func BenchmarkSign(b *testing.B) {
	l := newLab(b, nil)
	for _, bench := range []struct {
		name string
		key  interface {
			Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error)
		}
	}{{"here", l.keys[0].Signer}, {"there", l.client(b, ClientOptions{}).Signer(l.public(0))}} {
		b.Run(bench.name, func(b *testing.B) {
			for b.Loop() {
				if _, err := bench.key.Sign(nil, digest("x"), nil); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
