package exchange

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/lang"
	"github.com/qiongdev/qiong/kit/recordio"
	"github.com/qiongdev/qiong/kit/sqldb"
)

// store keeps transfers, their chunks, deliveries and the quarantine.
type store struct{ db sqldb.DB }

var (
	intoFeed       = sqldb.NewInto("feed", "name", "version", "sm3", "source", "loaded_at")
	intoTransfer   = sqldb.NewInto("transfer", "id", "feed", "version", "kind", "name", "day", "status", "reason", "manifest", "state", "good", "bad", "chunks", "created_at", "ended_at")
	intoChunk      = sqldb.NewInto("chunk", "transfer", "n", "records", "body")
	intoDelivery   = sqldb.NewInto("delivery", "feed", "target", "transfer", "next_chunk", "chunks", "status", "attempts", "due_at", "reason", "delivered", "quarantined", "ended_at")
	intoQuarantine = sqldb.NewInto("quarantine", "id", "feed", "version", "transfer", "seq", "target", "byte_offset", "line", "field", "code", "reason", "raw", "status", "note", "closed_by", "closed_at", "correction", "created_at")
)

// Kinds of transfer.
const (
	kindFile       = "file"
	kindPage       = "page"
	kindCorrection = "correction"
)

// Statuses of a transfer.
const (
	receiving = "receiving"
	accepted  = "accepted"
	refused   = "refused"
)

// transfer is a row of what came in.
type transfer struct {
	ID, Feed   string
	Version    int64
	Kind, Name string
	Day        string
	Status     string
	Reason     string
	Manifest   string
	state      string
	Good, Bad  int64
	Chunks     int64
	Created    int64
	Ended      int64
}

const transferColumns = "id, feed, version, kind, name, day, status, reason, manifest, state, good, bad, chunks, created_at, ended_at"

func (t *transfer) row() sqldb.Insert {
	return intoTransfer.Row(t.ID, t.Feed, t.Version, t.Kind, t.Name, t.Day, t.Status, t.Reason, t.Manifest, t.state, t.Good, t.Bad, t.Chunks, t.Created, t.Ended)
}

func scanTransfer(r sqldb.Scanner) (*transfer, error) {
	t := &transfer{}
	return t, r.Scan(&t.ID, &t.Feed, &t.Version, &t.Kind, &t.Name, &t.Day, &t.Status, &t.Reason, &t.Manifest, &t.state, &t.Good, &t.Bad, &t.Chunks, &t.Created, &t.Ended)
}

// progress is where the intake of a file stands, between two records.
type progress struct {
	Split recordio.State `json:"split"`
	SM3   []byte         `json:"sm3"` // the digest's inner state
	Seq   int64          `json:"seq"` // records read
}

func (t *transfer) progress() (p progress, err error) {
	if t.state != "" {
		err = json.Unmarshal([]byte(t.state), &p)
	}
	return p, err
}

func noTransfer() error {
	return errs.New(errs.NotFound, "没有这次传输", "there is no such transfer").WithField("id").WithCode("exchange.no-transfer")
}

func (s store) transfer(ctx context.Context, q sqldb.Querier, id string) (*transfer, error) {
	t, err := scanTransfer(q.QueryRow(ctx, "SELECT "+transferColumns+" FROM transfer WHERE id = $1", id))
	if errors.Is(err, sqldb.ErrNoRows) {
		return nil, noTransfer()
	}
	return t, err
}

// named returns the transfer of a file by the name its sender gave it; nil where there is none.
func (s store) named(ctx context.Context, feed, name string) (*transfer, error) {
	t, err := scanTransfer(s.db.QueryRow(ctx, "SELECT "+transferColumns+" FROM transfer WHERE feed = $1 AND kind = $2 AND name = $3", feed, kindFile, name))
	if errors.Is(err, sqldb.ErrNoRows) {
		return nil, nil
	}
	return t, err
}

// filter says which transfers to list; empty fields match all.
type filter struct {
	feed, status, day string
	before            string
	limit             int
}

// afterAll is greater than every id, in every collation.
const afterAll = "ZZZZZZZZZZZZZZ"

