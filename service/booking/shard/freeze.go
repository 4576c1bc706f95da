package shard

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"
)

const maxPart = 1 << 31

// parts reads a snapshot's parts, each with its length before it.
func parts(file io.Reader) func() ([]byte, error) {
	in := bufio.NewReaderSize(file, 1<<20)
	return func() ([]byte, error) {
		n, err := binary.ReadUvarint(in)
		if err != nil {
			return nil, err
		}
		if n > maxPart {
			return nil, fmt.Errorf("a part of %d bytes", n)
		}
		part := make([]byte, n)
		_, err = io.ReadFull(in, part)
		return part, err
	}
}

// freeze begins a snapshot when it is time. The writer calls it between two batches.
func (s *Shard) freeze() {
	if grown := s.last - s.frozen.Load(); grown == 0 || grown < s.o.Snapshot && !s.wanted.Load() || !s.taking.CompareAndSwap(false, true) {
		return
	}
	s.wanted.Store(false)
	last := s.last
	head, slots := s.state.AppendHead(nil, last)
	s.freezes.Go(func() {
		defer s.taking.Store(false)
		if err := s.keep(last, head, slots); err != nil && s.cause.Load() == nil {
			s.o.Slog.LogAttrs(context.Background(), slog.LevelError, "bookings: snapshot failed", slog.Int("shard", int(s.o.Number)), slog.Any("err", err))
		}
	})
}

// mark has something to make a snapshot of, where one was asked for and nothing has happened since the last: of the two that
// are kept the older must not stay for ever, nor the log from it on.
func (s *Shard) mark(t *turn) {
	if s.wanted.Load() && s.last == s.frozen.Load() {
		s.state.Mark(s.now, t.emit)
	}
}

// keep writes a snapshot, asking the writer for one slot at a time.
func (s *Shard) keep(last uint64, head []byte, slots int) error {
	if err := s.log.Wait(context.Background(), last); err != nil {
		return err
	}
	err := s.log.Snapshot(last, func(w io.Writer) error {
		out := bufio.NewWriterSize(w, 1<<20)
		writePart(out, head)
		var part []byte
		for i := range slots {
			got := make(chan struct{})
			select {
			case s.between <- func() { part = s.state.AppendSlot(part[:0], i); close(got) }:
				<-got
			case <-s.stopped:
				return s.Err()
			}
			writePart(out, part)
		}
		return out.Flush()
	})
	if err == nil {
		s.frozen.Store(last)
	}
	return err
}

func writePart(w *bufio.Writer, part []byte) {
	var length [binary.MaxVarintLen64]byte
	_, _ = w.Write(length[:binary.PutUvarint(length[:], uint64(len(part)))])
	_, _ = w.Write(part) // Flush tells of an error
}

// Frozen returns the last record that the newest snapshot holds: what comes before is not needed for a start.
func (s *Shard) Frozen() uint64 { return s.frozen.Load() }
