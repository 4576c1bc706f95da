package council

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	abci "github.com/cometbft/cometbft/abci/types"
)

// blob is a ledger that is nothing but its bytes, which only grow. A part is chunkSize of them.
type blob struct {
	Ledger
	data   []byte
	height int64
	read   chan struct{} // nil, or what the reading of a part waits for
	parts  []int         // that were read
	refuse error
	member Member
}

const chunkSize = 1 << 10

func (b *blob) Last(context.Context) (int64, []byte, error) { return b.height, []byte("hash"), nil }
func (b *blob) Members(context.Context) ([]Member, error)   { return []Member{b.member}, nil }
func (b *blob) Export(context.Context) ([]byte, int, error) {
	return strconv.AppendInt(nil, int64(len(b.data)), 10), len(b.data)/chunkSize + 1, nil
}

func (b *blob) Part(_ context.Context, head []byte, i int) ([]byte, error) {
	if b.read != nil {
		<-b.read
	}
	b.parts = append(b.parts, i)
	size, err := strconv.Atoi(string(head))
	return bytes.Clone(b.data[:size][i*chunkSize : min((i+1)*chunkSize, size)]), err
}

func (b *blob) Import(_ context.Context, from io.Reader) (err error) {
	if b.refuse != nil {
		return b.refuse
	}
	b.data, err = io.ReadAll(from)
	return err
}

func random(n int) []byte {
	data := make([]byte, n)
	rng := rand.NewChaCha8([32]byte{1})
	_, _ = rng.Read(data) // never fails
	return data
}

// written takes a snapshot at every height and waits until it is complete.
func written(t *testing.T, s *snapshots, b *blob, data []byte, heights ...int64) {
	t.Helper()
	for _, h := range heights {
		b.data = data
		if err := s.take(context.Background(), h, false); err != nil {
			t.Fatal(err)
		}
		s.work.Wait()
		if list := s.list(); len(list) == 0 || list[len(list)-1] != h {
			t.Fatalf("no snapshot of %d, but %v", h, list)
		}
	}
}

