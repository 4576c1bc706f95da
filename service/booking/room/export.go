package room

import (
	"bufio"
	"crypto/hmac"
	"encoding/binary"
	"io"
	"time"

	"github.com/qiongdev/qiong/kit/errs"
)

// An export, version 1, integers as varints of encoding/binary:
//
//	"QROOM" 1 ‖ sale (length, bytes) ‖ opens (Unix ms) ‖ commitment[32] ‖ stage 0 open, 1 closed, 2 drawn
//	‖ from stage 1: numbers before the closing, root[32] ‖ in stage 2: beacon (length, bytes)
//	‖ how many numbers ‖ for each: flags[1] (state, and 0x80 where it is on the list)
//	  and but for a vacant one: alias[16] ‖ joined, less the one before (ms, signed) ‖ of an admitted one: until (ms)
//	‖ HMAC-SM3[32] of all before
const (
	exportHead  = "QROOM\x01"
	exportDrawn = 0x80
)

// Export returns all that the room holds but its secrets, for [Restore]: about 24 bytes a place. It only reads.
func (r *Room) Export() []byte {
	b := make([]byte, 0, 256+24*len(r.places))
	b = append(b, exportHead...)
	b = binary.AppendUvarint(b, uint64(len(r.cfg.Sale)))
	b = append(b, r.cfg.Sale...)
	b = binary.AppendVarint(b, r.cfg.Opens.UnixMilli())
	commitment := r.Commitment()
	b = append(b, commitment[:]...)
	b = r.exportStage(b)
	b = binary.AppendUvarint(b, uint64(len(r.places)))
	last := int64(0)
	for i, p := range r.places {
		flags := byte(p.state)
		if p.drawn {
			flags |= exportDrawn
		}
		b = append(b, flags)
		if p.state == Vacant {
			continue
		}
		b = append(b, r.aliases[i][:]...)
		b = binary.AppendVarint(b, p.joined-last)
		last = p.joined
		if p.state == Admitted {
			b = binary.AppendVarint(b, r.admitted.until[uint32(i+1)])
		}
	}
	tag := r.tokens.exportMAC(b)
	return append(b, tag[:]...)
}

func (r *Room) exportStage(b []byte) []byte {
	if r.list == nil {
		return append(b, 0)
	}
	if r.draw == nil {
		return binary.AppendUvarint(append(b, 1), uint64(r.first))
	}
	b = binary.AppendUvarint(append(b, 2), uint64(r.first))
	b = append(b, r.draw.record.Root[:]...)
	b = binary.AppendUvarint(b, uint64(len(r.draw.record.Beacon)))
	return append(b, r.draw.record.Beacon...)
}

func (t *tokens) exportMAC(b []byte) [32]byte { return t.places.sum([]byte("export"), b) }

// unseal returns what reads an export, where its MAC is true.
func (t *tokens) unseal(export []byte) (*decoder, bool) {
	if len(export) < 32 {
		return nil, false
	}
	body, tag := export[:len(export)-32], export[len(export)-32:]
	want := t.exportMAC(body)
	return &decoder{b: body}, hmac.Equal(want[:], tag)
}

// Restore returns the room of an export. The configuration must be that of the room that was exported; an export of
// another sale or seed, or one that was changed, is of kind Invalid and code "room.export". Of a room that had begun, the
// tree and the order are computed again: about two seconds for a million places.
//
// Config.Gap numbers behind the last are left free for those who were given a place after the export, see [Room.Resume].
func Restore(cfg Config, export []byte) (*Room, error) {
	r, err := New(cfg)
	if err != nil {
		return nil, err
	}
	d, ok := r.tokens.unseal(export)
	if !ok {
		return nil, badExport()
	}
	if err := r.restore(d); err != nil {
		return nil, err
	}
	for range cfg.Gap {
		r.vacate()
	}
	return r, nil
}

func badExport() error {
	return errs.New(errs.Invalid, "候场数据损坏、被改动，或不属于本场次", "the export is damaged, altered, or not of this sale").WithCode("room.export")
}

// WriteList writes the closed list that stands in an export of a sale, as [List.WriteTo] does, without making the room again:
// for one that is over. key is that of the room's configuration. Where the list was still open the error is of kind Conflict
// and code "room.open"; an export of another sale, or one that was changed, is of kind Invalid and code "room.export".
func WriteList(w io.Writer, key []byte, sale string, export []byte) error {
	t, err := newTokens(key, sale)
	if err != nil {
		return err
	}
	d, ok := t.unseal(export)
	if !ok || d.heading().sale != sale {
		return badExport()
	}
	if st := d.stage(); st.kind == 0 && !d.bad {
		return errs.New(errs.Conflict, "名单没有封定", "the list was not closed").WithCode("room.open")
	}
	out := bufio.NewWriterSize(w, 1<<16)
	var line []byte
	for i := range d.uvarint(4 * maxLimit) {
		p, alias, _ := d.place(0)
		if d.bad {
			break
		}
		if !p.drawn {
			continue
		}
		line = appendLine(line[:0], uint32(i+1), alias)
		if _, err := out.Write(line); err != nil {
			return err
		}
	}
	if d.bad {
		return badExport()
	}
	return out.Flush()
}

