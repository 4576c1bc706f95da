package booking

import (
	"context"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"time"

	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/sqldb"
	"github.com/qiongdev/qiong/kit/strictjson"
)

// A standby copies the waiting rooms of its leader as the leader keeps them for its own next start: seed, list, order, who
// was let in. What was not kept yet when the leader went down is lost as it is where a server alone goes down: people
// bring their places back with the tokens they have, which both servers know. What is published of a draw is never lost:
// the leader shows it when every standby in sync has it, and none gets in sync without it.
const (
	roomsPath  = pairBase + "/rooms"
	roomsEvery = 500 * time.Millisecond
	roomsFor   = 30 * time.Second // for one room
	roomsLate  = 10 * time.Second // a standby without a room that waits to be shown is in sync no longer
	maxRoom    = 128 << 20        // bytes of one, as it travels
)

// roomTicket stands for the rooms where a ticket counts shards.
const roomTicket = -1

// asking asks for a room that the standby lacks, or has otherwise.
type asking struct {
	Ticket string           `json:"ticket"`
	Have   map[string]int64 `json:"have"` // when those that it has were kept, by sale
}

// roomCopy is a room as a leader's tables have it; without a sale, the standby has them all.
type roomCopy struct {
	Sale   string `json:"sale"`
	Spot   string `json:"spot"`
	Opens  int64  `json:"opens"`
	Seed   []byte `json:"seed"` // sealed
	Record string `json:"record"`
	Export []byte `json:"export"`
	Saved  int64  `json:"saved"`
}

// lend answers a standby that asks for rooms.
func (p *pair) lend(w http.ResponseWriter, r *http.Request) error {
	var in asking
	name, err := p.admit(w, r, &in)
	if err != nil {
		return err
	}
	if !p.leads() {
		return errNoLeader
	}
	if !p.tickets.use(in.Ticket, name, roomTicket) {
		return errs.New(errs.Forbidden, "凭证无效", "the ticket is not good").WithCode("booking.pair-ticket")
	}
	p.note(name, in.Have)
	room, err := p.b.store.roomBut(r.Context(), in.Have, p.b.host.Now().Add(-roomAfter))
	if err != nil {
		return err
	}
	return p.tell(w, r, room)
}

// note takes down which rooms a standby has.
func (p *pair) note(name string, have map[string]int64) {
	p.mu.Lock()
	t := p.term
	p.mu.Unlock()
	if t == nil {
		return
	}
	f := t.follower(name)
	t.mu.Lock()
	defer t.mu.Unlock()
	f.rooms = have
}

// copied reports whether a room, as it was kept at a moment, is wherever somebody may take over, so that it can be shown.
func (b *Booking) copied(sale string, opens, kept time.Time) bool {
	if b.pair == nil {
		return true
	}
	b.pair.mu.Lock()
	t := b.pair.term
	b.pair.mu.Unlock()
	return t != nil && t.copied(roomCopy{Sale: sale, Opens: opens.UnixMilli(), Saved: kept.UnixMilli()})
}

// copied reports whether every standby in sync has a room, or a later copy of it; what is over is copied no more. From the
// first time on that it is asked about, no other standby gets in sync without the room, and one that lacks it for long is in
// sync no longer.
func (t *term) copied(room roomCopy) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.over(room) {
		return true
	}
	t.rooms[room.Sale] = room
	since, waiting := t.awaited[room.Sale]
	all := true
	for _, f := range t.standbys {
		if f.inSync && !f.has(room) {
			all, f.late = false, f.late || waiting && time.Since(since) > roomsLate
		}
	}
	switch {
	case all:
		delete(t.awaited, room.Sale)
	case !waiting:
		t.awaited[room.Sale] = time.Now()
	}
	return all
}

// over reports whether a room is lent no more.
func (t *term) over(room roomCopy) bool {
	return room.Opens <= t.p.b.host.Now().Add(-roomAfter).UnixMilli()
}

// hasAll reports whether a standby has all rooms that may have been seen. It needs the mutex.
func (t *term) hasAll(f *follower) bool {
	maps.DeleteFunc(t.rooms, func(_ string, room roomCopy) bool { return t.over(room) })
	for _, room := range t.rooms {
		if !f.has(room) {
			return false
		}
	}
	return true
}

// has reports whether a standby has a room, or a later copy of it.
func (f *follower) has(room roomCopy) bool {
	saved, ok := f.rooms[room.Sale]
	return ok && saved >= room.Saved
}

