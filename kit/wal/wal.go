// Package wal promises that a record it has acknowledged is there after any crash, in its place, or that an error says
// it is not. It is an append-only log in a folder, written by one process: batches of records, each one write and one
// sync while the next is formed; snapshots of whatever the records build; and standbys that have all of it too.
//
// # Calls
//
// This is what the log asks of the system, in order, and what a crash at that point leaves. A crash is the end of the
// process or of the power: the disk has everything of which a sync has returned, and of the rest any sectors of 512
// bytes, as they were or as they were to be.
//
//   - Open: mkdir and fsync of the parent; flock of the folder; read of owner. Files named tmp-* are unlinked, and of two
//     segments that begin with the same record the one without a frame. A crash leaves the log as it was; what was
//     unlinked may be there again, and goes the next time.
//   - In the newest segment: pwrite of the last frame as it was read, ftruncate to its end, fsync. The frame is written
//     again since a kernel that failed to write a page may say so once and then call it clean. A crash leaves the same
//     records.
//   - Then pwrite and fsync of owner with the new generation, fsync of the folder: from here on a writer of an older one
//     acknowledges nothing more. A crash leaves a claim, and the log as it was.
//   - Next segment, in the background: open, fallocate (or pwrite of zeros), and fallocate again for a frame that is larger;
//     unlink where there is no room. A crash leaves a tmp-* file.
//   - Begin of a segment: pwrite of its header, fsync, rename, fsync of the folder; only then frames. A crash leaves it
//     under its temporary name, or with a header and no frame. The one before is cut to its length by ftruncate, not
//     synced: it may end in zeros, which say nothing. Where it has no frame it is unlinked after that, and the folder
//     fsynced: a crash leaves both, or the new one.
//   - Rotate: the begin of a segment, pread of owner. A crash leaves what that of any segment does; no record is concerned.
//   - Commit: one pwrite of the frame, fdatasync, pread of owner (is it still ours?), then done. A crash before
//     fdatasync has returned leaves the frame whole, or a torn tail; nobody was told of it.
//   - Snapshot: writes to tmp-*, an fdatasync every 8 MiB, fsync, rename, fsync of the folder. A crash leaves the one
//     before as the newest.
//   - Retain: unlink of segments, oldest first, after that of snapshots; fsync of the folder. A crash leaves more than
//     was needed.
//   - Follow: pwrite and fdatasync of each frame before it is acknowledged. To take back what the leader never had: the
//     newest segments are renamed to *.cut, the rest of one is copied to a *.cut file (fsync, rename, fsync of the
//     folder) before ftruncate and fsync. A crash leaves a log that is cut less far. A snapshot that a leader sends has
//     its name before what it replaces goes; Open ends what a crash has interrupted.
//   - Close: unlink of the next segment's tmp-* file; ftruncate of the newest segment to its length, fsync. A crash leaves
//     the file, or zeros at the end. Of a log that has failed, nothing is cut: what is there is judged by Open.
//
// # Torn tails and damage
//
// Frames are written one at a time, into zeros, and each is synced before the next. Where the newest segment goes on
// after its last whole frame with something that is not zeros, it is a torn tail if and only if
//
//   - no whole frame follows it, in this segment or another, nor anything beyond its own end; and
//   - it is what an unfinished write leaves: the file ends before the frame does; or its last byte, which is never zero,
//     is; or a sector of it is all zeros, and it has more zeros than its head says; or its head is zeros to its end, or
//     from some byte on with everything after it.
//
// A torn tail is cut off and reported (Recovery.Torn: file, offset, bytes). Everything else is damage (CodeDamaged: file
// and offset): Open, or Read where it is not in the newest segment, refuses, and nothing is repaired. So a flipped bit in
// what was acknowledged is always found, in the last frame too. What no log can tell by itself is that whole frames, or
// segments, are missing at its very end; a standby can, by the number and chain that it has.
//
// # Failing
//
// After the first write or sync that fails, every Commit fails with that error (CodeStopped) until the log is opened
// anew: what the disk then has decides. That there is no room for the next segment is known while there is still room in
// this one (Health), and refuses single batches only (CodeNoRoom).
//
// # Standbys
//
// A generation is the fencing epoch of one writer. Whoever gives generations out must give each to one writer only; then
// two logs that hold frames of the same generation hold the same ones, and the table of generations says where logs
// parted. See Log.Ship, Log.Require and Standby. The file format is in doc/formats/wal.md.
package wal

import (
	"crypto/rand"
	"time"
)

// Options say how a log is kept. The zero value of each but Generation is the usual choice.
type Options struct {
	// Generation is the fencing epoch with which the log is written. It must be greater than any with which the folder
	// was opened or followed before.
	Generation uint64
	// Unfenced takes the newest generation of the folder and one, where nobody else ever writes this log.
	Unfenced bool
	// SegmentBytes is the size of a segment: 64 MiB.
	SegmentBytes int64
	// MaxRecord is the size of the largest record: 1 MiB.
	MaxRecord int
	// Linked says that each batch builds on those before it: once one is refused, for want of room or because a record was
	// too large, so are all that follow, until the log is opened anew.
	Linked bool
	// Hash links the batches of a new log: SM3. A log that exists keeps its own.
	Hash Hash
	// Buffers is how many batches are formed, sealed and written at a time, 2 or more: 3.
	Buffers int
	// FS is the file system: the system's.
	FS FS
	// Timeout is how long the other end of a connection between leader and standby may be silent: 10 s.
	Timeout time.Duration
}

func (o Options) filled() Options {
	if o.SegmentBytes == 0 {
		o.SegmentBytes = 64 << 20
	}
	o.SegmentBytes = max(o.SegmentBytes, 4<<10)
	if o.MaxRecord == 0 {
		o.MaxRecord = 1 << 20
	}
	o.MaxRecord = min(o.MaxRecord, maxFrame/2)
	if !o.Hash.known() {
		o.Hash = SM3
	}
	if o.Buffers == 0 {
		o.Buffers = 3
	}
	o.Buffers = max(o.Buffers, 2)
	if o.FS == nil {
		o.FS = OS()
	}
	if o.Timeout == 0 {
		o.Timeout = 10 * time.Second
	}
	return o
}

func newID() (id ID) {
	_, _ = rand.Read(id[:]) // it never fails
	return id
}
