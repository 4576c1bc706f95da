package ledger

import (
	"context"
	"embed"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"time"

	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/gm"
	"github.com/qiongdev/qiong/kit/receipt"
	"github.com/qiongdev/qiong/kit/sqldb"
	"github.com/qiongdev/qiong/kit/tlog"
	"github.com/qiongdev/qiong/service/evidence/council"
)

//go:embed tables/*.sql
var tables embed.FS

// Tables are the migrations of a ledger, for sqldb's Migrate; those of its log are tlog's.
func Tables() fs.FS { return sqldb.Files(tables) }

// Ledger is the state of one agency's node, or of an operator's sequencer.
type Ledger struct {
	db       sqldb.DB
	log      *tlog.Log
	readings readings

	mu      sync.RWMutex // over what is committed
	now     state
	pending *pending // applied and not committed; touched by the council's goroutine alone
}

var _ council.Ledger = (*Ledger)(nil)

// state is what is true at a height, beside the log.
type state struct {
	height int64
	hash   []byte
	facts  [32]byte
	policy *Policy
	text   []byte // of the policy, in its one form
	digest [32]byte
	ready  *compiled
	kept   schemas // of all facts
}

// Open opens the ledger in db, whose tables are migrated, over the log of that origin. A ledger that has begun goes on
// from what was committed.
func Open(ctx context.Context, db sqldb.DB, origin string) (*Ledger, error) {
	if err := wipeHalfImport(ctx, db); err != nil {
		return nil, err
	}
	if err := upgradeFacts(ctx, db); err != nil {
		return nil, err
	}
	log, err := tlog.Open(ctx, db, origin)
	if err != nil {
		return nil, err
	}
	l := &Ledger{db: db, log: log}
	return l, l.load(ctx)
}

// wipeHalfImport removes what an interrupted Import has left: entries without a state.
func wipeHalfImport(ctx context.Context, db sqldb.DB) error {
	begun, err := sqldb.Value[int64](ctx, db, "SELECT count(*) FROM ledger_state")
	if err != nil || begun > 0 {
		return err
	}
	return db.Write(ctx, sqldb.Durable, func(tx *sqldb.Tx) error {
		for _, table := range []string{"log_entry", "log_id", "log_shape", "log_tile", "log_checkpoint", "log_cosignature",
			"ledger_facts", "ledger_key", "ledger_schema", "ledger_policy"} {
			if _, err := tx.Exec(ctx, "DELETE FROM "+table); err != nil {
				return err
			}
		}
		return nil
	})
}

func (l *Ledger) load(ctx context.Context) error {
	var policy string
	var facts []byte
	s := state{}
	err := l.db.QueryRow(ctx, "SELECT height, hash, facts, policy FROM ledger_state WHERE id = 1").Scan(&s.height, &s.hash, &facts, &policy)
	if errors.Is(err, sqldb.ErrNoRows) {
		return nil
	}
	if err != nil {
		return err
	}
	copy(s.facts[:], facts)
	if err := s.adopt([]byte(policy)); err != nil {
		return fmt.Errorf("the ledger's policy: %w", err)
	}
	if s.kept, err = readSchemas(ctx, l.db); err != nil {
		return err
	}
	if want := s.root(l.log.Last()); string(want) != string(s.hash) {
		return errs.New(errs.Internal, "账本的散列与其日志不符", "the ledger's hash is not that of its log").WithCode(tlog.CodeBroken)
	}
	l.now = s
	return nil
}

// adopt puts a policy into force.
func (s *state) adopt(policy []byte) (err error) {
	if s.policy, err = ParsePolicy(policy); err != nil {
		return err
	}
	if s.text, err = s.policy.Marshal(); err != nil {
		return err
	}
	s.digest = gm.SM3(s.text)
	s.ready, err = s.policy.compile()
	return err
}

// root is the hash of the whole state: log, facts and policy.
func (s *state) root(c receipt.Checkpoint) []byte {
	sum := gm.SM3([]byte("qiong-ledger/v1\n"), binary.BigEndian.AppendUint64(nil, c.Size), c.Root[:], s.facts[:], s.digest[:])
	return sum[:]
}

// Log returns the ledger's log, for reading and for cosignatures.
func (l *Ledger) Log() *tlog.Log { return l.log }

