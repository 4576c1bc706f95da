package signer

import (
	"context"
	"crypto"
	"crypto/rand"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/gm"
)

// Options say what a server signs with, for whom and how often.
type Options struct {
	Keys        []Key
	Users       []uint32 // ids of the users whose processes may ask; default the one that this process runs as
	Rate        int      // signatures a second of each key; 0 for any
	Connections int      // at once at most; default 32. Where all are taken, the one that is idle for longest is closed

	// Record is told of every signature before it leaves: where it fails, the signature does not. Required.
	Record func(Signing) error
	Now    func() time.Time
	Log    *slog.Logger
}

// Signing is a signature that was made.
type Signing struct {
	Time   time.Time
	Key    string // its name
	KeyID  string // gm.KeyID
	Digest [32]byte
	User   uint32 // who asked
	PID    int32
}

// Server signs for the processes of this machine that may ask.
type Server struct {
	o    Options
	keys []Public
	held map[keyID]*held
	work chan struct{} // a place for each signature that is being made

	mu    sync.Mutex
	peers []*peer // that are connected, the one that is idle for longest first
}

// held is a key that is served.
type held struct {
	Key
	mu     sync.Mutex
	bucket bucket
}

const (
	frameLimit = 5 * time.Second // for a frame once it has begun, and for sending one
	idleLimit  = 5 * time.Minute // for the next request
	signLimit  = 10 * time.Second
)

// NewServer returns a server.
func NewServer(o Options) (*Server, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if len(o.Users) == 0 {
		o.Users = []uint32{uint32(os.Geteuid())}
	}
	if o.Connections == 0 {
		o.Connections = 32
	}
	if o.Record == nil || o.Rate < 0 || o.Connections < 1 || len(o.Keys) == 0 || len(o.Keys) > maxKeys {
		return nil, errs.Newf(errs.Invalid, "须有 1 至 %d 把密钥与记录处，上限不得为负", "there are 1 to %d keys and a record, and no limit is negative", maxKeys)
	}
	s := &Server{o: o, held: map[keyID]*held{}, work: make(chan struct{}, o.Connections)}
	for _, k := range o.Keys {
		if err := checkName(k.Name); err != nil {
			return nil, err
		}
		pub, err := gm.PublicKeyOf(k.Signer.Public())
		if err != nil {
			return nil, err
		}
		id := idOf(pub)
		if s.held[id] != nil {
			return nil, errs.New(errs.Invalid, "同一把密钥出现两次", "a key stands there twice")
		}
		s.held[id] = &held{Key: k, bucket: bucket{rate: float64(o.Rate)}}
		s.keys = append(s.keys, Public{k.Name, pub})
	}
	return s, nil
}

// Serve serves until ctx ends, and closes the listener. It returns when nothing runs any more but a Sign that hangs, whose
// signature nobody gets.
func (s *Server) Serve(ctx context.Context, l *Listener) error {
	var all sync.WaitGroup
	defer all.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	closed := make(chan error, 1)
	stop := context.AfterFunc(ctx, func() { closed <- l.Close() })
	defer stop()
	for {
		conn, err := l.AcceptUnix()
		if ctx.Err() != nil {
			if err == nil {
				_ = conn.Close() // nothing was asked on it
			}
			return <-closed
		}
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				return err
			}
			s.o.Log.Warn("a connection could not be taken", "err", err)
			select {
			case <-ctx.Done():
			case <-time.After(100 * time.Millisecond): // such as too many open files
			}
			continue
		}
		all.Go(func() { s.take(ctx, conn) })
	}
}

// take serves a connection, or says why not.
func (s *Server) take(ctx context.Context, conn *net.UnixConn) {
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	defer conn.Close()
	uid, pid, err := peerOf(conn)
	if err != nil || !slices.Contains(s.o.Users, uid) {
		s.o.Log.Warn("somebody who may not has asked", "user", uid, "pid", pid, "err", err)
		s.refuse(conn, forbidden, 0)
		return
	}
	p := &peer{UnixConn: conn, uid: uid, pid: pid}
	if !s.place(p) {
		s.refuse(conn, tooMany, 100*time.Millisecond)
		return
	}
	defer s.leave(p)
	for {
		if err := s.answer(ctx, p); err != nil {
			if !errors.Is(err, io.EOF) && ctx.Err() == nil && !errors.Is(err, net.ErrClosed) {
				s.o.Log.Warn("a connection was ended", "user", uid, "pid", pid, "err", err)
			}
			return
		}
	}
}

