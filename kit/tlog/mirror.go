package tlog

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/merkle"
	"github.com/qiongdev/qiong/kit/receipt"
)

// What a log is found to have done, as codes of errors of kind Invalid. Beside them stand CodeStrange and the codes of
// package receipt, for notes that a mirror does not believe.
const (
	CodeForked    = "log.forked"    // it shows another history than it has shown before
	CodeShrunk    = "log.shrunk"    // it is smaller than it was
	CodeRewritten = "log.rewritten" // an entry is not what the signed root stands for
)

// Contradiction is two notes of one log of which only one can be true: with both, anybody can show that its signers did
// not hold to one history. It is the cause of errors with CodeForked and CodeShrunk.
type Contradiction struct {
	Known *receipt.Note // what the log showed before
	Shown *receipt.Note // what it shows now
}

// Error says which checkpoints contradict each other.
func (c *Contradiction) Error() string {
	return fmt.Sprintf("known %d %s, shown %d %s", c.Known.Checkpoint.Size, c.Known.Checkpoint.Root, c.Shown.Checkpoint.Size, c.Shown.Checkpoint.Root)
}

// Mirror follows a foreign log and believes nothing of it: the notes must be signed as the trust demands, every one must
// continue what was seen before, and the entries must lead to its root. It is not safe for concurrent use.
type Mirror struct {
	Away func(err error) // told by Follow that the log is away; may be nil

	client *Client
	trust  *receipt.Trust
	origin string
	seen   Seen
	notes  []*receipt.Note // verified signatures, beyond the tree, smallest first
}

// NewMirror returns a mirror of the log of an origin, which goes on from what was seen before.
func NewMirror(client *Client, trust *receipt.Trust, origin string, from Seen) *Mirror {
	return &Mirror{client: client, trust: trust, origin: origin, seen: from.clone()}
}

// Seen returns what is verified so far.
func (m *Mirror) Seen() Seen { return m.seen.clone() }

// Step is what a log has newly shown, verified.
type Step struct {
	From    uint64          // index of the first entry
	Entries [][]byte        // of which there may be none where only a note is new
	Notes   []*receipt.Note // whose size was reached with these entries, smallest first
	Seen    Seen            // to go on from
}

// A step ends when it has so many entries, or so many bytes of them.
const (
	stepEntries = 16 * merkle.TileWidth
	stepBytes   = 8 << 20
)

// Next returns the next step; nil where the log has nothing new within a time. After an error the mirror stands where it
// stood: the call may be made again, and finds the same where the log still lies.
func (m *Mirror) Next(ctx context.Context, wait time.Duration) (*Step, error) {
	if len(m.notes) == 0 {
		if err := m.fetchNotes(ctx, wait); err != nil {
			return nil, err
		}
	}
	if len(m.notes) == 0 {
		return nil, m.idle(ctx)
	}
	step, err := m.step(ctx)
	if err != nil {
		m.notes = nil // perhaps the log shows others next time
	}
	return step, err
}

// fetchNotes asks for notes beyond the tree and holds their signatures to the trust.
func (m *Mirror) fetchNotes(ctx context.Context, wait time.Duration) error {
	notes, err := m.client.Notes(ctx, m.seen.Size(), wait)
	if err != nil {
		return err
	}
	for _, n := range notes {
		if err := m.verify(n); err != nil {
			return err
		}
	}
	m.notes = notes
	return nil
}

// verify holds a note to the trust, and to the note that was seen where that is of the same size.
func (m *Mirror) verify(n *receipt.Note) error {
	c := n.Checkpoint
	if c.Origin != m.origin {
		return strange(errs.New(errs.Invalid, "是另一本日志", "it is another log"), "checkpoint")
	}
	if _, err := m.trust.Verify(n); err != nil {
		e := *errs.As(err)
		return (&e).WithField(fmt.Sprintf("checkpoint %d", c.Size))
	}
	if known := m.seen.note; known != nil && known.Checkpoint.Size == c.Size && known.Checkpoint.Root != c.Root {
		return forked(known, n)
	}
	if c.Size == m.seen.Size() && c.Root != m.seen.tree.Root() {
		return rewritten(fmt.Sprintf("前 %d 条", c.Size), fmt.Sprintf("the first %d entries", c.Size))
	}
	return nil
}

