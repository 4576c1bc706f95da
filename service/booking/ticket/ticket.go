// Package ticket is entry by a signed QR code that a gate verifies without a network.
//
// It promises that a code it accepts was signed by a key the gate trusts, for this spot and this time, and is unchanged
// to the last character. A code is 154 characters, which is what a QR code of version 6 (41 modules a side) holds in
// alphanumeric mode at error correction level M:
//
//	"Q" ‖ base45 (RFC 9285) of
//	  1 ‖ key id[4] ‖ booking[8] ‖ slot[4] ‖ spot[2] ‖ party[2] ‖ from[4] ‖ until[4] ‖ flags[1] ‖ digest[8] ‖ r[32] ‖ s[32]
//
// Integers are big-endian, times are Unix minutes, the key id is the first half of gm.KeyID, and r and s are the SM2
// signature of what stands before them under the signer id [SignerID].
//
// What no signature can say, that a code was used before or its booking cancelled, a [Gate] knows; what two gates without
// a network could not know of each other, a [Tally] finds afterwards. The package is pure: the caller brings the time
// and does all reading and writing.
package ticket

import (
	"crypto"
	"encoding/binary"
	"encoding/hex"
	"time"

	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/gm"
)

// SignerID is the SM2 signer id of tickets, so that no other signature of the key can pass for one.
const SignerID = "qiong-ticket-1"

const (
	prefix   = "Q"
	version  = 1
	bodySize = 38
	sigSize  = 64
	rawSize  = bodySize + sigSize

	// Length is the length of a code.
	Length = len(prefix) + rawSize/2*3 + rawSize%2*2
)

// Flags are what the person at the gate should look at.
type Flags uint8

// The flags. Others are reserved, and a code with one of them is malformed.
const (
	Elderly  Flags = 1 << iota // an elderly person's ticket
	Child                      // children are in the party
	RealName                   // compare with the document
	Disabled                   // a person with a disability
	allFlags = Elderly | Child | RealName | Disabled
)

// Ticket is what a code says.
type Ticket struct {
	Booking uint64
	Slot    uint32
	Spot    uint16
	Party   uint16    // people, at least 1
	From    time.Time // the first minute of validity
	Until   time.Time // the minute with which it ends; after From
	Flags   Flags
	Digest  [8]byte // of the visitors, as the service chooses, or random
}

// KeyID is the id of the key that signed a code.
type KeyID [4]byte

// IDOf returns the key's id in codes.
func IDOf(pub *gm.PublicKey) (id KeyID) {
	_, _ = hex.Decode(id[:], []byte(gm.KeyID(pub)[:8])) // it is hexadecimal
	return id
}

// Sign returns the code of t. A ticket that no code can say is refused with kind Invalid and the field.
func Sign(signer crypto.Signer, t Ticket) (string, error) {
	if err := t.check(); err != nil {
		return "", err
	}
	pub, err := gm.PublicKeyOf(signer.Public())
	if err != nil {
		return "", err
	}
	raw := t.body(IDOf(pub))
	sig, err := signRaw(signer, raw)
	if err != nil {
		return "", err
	}
	return prefix + encode45(append(raw, sig...)), nil
}

func (t Ticket) check() error {
	bad := func(field string) error {
		return errs.New(errs.Invalid, "门票内容不合法", "not a valid ticket").WithCode("ticket.invalid").WithField(field)
	}
	switch {
	case t.Party == 0:
		return bad("party")
	case t.Flags&^allFlags != 0:
		return bad("flags")
	case !minute(t.From):
		return bad("from")
	case !minute(t.Until) || !t.Until.After(t.From):
		return bad("until")
	}
	return nil
}

// minute reports whether t is a whole minute that four bytes can say.
func minute(t time.Time) bool {
	return t.Nanosecond() == 0 && t.Unix()%60 == 0 && t.Unix() >= 0 && t.Unix()/60 <= 1<<32-1
}

