package gm

import (
	"bytes"
	"errors"
	"io"
	"runtime"
	"slices"
	"sync"
	"testing"
	"testing/iotest"

	"github.com/qiongdev/qiong/kit/errs"
)

func newSealer(t testing.TB, fill byte) *Sealer {
	t.Helper()
	s, err := NewSealer(bytes.Repeat([]byte{fill}, 16))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestKeySize(t *testing.T) {
	for _, n := range []int{0, 15, 24, 32} {
		if _, err := NewSealer(make([]byte, n)); !errs.Is(err, errs.Invalid) {
			t.Errorf("a key of %d bytes: %v", n, err)
		}
	}
}

func TestOpenRefusesEveryChange(t *testing.T) {
	s, plain, aad := newSealer(t, 1), []byte("法定代表人"), []byte("case/1")
	sealed := s.Seal(plain, aad)
	if len(sealed) != len(plain)+Overhead {
		t.Errorf("overhead is %d", len(sealed)-len(plain))
	}
	if got, err := s.Open(sealed, aad); err != nil || !bytes.Equal(got, plain) {
		t.Fatalf("Open = %q, %v", got, err)
	}
	refused := func(name string, s *Sealer, sealed, aad []byte) {
		t.Helper()
		if got, err := s.Open(sealed, aad); err == nil || got != nil || errs.As(err).Code != "gm.sealed" {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	refused("other key", newSealer(t, 2), sealed, aad)
	refused("other aad", s, sealed, []byte("case/2"))
	refused("longer", s, append(bytes.Clone(sealed), 0), aad)
	for i := range sealed {
		refused("cut", s, sealed[:i], aad)
		bad := bytes.Clone(sealed)
		bad[i] ^= 0x80
		refused("changed", s, bad, aad)
	}
	if bytes.Equal(sealed, s.Seal(plain, aad)) {
		t.Error("two seals are equal: the nonce repeats")
	}
}

func TestSealerIsSafeForConcurrentUse(t *testing.T) {
	s := newSealer(t, 1)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			plain := bytes.Repeat([]byte{byte(i)}, 1000)
			for range 50 {
				if got, err := s.Open(s.Seal(plain, nil), nil); err != nil || !bytes.Equal(got, plain) {
					t.Errorf("Open: %v", err)
				}
			}
		})
	}
	wg.Wait()
}

