package wal

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"net"
	"time"
)

// A message between leader (L) and standby (S) is a kind 4, a length 4, a CRC of these and the payload 4, and the
// payload. The standby speaks first.
const (
	msgHello    = 1  // S: what it has
	msgStart    = 2  // L: where to go on from
	msgRefuse   = 3  // either: why it goes away
	msgAck      = 4  // S: number 8, chain 32 of what is synced
	msgSegment  = 5  // L: generation 8 of the frames that follow
	msgFrame    = 6  // L: durable 8, frame
	msgDurable  = 7  // L: durable 8
	msgPing     = 8  // L: durable 8; S answers with msgAck, or msgBusy before the first
	msgBusy     = 9  // S: still taking the snapshot in
	msgSnapHead = 10 // L: head of a snapshot
	msgSnapData = 11 // L: a piece of its body
	msgSnapEnd  = 12 // L: its tail
)

const (
	messageHead  = 12
	snapPiece    = 256 << 10
	mostSmall    = 256              // bytes of messages without data
	mostTable    = 4096             // generations in a hello: older ones are left out
	protoVersion = 1                // of the protocol
	windowFrames = 1024             // frames that a standby may be behind in its acknowledgements
	windowBytes  = maxFrame + 1<<20 // and bytes
)

// mostOf returns the largest payload of a kind.
func mostOf(kind uint32) int {
	switch kind {
	case msgHello:
		return helloSize + 16*mostTable
	case msgFrame:
		return 8 + maxFrame
	case msgSnapData:
		return snapPiece
	case msgRefuse:
		return 8 + 1024
	}
	return mostSmall
}

// wire reads and writes messages. One goroutine reads and one writes at a time.
type wire struct {
	conn    net.Conn
	r       *bufio.Reader
	timeout time.Duration
	in      []byte
	out     []byte
}

func newWire(conn net.Conn, timeout time.Duration) *wire {
	return &wire{conn: conn, r: bufio.NewReaderSize(conn, 64<<10), timeout: timeout}
}

// send writes a message of parts.
func (w *wire) send(kind uint32, parts ...[]byte) error {
	n := 0
	for _, p := range parts {
		n += len(p)
	}
	le := binary.LittleEndian
	w.out = le.AppendUint32(w.out[:0], kind)
	w.out = le.AppendUint32(w.out, uint32(n))
	w.out = append(w.out, 0, 0, 0, 0)
	for _, p := range parts {
		w.out = append(w.out, p...)
	}
	sum := crc32.Update(crc32.Checksum(w.out[:8], castagnoli), castagnoli, w.out[messageHead:])
	le.PutUint32(w.out[8:], sum)
	if err := w.conn.SetWriteDeadline(time.Now().Add(w.timeout)); err != nil {
		return err
	}
	_, err := w.conn.Write(w.out)
	return err
}

// receive reads a message; the payload is good until the next.
func (w *wire) receive() (uint32, []byte, error) {
	if err := w.conn.SetReadDeadline(time.Now().Add(w.timeout)); err != nil {
		return 0, nil, err
	}
	kind, payload, err := readMessage(w.r, w.in)
	w.in = payload
	return kind, payload, err
}

// readMessage reads a message into buf, or a larger one.
func readMessage(r io.Reader, buf []byte) (uint32, []byte, error) {
	var head [messageHead]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return 0, buf, err
	}
	le := binary.LittleEndian
	kind, n := le.Uint32(head[:]), le.Uint32(head[4:])
	if kind < msgHello || kind > msgSnapEnd || int64(n) > int64(mostOf(kind)) {
		return 0, buf, fmt.Errorf("a message of kind %d with %d bytes", kind, n)
	}
	buf = buf[:0]
	for len(buf) < int(n) { // a length that is promised is not yet one that is sent
		piece := min(int(n)-len(buf), max(len(buf), 64<<10))
		buf = append(buf, make([]byte, piece)...)
		if _, err := io.ReadFull(r, buf[len(buf)-piece:]); err != nil {
			return 0, buf, err
		}
	}
	if le.Uint32(head[8:]) != crc32.Update(crc32.Checksum(head[:8], castagnoli), castagnoli, buf) {
		return 0, buf, fmt.Errorf("the checksum of a message does not hold")
	}
	return kind, buf, nil
}

