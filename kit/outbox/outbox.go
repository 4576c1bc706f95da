// Package outbox carries events from one service's transaction to another's, exactly once in effect over a bus that may
// lose, duplicate and reorder.
//
// The producer writes the event into its local message table in the transaction of the change it tells of, with one
// delivery row a consumer. The relay of a [Box] sends what is due, again and again with growing pauses until it is
// acknowledged; of a key's messages a consumer has one unacknowledged at a time, so they are handled in order. The
// consumer's [Inbox] records the message in the transaction of the handler's own changes, and acknowledges after the
// commit. The grade of an event's data goes with it, in the row and in the bus header: a consumer that is not cleared for
// it is refused it. What is refused or never acknowledged becomes a dead letter with its reason, until somebody requeues it.
//
// The relay looks for rows by status, never by "ids greater than the last": on PostgreSQL a smaller id may be committed
// after a greater one, and is sent all the same.
package outbox

import (
	"context"
	"embed"
	"encoding/json"
	"fmt"
	"io/fs"
	"log/slog"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/qiongdev/qiong/kit/bus"
	"github.com/qiongdev/qiong/kit/ident"
	"github.com/qiongdev/qiong/kit/sqldb"
)

//go:embed tables/*.sql
var tables embed.FS

// Tables are the migrations of the message table, for sqldb's Migrate.
func Tables() fs.FS { return sqldb.Files(tables) }

// Status is where a delivery stands.
type Status int

// The statuses, as stored.
const (
	StatusPending Status = iota
	StatusSent
	StatusAcknowledged
	StatusDead
)

// Event is what a producer tells.
type Event struct {
	Type    string
	Key     string // of the thing it is about; its events are delivered in order
	Act     bool   // whether evidence anchors it
	Version int    // of Data's schema
	Grade   string // the highest grade of Data's fields, as label.Grade writes it; without one nobody is told
	Trace   string // W3C traceparent
	Data    any    // encoded as JSON

	// Acts are the commitments of many acts that this event stands for: evidence anchors them under one record.
	Acts [][32]byte
}

// Message is an event on its way.
type Message struct {
	ID       int64           `json:"id"`
	Type     string          `json:"type"`
	Key      string          `json:"key"`
	Seq      int64           `json:"seq"`
	Act      bool            `json:"act,omitempty"`
	Version  int             `json:"version"`
	Producer string          `json:"producer"`
	Grade    string          `json:"grade,omitempty"`
	Trace    string          `json:"trace,omitempty"`
	At       int64           `json:"at"` // milliseconds since 1970
	Payload  json.RawMessage `json:"payload"`
}

// payload is what the column of that name holds.
type payload struct {
	IdempotencyID string          `json:"idempotency_id"`
	Data          json.RawMessage `json:"data"`
	Acts          []byte          `json:"acts,omitempty"` // one after the other
}

// Data decodes what the producer told into v.
func (m Message) Data(v any) error {
	var p payload
	if err := json.Unmarshal(m.Payload, &p); err != nil {
		return fmt.Errorf("message %d: %w", m.ID, err)
	}
	if err := json.Unmarshal(p.Data, v); err != nil {
		return fmt.Errorf("message %d: data: %w", m.ID, err)
	}
	return nil
}

// Acts returns the commitments of the acts that the message stands for; none where it is an act itself.
func (m Message) Acts() ([][32]byte, error) {
	var p struct{ Acts []byte }
	if err := json.Unmarshal(m.Payload, &p); err != nil {
		return nil, fmt.Errorf("message %d: %w", m.ID, err)
	}
	if len(p.Acts)%32 != 0 {
		return nil, fmt.Errorf("message %d: acts of %d bytes", m.ID, len(p.Acts))
	}
	acts := make([][32]byte, len(p.Acts)/32)
	for i := range acts {
		copy(acts[i][:], p.Acts[i*32:])
	}
	return acts, nil
}

// Options configure a box. Producer, DB, Bus, Now and Log are needed.
type Options struct {
	Producer  string
	DB        sqldb.DB
	Bus       bus.Bus
	Now       func() time.Time
	Log       *slog.Logger
	Poll      time.Duration // how often the table is looked at without being woken; default 1 s
	Initial   time.Duration // pause before the second sending; default 500 ms, doubling
	Max       time.Duration // longest pause; default 1 min
	Attempts  int           // sendings before a message is a dead letter; default 20
	Retention time.Duration // how long what is acknowledged is kept; default 7 days
}

// Box is the message table of one producer.
type Box struct {
	Options
	ids ident.Source

	mu        sync.RWMutex
	consumers map[string][]consumer // by event type

	wake   chan struct{}
	acks   chan []ack
	counts struct{ sent, acked, dead atomic.Uint64 }
}

type consumer struct {
	name   string
	blocks int
}

