package signer

import (
	"context"
	"crypto"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/gm"
)

// slow is a module that signs when it is let go.
type slow struct {
	*gm.PrivateKey
	begun, let chan struct{}
}

func newSlow(k Key) slow {
	return slow{k.Signer.(*gm.PrivateKey), make(chan struct{}, 100), make(chan struct{})}
}

func (s slow) Sign(r io.Reader, digest []byte, o crypto.SignerOpts) ([]byte, error) {
	s.begun <- struct{}{}
	<-s.let
	return s.PrivateKey.Sign(r, digest, o)
}

// ask has a raw connection ask for the keys, so that it has its place.
func ask(t *testing.T, conn net.Conn) {
	t.Helper()
	if _, err := conn.Write((&request{kind: askKeys}).append(nil)); err != nil {
		t.Fatal(err)
	}
	if a, err := readAnswer(conn); err != nil || a.kind != sayKeys {
		t.Fatalf("%+v, %v", a, err)
	}
}

// Connections that nobody asks anything on keep nobody out: the one that is idle for longest gives up its place.
func TestIdleConnectionsMakeRoom(t *testing.T) {
	l := newLab(t, func(o *Options) { o.Connections = 3 })
	a, b, c := l.raw(t), l.raw(t), l.raw(t)
	for _, conn := range []net.Conn{a, b, c, a} { // b is idle for longest
		ask(t, conn)
	}
	client := l.client(t, ClientOptions{Wait: 500 * time.Millisecond})
	if _, err := client.Keys(t.Context()); err != nil {
		t.Fatalf("where all places are taken: %v", err)
	}
	if n, err := b.Read(make([]byte, 1)); n > 0 || !errors.Is(err, io.EOF) {
		t.Errorf("the one that was idle for longest: %d, %v", n, err)
	}
	ask(t, a)
	ask(t, c)
	for range 10 { // strangers come, and the client asks on
		ask(t, l.raw(t))
		if _, err := client.Signer(l.public(0)).Sign(nil, digest("x"), nil); err != nil {
			t.Fatal(err)
		}
	}
}

// A connection for which a signature is being made keeps its place.
func TestTooManyConnections(t *testing.T) {
	var module slow
	l := newLab(t, func(o *Options) {
		module = newSlow(o.Keys[0])
		o.Connections, o.Keys[0].Signer = 1, module
	})
	hold := l.raw(t)
	if _, err := hold.Write((&request{askSign, idOf(l.public(0)), [32]byte{1}}).append(nil)); err != nil {
		t.Fatal(err)
	}
	<-module.begun
	if _, err := l.client(t, ClientOptions{Wait: 500 * time.Millisecond}).Keys(t.Context()); !errs.Is(err, errs.TooMany) {
		t.Errorf("a second connection: %v", err)
	}
	close(module.let)
	if a, err := readAnswer(hold); err != nil || a.kind != saySigned {
		t.Errorf("the first: %+v, %v", a, err)
	}
	if _, err := l.client(t, ClientOptions{Wait: time.Minute}).Keys(t.Context()); err != nil {
		t.Errorf("once there is room: %v", err)
	}
}

// Who may not ask is told so, and takes no place from who may.
func TestStrangersTakeNoPlace(t *testing.T) {
	l := &lab{socket: filepath.Join(t.TempDir(), "s")}
	s, err := NewServer(Options{Keys: []Key{{"a", fakeKey()}}, Record: l.record, Users: []uint32{uint32(os.Geteuid()) + 1}, Connections: 1})
	if err != nil {
		t.Fatal(err)
	}
	s.place(&peer{signing: true})
	listener, err := Listen(l.socket, -1)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, listener) }()
	if _, err := l.client(t, ClientOptions{}).Keys(t.Context()); !errs.Is(err, errs.Forbidden) {
		t.Error(err)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// A module that hangs keeps the server neither from saying so nor from ending.
func TestAModuleThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		key := Key{"a", fakeKey()}
		module := newSlow(key)
		key.Signer = module
		recorded := 0
		s, err := NewServer(Options{Keys: []Key{key}, Record: func(Signing) error { recorded++; return nil }, Connections: 2})
		if err != nil {
			t.Fatal(err)
		}
		r := &request{askSign, idOf(fakeKey().PublicKey()), [32]byte{1}}
		for _, want := range []time.Duration{signLimit, signLimit, 0} { // the third finds all places at the module taken
			since := time.Now()
			a := s.sign(t.Context(), r, 0, 0)
			if took := time.Since(since); a.kind != sayNo || a.why != unavailable || took != want {
				t.Errorf("after %v: %+v", took, a)
			}
		}
		close(module.let)
		synctest.Wait()
		if a := s.sign(t.Context(), r, 0, 0); a.kind != saySigned || recorded != 1 {
			t.Errorf("when it is back: %+v, %d on record", a, recorded)
		}
	})
}

func TestEndingWhileAModuleHangs(t *testing.T) {
	var module slow
	l := newLab(t, func(o *Options) {
		module = newSlow(o.Keys[0])
		o.Keys[0].Signer = module
	})
	defer close(module.let)
	if _, err := l.raw(t).Write((&request{askSign, idOf(l.public(0)), [32]byte{1}}).append(nil)); err != nil {
		t.Fatal(err)
	}
	<-module.begun
	if err := l.stop(); err != nil {
		t.Error(err)
	}
	if l.recorded() > 0 {
		t.Error("a signature that was not made is on record")
	}
}

// Whoever connects just as the server ends is not left waiting.
func TestConnectingWhileItEnds(t *testing.T) {
	s, err := NewServer(Options{Keys: []Key{{"a", fakeKey()}}, Record: func(Signing) error { return nil }})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for range 20 {
		l := &lab{socket: filepath.Join(t.TempDir(), "s")}
		listener, err := Listen(l.socket, -1)
		if err != nil {
			t.Fatal(err)
		}
		conn := l.raw(t)
		if err := s.Serve(ctx, listener); err != nil {
			t.Fatal(err)
		}
		var slow net.Error
		if _, err := conn.Read(make([]byte, 1)); errors.As(err, &slow) && slow.Timeout() {
			t.Fatal("it is neither served nor closed")
		}
	}
}
