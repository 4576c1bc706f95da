package postgres

import (
	"io"
	"net"
	"sync"
	"testing"
	"time"
)

// Whether another goroutine is reading or not, a connection is quiet until something comes, and ends.
func TestStirred(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for name, reading := range map[string]bool{"nobody reads": false, "somebody reads": true} {
		t.Run(name, func(t *testing.T) {
			c, err := net.Dial("tcp", l.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			server, err := l.Accept()
			if err != nil {
				t.Fatal(err)
			}
			defer server.Close()
			var wg sync.WaitGroup
			defer wg.Wait()
			if reading {
				wg.Go(func() { _, _ = io.Copy(io.Discard, c) })
				<-time.After(50 * time.Millisecond) // it is in its read by now
			}
			if stirred(c) {
				t.Error("it is quiet")
			}
			if !reading {
				if _, err := server.Write([]byte("E")); err != nil {
					t.Fatal(err)
				}
				soon(t, c)
				if n, err := c.Read(make([]byte, 2)); n != 1 || err != nil {
					t.Errorf("what came was taken: %d, %v", n, err)
				}
			}
			if err := server.Close(); err != nil {
				t.Fatal(err)
			}
			soon(t, c)
			if err := c.Close(); err != nil {
				t.Fatal(err)
			}
			if !stirred(c) {
				t.Error("a closed connection is quiet")
			}
		})
	}
}

func soon(t *testing.T, c net.Conn) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !stirred(c); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it stays quiet")
		}
	}
}
