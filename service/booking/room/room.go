// Package room is the waiting room of one sale: a spot's slots that open at one moment.
//
// It promises an order that nobody chose. Everyone who joins before the opening is in a draw: the list of entries is
// closed and its Merkle root published before the seed is, whose SM3 was published before anyone joined; anyone can
// compute the order again (see [Record] and [VerifyDraw]), and each visitor can prove that their entry was in. Whoever
// comes after the opening stands behind the drawn, first come. A person has one place however often they join.
//
// People go in through the inlet ([Room.Admit]) as fast as the engine behind it takes them, each with an admission that
// works for that person, that sale and a short time ([Checker]).
//
// The package is pure: no clock, no I/O, no goroutines. A Room is one caller's at a time, but for the methods that say
// they only read, which may run beside each other. A million places take 44 bytes each and the map that finds them.
package room

import (
	"encoding/binary"
	"time"

	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/gm"
)

// Config is what a room is made of.
type Config struct {
	Sale  string    // names the sale; 1 to 128 of A-Z, a-z, 0-9, '.', '_', '-', ':', '/'
	Opens time.Time // until here whoever joins is in the draw; to the millisecond
	Key   []byte    // secret of the house for tokens and pseudonyms, at least 16 bytes; the same after a restart
	Seed  [32]byte  // secret of this sale until the draw; random, the same after a restart
	Limit int       // places at a time; default 1,000,000
	Gap   int       // numbers left free by Restore for places given out after the export; see Resume
	Inlet Inlet     // how fast people go in
}

const (
	defaultLimit = 1_000_000
	maxLimit     = 1 << 26
	maxSale      = 128
)

// State is where a place stands.
type State uint8

// The states of a place.
const (
	Vacant   State = iota // nobody's
	InDraw                // joined before the opening; its rank is not drawn yet
	Waiting               // in the queue
	Admitted              // may book now, with an admission
	Used                  // the admission was used
	Expired               // the admission was not used in time
	Left                  // gave up; joining again gives the same place back
	SoldOut               // only in Status: waiting, and nothing is left to book at the moment
)

// String returns the state's stable name.
func (s State) String() string {
	names := [...]string{"vacant", "in-draw", "waiting", "admitted", "used", "expired", "left", "sold-out"}
	if int(s) >= len(names) {
		return "unknown"
	}
	return names[s]
}

// Alias is a person's pseudonym in one sale: it stands in the published list, and cannot be linked to another sale's or
// to the person without the house's key.
type Alias [16]byte

// Place is what a person is given for joining.
type Place struct {
	Number uint32    // from 1, in order of joining
	Joined time.Time // to the millisecond
	Token  string    // brings the place back after a restart; see Resume
	Alias  Alias     // the person's name in the published list
	New    bool      // false where the person had this place already
}

// place is one of the room's rows; Number i+1 is row i.
type place struct {
	joined int64  // Unix milliseconds
	rank   uint32 // in the queue, from 0; of a drawn place, valid once the draw is made
	state  State
	drawn  bool // is on the closed list
}

// Room is a waiting room; see the package comment for who may use it at a time.
type Room struct {
	cfg     Config
	aliases []Alias
	places  []place
	byAlias map[Alias]uint32 // the number of a person's newest place
	live    int              // places in draw, waiting or admitted
	tokens  tokens

	list  *List   // nil while the list is open
	draw  *Draw   // nil until Begin
	first int     // numbers up to this one joined before the list was closed
	queue fenwick // by rank: who is waiting
	head  uint32  // no rank below is waiting

	admitted outstanding
	inlet    controller
	soldOut  bool
}

// New returns an empty room.
func New(cfg Config) (*Room, error) {
	if cfg.Limit == 0 {
		cfg.Limit = defaultLimit
	}
	switch {
	case !validSale(cfg.Sale):
		return nil, errs.New(errs.Invalid, "场次编号不合法", "not a valid id of a sale").WithField("sale")
	case len(cfg.Key) < 16:
		return nil, errs.New(errs.Invalid, "密钥至少 16 字节", "the key is at least 16 bytes").WithField("key")
	case cfg.Limit < 1 || cfg.Limit > maxLimit:
		return nil, errs.Newf(errs.Invalid, "人数上限须为 1 至 %d", "the limit is 1 to %d", maxLimit).WithField("limit")
	case cfg.Gap < 0 || cfg.Gap > cfg.Limit:
		return nil, errs.New(errs.Invalid, "预留号码数不得为负，也不得超过人数上限", "the gap is 0 to the limit").WithField("gap")
	}
	cfg.Opens = time.UnixMilli(cfg.Opens.UnixMilli())
	inlet, err := cfg.Inlet.controller()
	if err != nil {
		return nil, err
	}
	t, err := newTokens(cfg.Key, cfg.Sale)
	if err != nil {
		return nil, err
	}
	return &Room{cfg: cfg, tokens: t, byAlias: map[Alias]uint32{}, inlet: inlet, admitted: newOutstanding()}, nil
}

// validSale reports whether s can name a sale: it stands in a line of the published record.
func validSale(s string) bool {
	if s == "" || len(s) > maxSale {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '.' || c == '_' || c == '-' || c == ':' || c == '/') {
			return false
		}
	}
	return true
}

// Commitment returns the SM3 of the seed, which is to be published before anyone joins.
func (r *Room) Commitment() [32]byte { return gm.SM3(r.cfg.Seed[:]) }

// Record returns what can be published at once: sale, opening and commitment. See [Tree.Record] and [Draw.Record] for what
// follows.
func (r *Room) Record() Record {
	return Record{Sale: r.cfg.Sale, Opens: r.cfg.Opens, Commitment: r.Commitment()}
}

