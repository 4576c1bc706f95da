package outbox

import (
	"context"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"log/slog"
	"sync"
	"time"

	"github.com/qiongdev/qiong/kit/bus"
	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/label"
	"github.com/qiongdev/qiong/kit/sqldb"
)

// lanes is how many messages a consumer handles at a time; those of one key share a lane.
const lanes = 8

// Handler changes the consumer's own tables through tx. An error undoes them: the message comes again, or becomes a
// dead letter at once where the error's kind says that it stays wrong (invalid, forbidden, not found, unsupported).
type Handler func(ctx context.Context, tx *sqldb.Tx, m Message) error

// Rows is a handler that only inserts: it returns the rows that a message comes to, and what to call once they are
// committed, which may be nil. Many messages are then handled in one transaction, which costs a fraction of one each.
type Rows func(ctx context.Context, m Message) (rows []sqldb.Insert, committed func(), err error)

// batch is how many messages a Rows handler is given in one transaction at most.
const batch = 64

// Inbox is a consumer: it handles each message once, in the transaction that records it.
type Inbox struct {
	Consumer string
	DB       sqldb.DB
	Bus      bus.Bus
	Now      func() time.Time
	Log      *slog.Logger
	Handle   map[string]Handler // by event type
	Rows     map[string]Rows    // by event type, instead of Handle

	// Clearance is the highest grade of messages that the consumer may be told. What is above, and what has no grade, is
	// not handled: it becomes a dead letter at once. The zero Clearance is told nothing.
	Clearance label.Grade

	// Context prepares the handler's context from the message, such as its trace. It may be nil.
	Context func(ctx context.Context, m Message) context.Context

	acks chan addressed
}

type addressed struct {
	producer string
	ack      ack
}

// Run consumes until ctx ends.
func (in *Inbox) Run(ctx context.Context) error {
	in.acks = make(chan addressed, 1024)
	var work sync.WaitGroup
	queues := make([]chan Message, lanes)
	for i := range queues {
		queues[i] = make(chan Message, 256)
		work.Go(func() { in.lane(ctx, queues[i]) })
	}
	work.Go(func() { in.acknowledge(ctx) })
	cancel, err := in.Bus.Subscribe(consumerTopic(in.Consumer), in.Consumer, func(_ context.Context, b bus.Message) {
		var m Message
		if err := json.Unmarshal(b.Body, &m); err != nil {
			in.Log.Error("a message can't be read", "consumer", in.Consumer, "err", err)
			return
		}
		m.Grade = graver(b.Header[label.Header], m.Grade)
		h := fnv.New32a()
		_, _ = h.Write([]byte(m.Key)) // never fails
		select {
		case queues[h.Sum32()%lanes] <- m:
		default: // it comes again
		}
	})
	if err != nil {
		return fmt.Errorf("inbox %s: %w", in.Consumer, err)
	}
	<-ctx.Done()
	cancel()
	work.Wait()
	return nil
}

func (in *Inbox) lane(ctx context.Context, queue <-chan Message) {
	for {
		select {
		case <-ctx.Done():
			return
		case m := <-queue:
			for _, a := range in.take(ctx, m, queue) {
				select {
				case in.acks <- a:
				case <-ctx.Done():
				}
			}
		}
	}
}

// take handles a message, and with it those behind it, as far as they only come to rows.
func (in *Inbox) take(ctx context.Context, m Message, queue <-chan Message) []addressed {
	var group []Message
	for in.Rows[m.Type] != nil {
		if group = append(group, m); len(group) == batch {
			return in.insert(ctx, group)
		}
		select {
		case m = <-queue:
		default:
			return in.insert(ctx, group)
		}
	}
	answers := in.insert(ctx, group)
	return append(answers, addressed{m.Producer, in.handle(ctx, m)})
}

// insert handles messages that come to rows in one transaction, or one by one where together they can't be.
func (in *Inbox) insert(ctx context.Context, group []Message) (answers []addressed) {
	var rows []sqldb.Insert
	var after []func()
	var err error
	for _, m := range group {
		var more []sqldb.Insert
		var committed func()
		if more, committed, err = in.rows(ctx, m); err != nil {
			break
		}
		if rows = append(rows, more...); committed != nil {
			after = append(after, committed)
		}
	}
	if err == nil && len(group) > 0 {
		err = in.DB.Append(ctx, rows...)
	}
	if err == nil {
		for _, committed := range after {
			committed()
		}
	}
	for _, m := range group {
		a := ack{ID: m.ID, Consumer: in.Consumer}
		if err != nil { // perhaps one of them was handled before, or is refused: the others shall not wait for it
			a = in.handle(ctx, m)
		}
		answers = append(answers, addressed{m.Producer, a})
	}
	return answers
}

