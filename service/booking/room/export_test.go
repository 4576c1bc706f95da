package room

import (
	"bytes"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/qiongdev/qiong/kit/errs"
)

// lived returns a room in which everything has happened.
func lived(t testing.TB) *Room {
	t.Helper()
	r := filled(t, 40, func(c *Config) { c.Inlet = Inlet{Start: 10, Ceiling: 10, Hold: 2 * time.Second}; c.Limit = 1000 })
	must(t, r.Leave(5))
	open(t, r, []byte("beacon"))
	for i := range 10 {
		join(t, r, opens.Add(time.Duration(i)*time.Second), 100+i)
	}
	for i := range 4 {
		for j, n := range r.Admit(opens.Add(time.Duration(i)*time.Second), Signal{Stock: 100}) {
			if j%2 == 0 {
				must(t, r.Use(n))
			}
		}
	}
	must(t, r.Leave(41))
	return r
}

func TestRestoreGoesOn(t *testing.T) {
	r := lived(t)
	states := map[State]int{}
	for _, p := range r.places {
		states[p.state]++
	}
	for _, s := range []State{Waiting, Admitted, Used, Expired, Left} {
		if states[s] == 0 {
			t.Errorf("the test has no place that is %v: %v", s, states)
		}
	}
	again, err := Restore(r.cfg, r.Export())
	must(t, err)
	if !bytes.Equal(again.Export(), r.Export()) || !slices.Equal(again.Draw().Order(), r.Draw().Order()) {
		t.Fatal("what was restored is another room")
	}
	again.inlet = r.inlet
	now := opens.Add(4 * time.Second)
	for i, p := range r.places {
		if a, b := status(t, again, now, uint32(i+1)), status(t, r, now, uint32(i+1)); a != b {
			t.Errorf("number %d, %v: %+v, was %+v", i+1, p.state, a, b)
		}
	}
	if a, b := everyone(again, now), everyone(r, now); len(a) == 0 || !slices.Equal(a, b) {
		t.Errorf("%v went in, want %v", a, b)
	}
}

func TestRestoreRefuses(t *testing.T) {
	r := lived(t)
	export := r.Export()
	for name, c := range map[string]struct {
		change func(*Config)
		export []byte
	}{
		"nothing":         {func(*Config) {}, nil},
		"another sale":    {func(c *Config) { c.Sale = "x" }, export},
		"another seed":    {func(c *Config) { c.Seed[0]++ }, export},
		"another key":     {func(c *Config) { c.Key = []byte("another key of a house") }, export},
		"another opening": {func(c *Config) { c.Opens = opens.Add(time.Second) }, export},
		"cut":             {func(*Config) {}, export[:len(export)-1]},
		"longer":          {func(*Config) {}, append(bytes.Clone(export), 0)},
	} {
		cfg := r.cfg
		c.change(&cfg)
		if _, err := Restore(cfg, c.export); !errs.Is(err, errs.Invalid) || errs.As(err).Code != "room.export" {
			t.Errorf("%s: %v", name, err)
		}
	}
	for i := range export {
		bad := bytes.Clone(export)
		bad[i] ^= 1
		if _, err := Restore(r.cfg, bad); err == nil {
			t.Fatalf("with byte %d changed it is restored", i)
		}
	}
}

