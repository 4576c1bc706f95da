package wal

import (
	"bytes"
	"io"
	"net"
	"testing"
	"time"
)

// sealed makes a frame of records.
func sealed(s uint32, first uint64, records ...string) []byte {
	b := Batch{buf: make([]byte, headSize), first: first, limit: 1 << 20}
	for _, r := range records {
		b.Append([]byte(r))
	}
	frame, _ := seal(b.buf, s, first, b.count, Chain{}, SM3)
	return frame
}

func FuzzFrame(f *testing.F) {
	for _, records := range [][]string{{"a"}, {"", ""}, {"one", "two", string(make([]byte, 700))}} {
		f.Add(sealed(7, 5, records...), 0, 0)
	}
	f.Fuzz(func(t *testing.T, data []byte, at, cut int) {
		if h, ok := parseHead(data, 7); ok && h.size <= len(data) && h.whole(data[:h.size], 7) {
			n := 0
			for lsn, r := range records(data[:h.size], h) {
				if lsn != h.first+uint64(n) || len(r) > h.body {
					t.Fatal(lsn, len(r))
				}
				n++
			}
			if n != h.count {
				t.Fatalf("%d records of %d", n, h.count)
			}
		}
		frame := sealed(7, 5, string(data))
		if h, ok := parseHead(frame, 7); !ok || !h.whole(frame, 7) || h.last() != 5 {
			t.Fatal("a frame that was sealed is not whole")
		}
		if len(frame) > 0 && at >= 0 && at < len(frame) && cut > 0 && cut <= 255 {
			frame[at] ^= byte(cut)
			if h, ok := parseHead(frame, 7); ok && h.size == len(frame) && h.whole(frame, 7) {
				t.Fatal("a changed frame is whole")
			}
			why := classify(frame, headerSize, len(frame), 7, 5)
			if lacks := lacksSector(frame, headerSize) || lacksSector(frame, 0) || frame[len(frame)-1] == 0; why == "" && !lacks && !allZero(frame[:headSize]) {
				t.Fatal("a changed byte passes for a torn tail")
			}
		}
	})
}

func FuzzHeader(f *testing.F) {
	f.Add(header{SM3, ID{1}, 2, 3, Chain{4}}.encode())
	f.Fuzz(func(t *testing.T, data []byte) {
		if h, err := parseHeader(data); err == nil && !bytes.Equal(h.encode(), data[:headerSize]) {
			t.Fatalf("%+v has another encoding", h)
		}
		if o, err := parseOwner(data); err == nil && !allZero(data) && !bytes.Equal(o.encode(), data) {
			t.Fatalf("%+v has another encoding", o)
		}
	})
}

