package wal

import (
	"context"
	"fmt"
	"net"
	"testing"
)

// shipped connects a leader and a standby, and returns what ends the connection.
func shipped(t *testing.T, l *Log, b *Standby, name string) (end func()) {
	t.Helper()
	here, there := net.Pipe()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 2)
	go func() { ended <- l.Ship(ctx, here, name) }()
	go func() { ended <- b.Follow(ctx, there) }()
	return func() {
		cancel()
		for range 2 {
			if err := <-ended; err == nil {
				t.Error("a connection ended without an error")
			}
		}
	}
}

func standby(t *testing.T, dir string) *Standby {
	t.Helper()
	b, err := OpenStandby(dir, Options{SegmentBytes: 8 << 10})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close() })
	return b
}

func write(t *testing.T, l *Log, n int, word string) {
	t.Helper()
	for i := range n {
		if _, err := l.Write(t.Context(), fmt.Appendf(nil, "%s %d", word, i)); err != nil {
			t.Fatal(err)
		}
	}
}

func TestShip(t *testing.T) {
	dir, other := t.TempDir(), t.TempDir()
	l, b := openLog(t, dir, Options{Generation: 1}), standby(t, other)
	write(t, l, 300, "before")
	end := shipped(t, l, b, "b")
	l.Require("b")
	write(t, l, 300, "after")
	if b.Last() != 600 {
		t.Fatalf("the standby has %d", b.Last())
	}
	if err := b.Wait(t.Context(), 600); err != nil {
		t.Fatal(err)
	}
	n := uint64(0)
	for r, err := range b.Read(0) {
		if n++; err != nil || r.LSN != n {
			t.Fatal(r, n, err)
		}
	}
	if n != 600 {
		t.Fatal(n)
	}
	end()
}