// hello is what a standby has.
//
//	version 4 | hash 4 | log 16 | generation 8 | oldest 8 | last 8 | chain 32 | n 4 | n × (generation 8 | first number 8)
type hello struct {
	hash       Hash // as of log, zero in an empty folder
	id         ID
	generation uint64 // the newest that it has seen
	oldest     uint64 // record that it can be cut back to
	last       uint64
	chain      Chain
	table      []began // oldest first
}

// began is where the records of a generation begin in a log.
type began struct{ generation, first uint64 }

const helloSize = 84

func (h hello) encode() []byte {
	le := binary.LittleEndian
	b := le.AppendUint32(nil, protoVersion)
	b = le.AppendUint32(b, uint32(h.hash))
	b = append(b, h.id[:]...)
	b = le.AppendUint64(b, h.generation)
	b = le.AppendUint64(b, h.oldest)
	b = le.AppendUint64(b, h.last)
	b = append(b, h.chain[:]...)
	h.table = h.table[max(len(h.table)-mostTable, 0):]
	b = le.AppendUint32(b, uint32(len(h.table)))
	for _, e := range h.table {
		b = le.AppendUint64(le.AppendUint64(b, e.generation), e.first)
	}
	return b
}

func parseHello(b []byte) (hello, error) {
	le := binary.LittleEndian
	if len(b) < helloSize || le.Uint32(b) != protoVersion {
		return hello{}, fmt.Errorf("a hello of another version")
	}
	h := hello{Hash(le.Uint32(b[4:])), ID(b[8:24]), le.Uint64(b[24:]), le.Uint64(b[32:]), le.Uint64(b[40:]), Chain(b[48:80]), nil}
	n := le.Uint32(b[80:])
	if b = b[helloSize:]; n > mostTable || len(b) != 16*int(n) || h.oldest > h.last || h.last == forever {
		return hello{}, fmt.Errorf("a hello that contradicts itself")
	}
	for ; len(b) > 0; b = b[16:] {
		e := began{le.Uint64(b), le.Uint64(b[8:])}
		if k := len(h.table); e.first == 0 || e.first > h.last+1 || k > 0 && (e.generation <= h.table[k-1].generation || e.first < h.table[k-1].first) {
			return hello{}, fmt.Errorf("a hello whose generations are not in order")
		}
		h.table = append(h.table, e)
	}
	return h, nil
}

// beginning says from where a leader goes on.
//
//	version 4 | hash 4 | log 16 | generation 8 | common 8 | chain 32 | snapshot 4
type beginning struct {
	hash       Hash
	id         ID
	generation uint64
	common     uint64 // last record that both have; with a snapshot, 0 where it is not known
	chain      Chain  // up to it
	snapshot   uint32 // 1: a snapshot comes first
}

const beginningSize = 76

func (s beginning) encode() []byte {
	le := binary.LittleEndian
	b := le.AppendUint32(nil, protoVersion)
	b = le.AppendUint32(b, uint32(s.hash))
	b = append(b, s.id[:]...)
	b = le.AppendUint64(b, s.generation)
	b = le.AppendUint64(b, s.common)
	b = append(b, s.chain[:]...)
	return le.AppendUint32(b, s.snapshot)
}

func parseBeginning(b []byte) (beginning, error) {
	le := binary.LittleEndian
	if len(b) != beginningSize || le.Uint32(b) != protoVersion {
		return beginning{}, fmt.Errorf("a beginning of another version")
	}
	s := beginning{Hash(le.Uint32(b[4:])), ID(b[8:24]), le.Uint64(b[24:]), le.Uint64(b[32:]), Chain(b[40:72]), le.Uint32(b[72:])}
	if !s.hash.known() || s.id == (ID{}) || s.generation == 0 || s.snapshot > 1 {
		return beginning{}, fmt.Errorf("a beginning that says what none may")
	}
	return s, nil
}

// point is a place in a log that two can compare.
type point struct {
	lsn   uint64
	chain Chain
}

func (p point) encode() []byte {
	return append(binary.LittleEndian.AppendUint64(nil, p.lsn), p.chain[:]...)
}

func parsePoint(b []byte) (point, error) {
	if len(b) != 40 {
		return point{}, fmt.Errorf("an acknowledgement of %d bytes", len(b))
	}
	return point{binary.LittleEndian.Uint64(b), Chain(b[8:])}, nil
}

func number(n uint64) []byte { return binary.LittleEndian.AppendUint64(nil, n) }

func parseNumber(b []byte) (uint64, error) {
	if len(b) != 8 {
		return 0, fmt.Errorf("a number of %d bytes", len(b))
	}
	return binary.LittleEndian.Uint64(b), nil
}