// idle looks, where no note is new, whether the log still shows what it has shown.
func (m *Mirror) idle(ctx context.Context) error {
	if m.seen.note == nil {
		return nil
	}
	n, err := m.client.Checkpoint(ctx)
	if err != nil {
		return err
	}
	if err := m.verify(n); err != nil {
		return err
	}
	if n.Checkpoint.Size < m.seen.size() {
		e := errs.Newf(errs.Invalid, "日志曾有 %d 条，如今只有 %d 条", "the log had %d entries, and has %d now", m.seen.size(), n.Checkpoint.Size)
		e.Err = &Contradiction{m.seen.note, n}
		return e.WithCode(CodeShrunk)
	}
	return nil
}

// step reads entries up to the newest note, or as many as a step may have, and holds them to the signed roots.
func (m *Mirror) step(ctx context.Context) (*Step, error) {
	targets := m.targets()
	last := targets[len(targets)-1]
	s, next := &Step{From: m.seen.Size()}, m.seen.clone()
	for bytes := 0; next.Size() < last.Checkpoint.Size && len(s.Entries) < stepEntries && bytes < stepBytes; {
		entries, err := m.client.Entries(ctx, next.Size(), last.Checkpoint.Size)
		if err != nil {
			return nil, err
		}
		for _, e := range entries {
			next.tree.Add(e, nil)
			bytes += len(e)
			s.Entries = append(s.Entries, e)
			if targets[0].Checkpoint.Size == next.Size() {
				if targets[0].Checkpoint.Root != next.tree.Root() {
					return nil, m.diagnose(ctx, targets[0], last, s.Entries)
				}
				targets = targets[1:]
			}
		}
	}
	if next.Size() < last.Checkpoint.Size {
		if err := m.prove(ctx, &next, last, s.Entries); err != nil {
			return nil, err
		}
	}
	s.Notes = m.reach(&next, last)
	m.seen = next
	s.Seen = next.clone()
	return s, nil
}

// targets are the notes to which the entries must lead: the new ones, and the one that was seen where the tree has not
// come so far.
func (m *Mirror) targets() []*receipt.Note {
	all := slices.Clone(m.notes)
	if n := m.seen.note; n != nil && n.Checkpoint.Size > m.seen.Size() {
		at, have := slices.BinarySearchFunc(all, n.Checkpoint.Size, func(n *receipt.Note, size uint64) int { return cmp.Compare(n.Checkpoint.Size, size) })
		if !have { // a note of the same size has the same root: verify saw to it
			all = slices.Insert(all, at, n)
		}
	}
	return all
}

// reach moves what is seen on to the last note, and returns the notes whose size the tree has reached.
func (m *Mirror) reach(next *Seen, last *receipt.Note) (reached []*receipt.Note) {
	if next.note == nil || next.note.Checkpoint.Size <= next.Size() {
		next.note = last
	}
	n := 0
	for n < len(m.notes) && m.notes[n].Checkpoint.Size <= next.Size() {
		n++
	}
	reached, m.notes = m.notes[:n:n], m.notes[n:]
	return reached
}

// prove holds entries in the midst of a log to the note at its end, by a proof that the tiles must give.
func (m *Mirror) prove(ctx context.Context, next *Seen, last *receipt.Note, entries [][]byte) error {
	proof, err := m.client.Consistency(ctx, next.Size(), last.Checkpoint.Size)
	if err != nil {
		return err
	}
	if merkle.VerifyConsistency(next.Size(), last.Checkpoint.Size, next.tree.Root(), last.Checkpoint.Root, proof) != nil {
		return m.diagnose(ctx, last, last, entries)
	}
	return nil
}

// Follow hands on every step until ctx ends, the log is found to lie, or each returns an error. Where the log is away, or
// lacks something for the moment, it asks again, less and less often down to twice a minute, and tells Away.
func (m *Mirror) Follow(ctx context.Context, each func(*Step) error) error {
	for pause := time.Second; ; {
		step, err := m.Next(ctx, maxWait)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err == nil {
			pause = time.Second
			if step == nil {
				continue
			}
			if err := each(step); err != nil {
				return err
			}
			continue
		}
		if !passing(err) {
			return err
		}
		if m.Away != nil {
			m.Away(err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause):
		}
		pause = min(2*pause, 30*time.Second)
	}
}

// passing reports whether err may have gone by the next time.
func passing(err error) bool {
	switch errs.KindOf(err) {
	case errs.Unavailable, errs.Timeout, errs.TooMany, errs.NotFound:
		return true
	}
	return false
}