// answer reads a request and answers it. What is not of the protocol ends the connection.
func (s *Server) answer(ctx context.Context, conn *peer) error {
	if err := conn.SetReadDeadline(time.Now().Add(idleLimit)); err != nil {
		return err
	}
	p, err := readFrame(&begun{UnixConn: conn.UnixConn}, maxRequest)
	if errors.Is(err, errFrame) {
		s.refuse(conn.UnixConn, malformed, 0)
	}
	if err != nil {
		return err
	}
	r, err := parseRequest(p)
	if err != nil {
		why := malformed
		if errors.Is(err, errVersion) {
			why = otherForm
		}
		s.refuse(conn.UnixConn, why, 0)
		return err
	}
	a := &answer{kind: sayKeys, keys: s.keys}
	if r.kind == askSign {
		s.mark(conn, true)
		a = s.sign(ctx, &r, conn.uid, conn.pid)
	}
	s.mark(conn, false)
	return s.send(conn.UnixConn, a)
}

// begun gives a frame that has begun little time to end.
type begun struct {
	*net.UnixConn
	has bool
}

func (b *begun) Read(p []byte) (int, error) {
	n, err := b.UnixConn.Read(p)
	if err == nil && !b.has {
		b.has, err = true, b.SetReadDeadline(time.Now().Add(frameLimit))
	}
	return n, err
}

// sign signs, has it on record, and only then gives the signature out.
func (s *Server) sign(ctx context.Context, r *request, uid uint32, pid int32) *answer {
	no := func(why reason, wait time.Duration) *answer { return &answer{kind: sayNo, why: why, wait: wait} }
	k := s.held[r.key]
	if k == nil {
		return no(noKey, 0)
	}
	now := s.o.Now()
	k.mu.Lock()
	wait := k.bucket.take(now)
	k.mu.Unlock()
	if wait > 0 {
		s.o.Log.Warn("a key is asked too often", "key", k.Name, "user", uid, "pid", pid)
		return no(tooMany, wait)
	}
	der, err := s.signed(ctx, k.Signer, r.digest)
	sig, ok := toNumbers(der)
	if err != nil || !ok {
		s.o.Log.Error("a key could not sign", "key", k.Name, "err", err)
		if kind := errs.KindOf(err); err != nil && (kind == errs.Unavailable || kind == errs.Timeout) {
			return no(unavailable, 0)
		}
		return no(failed, 0)
	}
	if err := s.o.Record(Signing{now, k.Name, r.key.String(), r.digest, uid, pid}); err != nil {
		s.o.Log.Error("a signature could not be put on record and was not given out", "key", k.Name, "err", err)
		return no(unavailable, 0)
	}
	return &answer{kind: saySigned, sig: sig}
}

// signed has a key sign, and leaves one that hangs behind: no more of those than there are connections.
func (s *Server) signed(ctx context.Context, key crypto.Signer, digest [32]byte) (der []byte, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, signLimit, errs.New(errs.Timeout, "密钥未在限时内签名", "the key did not sign in time"))
	defer cancel()
	select {
	case s.work <- struct{}{}:
	default:
		return nil, errs.New(errs.Unavailable, "未完成的签名过多", "too many signatures are under way")
	}
	type result struct {
		der []byte
		err error
	}
	done := make(chan result, 1)
	go func() {
		defer func() { <-s.work }()
		der, err := key.Sign(rand.Reader, digest[:], crypto.Hash(0))
		done <- result{der, err}
	}()
	select {
	case r := <-done:
		return r.der, r.err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

func (s *Server) send(conn *net.UnixConn, a *answer) error {
	if err := conn.SetWriteDeadline(time.Now().Add(frameLimit)); err != nil {
		return err
	}
	_, err := conn.Write(a.append(nil))
	return err
}

// refuse says no before a connection is closed.
func (s *Server) refuse(conn *net.UnixConn, why reason, wait time.Duration) {
	_ = s.send(conn, &answer{kind: sayNo, why: why, wait: wait}) // whoever sends nonsense may not listen either
}
