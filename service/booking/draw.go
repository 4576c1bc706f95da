package booking

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/gm"
	"github.com/qiongdev/qiong/kit/outbox"
	"github.com/qiongdev/qiong/kit/sqldb"
	"github.com/qiongdev/qiong/service/booking/room"
)

// step is what a room has come to at its opening: the list is closed, or the order drawn.
type step struct {
	tree *room.Tree
	draw *room.Draw // nil where it is not drawn
	kept bool       // it is on the disk
}

func (s *step) record() room.Record {
	if s.draw != nil {
		return s.draw.Record()
	}
	return s.tree.Record()
}

// advance closes the list, shows its root, and only then draws and reveals the seed. Each step is kept before it is shown,
// here and wherever somebody may take over: whoever goes on after a crash goes on with the same list and the same draw.
// Where others do not have it yet, the next call looks again.
func (l *lobby) advance(ctx context.Context, now time.Time) (err error) {
	for !l.record.Drawn {
		if l.coming == nil {
			if l.coming, err = l.step(ctx, now); err != nil {
				return err
			}
		}
		if !l.coming.kept {
			if err := l.save(ctx); err != nil {
				return err
			}
			l.coming.kept = true
		}
		if !l.b.copied(l.sale, l.opens, l.saved) {
			return nil
		}
		if err := l.show(l.coming); err != nil {
			return err
		}
		l.coming = nil
	}
	return nil
}

// step closes the list, or draws from the one that is shown.
func (l *lobby) step(ctx context.Context, now time.Time) (*step, error) {
	if !l.record.Closed {
		l.mu.Lock()
		list, err := l.room.Close(now)
		l.mu.Unlock()
		if err != nil {
			return nil, err
		}
		return &step{tree: list.Tree()}, nil
	}
	beacon, err := l.beacon(ctx)
	if err != nil {
		return nil, err
	}
	d, err := l.tree.Draw(beacon)
	if err != nil {
		return nil, err
	}
	return &step{tree: l.tree, draw: d}, nil
}

// show lets anybody see a step, and begins the queue in the order that was drawn.
func (l *lobby) show(s *step) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if s.draw != nil {
		if err := l.room.Begin(s.draw); err != nil {
			return err
		}
	}
	l.tree, l.record, l.dirty = s.tree, s.record(), true
	return nil
}

// resume takes a room up where the record that was kept with it says that it was. A draw is kept before the queue begins
// with it; a room that does not know of its draw yet makes the same again, with the beacon that was kept.
func (l *lobby) resume(kept []byte) error {
	l.record = l.room.Record()
	if d := l.room.Draw(); d != nil {
		l.tree, l.record = d.Tree(), d.Record()
	} else if list := l.room.List(); list != nil {
		s := &step{tree: list.Tree()}
		if r, err := room.ParseRecord(kept); err == nil && r.Drawn {
			if s.draw, err = s.tree.Draw(r.Beacon); err != nil {
				return err
			}
		}
		if err := l.show(s); err != nil {
			return err
		}
	}
	if !bytes.HasPrefix(l.record.Text(), kept) {
		return errs.New(errs.Conflict, "等候室的名单与所存的抽签记录不符", "the list of a waiting room is not that of the record kept with it").WithCode("booking.room-record")
	}
	return nil
}

// beaconWait is how long an opening waits for the receipt of its list.
const beaconWait = 2 * time.Second