// heading is what an export begins with.
type heading struct {
	sale       string
	opens      int64
	commitment [32]byte
}

func (d *decoder) heading() (h heading) {
	if string(d.bytes(len(exportHead))) != exportHead {
		d.bad = true
	}
	h.sale, h.opens, h.commitment = string(d.text(maxSale)), d.varint(), [32]byte(d.bytes(32))
	return h
}

// place reads a row behind one that joined at last; until is that of an admitted one.
func (d *decoder) place(last int64) (p place, alias Alias, until int64) {
	flags := d.byte()
	p = place{state: State(flags &^ exportDrawn), drawn: flags&exportDrawn != 0}
	if p.state > Left || p.state == Vacant && p.drawn {
		d.bad = true
	}
	if p.state != Vacant {
		alias, p.joined = Alias(d.bytes(16)), last+d.varint()
	}
	if p.state == Admitted {
		until = d.varint()
	}
	return p, alias, until
}

// stage is how far an exported room had come.
type stage struct {
	kind   byte
	first  int
	root   [32]byte
	beacon []byte
}

func (r *Room) restore(d *decoder) error {
	same := d.heading() == heading{r.cfg.Sale, r.cfg.Opens.UnixMilli(), r.Commitment()}
	st := d.stage()
	n := int(d.uvarint(4 * maxLimit))
	if !same || d.bad || st.first > n || n > len(d.b) {
		return badExport()
	}
	if !r.restorePlaces(d, n) || len(d.b) > 0 {
		return badExport()
	}
	return r.restoreStage(st)
}

// restorePlaces reads the rows of n numbers.
func (r *Room) restorePlaces(d *decoder, n int) bool {
	r.aliases, r.places = make([]Alias, n), make([]place, n)
	r.byAlias = make(map[Alias]uint32, n)
	last := int64(0)
	for i := range n {
		p, alias, until := d.place(last)
		if d.bad {
			return false
		}
		if p.state != Vacant {
			r.aliases[i], last = alias, p.joined
			r.byAlias[alias] = uint32(i + 1)
		}
		if p.state == Admitted {
			r.admitted.add(uint32(i+1), until)
		}
		if p.state == InDraw || p.state == Waiting || p.state == Admitted {
			r.live++
		}
		r.places[i] = p
	}
	return true
}

// restoreStage closes the list and begins the queue again, as it was exported.
func (r *Room) restoreStage(st stage) error {
	if !r.statesSuit(st) {
		return badExport()
	}
	if st.kind == 0 {
		return nil
	}
	later := r.places[st.first:]
	r.places, r.aliases = r.places[:st.first], r.aliases[:len(r.aliases):len(r.aliases)]
	r.close(func(p *place) bool { return p.drawn })
	r.places = append(r.places, later...)
	for i := range later {
		r.places[st.first+i].rank = uint32(len(r.list.numbers) + i)
	}
	if st.kind == 1 {
		return nil
	}
	draw, err := r.list.Tree().Draw(st.beacon)
	if err != nil || draw.record.Root != st.root {
		return badExport()
	}
	return r.Begin(draw)
}

// statesSuit reports whether every place is in a state of that stage, and on the list only where it could be.
func (r *Room) statesSuit(st stage) bool {
	for i, p := range r.places {
		before := st.kind == 0 || i < st.first
		switch {
		case p.drawn && (st.kind == 0 || !before):
			return false
		case p.state == InDraw && (st.kind == 2 || !before || st.kind == 1 && !p.drawn):
			return false
		case p.state == Waiting && before && !(st.kind == 2 && p.drawn):
			return false
		case (p.state == Admitted || p.state == Used || p.state == Expired) && (st.kind != 2 || before && !p.drawn):
			return false
		}
	}
	return true
}

// decoder reads an export; after the first thing that is wrong it is bad, and reads zeroes.
type decoder struct {
	b   []byte
	bad bool
}

func (d *decoder) bytes(n int) []byte {
	if d.bad || n > len(d.b) {
		d.bad = true
		return make([]byte, n)
	}
	out := d.b[:n]
	d.b = d.b[n:]
	return out
}

func (d *decoder) byte() byte { return d.bytes(1)[0] }

func (d *decoder) uvarint(most uint64) uint64 {
	v, n := binary.Uvarint(d.b)
	if d.bad || n <= 0 || v > most {
		d.bad = true
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) varint() int64 {
	v, n := binary.Varint(d.b)
	if d.bad || n <= 0 {
		d.bad = true
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) text(most uint64) []byte { return d.bytes(int(d.uvarint(most))) }

func (d *decoder) stage() (st stage) {
	if st.kind = d.byte(); st.kind > 2 {
		d.bad = true
	}
	if st.kind >= 1 {
		st.first = int(d.uvarint(4 * maxLimit))
	}
	if st.kind == 2 {
		st.root = [32]byte(d.bytes(32))
		st.beacon = append([]byte(nil), d.text(MaxBeacon)...)
	}
	return st
}

// Opens returns when the sale opens. It only reads.
func (r *Room) Opens() time.Time { return r.cfg.Opens }