var intoInbox = sqldb.NewInto("local_inbox", "producer", "message_id", "consumer", "handled_at")

// rows are the rows of a message, and the one that says it was handled.
func (in *Inbox) rows(ctx context.Context, m Message) ([]sqldb.Insert, func(), error) {
	if grade := gradeOf(m.Grade); !in.Clearance.Clears(grade) {
		return nil, nil, errs.New(errs.Forbidden, "级别不够", "not cleared")
	}
	if in.Context != nil {
		ctx = in.Context(ctx, m)
	}
	rows, committed, err := in.Rows[m.Type](ctx, m)
	return append(rows, intoInbox.Row(m.Producer, m.ID, in.Consumer, in.Now().UnixMilli())), committed, err
}

// handle runs the handler and the inbox row in one transaction.
func (in *Inbox) handle(ctx context.Context, m Message) ack {
	a := ack{ID: m.ID, Consumer: in.Consumer}
	h := in.Handle[m.Type]
	if rows := in.Rows[m.Type]; rows != nil {
		h = func(ctx context.Context, tx *sqldb.Tx, m Message) error {
			all, committed, err := rows(ctx, m)
			if err != nil {
				return err
			}
			if committed != nil {
				tx.OnCommit(committed)
			}
			return tx.Insert(ctx, all...)
		}
	}
	if h == nil {
		a.Failed, a.Reason = true, "the consumer does not know this event type"
		return a
	}
	if in.Context != nil {
		ctx = in.Context(ctx, m)
	}
	if grade := gradeOf(m.Grade); !in.Clearance.Clears(grade) {
		a.Failed, a.Final, a.Reason = true, true, fmt.Sprintf("the message is of grade %s, and the consumer is cleared for %s", grade, in.Clearance)
		in.Log.WarnContext(ctx, "a message was refused", "consumer", in.Consumer, "message", m.ID, "type", m.Type, "grade", grade, "clearance", in.Clearance)
		return a
	}
	err := in.DB.Write(ctx, sqldb.Durable, func(tx *sqldb.Tx) error {
		n, err := tx.Exec(ctx, `INSERT INTO local_inbox (producer, message_id, consumer, handled_at) VALUES ($1, $2, $3, $4)
			ON CONFLICT (producer, message_id, consumer) DO NOTHING`, m.Producer, m.ID, in.Consumer, in.Now().UnixMilli())
		if err != nil || n == 0 { // handled before
			return err
		}
		return h(ctx, tx, m)
	})
	if err != nil {
		in.Log.WarnContext(ctx, "a message could not be handled", "consumer", in.Consumer, "message", m.ID, "type", m.Type, "err", err)
		a.Failed, a.Reason, a.Final = true, errs.KindOf(err).String(), final(err)
	}
	return a
}

// gradeOf reads a grade; what can't be read is no grade.
func gradeOf(s string) label.Grade {
	g, err := label.ParseGrade(s)
	if err != nil {
		return label.Ungraded
	}
	return g
}

// graver returns which of a message's grades counts: that of the bus header, where a bus on the way may have raised it,
// or that of the message itself.
func graver(header, own string) string {
	if a, b := gradeOf(header), gradeOf(own); a > b && b != label.Ungraded {
		return header
	}
	return own
}

func final(err error) bool {
	switch errs.KindOf(err) {
	case errs.Invalid, errs.Forbidden, errs.NotFound, errs.Unsupported:
		return true
	}
	return false
}

// acknowledge sends answers in batches: what has come by the time the last batch was sent.
func (in *Inbox) acknowledge(ctx context.Context) {
	for {
		var first addressed
		select {
		case <-ctx.Done():
			return
		case first = <-in.acks:
		}
		byProducer := map[string][]ack{first.producer: {first.ack}}
		for more, n := true, 0; more && n < 1000; n++ {
			select {
			case next := <-in.acks:
				byProducer[next.producer] = append(byProducer[next.producer], next.ack)
			default:
				more = false
			}
		}
		for producer, acks := range byProducer {
			body, err := json.Marshal(acks)
			if err == nil {
				err = in.Bus.Publish(ctx, ackTopic(producer), bus.Message{Key: in.Consumer, Body: body})
			}
			if err != nil && ctx.Err() == nil {
				in.Log.Warn("an acknowledgement was not sent; the message will come again", "consumer", in.Consumer, "err", err)
			}
		}
	}
}