// rooms copies the leader's rooms, until ctx ends.
func (s *standing) rooms(ctx context.Context) error {
	var have map[string]roomCopy // without their places
	of, said := uint64(0), ""
	tick := time.NewTicker(roomsEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
		s.p.mu.Lock()
		leader := s.p.leader
		s.p.mu.Unlock()
		if leader == nil {
			continue
		}
		if leader.epoch != of { // what it has, another may have otherwise
			have, of = map[string]roomCopy{}, leader.epoch
		}
		over := s.p.b.host.Now().Add(-2 * roomAfter).UnixMilli() // when the leader, by its own clock, has long forgotten them
		maps.DeleteFunc(have, func(_ string, r roomCopy) bool { return r.Opens <= over })
		err := s.borrow(ctx, leader.peer, have)
		if err == nil || ctx.Err() != nil {
			said = ""
		} else if text := err.Error(); text != said {
			said = text
			s.p.b.host.Log.LogAttrs(ctx, slog.LevelWarn, "the leader's waiting rooms do not come", slog.String("leader", leader.name), slog.Any("err", err))
		}
	}
}

// borrow copies what rooms there are but those that it has already, one after the other.
func (s *standing) borrow(ctx context.Context, leader peer, have map[string]roomCopy) error {
	for {
		v, err := s.p.ask(ctx, leader)
		if err != nil {
			return err
		}
		if !v.leading {
			return nil // others find out who does
		}
		room, err := s.p.askRoom(ctx, v, have)
		if err != nil || room.Sale == "" {
			return err
		}
		if err := s.p.b.store.keepRoom(ctx, room); err != nil {
			return err
		}
		have[room.Sale] = roomCopy{Opens: room.Opens, Saved: room.Saved}
	}
}

func (p *pair) askRoom(ctx context.Context, leader sighting, have map[string]roomCopy) (room roomCopy, err error) {
	ctx, cancel := context.WithTimeout(ctx, roomsFor)
	defer cancel()
	in := asking{leader.ticket, map[string]int64{}}
	for sale, r := range have {
		in.Have[sale] = r.Saved
	}
	req, err := p.signed(ctx, leader.url+roomsPath, in, nil)
	if err != nil {
		return room, err
	}
	resp, err := p.front.meets.Do(req)
	if err != nil {
		return room, errs.Wrap(err, errs.Unavailable, "对方服务器没有答复", "the other server does not answer")
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxRoom+1))
	if err != nil || resp.StatusCode != http.StatusOK || len(body) > maxRoom {
		return room, errs.Newf(errs.Unavailable, "对方服务器以状态 %d 答复", "the other server answered with status %d", resp.StatusCode)
	}
	if err := p.answeredBy(leader.name, resp, body, req); err != nil {
		return room, err
	}
	return room, strictjson.Unmarshal(body, &room)
}

// roomBut returns a room that is not over, and was kept at another moment than the one that somebody has.
func (s store) roomBut(ctx context.Context, have map[string]int64, after time.Time) (room roomCopy, err error) {
	type kept struct {
		sale  string
		saved int64
	}
	all, err := sqldb.All(ctx, s.db, func(r sqldb.Scanner) (k kept, err error) { return k, r.Scan(&k.sale, &k.saved) },
		"SELECT sale, saved_at FROM room WHERE opens_at > $1 ORDER BY opens_at", after.UnixMilli())
	if err != nil {
		return room, err
	}
	for _, k := range all {
		if saved, ok := have[k.sale]; ok && saved == k.saved {
			continue
		}
		err := s.db.QueryRow(ctx, "SELECT sale, spot, opens_at, seed, record, export, saved_at FROM room WHERE sale = $1", k.sale).
			Scan(&room.Sale, &room.Spot, &room.Opens, &room.Seed, &room.Record, &room.Export, &room.Saved)
		return room, err
	}
	return room, nil
}

// keepRoom puts a leader's room into the tables of a standby.
func (s store) keepRoom(ctx context.Context, r roomCopy) error {
	if r.Seed == nil || r.Export == nil { // columns are never null
		r.Seed, r.Export = append([]byte{}, r.Seed...), append([]byte{}, r.Export...)
	}
	_, err := s.db.Exec(ctx, sqldb.Durable, `INSERT INTO room (sale, spot, opens_at, seed, record, export, saved_at) VALUES ($1, $2, $3, $4, $5, $6, $7)
		ON CONFLICT (sale) DO UPDATE SET spot = excluded.spot, opens_at = excluded.opens_at, seed = excluded.seed, record = excluded.record,
		export = excluded.export, saved_at = excluded.saved_at`, r.Sale, r.Spot, r.Opens, r.Seed, r.Record, r.Export, r.Saved)
	return err
}