func openTest(t *testing.T, dir string, b *blob) *snapshots {
	t.Helper()
	s, err := openSnapshots(dir, 10, b, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// What is exported arrives, whole, whatever its size; and is refused when anything about it is changed.
func TestSnapshotArrives(t *testing.T) {
	member := Member{Public: newPublic(t, "customs", "127.0.0.1:1"), Votes: true}
	for _, size := range []int{0, 1, chunkSize - 1, chunkSize, chunkSize + 1, 3*chunkSize + 5} {
		from := &blob{height: 10}
		data := random(size)
		s := openTest(t, t.TempDir(), from)
		written(t, s, from, data, 10)
		source := &app{snapshots: s, log: s.log}
		list, err := source.ListSnapshots(context.Background(), nil)
		if err != nil || len(list.Snapshots) != 1 {
			t.Fatal(list, err)
		}
		to := &blob{height: 10, member: member}
		if err := carry(source, to, list.Snapshots[0], nil); err != nil {
			t.Errorf("%d bytes: %v", size, err)
		}
		if !bytes.Equal(to.data, data) {
			t.Errorf("%d bytes: %d others arrived", size, len(to.data))
		}
	}
}

// carry takes a snapshot from one to another, chunk by chunk, after change.
func carry(source *app, to *blob, s *abci.Snapshot, change func(i int, chunk []byte)) error {
	ctx := context.Background()
	target := &app{ctx: ctx, ledger: to, log: source.log, roster: newRoster(nil), snapshots: &snapshots{ledger: to}}
	offer, err := target.OfferSnapshot(ctx, &abci.RequestOfferSnapshot{Snapshot: s, AppHash: []byte("hash")})
	if err != nil || offer.Result != abci.ResponseOfferSnapshot_ACCEPT {
		return errors.Join(err, errors.New(offer.Result.String()))
	}
	for i := range s.Chunks {
		chunk, err := source.LoadSnapshotChunk(ctx, &abci.RequestLoadSnapshotChunk{Height: s.Height, Format: s.Format, Chunk: i})
		if err != nil {
			return err
		}
		if change != nil {
			change(int(i), chunk.Chunk)
		}
		res, err := target.ApplySnapshotChunk(ctx, &abci.RequestApplySnapshotChunk{Index: i, Chunk: chunk.Chunk, Sender: "peer"})
		if err != nil || res.Result != abci.ResponseApplySnapshotChunk_ACCEPT {
			target.abandon()
			if len(res.RejectSenders) > 0 {
				return errors.New(res.RejectSenders[0] + " is rejected")
			}
			return errors.Join(err, errors.New(res.Result.String()))
		}
	}
	return nil
}

func TestSnapshotIsRefused(t *testing.T) {
	from := &blob{height: 10}
	s := openTest(t, t.TempDir(), from)
	written(t, s, from, random(2*chunkSize+1), 10)
	source := &app{snapshots: s, log: s.log}
	list, err := source.ListSnapshots(context.Background(), nil)
	if err != nil {
		t.Fatal(err)
	}
	good := *list.Snapshots[0]
	for _, c := range []struct {
		name, want string
		to         *blob
		set        func(*abci.Snapshot)
		change     func(i int, chunk []byte)
	}{
		{"a flipped bit", "peer is rejected", &blob{height: 10}, nil, func(i int, c []byte) {
			if i == 2 {
				c[0] ^= 1
			}
		}},
		{"another height than the ledger's", "REJECT_SNAPSHOT", &blob{height: 11}, nil, nil},
		{"refused by the ledger", "REJECT_SNAPSHOT", &blob{height: 10, refuse: errors.New("no")}, nil, nil},
		{"another identity", "REJECT", &blob{}, func(s *abci.Snapshot) { s.Hash = []byte("x") }, nil},
		{"another height", "REJECT", &blob{}, func(s *abci.Snapshot) { s.Height++ }, nil},
		{"another format", "REJECT_FORMAT", &blob{}, func(s *abci.Snapshot) { s.Format++ }, nil},
		{"fewer chunks", "REJECT", &blob{}, func(s *abci.Snapshot) { s.Chunks-- }, nil},
		{"no chunks", "REJECT", &blob{}, func(s *abci.Snapshot) { s.Chunks, s.Metadata = 0, nil }, nil},
	} {
		offered := good
		if c.set != nil {
			c.set(&offered)
		}
		if err := carry(source, c.to, &offered, c.change); err == nil || err.Error() != c.want {
			t.Errorf("%s: %v, want %s", c.name, err, c.want)
		}
	}
}

func TestSnapshotsAreFewAndWhole(t *testing.T) {
	dir := t.TempDir()
	from := &blob{}
	s := openTest(t, dir, from)
	data := random(chunkSize + 1)
	written(t, s, from, data, 10, 20, 30)
	if err := s.take(context.Background(), 35, false); err != nil || !slices.Equal(s.list(), []int64{20, 30}) || s.oldest() != 20 {
		t.Errorf("kept %v, %v", s.list(), err)
	}
	// The state grows, and a snapshot stays what it was; of the next one only what is new is read.
	from.data = append(bytes.Clone(data), random(3*chunkSize)...)
	for i := range 2 {
		if c, err := s.chunk(t.Context(), 20, i); err != nil || !bytes.Equal(c, data[i*chunkSize:min((i+1)*chunkSize, len(data))]) {
			t.Errorf("chunk %d is another now: %v", i, err)
		}
	}
	from.parts = nil
	written(t, s, from, from.data, 40)
	if !slices.Equal(from.parts, []int{0, 1, 2, 3, 4}) {
		t.Errorf("of a state that had two parts before, and has five, were read: %v", from.parts)
	}
	from.parts = nil
	written(t, s, from, append(bytes.Clone(from.data), random(chunkSize)...), 50)
	if !slices.Equal(from.parts, []int{0, 4, 5}) {
		t.Errorf("of a state that had five parts before, and has six, were read: %v", from.parts)
	}
	// A damaged chunk is not handed out; one half written is swept.
	from.data[chunkSize] ^= 1
	if _, err := s.chunk(t.Context(), 40, 1); err == nil {
		t.Error("a damaged chunk was handed out")
	}
	for _, i := range []int{-1, 5} {
		if _, err := s.chunk(t.Context(), 40, i); err == nil {
			t.Errorf("chunk %d was handed out", i)
		}
	}
	if err := os.Remove(filepath.Join(s.folder(50), manifestFile)); err != nil {
		t.Fatal(err)
	}
	again := openTest(t, dir, from)
	if !slices.Equal(again.list(), []int64{40}) {
		t.Errorf("after a restart: %v", again.list())
	}
	if _, err := os.Stat(s.folder(50)); !os.IsNotExist(err) {
		t.Errorf("the half is still there: %v", err)
	}
}

// While one is written, or fetched, none is taken; the fetching has a bound.
func TestSnapshotsStayWhileInUse(t *testing.T) {
	from := &blob{read: make(chan struct{})}
	s := openTest(t, t.TempDir(), from)
	if err := s.take(context.Background(), 10, false); err != nil {
		t.Fatal(err)
	}
	if s.begin(false) {
		t.Error("a second began while the first is written")
	}
	close(from.read)
	s.work.Wait()
	s.use()
	now := time.Now()
	if !s.inUse(now) || s.begin(false) {
		t.Error("one was taken while the last is fetched")
	}
	from.data = nil
	if err := s.take(context.Background(), 13, true); err != nil {
		t.Fatal(err)
	}
	if s.work.Wait(); !slices.Equal(s.list(), []int64{10, 13}) {
		t.Errorf("what was due was not taken: %v", s.list())
	}
	if s.inUse(now.Add(usedFor)) {
		t.Error("nobody asks any more and it still counts as in use")
	}
	s.used = s.made.Add(usedAtMost)
	if s.inUse(s.used) {
		t.Error("asking without end stops snapshots for good")
	}
}
