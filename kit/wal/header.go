package wal

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash/crc32"
	"strconv"
	"strings"
)

// ID names a log, whatever folder or machine it is on. It is random and given to nobody but standbys.
type ID [16]byte

// String returns the ID in hexadecimal.
func (id ID) String() string { return hex.EncodeToString(id[:]) }

// header begins every segment.
//
//	magic 8 | version 4 | hash 4 | log 16 | generation 8 | first number 8 | chain before it 32 | zeros 44 | CRC 4
type header struct {
	hash       Hash
	id         ID
	generation uint64
	first      uint64
	chain      Chain
}

const (
	headerSize   = 128
	segmentMagic = "QIONGWAL"
	version      = 1
)

func (h header) encode() []byte {
	le := binary.LittleEndian
	b := append(make([]byte, 0, headerSize), segmentMagic...)
	b = le.AppendUint32(b, version)
	b = le.AppendUint32(b, uint32(h.hash))
	b = append(b, h.id[:]...)
	b = le.AppendUint64(b, h.generation)
	b = le.AppendUint64(b, h.first)
	b = append(b, h.chain[:]...)
	b = b[:headerSize-4]
	return le.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

// parseHeader reads the header of a segment.
func parseHeader(b []byte) (header, error) {
	le := binary.LittleEndian
	switch {
	case len(b) < headerSize:
		return header{}, fmt.Errorf("the header is cut")
	case string(b[:8]) != segmentMagic:
		return header{}, fmt.Errorf("not a segment")
	case le.Uint32(b[headerSize-4:]) != crc32.Checksum(b[:headerSize-4], castagnoli):
		return header{}, fmt.Errorf("the header's checksum does not hold")
	case le.Uint32(b[8:]) != version:
		return header{}, fmt.Errorf("version %d is not known", le.Uint32(b[8:]))
	}
	h := header{hash: Hash(le.Uint32(b[12:])), id: ID(b[16:32]), generation: le.Uint64(b[32:]), first: le.Uint64(b[40:]), chain: Chain(b[48:80])}
	if !h.hash.known() || h.first == 0 || !allZero(b[80:headerSize-4]) {
		return header{}, fmt.Errorf("the header says what no header may")
	}
	return h, nil
}

const (
	segmentExt  = ".wal"
	snapshotExt = ".snap"
	asideExt    = ".cut"
	tempPrefix  = "tmp-"
	ownerName   = "owner"
)

// name returns the file name of a segment: names sort as their records do.
func (h header) name() string {
	return fmt.Sprintf("%016x-%016x%s", h.generation, h.first, segmentExt)
}

// parseName reads two numbers in hexadecimal before an ending.
func parseName(name, ext string) (a, b uint64, ok bool) {
	stem, found := strings.CutSuffix(name, ext)
	left, right, two := strings.Cut(stem, "-")
	if !found || !two || len(left) != 16 || len(right) != 16 {
		return 0, 0, false
	}
	a, err1 := strconv.ParseUint(left, 16, 64)
	b, err2 := strconv.ParseUint(right, 16, 64)
	return a, b, err1 == nil && err2 == nil && fmt.Sprintf("%016x-%016x", a, b) == stem
}

// owner is who has the folder: the newest generation it was opened or followed with, and the process. It is written in
// place, within one sector; a writer that finds another generation in it has been overtaken.
//
//	magic 8 | generation 8 | process 8 | CRC 4
type owner struct {
	generation uint64
	pid        uint64
}

const (
	ownerSize  = 28
	ownerMagic = "QIONGOWN"
)

func (o owner) encode() []byte {
	le := binary.LittleEndian
	b := le.AppendUint64([]byte(ownerMagic), o.generation)
	b = le.AppendUint64(b, o.pid)
	return le.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

// parseOwner reads an owner; a file with nothing in it is of a folder that nobody has opened to the end.
func parseOwner(b []byte) (owner, error) {
	le := binary.LittleEndian
	if allZero(b) {
		return owner{}, nil
	}
	if len(b) != ownerSize || string(b[:8]) != ownerMagic || le.Uint32(b[24:]) != crc32.Checksum(b[:24], castagnoli) {
		return owner{}, fmt.Errorf("the owner's checksum does not hold")
	}
	return owner{le.Uint64(b[8:]), le.Uint64(b[16:])}, nil
}