// beacon returns the SM3 of the receipt that evidence gives for the list: signatures that did not exist while the list was
// open. Where others than this house cosign, it cannot have known them, and so not have chosen the order. Without a
// receipt in time there is none, and the record says so.
func (l *lobby) beacon(ctx context.Context) ([]byte, error) {
	l.mu.RLock()
	record := l.record
	l.mu.RUnlock()
	if record.Count == 0 {
		return nil, nil // there is no order to choose
	}
	err := l.b.host.DB.Write(ctx, sqldb.Durable, func(tx *sqldb.Tx) error {
		return l.b.host.Box.Publish(ctx, tx, outbox.Event{Type: EventListed, Key: l.sale, Act: true, Version: 1, Grade: "L1",
			Data: map[string]any{"sale": l.sale, "count": record.Count, "root": record.Root, "commitment": hexOf(record.Commitment[:])}})
	})
	if err != nil {
		return nil, err
	}
	for until := time.Now().Add(beaconWait); time.Now().Before(until) && ctx.Err() == nil; {
		proofs, err := l.b.host.Proofs(ctx, l.b.host.Name, l.sale)
		if errs.Is(err, errs.Unavailable) {
			return nil, nil // no evidence is kept in this house
		}
		if err != nil {
			return nil, err
		}
		if n := len(proofs); n > 0 && len(proofs[n-1].Receipt) > 0 {
			sum := gm.SM3(proofs[n-1].Receipt)
			return sum[:], nil
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
		}
	}
	return nil, ctx.Err()
}

// getDraw writes the record of a draw, also where the room has closed since.
func (b *Booking) getDraw(w http.ResponseWriter, r *http.Request) error {
	text, err := b.recordOf(r.Context(), r.PathValue("sale"))
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, err = w.Write(text)
	return err
}

func (b *Booking) recordOf(ctx context.Context, sale string) ([]byte, error) {
	if l := b.lobby(sale); l != nil {
		l.mu.RLock()
		defer l.mu.RUnlock()
		return l.record.Text(), nil
	}
	record, err := b.store.pastRecord(ctx, sale, b.host.Now().Add(-roomAfter))
	return []byte(record), err
}

// getDrawList writes the list that was drawn from, also where the room has closed since.
func (b *Booking) getDrawList(w http.ResponseWriter, r *http.Request) error {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	l := b.lobby(r.PathValue("sale"))
	if l == nil {
		return b.pastList(r.Context(), r.PathValue("sale"), w)
	}
	l.mu.RLock()
	tree := l.tree
	l.mu.RUnlock()
	if tree == nil {
		return errNoList
	}
	_, err := tree.List().WriteTo(w)
	return err
}

var (
	errNoRoom = errs.New(errs.NotFound, "没有此等候室", "there is no such waiting room").WithCode("booking.no-room").WithField("sale")
	errNoList = errs.New(errs.Conflict, "名单在开售时公布", "the list is published when the sale opens").WithCode("booking.no-list")
	errLists  = errs.New(errs.TooMany, "正在下载名单的人较多，请稍后再试", "many are downloading lists: try again later").WithCode("booking.lists").WithRetryAfter(10 * time.Second)
)

// pastList writes the list of a room that has closed. It is in memory as long as it takes the reader to read it, for
// which the server has a limit, and few are at a time.
func (b *Booking) pastList(ctx context.Context, sale string, w io.Writer) error {
	select {
	case b.lobbies.past <- struct{}{}:
		defer func() { <-b.lobbies.past }()
	default:
		return errLists
	}
	export, err := b.store.pastExport(ctx, sale, b.host.Now().Add(-roomAfter))
	if err != nil {
		return err
	}
	if len(export) == 0 {
		return errNoList // nobody came, and nothing was drawn
	}
	return room.WriteList(w, b.lobbies.key, sale, export)
}

// pastRecord returns what was published of the draw of a sale that opened before a time.
func (s store) pastRecord(ctx context.Context, sale string, before time.Time) (record string, err error) {
	err = s.db.QueryRow(ctx, "SELECT record FROM room WHERE sale = $1 AND opens_at <= $2 AND record <> ''", sale, before.UnixMilli()).Scan(&record)
	return record, orNoRoom(err)
}

// pastExport returns its room.
func (s store) pastExport(ctx context.Context, sale string, before time.Time) (export []byte, err error) {
	err = s.db.QueryRow(ctx, "SELECT export FROM room WHERE sale = $1 AND opens_at <= $2", sale, before.UnixMilli()).Scan(&export)
	return export, orNoRoom(err)
}

func orNoRoom(err error) error {
	if errors.Is(err, sqldb.ErrNoRows) {
		return errNoRoom
	}
	return err
}
