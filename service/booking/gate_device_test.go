package booking

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/gm"
	"github.com/qiongdev/qiong/service/booking/ticket"
)

// workbench is a gate's folder, with a key of its own.
type workbench struct {
	dir  string
	key  *gm.PrivateKey
	now  time.Time
	told []string
}

func newWorkbench(t testing.TB) *workbench {
	t.Helper()
	key, err := gm.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	w := &workbench{dir: t.TempDir(), key: key, now: time.Unix(1_790_000_000, 0)}
	if err := os.WriteFile(w.file("keys.pem"), key.PublicKey().PEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *workbench) file(name string) string { return filepath.Join(w.dir, name) }

func (w *workbench) open() (*device, error) {
	return openDevice(deviceConfig{spot: 7, journal: w.file("journal"), keys: w.file("keys.pem"), revoked: w.file("revoked"), now: w.now,
		warn: func(err error) { w.told = append(w.told, errs.As(err).Error()) }})
}

func (w *workbench) mustOpen(t testing.TB) *device {
	t.Helper()
	d, err := w.open()
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func (w *workbench) code(t testing.TB, booking uint64, party uint16) string {
	t.Helper()
	start := w.now.Truncate(time.Minute).Add(-time.Hour)
	code, err := ticket.Sign(w.key, ticket.Ticket{Booking: booking, Spot: 7, Party: party, From: start, Until: start.Add(3 * time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	return code
}

func enterAt(t testing.TB, d *device, w *workbench, code string) ticket.Reason {
	t.Helper()
	decision, err := d.enter(code, 0, w.now)
	if err != nil {
		t.Fatal(err)
	}
	return decision.Reason
}

func closeDevice(t testing.TB, d *device) {
	t.Helper()
	if err := d.close(); err != nil {
		t.Fatal(err)
	}
}

// A power cut leaves any part of the last write, or a file of the right length with something else in it. The gate opens,
// forgets nothing that it had said yes to, and goes on in the same journal.
func TestAJournalThatAPowerCutTore(t *testing.T) {
	w := newWorkbench(t)
	d := w.mustOpen(t)
	first, second := w.code(t, 1, 1), w.code(t, 2, 1)
	for _, code := range []string{first, second} {
		if r := enterAt(t, d, w, code); r != ticket.OK {
			t.Fatal(r)
		}
	}
	closeDevice(t, d)
	whole, err := os.ReadFile(w.file("journal"))
	if err != nil {
		t.Fatal(err)
	}
	last := ticket.HeadSize + ticket.EntrySize
	var torn [][]byte
	for cut := range ticket.EntrySize {
		torn = append(torn, whole[:last+cut], append(bytes.Clone(whole[:last+cut]), make([]byte, ticket.EntrySize-cut)...))
	}
	for i, data := range torn {
		if err := os.WriteFile(w.file("journal"), data, 0o600); err != nil {
			t.Fatal(err)
		}
		d := w.mustOpen(t)
		if a, b, c := enterAt(t, d, w, first), enterAt(t, d, w, second), enterAt(t, d, w, second); a != ticket.Entered || b != ticket.OK || c != ticket.Entered {
			t.Errorf("%d: %v, %v, %v", i, a, b, c)
		}
		closeDevice(t, d)
		again, err := os.ReadFile(w.file("journal"))
		if err != nil || !bytes.Equal(again, whole) { // the same times, and so the same bytes
			t.Errorf("%d: the journal is %d bytes, %v", i, len(again), err)
		}
	}
	for cut := range ticket.HeadSize { // before the first entry nobody heard yes
		if err := os.WriteFile(w.file("journal"), whole[:cut], 0o600); err != nil {
			t.Fatal(err)
		}
		d := w.mustOpen(t)
		if r := enterAt(t, d, w, first); r != ticket.OK {
			t.Errorf("a head of %d bytes: %v", cut, r)
		}
		closeDevice(t, d)
	}
}

func TestADamagedJournalIsRefusedWithThePlace(t *testing.T) {
	w := newWorkbench(t)
	d := w.mustOpen(t)
	for n := range uint64(3) {
		enterAt(t, d, w, w.code(t, n+1, 1))
	}
	closeDevice(t, d)
	data, err := os.ReadFile(w.file("journal"))
	if err != nil {
		t.Fatal(err)
	}
	place := ticket.HeadSize + ticket.EntrySize
	data[place+9] ^= 1
	if err := os.WriteFile(w.file("journal"), data, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := w.open(); err == nil || errs.As(err).Code != "ticket.journal" || errs.As(err).Offset != int64(place) {
		t.Errorf("%v", err)
	}
	if left, err := os.ReadFile(w.file("journal")); err != nil || !bytes.Equal(left, data) {
		t.Errorf("it was changed: %v", err)
	}
}

func TestOneProcessAGate(t *testing.T) {
	w := newWorkbench(t)
	d := w.mustOpen(t)
	if _, err := w.open(); !errs.Is(err, errs.Conflict) {
		t.Errorf("a second gate on the journal: %v", err)
	}
	closeDevice(t, d)
	closeDevice(t, w.mustOpen(t))
}

// When the disk fails nobody enters, then or later, since nobody knows what is on it.
func TestADiskThatFails(t *testing.T) {
	w := newWorkbench(t)
	d := w.mustOpen(t)
	if r := enterAt(t, d, w, w.code(t, 1, 1)); r != ticket.OK {
		t.Fatal(r)
	}
	closeDevice(t, d)
	readOnly, err := os.Open(w.file("journal"))
	if err != nil {
		t.Fatal(err)
	}
	d.file = readOnly
	code := w.code(t, 2, 1)
	for range 2 {
		if decision, err := d.enter(code, 0, w.now); err == nil || decision.People != 0 {
			t.Errorf("%+v, %v", decision, err)
		}
	}
	closeDevice(t, d)
	d = w.mustOpen(t)
	if r := enterAt(t, d, w, code); r != ticket.OK {
		t.Errorf("after a restart: %v", r)
	}
	closeDevice(t, d)
}

func TestFilesThatOthersReplace(t *testing.T) {
	w := newWorkbench(t)
	d := w.mustOpen(t)
	defer closeDevice(t, d)
	gone, stays := w.code(t, 1, 1), w.code(t, 2, 1)
	list := func(key *gm.PrivateKey, since uint64, bookings ...uint64) []byte {
		t.Helper()
		b, err := ticket.SignRevocations(key, 7, since, bookings)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	put := func(name string, data []byte) {
		t.Helper()
		if err := replaceFile(w.file(name), data); err != nil {
			t.Fatal(err)
		}
	}
	check := func(code string) ticket.Reason { d.refresh(); return d.gate.Check(code, w.now).Reason }
	if r := check(gone); r != ticket.OK || len(w.told) > 0 {
		t.Fatalf("before there is a file: %v, %v", r, w.told)
	}
	put("revoked", append(list(w.key, 0, 1), list(w.key, 1, 5, 6)...))
	if r := check(gone); r != ticket.Revoked || d.gate.RevokedUpTo() != 3 {
		t.Errorf("%v, %d", r, d.gate.RevokedUpTo())
	}
	put("revoked", list(w.key, 9, 2))
	if r := check(stays); r != ticket.OK || len(w.told) != 1 || !strings.Contains(w.told[0], "missing") {
		t.Errorf("a list with a gap: %v, %q", r, w.told)
	}
	check(stays)
	if len(w.told) != 1 {
		t.Errorf("told again: %q", w.told)
	}
	other := newWorkbench(t)
	put("revoked", append(list(w.key, 0, 1, 5, 6), list(other.key, 3, 2)...))
	if r := check(stays); r != ticket.OK || len(w.told) != 2 {
		t.Errorf("a list of another key: %v, %q", r, w.told)
	}
	put("keys.pem", append(w.key.PublicKey().PEM(), other.key.PublicKey().PEM()...))
	if r := check(stays); r != ticket.Revoked {
		t.Errorf("once the key is known: %v, %q", r, w.told)
	}
	if err := os.Remove(w.file("keys.pem")); err != nil {
		t.Fatal(err)
	}
	check(stays)
	check(stays)
	if r := check(w.code(t, 3, 1)); r != ticket.OK || len(w.told) != 3 {
		t.Errorf("a file of keys that is gone: %v, %q", r, w.told)
	}
}

func FuzzSplitLists(f *testing.F) {
	key, err := gm.GenerateKey()
	if err != nil {
		f.Fatal(err)
	}
	one, err := ticket.SignRevocations(key, 7, 0, []uint64{1, 2})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(one)
	f.Add(append(bytes.Clone(one), one...))
	f.Add(binary.BigEndian.AppendUint32(bytes.Repeat([]byte{0xff}, 20), 1<<32-1))
	f.Fuzz(func(t *testing.T, data []byte) {
		lists, err := splitLists(data)
		if joined := bytes.Join(lists, nil); !bytes.HasPrefix(data, joined) || (err == nil) != (len(joined) == len(data)) {
			t.Fatalf("%d lists of %d bytes from %d, %v", len(lists), len(joined), len(data), err)
		}
		for _, l := range lists {
			_ = upTo([][]byte{l})
		}
		ofSpot(lists, 7)
	})
}

// BenchmarkGate is what a gate does for a code: verifying alone, and with the entry on the disk.
func BenchmarkGate(b *testing.B) {
	w := newWorkbench(b)
	codes := make([]string, 512)
	for i := range codes {
		codes[i] = w.code(b, uint64(i), 1<<16-1)
	}
	b.Run("verify", func(b *testing.B) {
		keys := ticket.NewKeys(w.key.PublicKey())
		for i := 0; b.Loop(); i++ {
			if _, why := keys.Verify(codes[i%len(codes)], 7, w.now); why != ticket.OK {
				b.Fatal(why)
			}
		}
	})
	b.Run("enter", func(b *testing.B) {
		d := w.mustOpen(b)
		defer closeDevice(b, d)
		for i := 0; b.Loop(); i++ {
			if decision, err := d.enter(codes[i%len(codes)], 1, w.now); err != nil || decision.Reason != ticket.OK {
				b.Fatal(decision.Reason, err)
			}
		}
	})
}
