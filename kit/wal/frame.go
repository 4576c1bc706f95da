package wal

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"hash/crc32"
	"math"

	"github.com/qiongdev/qiong/kit/gm"
)

// A frame is a batch on disk: a head, the records, zeros up to a whole number of units, and a tail.
//
//	head    magic 4 | size 4 | first number 8 | records 4 | body bytes 4 | blank units 4 | CRC of the head 4
//	body    for each record: length 4 | payload
//	tail    chain 32 | CRC of everything before it 4 | end mark 4
//
// Numbers are little-endian. Frames begin at multiples of a unit, so that a head never lies across two sectors, and a
// sector that a crash has left out leaves whole units of zeros. How many units are zeros by their content stands in the
// head: where there are more, the frame was not written to its end (see classify).
const (
	unit      = 32
	headSize  = 32
	tailSize  = 40
	frameMark = "QWF1"
	endMark   = "QEND"
	maxFrame  = 64 << 20
)

// Hash says which digest links the batches of a log.
type Hash uint32

// The digests. SM3 (GB/T 32905) is the default; SHA-256 is several times faster where the processor has instructions
// for it.
const (
	SM3    Hash = 1
	SHA256 Hash = 2
)

// Chain is the digest of a log up to a batch: that of the chain before it and of its body.
type Chain [32]byte

func (h Hash) link(prev Chain, body []byte) Chain {
	var c Chain
	switch h {
	case SHA256:
		d := sha256.New()
		d.Write(prev[:])
		d.Write(body)
		d.Sum(c[:0])
	default:
		c = gm.SM3(prev[:], body)
	}
	return c
}

func (h Hash) known() bool { return h == SM3 || h == SHA256 }

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// seed begins the checksums of a generation's frames, so that nothing that somebody put into a record can pose as a
// frame, nor a frame of another log or generation.
func seed(id ID, generation uint64) uint32 {
	return crc32.Update(crc32.Checksum(id[:], castagnoli), castagnoli, binary.LittleEndian.AppendUint64(nil, generation))
}

// head is the decoded head of a frame.
type head struct {
	size  int // of the whole frame
	first uint64
	count int
	body  int
	blank int
}

func (h head) last() uint64 { return h.first + uint64(h.count) - 1 }

// frameSize returns the size of a frame with so many bytes of records.
func frameSize(body int) int { return (headSize + body + tailSize + unit - 1) / unit * unit }

// seal makes a frame of buf, which holds room for the head and the records after it.
func seal(buf []byte, seed uint32, first uint64, count int, prev Chain, h Hash) ([]byte, Chain) {
	body := len(buf) - headSize
	chain := h.link(prev, buf[headSize:])
	size := frameSize(body)
	for pad := size - tailSize - len(buf); pad > 0; pad-- {
		buf = append(buf, 0)
	}
	buf = append(buf, chain[:]...)
	le := binary.LittleEndian
	copy(buf, frameMark)
	le.PutUint32(buf[4:], uint32(size))
	le.PutUint64(buf[8:], first)
	le.PutUint32(buf[16:], uint32(count))
	le.PutUint32(buf[20:], uint32(body))
	le.PutUint32(buf[24:], uint32(blanks(buf[headSize:]))) // the units of the head and the end are never zeros
	le.PutUint32(buf[28:], crc32.Update(seed, castagnoli, buf[:28]))
	buf = le.AppendUint32(buf, crc32.Update(seed, castagnoli, buf))
	return append(buf, endMark...), chain
}

// blanks counts the whole units of zeros in data, which begins at a unit.
func blanks(data []byte) (n int) {
	for ; len(data) >= unit; data = data[unit:] {
		le := binary.LittleEndian
		if le.Uint64(data)|le.Uint64(data[8:])|le.Uint64(data[16:])|le.Uint64(data[24:]) == 0 {
			n++
		}
	}
	return n
}

// parseHead reads the head of a frame; false where data does not begin with one.
func parseHead(data []byte, seed uint32) (head, bool) {
	le := binary.LittleEndian
	if len(data) < headSize || string(data[:4]) != frameMark ||
		le.Uint32(data[28:]) != crc32.Update(seed, castagnoli, data[:28]) {
		return head{}, false
	}
	size, count, body := le.Uint32(data[4:]), le.Uint32(data[16:]), le.Uint32(data[20:])
	h := head{int(size), le.Uint64(data[8:]), int(count), int(body), int(le.Uint32(data[24:]))}
	if size > maxFrame || body > maxFrame || int(size) != frameSize(int(body)) || count == 0 || count > body/4 ||
		h.first == 0 || h.first > math.MaxUint64-uint64(count) {
		return head{}, false
	}
	return h, true
}

// whole reports whether data, as long as the head says, is as it was sealed.
func (h head) whole(data []byte, seed uint32) bool {
	n := len(data)
	return n == h.size && string(data[n-4:]) == endMark &&
		binary.LittleEndian.Uint32(data[n-8:]) == crc32.Update(seed, castagnoli, data[:n-8]) &&
		recordsFit(data[headSize:headSize+h.body], h.count)
}

// recordsFit reports whether body holds exactly count records.
func recordsFit(body []byte, count int) bool {
	for ; count > 0; count-- {
		if len(body) < 4 {
			return false
		}
		n := binary.LittleEndian.Uint32(body)
		if uint64(n) > uint64(len(body)-4) {
			return false
		}
		body = body[4+n:]
	}
	return len(body) == 0
}

// chainOf returns the chain in a whole frame's tail.
func chainOf(frame []byte) Chain { return Chain(frame[len(frame)-tailSize:]) }

// allZero reports whether data holds nothing but zeros.
func allZero(data []byte) bool {
	for len(data) >= len(zeroPage) {
		if !bytes.Equal(data[:len(zeroPage)], zeroPage[:]) {
			return false
		}
		data = data[len(zeroPage):]
	}
	return bytes.Equal(data, zeroPage[:len(data)])
}

var zeroPage [4096]byte