// Policy returns the policy in force; nil before the first block.
func (l *Ledger) Policy() *Policy {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.now.policy
}

// Begin implements council.Ledger.
func (l *Ledger) Begin(_ context.Context, g *council.Genesis) ([]byte, error) {
	s := state{}
	if err := s.adopt(g.State); err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.now = s
	return s.root(l.log.Last()), nil
}

// Last implements council.Ledger.
func (l *Ledger) Last(context.Context) (int64, []byte, error) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if l.now.height == 0 {
		return 0, nil, nil
	}
	return l.now.height, l.now.hash, nil
}

// Members implements council.Ledger.
func (l *Ledger) Members(context.Context) ([]council.Member, error) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.now.policy.Members, nil
}

// Check implements council.Ledger: it refuses what is malformed and what nobody may send, before anyone orders it.
func (l *Ledger) Check(_ context.Context, tx []byte) error {
	l.mu.RLock()
	s := l.now
	l.mu.RUnlock()
	if s.policy == nil {
		return errs.New(errs.Unavailable, "账本尚未开始", "the ledger has not begun yet")
	}
	if l.readings.has(tx, s.policy) {
		return nil
	}
	t, err := parseTx(tx)
	if err != nil {
		return err
	}
	if t.kind == kindPolicy {
		_, err := s.follow(t)
		return err
	}
	r, err := s.read(t)
	if err != nil {
		return err
	}
	if err := r.refusal(); err != nil {
		return err
	}
	l.readings.keep(tx, r)
	return nil
}

// follow returns the policy that a transaction brings, where the agencies have approved it.
func (s *state) follow(t *transaction) (*Policy, error) {
	next, err := ParsePolicy(t.body)
	if err != nil {
		return nil, err
	}
	return next, s.policy.approve(next, t.body, t.signatures)
}

// believed returns the records of a batch that one of the gateways has signed.
func (s *state) believed(t *transaction) ([]Submission, error) {
	if len(t.signatures) != 1 {
		return nil, badTx("一批记录由一个网关签名", "one gateway signs a batch")
	}
	key := s.policy.gateway(t.signatures[0].name)
	if key == nil || gm.Verify(key, []byte(gm.DefaultID), signed(kindRecords, t.body), t.signatures[0].sig) != nil {
		return nil, errs.New(errs.Forbidden, "签名不是所约定网关的", "the signature is of no gateway that was agreed on").WithCode(CodeGateway)
	}
	return t.records()
}

// CodeGateway is the code of errors of kind Forbidden that say that the policy does not have a gateway or its key.
const CodeGateway = "evidence.gateway"

// Commit implements council.Ledger.
func (l *Ledger) Commit(ctx context.Context) error {
	p := l.pending
	if p == nil {
		return errors.New("nothing was applied")
	}
	err := l.db.Write(ctx, sqldb.Durable, func(tx *sqldb.Tx) error { return l.write(ctx, tx, p) })
	if err != nil {
		return err
	}
	l.log.Written(p.growth)
	l.mu.Lock()
	l.now = p.state
	l.mu.Unlock()
	l.pending = nil
	return nil
}

// write writes all that a block did.
func (l *Ledger) write(ctx context.Context, tx *sqldb.Tx, p *pending) error {
	if err := l.log.Write(ctx, tx, p.growth, p.at); err != nil {
		return err
	}
	if err := tx.Insert(ctx, p.factRows...); err != nil {
		return err
	}
	return writeState(ctx, tx, &p.state, p.at, p.changed || p.state.height == 1)
}

func writeState(ctx context.Context, tx *sqldb.Tx, s *state, at time.Time, newPolicy bool) error {
	if newPolicy {
		if _, err := tx.Exec(ctx, "INSERT INTO ledger_policy (version, height, at, policy) VALUES ($1, $2, $3, $4)",
			int64(s.policy.Version), s.height, at.UnixMilli(), string(s.text)); err != nil {
			return err
		}
	}
	_, err := tx.Exec(ctx, `INSERT INTO ledger_state (id, height, hash, facts, policy) VALUES (1, $1, $2, $3, $4)
		ON CONFLICT (id) DO UPDATE SET height = excluded.height, hash = excluded.hash, facts = excluded.facts, policy = excluded.policy`,
		s.height, s.hash, s.facts[:], string(s.text))
	return err
}
