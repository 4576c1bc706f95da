package ticket

import (
	"encoding/binary"
	"time"

	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/gm"
)

// A journal is a head and entries of one size, integers big-endian:
//
//	head:  "QGATE" 1 ‖ gate[4] ‖ journal[8]
//	entry: sequence[4] ‖ booking[8] ‖ slot[4] ‖ people[2] ‖ party[2] ‖ at, Unix ms[8] ‖ until, Unix minutes[4] ‖ check[8]
//
// The check is the beginning of SM3 over the check before it (of the first entry: over the head) and the entry, so that
// an entry that is lost, changed or moved shows. It is no signature: whoever uploads a journal must be known otherwise.
const (
	journalMagic = "QGATE\x01"
	headSize     = len(journalMagic) + 12
	checkSize    = 8
	entrySize    = 32 + checkSize
)

// EntrySize is the length of an entry in a journal, and HeadSize that of its head.
const (
	EntrySize = entrySize
	HeadSize  = headSize
)

// Entry is people of one booking going through one gate.
type Entry struct {
	Gate     uint32
	Journal  [8]byte
	Sequence uint32 // in the journal, from 1
	Booking  uint64
	Slot     uint32
	People   uint16
	Party    uint16    // of the ticket
	At       time.Time // by the gate's clock, to the millisecond
	Until    time.Time // of the ticket
}

// Cursor is a place in a journal: behind the entry of Sequence.
type Cursor struct {
	Gate     uint32
	Journal  [8]byte
	Sequence uint32
	Check    [checkSize]byte
}

func journalHead(gate uint32, journal [8]byte) []byte {
	b := append([]byte(journalMagic), 0, 0, 0, 0)
	binary.BigEndian.PutUint32(b[len(journalMagic):], gate)
	return append(b, journal[:]...)
}

func begin(gate uint32, journal [8]byte) Cursor {
	sum := gm.SM3(journalHead(gate, journal))
	return Cursor{Gate: gate, Journal: journal, Check: [checkSize]byte(sum[:])}
}

// parseHead returns the cursor at the beginning of a journal.
func parseHead(journal []byte) (Cursor, error) {
	if len(journal) < headSize || string(journal[:len(journalMagic)]) != journalMagic {
		return Cursor{}, errs.New(errs.Invalid, "不是闸机日志", "not a gate's journal").WithCode("ticket.journal")
	}
	at := len(journalMagic)
	return begin(binary.BigEndian.Uint32(journal[at:]), [8]byte(journal[at+4:])), nil
}

// append returns the record of e, which follows the cursor, and the cursor behind it.
func (c Cursor) append(e Entry) ([]byte, Cursor) {
	b := make([]byte, 0, entrySize)
	b = binary.BigEndian.AppendUint32(b, e.Sequence)
	b = binary.BigEndian.AppendUint64(b, e.Booking)
	b = binary.BigEndian.AppendUint32(b, e.Slot)
	b = binary.BigEndian.AppendUint16(b, e.People)
	b = binary.BigEndian.AppendUint16(b, e.Party)
	b = binary.BigEndian.AppendUint64(b, uint64(e.At.UnixMilli()))
	b = binary.BigEndian.AppendUint32(b, uint32(e.Until.Unix()/60))
	sum := gm.SM3(c.Check[:], b)
	c.Sequence, c.Check = e.Sequence, [checkSize]byte(sum[:])
	return append(b, c.Check[:]...), c
}

// Read returns the entries behind c that stand in records, which are whole records of c's journal without its head, and
// the cursor behind them. Records up to c are passed over, so that what is sent again does no harm. Records that begin
// behind the next one are of kind Conflict and code "ticket.gap"; what is damaged or of another journal is of kind
// Invalid and code "ticket.journal". After an error nothing of the records counts.
func (c Cursor) Read(records []byte) ([]Entry, Cursor, error) {
	if len(records)%entrySize != 0 {
		return nil, c, damaged(0)
	}
	var entries []Entry
	at := c
	for i := 0; i < len(records); i += entrySize {
		r := records[i : i+entrySize]
		sequence := binary.BigEndian.Uint32(r)
		if sequence == 0 {
			return nil, c, damaged(i)
		}
		if sequence <= at.Sequence && at == c {
			continue
		}
		if sequence != at.Sequence+1 {
			if at == c {
				return nil, c, errs.New(errs.Conflict, "日志缺少前面的记录", "records before these are missing").WithCode("ticket.gap")
			}
			return nil, c, damaged(i)
		}
		e := at.entry(r)
		again, next := at.append(e)
		if string(again) != string(r) || e.People == 0 {
			return nil, c, damaged(i)
		}
		entries, at = append(entries, e), next
	}
	return entries, at, nil
}

func (c Cursor) entry(r []byte) Entry {
	return Entry{
		Gate: c.Gate, Journal: c.Journal, Sequence: binary.BigEndian.Uint32(r),
		Booking: binary.BigEndian.Uint64(r[4:]), Slot: binary.BigEndian.Uint32(r[12:]),
		People: binary.BigEndian.Uint16(r[16:]), Party: binary.BigEndian.Uint16(r[18:]),
		At:    time.UnixMilli(int64(binary.BigEndian.Uint64(r[20:]))),
		Until: time.Unix(60*int64(binary.BigEndian.Uint32(r[28:])), 0),
	}
}

func damaged(at int) error {
	return errs.New(errs.Invalid, "闸机日志损坏", "the gate's journal is damaged").WithCode("ticket.journal").WithOffset(int64(at))
}
