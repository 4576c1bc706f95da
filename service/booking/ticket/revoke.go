package ticket

import (
	"crypto"
	"encoding/binary"

	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/gm"
)

// A revocation list, integers big-endian:
//
//	"QREVO" 1 ‖ key id[4] ‖ spot[2] ‖ since[8] ‖ count[4] ‖ count times booking[8] ‖ r[32] ‖ s[32]
//
// All revocations of a spot stand in one order, from 1 on; a list holds those from since+1 on.
const (
	revokeMagic = "QREVO\x01"
	revokeHead  = len(revokeMagic) + 4 + 2 + 8 + 4
	maxRevoked  = 1 << 20
)

// SignRevocations returns the list of the bookings of a spot that were cancelled after the first since ones, in their
// order, at most 1,048,576; it is signed as a ticket is, so that it may reach the gates by any way. Give the same bookings
// in the same order each time.
func SignRevocations(signer crypto.Signer, spot uint16, since uint64, bookings []uint64) ([]byte, error) {
	if len(bookings) > maxRevoked {
		return nil, errs.Newf(errs.TooLarge, "一次最多 %d 个", "at most %d at a time", maxRevoked)
	}
	pub, err := gm.PublicKeyOf(signer.Public())
	if err != nil {
		return nil, err
	}
	id := IDOf(pub)
	b := make([]byte, 0, revokeHead+8*len(bookings)+sigSize)
	b = append(append(b, revokeMagic...), id[:]...)
	b = binary.BigEndian.AppendUint16(b, spot)
	b = binary.BigEndian.AppendUint64(b, since)
	b = binary.BigEndian.AppendUint32(b, uint32(len(bookings)))
	for _, n := range bookings {
		b = binary.BigEndian.AppendUint64(b, n)
	}
	sig, err := signRaw(signer, b)
	return append(b, sig...), err
}

// Revoke takes in a revocation list. A list that the gate has already, or has a part of, does no harm. One that begins
// behind what the gate has is of kind Conflict and code "ticket.gap": fetch one from [Gate.RevokedUpTo] on. One that is
// malformed, of another spot, or not signed by a trusted key is of kind Invalid and code "ticket.revocations".
func (g *Gate) Revoke(list []byte) error {
	bad := errs.New(errs.Invalid, "吊销名单无效", "not a valid list of revocations").WithCode("ticket.revocations")
	if len(list) < revokeHead+sigSize || string(list[:len(revokeMagic)]) != revokeMagic {
		return bad
	}
	head := list[len(revokeMagic):]
	id, spot, since, count := KeyID(head), binary.BigEndian.Uint16(head[4:]), binary.BigEndian.Uint64(head[6:]), binary.BigEndian.Uint32(head[14:])
	body, sig := list[:len(list)-sigSize], list[len(list)-sigSize:]
	if spot != g.cfg.Spot || count > maxRevoked || len(body) != revokeHead+8*int(count) || since > 1<<62 {
		return bad
	}
	if g.cfg.Keys.signed(id, body, sig) != OK {
		return bad
	}
	if since > g.upTo {
		return errs.New(errs.Conflict, "吊销名单不连续，请从本机序号起重新下载", "revocations before these are missing").WithCode("ticket.gap")
	}
	for bookings := body[revokeHead:]; len(bookings) > 0; bookings = bookings[8:] {
		g.revoked[binary.BigEndian.Uint64(bookings)] = true
	}
	g.upTo = max(g.upTo, since+uint64(count))
	return nil
}

// RevokedUpTo returns how many revocations of the spot the gate has.
func (g *Gate) RevokedUpTo() uint64 { return g.upTo }