// FuzzSnapshot opens a log whose newest snapshot is anything.
func FuzzSnapshot(f *testing.F) {
	h := snapshot{hash: SM3, id: ID{1}, generation: 1, last: 4, chain: Chain{5}, received: true}
	f.Add(append(append(h.encode(), "state"...), snapshotEnd(5, 0)...))
	f.Fuzz(func(t *testing.T, data []byte) {
		if h, err := parseSnapshotHead(data); err == nil && !bytes.Equal(h.encode(), data[:snapshotHead]) {
			t.Fatalf("%+v has another encoding", h)
		}
		l, err := Open("log", Options{Generation: 9, SegmentBytes: 4 << 10, FS: newMemory(map[string][]byte{h.name(): data})})
		if err != nil {
			return
		}
		last, body, err := l.Restore()
		if err != nil || last != 4 {
			t.Fatal(last, err)
		}
		if got, err := io.ReadAll(body); err != nil || len(got) != len(data)-snapshotHead-snapshotTail {
			t.Fatal(len(got), err)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

// FuzzSegment opens a log whose only segment is anything after its header.
func FuzzSegment(f *testing.F) {
	h := header{SM3, ID{1}, 2, 1, Chain{}}
	s := seed(h.id, h.generation)
	f.Add(append(sealed(s, 1, "a", "b"), sealed(s, 3, "c")...))
	f.Fuzz(func(t *testing.T, data []byte) {
		m := newMemory(map[string][]byte{h.name(): append(h.encode(), data...)})
		l, err := Open("log", Options{Generation: 9, SegmentBytes: 4 << 10, FS: m})
		if err != nil {
			if !isDamage(err) {
				t.Fatal(err)
			}
			return
		}
		n := uint64(0)
		for r, err := range l.Read(0) {
			if err != nil {
				if !isDamage(err) {
					t.Fatal(err)
				}
				break
			}
			if n++; r.LSN != n {
				t.Fatalf("record %d where %d belongs", r.LSN, n)
			}
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

// stream is the other end of a connection: it says what is given, and hears nothing.
type stream struct{ io.Reader }

func (stream) Write(p []byte) (int, error)      { return len(p), nil }
func (stream) Close() error                     { return nil }
func (stream) LocalAddr() net.Addr              { return nil }
func (stream) RemoteAddr() net.Addr             { return nil }
func (stream) SetDeadline(time.Time) error      { return nil }
func (stream) SetReadDeadline(time.Time) error  { return nil }
func (stream) SetWriteDeadline(time.Time) error { return nil }

// messages puts payloads into messages, a kind and its payload after the other.
func messages(parts ...[]byte) []byte {
	var out bytes.Buffer
	w := newWire(recorder{stream{}, &out}, time.Hour)
	for i := 0; i+1 < len(parts); i += 2 {
		_ = w.send(uint32(parts[i][0]), parts[i+1]) // into memory
	}
	return out.Bytes()
}

type recorder struct {
	stream
	io.Writer
}

func (r recorder) Write(p []byte) (int, error) { return r.Writer.Write(p) }

// split cuts data into messages: a kind, two bytes of length, and a payload, so that fuzzing gets past the checksums.
func split(data []byte) (parts [][]byte) {
	for len(data) >= 3 {
		n := min(int(data[1])<<8|int(data[2]), len(data)-3)
		parts = append(parts, data[:1], data[3:3+n])
		data = data[3+n:]
	}
	return parts
}

// FuzzFollow has a leader say anything to a standby, which must keep what it has acknowledged whole.
func FuzzFollow(f *testing.F) {
	id := ID{1}
	msg := func(kind byte, payload []byte) []byte {
		return append([]byte{kind, byte(len(payload) >> 8), byte(len(payload))}, payload...)
	}
	start := msg(msgStart, beginning{SM3, id, 3, 0, Chain{}, 0}.encode())
	frame := msg(msgFrame, append(number(1), sealed(seed(id, 3), 1, "a")...))
	f.Add(bytes.Join([][]byte{start, msg(msgSegment, number(3)), frame, msg(msgPing, number(1))}, nil), false)
	snap := snapshot{hash: SM3, id: id, generation: 1, last: 4, received: true}
	f.Add(bytes.Join([][]byte{msg(msgStart, beginning{SM3, id, 3, 0, Chain{}, 1}.encode()), msg(msgSnapHead, snap.encode()), msg(msgSnapData, []byte("x")), msg(msgSnapEnd, snapshotEnd(1, 5))}, nil), false)
	f.Add([]byte("anything"), true)
	f.Fuzz(func(t *testing.T, data []byte, raw bool) {
		if !raw {
			data = messages(split(data)...)
		}
		m := newMemory(nil)
		b, err := OpenStandby("log", Options{SegmentBytes: 4 << 10, FS: m})
		if err != nil {
			t.Fatal(err)
		}
		if err := b.Follow(t.Context(), stream{bytes.NewReader(data)}); err == nil || hasCode(err, CodeStopped) {
			t.Fatal(err)
		}
		last := b.Last()
		if err := b.Close(); err != nil {
			t.Fatal(err)
		}
		b, err = OpenStandby("log", Options{FS: m})
		if err != nil || b.Last() != last {
			t.Fatalf("it had %d records: %v", last, err)
		}
		if err := b.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

// FuzzShip has a standby say anything to a leader, which must not take it for an acknowledgement.
func FuzzShip(f *testing.F) {
	msg := func(kind byte, payload []byte) []byte {
		return append([]byte{kind, byte(len(payload) >> 8), byte(len(payload))}, payload...)
	}
	f.Add(append(msg(msgHello, hello{}.encode()), msg(msgAck, point{}.encode())...), false)
	f.Add(append(msg(msgHello, hello{hash: SM3, id: ID{1}, last: 9, table: []began{{1, 1}}}.encode()), msg(msgAck, point{lsn: 2}.encode())...), false)
	f.Add([]byte("anything"), true)
	f.Fuzz(func(t *testing.T, data []byte, raw bool) {
		if !raw {
			data = messages(split(data)...)
		}
		l, err := Open("log", Options{Generation: 2, SegmentBytes: 4 << 10, FS: newMemory(nil)})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := l.Write(t.Context(), []byte("a")); err != nil {
			t.Fatal(err)
		}
		if err := l.Ship(t.Context(), stream{bytes.NewReader(data)}, "s"); err == nil {
			t.Fatal("it ended without an error")
		}
		if s := l.Standbys(); s[0].Acked > 0 { // nobody can guess the chain
			t.Fatalf("%+v", s)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	})
}