// Open returns a box on a migrated database. It starts nothing.
func Open(ctx context.Context, o Options) (*Box, error) {
	def(&o.Poll, time.Second)
	def(&o.Initial, 500*time.Millisecond)
	def(&o.Max, time.Minute)
	def(&o.Retention, 7*24*time.Hour)
	if o.Attempts <= 0 {
		o.Attempts = 20
	}
	b := &Box{Options: o, consumers: map[string][]consumer{}, wake: make(chan struct{}, 1), acks: make(chan []ack, 1024)}
	last, err := sqldb.Value[int64](ctx, o.DB, "SELECT coalesce(max(id), 0) FROM local_message")
	if err != nil {
		return nil, fmt.Errorf("outbox: %w", err)
	}
	b.ids.Seen(last)
	return b, b.load(ctx)
}

func def(d *time.Duration, value time.Duration) {
	if *d <= 0 {
		*d = value
	}
}

func (b *Box) load(ctx context.Context) error {
	rows, err := b.DB.Query(ctx, "SELECT event_type, consumer, blocks FROM local_consumer")
	if err != nil {
		return fmt.Errorf("outbox: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var event string
		var c consumer
		if err := rows.Scan(&event, &c.name, &c.blocks); err != nil {
			return err
		}
		b.consumers[event] = append(b.consumers[event], c)
	}
	return rows.Err()
}

// Subscribe has events of the type delivered to the consumer from now on, also in later lives. blocks says whether a
// dead letter holds back what follows of its key.
func (b *Box) Subscribe(ctx context.Context, event, name string, blocks bool) error {
	c := consumer{name: name}
	if blocks {
		c.blocks = 1
	}
	err := b.DB.Write(ctx, sqldb.Durable, func(tx *sqldb.Tx) error {
		_, err := tx.Exec(ctx, `INSERT INTO local_consumer (event_type, consumer, blocks) VALUES ($1, $2, $3)
			ON CONFLICT (event_type, consumer) DO UPDATE SET blocks = excluded.blocks`, event, c.name, c.blocks)
		return err
	})
	if err != nil {
		return fmt.Errorf("outbox: subscribe %s to %s: %w", name, event, err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	kept := slices.DeleteFunc(slices.Clone(b.consumers[event]), func(o consumer) bool { return o.name == name })
	b.consumers[event] = append(kept, c)
	return nil
}

var (
	intoMessage = sqldb.NewInto("local_message", "id", "event_type", "msg_key", "seq", "act", "version", "producer",
		"grade", "trace", "payload", "created_at")
	intoDelivery = sqldb.NewInto("local_delivery", "message_id", "consumer", "msg_key", "seq", "status", "attempts",
		"next_at", "blocks", "reason")
)

// Publish writes e into the message table in the caller's transaction. It is sent after the commit.
func (b *Box) Publish(ctx context.Context, tx *sqldb.Tx, e Event) error {
	if err := tx.Lock(ctx, "outbox/"+e.Key); err != nil {
		return err
	}
	seq, err := sqldb.Value[int64](ctx, tx, "SELECT coalesce(max(seq), 0) + 1 FROM local_message WHERE msg_key = $1", e.Key)
	if err != nil {
		return err
	}
	rows, sent, err := b.rows(e, seq)
	if err != nil {
		return err
	}
	tx.OnCommit(sent)
	return tx.Insert(ctx, rows...)
}

// First returns the rows of e for Append, where no event of its key was ever told before, and what to call after.
func (b *Box) First(e Event) (rows []sqldb.Insert, committed func(), err error) { return b.rows(e, 1) }

func (b *Box) rows(e Event, seq int64) ([]sqldb.Insert, func(), error) {
	data, err := json.Marshal(e.Data)
	if err != nil {
		return nil, nil, fmt.Errorf("event %s: %w", e.Type, err)
	}
	now := b.Now()
	id := b.ids.Next(now)
	told := payload{IdempotencyID: b.Producer + "-" + strconv.FormatInt(id, 10), Data: data}
	for _, act := range e.Acts {
		told.Acts = append(told.Acts, act[:]...)
	}
	body, err := json.Marshal(told)
	if err != nil {
		return nil, nil, fmt.Errorf("event %s: %w", e.Type, err)
	}
	act := 0
	if e.Act {
		act = 1
	}
	rows := []sqldb.Insert{intoMessage.Row(id, e.Type, e.Key, seq, act, max(e.Version, 1), b.Producer, e.Grade, e.Trace,
		string(body), now.UnixMilli())}
	b.mu.RLock()
	defer b.mu.RUnlock()
	for _, c := range b.consumers[e.Type] {
		rows = append(rows, intoDelivery.Row(id, c.name, e.Key, seq, int(StatusPending), 0, now.UnixMilli(), c.blocks, ""))
	}
	if len(rows) == 1 {
		return rows, func() {}, nil
	}
	return rows, b.Wake, nil
}

// Wake has the relay look at the table now.
func (b *Box) Wake() {
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

// Stats counts what the box has done since it was opened.
type Stats struct{ Sent, Acknowledged, Dead uint64 }

// Stats returns the counters.
func (b *Box) Stats() Stats {
	return Stats{b.counts.sent.Load(), b.counts.acked.Load(), b.counts.dead.Load()}
}