// Join gives a person a place; person is how the house knows them, such as an SM3-HMAC of their document's number. Who
// has a place keeps it, also who left; who used an admission or let it expire gets a new one, at the end. Where the room
// is full the error is of kind TooMany and code "room.full". The first to come after the opening closes the list, as [Room.Close] does.
func (r *Room) Join(now time.Time, person []byte) (Place, error) {
	r.closeAt(now)
	alias := r.tokens.alias(person)
	if n, ok := r.byAlias[alias]; ok && r.keeps(n) {
		return r.back(n)
	}
	if r.live >= r.cfg.Limit || len(r.places) >= 4*r.cfg.Limit {
		return Place{}, full()
	}
	r.append(alias, now.UnixMilli())
	n := uint32(len(r.places))
	r.byAlias[alias] = n
	p := r.place(n)
	p.New = true
	return p, nil
}

func full() error {
	return errs.New(errs.TooMany, "候场人数已满，请稍后再来", "the waiting room is full; come back later").
		WithCode("room.full").WithRetryAfter(30 * time.Second)
}

// keeps reports whether the person of number n still has that place. Who left before the list was closed is not on it, and
// has no rank to come back to.
func (r *Room) keeps(n uint32) bool {
	p := &r.places[n-1]
	unlisted := r.list != nil && int(n) <= r.first && !p.drawn
	return p.state != Used && p.state != Expired && !(p.state == Left && unlisted)
}

// back returns the place a person has, and takes them in again where they had left.
func (r *Room) back(n uint32) (Place, error) {
	if r.places[n-1].state == Left {
		if r.live >= r.cfg.Limit {
			return Place{}, full()
		}
		r.enter(n)
	}
	return r.place(n), nil
}

// append adds a row for alias at the end.
func (r *Room) append(alias Alias, joined int64) {
	r.vacate()
	i := len(r.places) - 1
	r.aliases[i], r.places[i].joined = alias, joined
	r.enter(uint32(i + 1))
}

// vacate adds a row that is nobody's.
func (r *Room) vacate() {
	p := place{}
	if r.list != nil {
		p.rank = uint32(len(r.list.numbers) + len(r.places) - r.first)
		if r.draw != nil {
			r.queue.append(0)
		}
	}
	r.aliases, r.places = append(r.aliases, Alias{}), append(r.places, p)
}

// enter makes number n wait, for the first time or again.
func (r *Room) enter(n uint32) {
	p := &r.places[n-1]
	r.live++
	if r.list == nil || p.drawn && r.draw == nil {
		p.state = InDraw
		return
	}
	p.state = Waiting
	if r.draw != nil {
		r.queue.add(int(p.rank), 1)
		r.head = min(r.head, p.rank)
	}
}

// place returns what the person of number n is given.
func (r *Room) place(n uint32) Place {
	p, alias := r.places[n-1], r.aliases[n-1]
	return Place{Number: n, Joined: time.UnixMilli(p.joined), Alias: alias, Token: r.tokens.place(alias, n, p.joined)}
}

// Resume is [Room.Join] for a person who brings the token of a place, such as after a restart with an older export: the
// place is theirs again where it is still free and the list it stood on is still open, or it was behind the draw. A token
// that is not of this sale and person is refused with kind Forbidden and code "room.token"; one that is too late is only a
// Join.
func (r *Room) Resume(now time.Time, person []byte, token string) (Place, error) {
	r.closeAt(now)
	alias := r.tokens.alias(person)
	n, joined, err := r.tokens.parse(token, alias)
	if err != nil {
		return Place{}, err
	}
	if _, known := r.byAlias[alias]; known || !r.free(n) || r.live >= r.cfg.Limit {
		return r.Join(now, person)
	}
	r.aliases[n-1], r.places[n-1].joined = alias, joined
	r.byAlias[alias] = n
	r.enter(n)
	return r.place(n), nil
}

// free reports whether number n is nobody's and still worth having.
func (r *Room) free(n uint32) bool {
	return n >= 1 && int(n) <= len(r.places) && r.places[n-1].state == Vacant && (r.list == nil || int(n) > r.first)
}

// Find returns the number of a person's newest place. It only reads.
func (r *Room) Find(person []byte) (uint32, bool) {
	n, ok := r.byAlias[r.tokens.alias(person)]
	return n, ok
}

// Leave gives up a place that has not been used. An admission that is left returns to the inlet.
func (r *Room) Leave(number uint32) error {
	p, err := r.row(number)
	if err != nil {
		return err
	}
	switch p.state {
	case Waiting:
		r.dequeue(p)
	case Admitted:
		r.admitted.remove(number)
		p.state = Expired // its rank is past: who comes back starts at the end
		r.live--
		return nil
	case InDraw:
	default:
		return nil
	}
	p.state = Left
	r.live--
	return nil
}

// dequeue takes a waiting place out of the queue.
func (r *Room) dequeue(p *place) {
	if r.draw != nil {
		r.queue.add(int(p.rank), -1)
	}
}

func (r *Room) row(number uint32) (*place, error) {
	if number < 1 || int64(number) > int64(len(r.places)) || r.places[number-1].state == Vacant {
		return nil, noPlace()
	}
	return &r.places[number-1], nil
}

func noPlace() error {
	return errs.New(errs.NotFound, "没有这个候场号", "there is no such place").WithCode("room.place")
}

// Len returns how many places are in draw, waiting or admitted. It only reads.
func (r *Room) Len() int { return r.live }

// entry is how a place stands in the list: what the Merkle tree and the draw are over.
func entry(alias Alias, number uint32) (e [20]byte) {
	copy(e[:], alias[:])
	binary.BigEndian.PutUint32(e[16:], number)
	return e
}