func (t Ticket) body(key KeyID) []byte {
	b := make([]byte, 0, rawSize)
	b = append(append(b, version), key[:]...)
	b = binary.BigEndian.AppendUint64(b, t.Booking)
	b = binary.BigEndian.AppendUint32(b, t.Slot)
	b = binary.BigEndian.AppendUint16(b, t.Spot)
	b = binary.BigEndian.AppendUint16(b, t.Party)
	b = binary.BigEndian.AppendUint32(b, uint32(t.From.Unix()/60))
	b = binary.BigEndian.AppendUint32(b, uint32(t.Until.Unix()/60))
	b = append(b, byte(t.Flags))
	return append(b, t.Digest[:]...)
}

// Code is a code that was read, and not yet verified.
type Code struct {
	Ticket Ticket
	Key    KeyID
	body   [bodySize]byte
	sig    [sigSize]byte
}

// Parse reads a code. What [Sign] could not have written is refused with kind Invalid and code "ticket.malformed".
func Parse(code string) (Code, error) {
	var c Code
	var raw [rawSize]byte
	if len(code) != Length || code[:len(prefix)] != prefix || !decode45(raw[:], code[len(prefix):]) || raw[0] != version {
		return Code{}, malformed()
	}
	copy(c.body[:], raw[:bodySize])
	copy(c.sig[:], raw[bodySize:])
	c.Key = KeyID(raw[1:5])
	c.Ticket = Ticket{
		Booking: binary.BigEndian.Uint64(raw[5:]),
		Slot:    binary.BigEndian.Uint32(raw[13:]),
		Spot:    binary.BigEndian.Uint16(raw[17:]),
		Party:   binary.BigEndian.Uint16(raw[19:]),
		From:    time.Unix(60*int64(binary.BigEndian.Uint32(raw[21:])), 0),
		Until:   time.Unix(60*int64(binary.BigEndian.Uint32(raw[25:])), 0),
		Flags:   Flags(raw[29]),
		Digest:  [8]byte(raw[30:]),
	}
	if c.Ticket.check() != nil {
		return Code{}, malformed()
	}
	return c, nil
}

func malformed() error {
	return errs.New(errs.Invalid, "不是有效的入园码", "not an entry code").WithCode("ticket.malformed")
}

// Keys are the public keys that a gate trusts, by id. They do not change and may be shared.
type Keys struct{ byID map[KeyID][]*gm.PublicKey }

// NewKeys returns the set of the given keys, each ready to verify quickly (gm.PublicKey.Precompute).
func NewKeys(keys ...*gm.PublicKey) *Keys {
	k := &Keys{map[KeyID][]*gm.PublicKey{}}
	for _, pub := range keys {
		pub.Precompute()
		k.byID[IDOf(pub)] = append(k.byID[IDOf(pub)], pub)
	}
	return k
}

// signed reports whether one of the keys with this id signed body as raw sig; Unknown where there is no such key.
func (k *Keys) signed(id KeyID, body, sig []byte) Reason {
	keys := k.byID[id]
	if len(keys) == 0 {
		return UnknownKey
	}
	for _, pub := range keys {
		if gm.Verify(pub, []byte(SignerID), body, toDER(sig)) == nil {
			return OK
		}
	}
	return Forged
}

// Verify reads a code and returns what it says, and why it does not let anyone in at this spot and time; OK where it
// does. The ticket is what the code says also where it is of another spot or time, and empty where the code is malformed,
// of an unknown key, or forged.
func (k *Keys) Verify(code string, spot uint16, now time.Time) (Ticket, Reason) {
	c, err := Parse(code)
	if err != nil {
		return Ticket{}, Malformed
	}
	if why := k.signed(c.Key, c.body[:], c.sig[:]); why != OK {
		return Ticket{}, why
	}
	return c.Ticket, c.Ticket.valid(spot, now, 0)
}

// valid returns whether a true ticket is good at a spot and time, with some grace before and after.
func (t Ticket) valid(spot uint16, now time.Time, grace time.Duration) Reason {
	switch {
	case t.Spot != spot:
		return WrongSpot
	case now.Before(t.From.Add(-grace)):
		return TooEarly
	case !now.Before(t.Until.Add(grace)):
		return TooLate
	}
	return OK
}
