package house_test

import (
	"context"
	"testing/fstest"

	"github.com/qiongdev/qiong"
	"github.com/qiongdev/qiong/house"
	"github.com/qiongdev/qiong/kit/auth"
	"github.com/qiongdev/qiong/kit/httpapi"
	"github.com/qiongdev/qiong/kit/lang"
	"github.com/qiongdev/qiong/kit/outbox"
	"github.com/qiongdev/qiong/kit/sqldb"
)

// A program of one's own is a list of services: `go run .` then knows `up`, `visits`, `config print` and the rest.
func Example() {
	house.Main([]*qiong.Service{visits}, nil)
}

const arrived = "visits.visitor.arrived"

// visits writes down who comes by, and greets them. Migrations are best embedded from a folder tables/.
var visits = &qiong.Service{
	Name:  "visits",
	Doc:   lang.T("来访登记", "writes down who comes by"),
	Needs: qiong.DB,
	Tables: fstest.MapFS{"0001_init.sql": {Data: []byte(`-- +goose Up
CREATE TABLE visit    (who TEXT NOT NULL, at BIGINT NOT NULL);
CREATE TABLE greeting (who TEXT NOT NULL);`)}},
	Events: []qiong.Event{{Type: arrived, Version: 1, Grade: "L1", Doc: lang.T("有人来访", "somebody came by")}},
	New: func(_ context.Context, h *qiong.Host, _ any) (qiong.Runner, error) {
		v := &book{h}
		httpapi.Register(h.API, httpapi.Operation{Method: "POST", Path: "/api/visits/visits", ID: "arrive", Tag: "visits",
			Status: 204, Summary: lang.T("来访", "Come by")}, v.arrive)
		httpapi.Register(h.API, httpapi.Operation{Method: "GET", Path: "/api/visits/greetings", ID: "greetings", Tag: "visits",
			Summary: lang.T("问候次数", "How often you were greeted")}, v.greetings)
		h.On("greeter", arrived, false, v.greet)
		return v, nil
	},
}

type book struct{ host *qiong.Host }

var (
	intoVisit    = sqldb.NewInto("visit", "who", "at")
	intoGreeting = sqldb.NewInto("greeting", "who")
)

// Run implements qiong.Runner: the house runs what New has registered.
func (v *book) Run(ctx context.Context) error { <-ctx.Done(); return nil }

// arrive is one transaction: the row, and the message that tells of it.
func (v *book) arrive(ctx context.Context, _ *struct{}) (*struct{}, error) {
	who := auth.From(ctx).ID
	return nil, v.host.DB.Write(ctx, sqldb.Durable, func(tx *sqldb.Tx) error {
		if err := tx.Insert(ctx, intoVisit.Row(who, v.host.Now().UnixMilli())); err != nil {
			return err
		}
		return v.host.Box.Publish(ctx, tx, outbox.Event{Type: arrived, Key: who, Version: 1, Grade: "L1", Data: map[string]string{"who": who}})
	})
}

// greet handles the message once, in the transaction that also records that it was handled.
func (v *book) greet(ctx context.Context, tx *sqldb.Tx, m outbox.Message) error {
	var about struct{ Who string }
	if err := m.Data(&about); err != nil {
		return err
	}
	return tx.Insert(ctx, intoGreeting.Row(about.Who))
}

type count struct {
	Body struct {
		Count int64 `grade:"L1"`
	}
}

func (v *book) greetings(ctx context.Context, _ *struct{}) (c *count, err error) {
	c = &count{}
	c.Body.Count, err = sqldb.Value[int64](ctx, v.host.DB, "SELECT count(*) FROM greeting WHERE who = $1", auth.From(ctx).ID)
	return c, err
}