func (s store) transfers(ctx context.Context, f filter) ([]*transfer, error) {
	if f.before == "" {
		f.before = afterAll
	}
	return sqldb.All(ctx, s.db, scanTransfer, "SELECT "+transferColumns+` FROM transfer
		WHERE ($1 = '' OR feed = $1) AND ($2 = '' OR status = $2) AND ($3 = '' OR day = $3) AND id < $4 ORDER BY id DESC LIMIT $5`,
		f.feed, f.status, f.day, f.before, f.limit)
}

// advance writes the changed columns of a transfer that is being received and had the given number of chunks.
func (s store) advance(ctx context.Context, tx *sqldb.Tx, t *transfer, hadBad, hadChunks int64) error {
	n, err := tx.Exec(ctx, `UPDATE transfer SET status = $1, reason = $2, state = $3, good = $4, bad = $5, chunks = $6, ended_at = $7
		WHERE id = $8 AND status = 'receiving' AND bad = $9 AND chunks = $10`,
		t.Status, t.Reason, t.state, t.Good, t.Bad, t.Chunks, t.Ended, t.ID, hadBad, hadChunks)
	if err == nil && n != 1 {
		err = errs.New(errs.Conflict, "此传输正由另一个连接接收", "another connection is sending this transfer").WithCode("exchange.busy")
	}
	return err
}

// chunk returns the sealed bytes of a chunk.
func (s store) chunk(ctx context.Context, transfer string, n int64) (body []byte, err error) {
	return body, s.db.QueryRow(ctx, "SELECT body FROM chunk WHERE transfer = $1 AND n = $2", transfer, n).Scan(&body)
}

// delivery is how far a target has got with a transfer.
type delivery struct {
	Feed, Target, Transfer string
	Next, Chunks           int64
	Status                 string
	Attempts               int64
	Due                    int64
	Reason                 string
	Delivered, Quarantined int64
	Ended                  int64
}

const deliveryColumns = "feed, target, transfer, next_chunk, chunks, status, attempts, due_at, reason, delivered, quarantined, ended_at"

func scanDelivery(r sqldb.Scanner) (*delivery, error) {
	d := &delivery{}
	return d, r.Scan(&d.Feed, &d.Target, &d.Transfer, &d.Next, &d.Chunks, &d.Status, &d.Attempts, &d.Due, &d.Reason, &d.Delivered, &d.Quarantined, &d.Ended)
}

// next returns the oldest delivery on a route that is not done; nil where there is none.
func (s store) next(ctx context.Context, r route) (*delivery, error) {
	d, err := scanDelivery(s.db.QueryRow(ctx, "SELECT "+deliveryColumns+` FROM delivery
		WHERE status = 'pending' AND feed = $1 AND target = $2 ORDER BY transfer LIMIT 1`, r.feed, r.target))
	if errors.Is(err, sqldb.ErrNoRows) {
		return nil, nil
	}
	return d, err
}

func (s store) deliveries(ctx context.Context, transfer string) ([]*delivery, error) {
	return sqldb.All(ctx, s.db, scanDelivery, "SELECT "+deliveryColumns+" FROM delivery WHERE transfer = $1 ORDER BY target", transfer)
}

func (s store) saveDelivery(ctx context.Context, tx *sqldb.Tx, d *delivery) error {
	_, err := tx.Exec(ctx, `UPDATE delivery SET next_chunk = $1, status = $2, attempts = $3, due_at = $4, reason = $5, delivered = $6,
		quarantined = $7, ended_at = $8 WHERE feed = $9 AND target = $10 AND transfer = $11`,
		d.Next, d.Status, d.Attempts, d.Due, d.Reason, d.Delivered, d.Quarantined, d.Ended, d.Feed, d.Target, d.Transfer)
	return err
}

// backlog counts the chunks of a feed that wait for some target.
func (s store) backlog(ctx context.Context, feed string) (int64, error) {
	return sqldb.Value[int64](ctx, s.db, `SELECT coalesce(max(waiting), 0) FROM
		(SELECT sum(chunks - next_chunk) AS waiting FROM delivery WHERE status = 'pending' AND feed = $1 GROUP BY target) AS targets`, feed)
}

// lag is what waits for a target.
type lag struct {
	Feed, Target string
	Transfers    int64
	Chunks       int64
	Oldest       string // transfer
	Attempts     int64
	Reason       string
}

