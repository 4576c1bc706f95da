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

// Inbox is a consumer: it handles each message once, in the transaction that records it.
type Inbox struct {
	Consumer string
	DB       sqldb.DB
	Bus      bus.Bus
	Now      func() time.Time
	Log      *slog.Logger
	Handle   map[string]Handler // by event type

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
			a := in.handle(ctx, m)
			select {
			case in.acks <- addressed{m.Producer, a}:
			case <-ctx.Done():
			}
		}
	}
}

// handle runs the handler and the inbox row in one transaction.
func (in *Inbox) handle(ctx context.Context, m Message) ack {
	a := ack{ID: m.ID, Consumer: in.Consumer}
	h := in.Handle[m.Type]
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
