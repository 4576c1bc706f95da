package signer

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/qiongdev/qiong/kit/gm"
)

// The test binary is also a signer in a process of its own: a right one, or a module with a fault.
const faultEnv = "QIONG_TEST_SIGNER"

func TestMain(m *testing.M) {
	if fault := os.Getenv(faultEnv); fault != "" {
		fake(fault, os.Args[1])
	}
	os.Exit(m.Run())
}

// fakeKey is the key of every process here, so that it is the same after a restart.
func fakeKey() *gm.PrivateKey {
	scalar := make([]byte, 32)
	scalar[31] = 77
	k, err := gm.NewPrivateKey(scalar)
	if err != nil {
		panic(err)
	}
	return k
}

// fake is a second implementation of the protocol, in a few lines and without the code of the first: with a fault.
func fake(fault, socket string) {
	_ = os.Remove(socket)
	l, err := net.Listen("unix", socket)
	if err != nil {
		panic(err)
	}
	fmt.Println("listening")
	key := fakeKey()
	for {
		conn, err := l.Accept()
		if err != nil {
			panic(err)
		}
		go func() {
			defer conn.Close()
			for {
				head := make([]byte, 4)
				if _, err := io.ReadFull(conn, head); err != nil {
					return
				}
				p := make([]byte, binary.BigEndian.Uint32(head))
				if _, err := io.ReadFull(conn, p); err != nil || p[1] != 2 {
					return
				}
				if _, err := conn.Write(fakeAnswer(fault, key, p[10:])); err != nil || fault == "closes mid-frame" {
					return
				}
			}
		}()
	}
}

// fakeAnswer signs a digest, rightly or not.
func fakeAnswer(fault string, key *gm.PrivateKey, e []byte) []byte {
	der, err := key.Sign(nil, e, nil)
	if err != nil {
		panic(err)
	}
	sig, _ := toNumbers(der)
	whole := append([]byte{0, 0, 0, 66, 1, 0x82}, sig[:]...)
	switch fault {
	case "none":
	case "signs another digest":
		other := gm.SM3(e)
		return fakeAnswer("none", key, other[:])
	case "signs with another key":
		other, _ := gm.GenerateKey()
		return fakeAnswer("none", other, e)
	case "signs nought":
		clear(whole[6:])
	case "is slow":
		select {}
	case "closes mid-frame":
		return whole[:20]
	case "speaks of another length":
		binary.BigEndian.PutUint32(whole, 1<<30)
	case "speaks another version":
		whole[4] = 9
	case "answers what nobody asked":
		return []byte{0, 0, 0, 4, 1, 0x81, 0, 0}
	case "gives an unknown reason":
		return []byte{0, 0, 0, 7, 1, 0xff, 200, 0, 0, 0, 0}
	default:
		panic(fault)
	}
	return whole
}

// process is a signer that runs apart and can be killed.
type process struct {
	t      testing.TB
	fault  string
	socket string
	cmd    *exec.Cmd
}

func newProcess(t testing.TB, fault string) *process {
	p := &process{t: t, fault: fault, socket: filepath.Join(t.TempDir(), "s")}
	p.start()
	t.Cleanup(p.kill)
	return p
}

func (p *process) start() {
	p.t.Helper()
	p.cmd = exec.Command(os.Args[0], p.socket)
	p.cmd.Env = append(os.Environ(), faultEnv+"="+p.fault)
	p.cmd.Stderr = os.Stderr
	out, err := p.cmd.StdoutPipe()
	if err == nil {
		err = p.cmd.Start()
	}
	if err != nil {
		p.t.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != "listening\n" {
		p.t.Fatalf("%q, %v", line, err)
	}
}

func (p *process) kill() {
	if p.cmd != nil {
		_ = p.cmd.Process.Kill() // it may have ended
		_ = p.cmd.Wait()         // it was killed
		p.cmd = nil
	}
}

// lab is a server in this process.
type lab struct {
	socket string
	keys   []Key
	stop   func() error

	mu       sync.Mutex
	signings []Signing
	broken   error // of the record
}

func (l *lab) record(s Signing) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.broken == nil {
		l.signings = append(l.signings, s)
	}
	return l.broken
}

func (l *lab) recorded() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.signings)
}

// newLab serves keys called a and b, with what change sets.
func newLab(t testing.TB, change func(*Options)) *lab {
	t.Helper()
	l := &lab{socket: filepath.Join(t.TempDir(), "s")}
	for _, name := range []string{"a", "b"} {
		k, err := gm.GenerateKey()
		if err != nil {
			t.Fatal(err)
		}
		l.keys = append(l.keys, Key{name, k})
	}
	o := Options{Keys: l.keys, Record: l.record}
	if change != nil {
		change(&o)
	}
	s, err := NewServer(o)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := Listen(l.socket, -1)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, listener) }()
	l.stop = sync.OnceValue(func() error {
		cancel()
		return <-done
	})
	t.Cleanup(func() {
		if err := l.stop(); err != nil {
			t.Error(err)
		}
	})
	return l
}

func (l *lab) public(i int) *gm.PublicKey { return l.keys[i].Signer.Public().(*gm.PublicKey) }

func (l *lab) client(t testing.TB, o ClientOptions) *Client {
	c := NewClient(l.socket, o)
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// raw is a connection on which a test writes bytes.
func (l *lab) raw(t testing.TB) net.Conn {
	t.Helper()
	conn, err := net.Dial("unix", l.socket)
	if err != nil {
		t.Fatal(err)
	}
	if err := conn.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}