func (s store) lags(ctx context.Context) ([]lag, error) {
	return sqldb.All(ctx, s.db, func(r sqldb.Scanner) (l lag, err error) {
		return l, r.Scan(&l.Feed, &l.Target, &l.Transfers, &l.Chunks, &l.Oldest, &l.Attempts, &l.Reason)
	}, `SELECT feed, target, count(*), sum(chunks - next_chunk), min(transfer), max(attempts), max(reason)
		FROM delivery WHERE status = 'pending' GROUP BY feed, target ORDER BY feed, target`)
}

// held is a record in quarantine.
type held struct {
	ID, Feed     string
	Version      int64
	Transfer     string
	Seq          int64
	Target       string
	Offset, Line int64
	Field, Code  string
	Reason       lang.Text
	raw          []byte
	Status       string
	Note, By     string
	Closed       int64
	Correction   string
	Created      int64
}

const heldColumns = "id, feed, version, transfer, seq, target, byte_offset, line, field, code, reason, raw, status, note, closed_by, closed_at, correction, created_at"

// Statuses of a record in quarantine.
const (
	open      = "open"
	replayed  = "replayed"
	dismissed = "dismissed"
)

func (h *held) row() (sqldb.Insert, error) {
	reason, err := json.Marshal(h.Reason)
	if err != nil {
		return sqldb.Insert{}, err
	}
	return intoQuarantine.Row(h.ID, h.Feed, h.Version, h.Transfer, h.Seq, h.Target, h.Offset, h.Line, h.Field, h.Code, string(reason), h.raw,
		h.Status, h.Note, h.By, h.Closed, h.Correction, h.Created), nil
}

func scanHeld(r sqldb.Scanner) (*held, error) {
	h, reason := &held{}, ""
	err := r.Scan(&h.ID, &h.Feed, &h.Version, &h.Transfer, &h.Seq, &h.Target, &h.Offset, &h.Line, &h.Field, &h.Code, &reason, &h.raw,
		&h.Status, &h.Note, &h.By, &h.Closed, &h.Correction, &h.Created)
	if err == nil {
		err = json.Unmarshal([]byte(reason), &h.Reason)
	}
	return h, err
}

func (s store) held(ctx context.Context, q sqldb.Querier, id string) (*held, error) {
	h, err := scanHeld(q.QueryRow(ctx, "SELECT "+heldColumns+" FROM quarantine WHERE id = $1", id))
	if errors.Is(err, sqldb.ErrNoRows) {
		return nil, errs.New(errs.NotFound, "隔离区没有这条记录", "there is no such record in quarantine").WithField("id").WithCode("exchange.no-held")
	}
	return h, err
}

func (s store) quarantined(ctx context.Context, feed, status, transfer, before string, limit int) ([]*held, error) {
	if before == "" {
		before = afterAll
	}
	return sqldb.All(ctx, s.db, scanHeld, "SELECT "+heldColumns+` FROM quarantine
		WHERE ($1 = '' OR feed = $1) AND ($2 = '' OR status = $2) AND ($3 = '' OR transfer = $3) AND id < $4 ORDER BY id DESC LIMIT $5`,
		feed, status, transfer, before, limit)
}

// settle closes a record in quarantine, where it is still open.
func (s store) settle(ctx context.Context, tx *sqldb.Tx, h *held) error {
	n, err := tx.Exec(ctx, `UPDATE quarantine SET status = $1, note = $2, closed_by = $3, closed_at = $4, correction = $5
		WHERE id = $6 AND status = 'open'`, h.Status, h.Note, h.By, h.Closed, h.Correction, h.ID)
	if err == nil && n != 1 {
		err = errs.New(errs.Conflict, "这条记录已处理过", "this record has been dealt with").WithCode("exchange.settled")
	}
	return err
}

// lastID returns the greatest id given so far, for numbering on.
func (s store) lastID(ctx context.Context) (string, error) {
	return sqldb.Value[string](ctx, s.db, `SELECT coalesce(max(id), '') FROM (
		SELECT max(id) AS id FROM transfer UNION ALL SELECT max(id) FROM quarantine) AS ids`)
}
