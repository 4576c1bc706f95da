// Package wal promises that what it has acknowledged is there after any crash.
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
