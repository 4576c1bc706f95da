package lease

import (
	"net/http/httptest"
	"testing"
	"time"
)

// What it costs to ask before each acknowledged batch.
func BenchmarkValid(b *testing.B) {
	c, err := Alone(b.Context(), b.TempDir(), "house")
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	h, err := c.Acquire(b.Context(), "shard")
	if err != nil {
		b.Fatal(err)
	}
	c.forever = false // so that the clock is read
	h.until.Store(int64(machineClock() + time.Hour))
	for b.Loop() {
		if !h.Valid() {
			b.Fatal("lost")
		}
	}
}

// What a renewal costs one voter and its holder together, over HTTP, signed.
func BenchmarkRenewOverHTTP(b *testing.B) {
	v, err := OpenVoter(b.Context(), VoterOptions{Store: &memory{all: map[string]Record{}}})
	if err != nil {
		b.Fatal(err)
	}
	voter, a := newKey(b), newKey(b)
	server := httptest.NewServer(NewHandler(v, "v", voter, Keys{"a": public(b, a)}))
	defer server.Close()
	p := NewRemote("v", server.URL, public(b, voter), a, server.Client())
	seq := uint64(0)
	for b.Loop() {
		seq++
		if _, err := p.Ask(b.Context(), accept(1, "a/1", 1, seq)); err != nil {
			b.Fatal(err)
		}
	}
}

// What it costs to take a replica in sync or out, with three voters on this disk.
func BenchmarkSetInSync(b *testing.B) {
	var peers []Peer
	for _, name := range []string{"v1", "v2", "v3"} {
		files, err := OpenFiles(b.TempDir(), true)
		if err != nil {
			b.Fatal(err)
		}
		defer files.Close()
		v, err := OpenVoter(b.Context(), VoterOptions{Store: files})
		if err != nil {
			b.Fatal(err)
		}
		peers = append(peers, v.Peer(name, "a"))
	}
	c, err := NewClient(Options{Me: "a", Voters: peers})
	if err != nil {
		b.Fatal(err)
	}
	h, err := c.Acquire(b.Context(), "shard")
	if err != nil {
		b.Fatal(err)
	}
	sets := [][]string{{"a"}, {"a", "b"}}
	for i := 0; b.Loop(); i++ {
		if err := h.SetInSync(b.Context(), sets[i%2]...); err != nil {
			b.Fatal(err)
		}
	}
	if err := h.Release(b.Context()); err != nil {
		b.Fatal(err)
	}
}