func sealStream(t testing.TB, s *Sealer, plain, aad []byte, step int) []byte {
	t.Helper()
	var out bytes.Buffer
	w, err := s.SealWriter(&out, aad)
	if err != nil {
		t.Fatal(err)
	}
	for part := range slices.Chunk(plain, step) {
		if n, err := w.Write(part); n != len(part) || err != nil {
			t.Fatalf("Write = %d, %v", n, err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func openStream(s *Sealer, sealed, aad []byte) ([]byte, error) {
	r, err := s.OpenReader(bytes.NewReader(sealed), aad)
	if err != nil {
		return nil, err
	}
	return io.ReadAll(r)
}

func pattern(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i * 31 >> 3)
	}
	return b
}

func TestStreamSizes(t *testing.T) {
	s, aad := newSealer(t, 1), []byte("upload/1")
	for _, n := range []int{0, 1, chunkSize - 1, chunkSize, chunkSize + 1, 2 * chunkSize, 3*chunkSize + 7} {
		plain := pattern(n)
		for _, step := range []int{1000, chunkSize, 1 << 20} {
			sealed := sealStream(t, s, plain, aad, step)
			chunks := max(1, (n+chunkSize-1)/chunkSize)
			if len(sealed) != 1+saltSize+n+chunks*tagSize {
				t.Errorf("%d bytes seal to %d", n, len(sealed))
			}
			if got, err := openStream(s, sealed, aad); err != nil || !bytes.Equal(got, plain) {
				t.Errorf("%d bytes in steps of %d: %d back, %v", n, step, len(got), err)
			}
			r, err := s.OpenReader(iotest.DataErrReader(iotest.HalfReader(bytes.NewReader(sealed))), aad)
			if err != nil {
				t.Fatal(err)
			}
			if n > 0 && step == 1000 {
				if err := iotest.TestReader(r, plain); err != nil {
					t.Errorf("%d bytes: %v", n, err)
				}
			}
		}
	}
}

func TestStreamRefusesEveryChange(t *testing.T) {
	s, aad := newSealer(t, 1), []byte("upload/1")
	const head, chunk = 1 + saltSize, chunkSize + tagSize
	whole := sealStream(t, s, pattern(3*chunkSize), aad, chunkSize)
	other := sealStream(t, s, pattern(3*chunkSize), aad, chunkSize)
	part := func(b []byte, i int) []byte { return b[head+i*chunk : head+(i+1)*chunk] }
	for name, sealed := range map[string][]byte{
		"nothing":                 {},
		"head only":               whole[:head],
		"cut in the head":         whole[:5],
		"cut after a chunk":       whole[:head+chunk],
		"cut after two":           whole[:head+2*chunk],
		"cut in a chunk":          whole[:head+chunk+9],
		"cut by a byte":           whole[:len(whole)-1],
		"a byte more":             append(bytes.Clone(whole), 0),
		"a chunk more":            append(bytes.Clone(whole), part(whole, 2)...),
		"reordered":               slices.Concat(whole[:head], part(whole, 1), part(whole, 0), part(whole, 2)),
		"repeated":                slices.Concat(whole[:head], part(whole, 0), part(whole, 0), part(whole, 2)),
		"dropped":                 slices.Concat(whole[:head], part(whole, 0), part(whole, 2)),
		"last first":              slices.Concat(whole[:head], part(whole, 2)),
		"another stream's chunk":  slices.Concat(whole[:head], part(whole, 0), part(other, 1), part(whole, 2)),
		"another stream's head":   slices.Concat(other[:head], whole[head:]),
		"sealed whole, not chunk": s.Seal(pattern(100), aad),
	} {
		got, err := openStream(s, sealed, aad)
		if err == nil || errs.As(err).Code != "gm.sealed" {
			t.Errorf("%s: %d bytes, %v", name, len(got), err)
		}
		if !bytes.HasPrefix(pattern(3*chunkSize), got) {
			t.Errorf("%s: gave out bytes that were not sealed there", name)
		}
	}
	if _, err := openStream(s, whole, []byte("upload/2")); err == nil {
		t.Error("opened with another aad")
	}
	for i := 0; i < len(whole); i += 1021 {
		bad := bytes.Clone(whole)
		bad[i] ^= 4
		if _, err := openStream(s, bad, aad); err == nil {
			t.Errorf("opened with byte %d changed", i)
		}
	}
	if _, err := s.Open(whole, aad); err == nil {
		t.Error("a stream opens as a whole")
	}
}

// A plaintext has one form only: an empty chunk after a full one would be a second form.
func TestStreamHasOneForm(t *testing.T) {
	s, salt := newSealer(t, 1), make([]byte, saltSize)
	st, err := s.newStream(salt, nil)
	if err != nil {
		t.Fatal(err)
	}
	sealed := append([]byte{sealedStream}, salt...)
	for _, text := range [][]byte{pattern(chunkSize), nil} {
		nonce, err := st.next(text == nil)
		if err != nil {
			t.Fatal(err)
		}
		sealed = st.aead.Seal(sealed, nonce, text, nil)
	}
	if _, err := openStream(s, sealed, nil); err == nil {
		t.Error("opened a stream that ends in an empty chunk")
	}
}

func TestStreamPassesFailuresOn(t *testing.T) {
	s, broken := newSealer(t, 1), errors.New("broken disk")
	if _, err := s.SealWriter(failing{broken}, nil); !errors.Is(err, broken) {
		t.Errorf("SealWriter: %v", err)
	}
	sealed := sealStream(t, s, pattern(chunkSize+1), nil, chunkSize)
	for _, good := range []int{0, 5, 100, 1 + saltSize + chunkSize + tagSize} {
		r, err := s.OpenReader(io.MultiReader(bytes.NewReader(sealed[:good]), iotest.ErrReader(broken)), nil)
		if err == nil {
			_, err = io.ReadAll(r)
		}
		if !errors.Is(err, broken) {
			t.Errorf("after %d bytes: %v", good, err)
		}
	}
	w, err := s.SealWriter(io.Discard, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(w.Close(), w.Close()); err != nil {
		t.Errorf("Close twice: %v", err)
	}
	if _, err := w.Write([]byte("x")); err == nil {
		t.Error("wrote after Close")
	}
}

type failing struct{ err error }

func (f failing) Write([]byte) (int, error) { return 0, f.err }

func TestStreamRunsInConstantMemory(t *testing.T) {
	s, block := newSealer(t, 1), make([]byte, chunkSize)
	const blocks = 256
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	r, w := io.Pipe()
	go func() {
		sw, err := s.SealWriter(w, nil)
		for i := 0; i < blocks && err == nil; i++ {
			_, err = sw.Write(block)
		}
		if err == nil {
			err = sw.Close()
		}
		w.CloseWithError(err)
	}()
	or, err := s.OpenReader(r, nil)
	if err != nil {
		t.Fatal(err)
	}
	if n, err := io.Copy(struct{ io.Writer }{io.Discard}, or); n != blocks*chunkSize || err != nil {
		t.Errorf("%d bytes, %v", n, err)
	}
	runtime.ReadMemStats(&after)
	if got := after.TotalAlloc - before.TotalAlloc; got > blocks*chunkSize/8 {
		t.Errorf("allocated %d bytes in all to pass %d through", got, blocks*chunkSize)
	}
}

func FuzzOpen(f *testing.F) {
	s := newSealer(f, 1)
	f.Add(s.Seal([]byte("x"), nil))
	f.Add(sealStream(f, s, []byte("x"), nil, 1))
	f.Fuzz(func(t *testing.T, sealed []byte) {
		whole, err := s.Open(sealed, nil)
		if err == nil && len(whole)+Overhead != len(sealed) {
			t.Fatalf("%d bytes open to %d", len(sealed), len(whole))
		}
		stream, err := openStream(s, sealed, nil)
		if err == nil && len(stream) >= len(sealed) {
			t.Fatalf("%d bytes open to %d", len(sealed), len(stream))
		}
	})
}

func BenchmarkSeal8K(b *testing.B) {
	s, plain := newSealer(b, 1), make([]byte, 8<<10)
	b.SetBytes(int64(len(plain)))
	for b.Loop() {
		s.Seal(plain, nil)
	}
}
