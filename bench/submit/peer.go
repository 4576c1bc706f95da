package main

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/qiongdev/qiong/kit/httpapi/idem"
	"github.com/qiongdev/qiong/kit/outbox"
	"github.com/qiongdev/qiong/kit/saga/engine"
	"github.com/qiongdev/qiong/kit/sqldb/postgres"
	"github.com/qiongdev/qiong/service/approval"
)

// The statements of a submission, on Qiong's own tables.
const (
	insertCase = `INSERT INTO cases (id, matter, version, owner, status, subject, form, form_sm3, reason, rev, created_at,
		submitted_at, decided_at) VALUES ($1, $2, 1, 'bench', 'processing', $3, $4, $5, '', 1, $6, $6, 0)`
	insertSaga = `INSERT INTO saga (id, name, version, status, ended, input, state, stuck_on, parked, trace, rev, boot, next_at,
		deadline, created_at, updated_at) VALUES ($1, $2, 1, 'running', 0, '{}', $3, '', 0, $4, 0, 0, $5, 0, $5, $5)`
	insertMessage = `INSERT INTO local_message (id, event_type, msg_key, seq, act, version, producer, grade, trace, payload,
		created_at) VALUES ($1, 'approval.case.submitted', $2, 1, 1, 1, 'approval', 'L2', $3, $4, $5)`
	insertKey = `INSERT INTO idempotency (principal, route, idem_key, body_sm3, answer, created_at)
		VALUES ('bench', 'POST /api/approval/cases', $1, $2, $3, $4)`
)

const (
	trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	state = `{"steps":[{"name":"registration"},{"name":"seal"},{"name":"invoice"},{"name":"insurance"},{"name":"fund"}]}`
)

// peer is Gin + pgx as they are mostly used.
type peer struct {
	pool *pgxpool.Pool
	ids  atomic.Int64
}

// submitted is what a peer decodes.
type submitted struct {
	Matter string          `json:"matter" binding:"required"`
	Form   json.RawMessage `json:"form" binding:"required"`
	Submit bool            `json:"submit"`
}

// rows are the arguments of the statements.
type rows struct{ cases, saga, message, key []any }

func servePeer(name, database string) error {
	ctx := context.Background()
	if err := migrate(ctx, database); err != nil {
		return err
	}
	c, err := pgxpool.ParseConfig(database)
	if err != nil {
		return err
	}
	c.MaxConns = 64
	c.ConnConfig.RuntimeParams["search_path"] = "approval"
	p := &peer{}
	if p.pool, err = pgxpool.NewWithConfig(ctx, c); err != nil {
		return err
	}
	write := map[string]func(context.Context, rows) error{rowsName: p.each, batchName: p.batch, insertName: p.one}[name]
	gin.SetMode(gin.ReleaseMode)
	g := gin.New()
	g.POST(path, p.submit(write))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println(l.Addr())
	return http.Serve(l, g)
}

// migrate makes Qiong's tables.
func migrate(ctx context.Context, database string) error {
	db, err := postgres.Open(ctx, postgres.Options{URL: database, Schema: "approval"})
	if err != nil {
		return err
	}
	defer db.Close()
	return errors.Join(
		db.Migrate(ctx, "approval", approval.Service.Tables),
		db.Migrate(ctx, "saga", engine.Tables()),
		db.Migrate(ctx, "outbox", outbox.Tables()),
		db.Migrate(ctx, "idem", idem.Tables()),
	)
}

func (p *peer) submit(write func(context.Context, rows) error) gin.HandlerFunc {
	return func(c *gin.Context) {
		var s submitted
		if err := c.ShouldBindJSON(&s); err != nil {
			c.JSON(http.StatusBadRequest, gin.H{"error": err.Error()})
			return
		}
		n, now, sum := p.ids.Add(1), time.Now().UnixMilli(), sha256.Sum256(s.Form)
		id := fmt.Sprintf("%013d", n)
		answer := gin.H{"id": id, "matter": s.Matter, "version": 1, "status": "processing", "statusText": "办理中", "subject": subject,
			"created": now, "submitted": now, "canWithdraw": false, "formSm3": fmt.Sprintf("%x", sum)}
		body, err := json.Marshal(answer)
		if err == nil {
			err = write(c.Request.Context(), rows{
				cases: []any{id, s.Matter, subject, []byte(s.Form), sum[:], now},
				saga:  []any{id, s.Matter, state, trace, now},
				message: []any{n, id, trace, fmt.Sprintf(`{"idempotency_id":"approval-%d","data":{"case":"%s","matter":"%s","version":1,`+
					`"owner":"bench","subject":"%s","formSm3":"%x"}}`, n, id, s.Matter, subject, sum), now},
				key: []any{c.GetHeader("Idempotency-Key"), sum[:], string(body), now},
			})
		}
		if err != nil {
			c.JSON(http.StatusInternalServerError, gin.H{"error": err.Error()})
			return
		}
		c.JSON(http.StatusCreated, answer)
	}
}

const subject = "海口𠮷䶮数字科技有限公司（样例）"

// each writes the rows one by one in a transaction.
func (p *peer) each(ctx context.Context, r rows) error {
	return pgx.BeginFunc(ctx, p.pool, func(tx pgx.Tx) error {
		for _, s := range []struct {
			sql  string
			args []any
		}{{insertCase, r.cases}, {insertSaga, r.saga}, {insertMessage, r.message}, {insertKey, r.key}} {
			if _, err := tx.Exec(ctx, s.sql, s.args...); err != nil {
				return err
			}
		}
		return nil
	})
}

// batch writes the rows in one round trip, which is one transaction.
func (p *peer) batch(ctx context.Context, r rows) error {
	b := &pgx.Batch{}
	b.Queue(insertCase, r.cases...)
	b.Queue(insertSaga, r.saga...)
	b.Queue(insertMessage, r.message...)
	b.Queue(insertKey, r.key...)
	return p.pool.SendBatch(ctx, b).Close()
}

// one writes the case alone.
func (p *peer) one(ctx context.Context, r rows) error {
	_, err := p.pool.Exec(ctx, insertCase, r.cases...)
	return err
}
