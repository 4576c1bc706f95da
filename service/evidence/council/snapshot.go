package council

import (
	"context"
	"encoding/binary"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/qiongdev/qiong/kit/gm"
)

const (
	keptSnapshots  = 2
	snapshotFormat = 2 // 1 was one stream in chunks of a megabyte, all of them in files
	headFile       = "head"
	manifestFile   = "manifest"
)

// snapshots are exports of the ledger, whose parts are its chunks. Of each there is a folder with its head and, written
// last, the manifest: the SM3 of every chunk. The chunks themselves are made when they are asked for, since the ledger
// still has what they are made of. A lost or torn one costs nothing: chunks are held against their digests.
type snapshots struct {
	dir    string
	every  int64
	ledger Carrier
	log    *slog.Logger

	mu      sync.Mutex
	heights []int64 // of those complete, rising
	writing bool
	made    time.Time // when the last was complete
	used    time.Time // when somebody last asked for one
	work    sync.WaitGroup
}

// While somebody fetches a snapshot none is taken, so that none is removed: for so long after the last question, and in
// all. The second bound keeps a member that asks without end from stopping the pruning.
const (
	usedFor    = time.Minute
	usedAtMost = 10 * time.Minute
)

func (s *snapshots) inUse(now time.Time) bool {
	return now.Sub(s.used) < usedFor && now.Sub(s.made) < usedAtMost
}

// use notes that somebody fetches.
func (s *snapshots) use() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.used = time.Now()
}

func openSnapshots(dir string, every int64, ledger Carrier, log *slog.Logger) (*snapshots, error) {
	s := &snapshots{dir: dir, every: every, ledger: ledger, log: log}
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, unwritable(err)
	}
	for _, e := range entries {
		height, err := strconv.ParseInt(e.Name(), 10, 64)
		if err == nil {
			_, err = s.manifest(height)
		}
		if err == nil {
			_, err = os.Stat(filepath.Join(dir, e.Name(), headFile))
		}
		if err != nil { // a crash left it half written, or it is of another format
			if err := os.RemoveAll(filepath.Join(dir, e.Name())); err != nil {
				return nil, unwritable(err)
			}
			continue
		}
		s.heights = append(s.heights, height)
	}
	slices.Sort(s.heights)
	return s, nil
}

func (s *snapshots) folder(height int64) string {
	return filepath.Join(s.dir, strconv.FormatInt(height, 10))
}

// manifest returns the digests of the chunks, one after the other.
func (s *snapshots) manifest(height int64) ([]byte, error) {
	data, err := os.ReadFile(filepath.Join(s.folder(height), manifestFile))
	if err == nil && (len(data) == 0 || len(data)%32 != 0) {
		err = errors.New("not a list of digests")
	}
	return data, err
}

// oldest returns the height of the oldest snapshot, 0 while there is none.
func (s *snapshots) oldest() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.heights) == 0 {
		return 0
	}
	return s.heights[0]
}

func (s *snapshots) list() []int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.heights)
}

// take exports the state when it is time to, and goes on writing it while the ledger moves on. While one is being
// written or fetched the next is left out. One that is due is taken at any height, and though another is fetched.
func (s *snapshots) take(ctx context.Context, height int64, due bool) error {
	if s.every == 0 || !due && height%s.every != 0 {
		return nil
	}
	if !s.begin(due) {
		return nil
	}
	head, parts, err := s.ledger.Export(ctx)
	if err != nil {
		s.done(0)
		return err
	}
	s.work.Go(func() {
		if err := s.write(ctx, height, head, parts); err != nil {
			s.log.Warn("no snapshot", "height", height, "err", err)
			_ = os.RemoveAll(s.folder(height)) // as good as possible; the next start sweeps
			s.done(0)
			return
		}
		s.done(height)
	})
	return nil
}

func (s *snapshots) begin(due bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.writing || !due && s.inUse(time.Now()) {
		return false
	}
	s.writing = true
	return true
}

// done ends a writing; height is 0 when it failed. The oldest go when there are enough.
func (s *snapshots) done(height int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.writing = false
	if height == 0 {
		return
	}
	s.heights, s.made = append(s.heights, height), time.Now()
	for len(s.heights) > keptSnapshots {
		if err := os.RemoveAll(s.folder(s.heights[0])); err != nil {
			s.log.Warn("couldn't remove a snapshot", "err", err)
		}
		s.heights = s.heights[1:]
	}
}

func (s *snapshots) write(ctx context.Context, height int64, head []byte, parts int) error {
	manifest := make([]byte, 0, parts*32)
	before := s.before()
	for i := range parts {
		if i > 0 && (i+1)*32 < len(before) { // not its last: the same ever since
			manifest = append(manifest, before[i*32:(i+1)*32]...)
			continue
		}
		part, err := s.ledger.Part(ctx, head, i)
		if err != nil {
			return err
		}
		sum := gm.SM3(part)
		manifest = append(manifest, sum[:]...)
	}
	dir := s.folder(height)
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, headFile), head, 0o600); err != nil {
		return err
	}
	tmp := filepath.Join(dir, manifestFile+".tmp")
	if err := os.WriteFile(tmp, manifest, 0o600); err != nil {
		return err
	}
	return os.Rename(tmp, filepath.Join(dir, manifestFile))
}

// before returns the newest manifest; nil where there is none.
func (s *snapshots) before() []byte {
	list := s.list()
	if len(list) == 0 {
		return nil
	}
	manifest, _ := s.manifest(list[len(list)-1]) // without it all is computed anew
	return manifest
}

// chunk returns a chunk that is what its manifest says.
func (s *snapshots) chunk(ctx context.Context, height int64, i int) ([]byte, error) {
	manifest, err := s.manifest(height)
	if err != nil {
		return nil, err
	}
	if i < 0 || i >= len(manifest)/32 {
		return nil, errors.New("no such chunk")
	}
	head, err := os.ReadFile(filepath.Join(s.folder(height), headFile))
	if err != nil {
		return nil, err
	}
	data, err := s.ledger.Part(ctx, head, i)
	if err != nil {
		return nil, err
	}
	if !isChunk(manifest, i, data) {
		return nil, errors.New("the chunk is damaged")
	}
	return data, nil
}

func isChunk(manifest []byte, i int, data []byte) bool {
	sum := gm.SM3(data)
	return string(manifest[i*32:(i+1)*32]) == string(sum[:])
}

// identity is the digest by which nodes know a snapshot as the same.
func identity(height uint64, manifest []byte) []byte {
	sum := gm.SM3(binary.BigEndian.AppendUint64(nil, height), manifest)
	return sum[:]
}