// The list of a sale that is over is the one that was published.
func TestWriteList(t *testing.T) {
	r := lived(t)
	var list bytes.Buffer
	must(t, WriteList(&list, r.cfg.Key, r.cfg.Sale, r.Export()))
	if !bytes.Equal(list.Bytes(), publish(t, r.Draw())) {
		t.Errorf("another list:\n%s", list.Bytes())
	}
	early := filled(t, 3, nil).Export()
	changed := r.Export()
	changed[20] ^= 1
	for name, c := range map[string]struct {
		key    []byte
		sale   string
		export []byte
		code   string
	}{
		"before the opening": {r.cfg.Key, r.cfg.Sale, early, "room.open"},
		"changed":            {r.cfg.Key, r.cfg.Sale, changed, "room.export"},
		"of another sale":    {r.cfg.Key, "x", r.Export(), "room.export"},
		"of another house":   {[]byte("another key of a house"), r.cfg.Sale, r.Export(), "room.export"},
		"nothing":            {r.cfg.Key, r.cfg.Sale, nil, "room.export"},
	} {
		list.Reset()
		if err := WriteList(&list, c.key, c.sale, c.export); err == nil || errs.As(err).Code != c.code || list.Len() > 0 {
			t.Errorf("%s: %v, %d bytes", name, err, list.Len())
		}
	}
}

// Whatever a body with a true MAC says, Restore refuses it or makes a sound room.
func FuzzRestore(f *testing.F) {
	drawn := lived(f)
	closed := filled(f, 5, func(c *Config) { c.Limit = 1000 })
	must(f, closed.Leave(2))
	fresh := closed.Export()
	_, err := closed.Close(opens)
	must(f, err)
	join(f, closed, opens, 7)
	for _, e := range [][]byte{drawn.Export(), closed.Export(), fresh} {
		f.Add(e[:len(e)-32])
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		tag := drawn.tokens.exportMAC(body)
		export := append(bytes.Clone(body), tag[:]...)
		var list, want bytes.Buffer
		listed := WriteList(&list, drawn.cfg.Key, drawn.cfg.Sale, export)
		r, err := Restore(drawn.cfg, export)
		if err != nil {
			return
		}
		if l := r.List(); l != nil {
			_, _ = l.WriteTo(&want)
		}
		if (listed == nil) != (r.List() != nil) || !bytes.Equal(list.Bytes(), want.Bytes()) {
			t.Fatalf("the list is %q, want %q: %v", list.Bytes(), want.Bytes(), listed)
		}
		again, err := Restore(drawn.cfg, r.Export())
		if err != nil || !bytes.Equal(again.Export(), r.Export()) {
			t.Fatalf("it is not restored twice: %v", err)
		}
		everyone(r, opens.Add(time.Hour))
		for i, p := range r.places {
			_, _ = r.Status(opens, uint32(i+1))
			if p.state == Waiting && r.draw != nil {
				t.Fatalf("number %d is never let in", i+1)
			}
		}
	})
}

// A million people: what their places take, and what the steps of an opening do.
func BenchmarkMillion(b *testing.B) {
	const n = 1_000_000
	for b.Loop() {
		before := heapBytes()
		r := newRoom(b, nil)
		timed(b, "join-ns", n, func() {
			for i := range n {
				_, _ = r.Join(opens.Add(-time.Minute), person(i))
			}
		})
		l, err := r.Close(opens)
		must(b, err)
		var tree *Tree
		timed(b, "tree-ns", n, func() { tree = l.Tree() })
		var d *Draw
		timed(b, "draw-ns", n, func() { d, err = tree.Draw(nil) })
		must(b, err)
		timed(b, "begin-ns", n, func() { must(b, r.Begin(d)) })
		timed(b, "status-ns", n, func() {
			for i := range uint32(n) {
				_, _ = r.Status(opens, i+1)
			}
		})
		timed(b, "prove-ns", 1000, func() {
			for i := range uint32(1000) {
				_, _ = tree.Prove(i*997 + 1)
			}
		})
		b.ReportMetric(float64(heapBytes()-before)/n, "B/place")
		export := r.Export()
		b.ReportMetric(float64(len(export))/n, "export-B/place")
		timed(b, "restore-ns", n, func() { _, err = Restore(r.cfg, export) })
		must(b, err)
		runtime.KeepAlive(r)
	}
}

func timed(b *testing.B, name string, n int, f func()) {
	start := time.Now()
	f()
	b.ReportMetric(float64(time.Since(start).Nanoseconds())/float64(n), name)
}

func heapBytes() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
