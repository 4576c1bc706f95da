package node

import (
	"context"
	"crypto"
	"errors"
	"log/slog"
	"slices"
	"time"

	"github.com/qiongdev/qiong/kit/gm"
	"github.com/qiongdev/qiong/kit/receipt"
	"github.com/qiongdev/qiong/kit/sqldb"
	"github.com/qiongdev/qiong/service/evidence/council"
	"github.com/qiongdev/qiong/service/evidence/ledger"
)

const (
	cosignBack  = time.Hour // how old a checkpoint may be that is still cosigned, the newest aside
	cosignBatch = 256       // checkpoints signed in one transaction of the database
	retryPause  = time.Second
	behindPause = 100 * time.Millisecond
)

// cosigner signs what the council has decided and this ledger has committed.
type cosigner struct {
	agency string
	db     sqldb.DB
	ledger *ledger.Ledger
	key    func(pub *gm.PublicKey) (crypto.Signer, error)
	behind func() bool     // the node is catching up: there are newer checkpoints than it knows
	say    func(err error) // what it waits for; nil where for nothing
	log    *slog.Logger

	pem    string // of the key that signer has
	signer *receipt.Signer
}

// run cosigns until ctx ends. A key that is missing, or a signer that is away or fails, is told and tried again: the agency
// goes on ordering meanwhile, and owes its signature.
func (c *cosigner) run(ctx context.Context) {
	done, err := c.begin(ctx)
	last := "" // what was logged
	for ctx.Err() == nil {
		grown, again := c.ledger.Log().Grown(), make(<-chan time.Time)
		behind := c.behind()
		if err == nil {
			done, err = c.catchUp(ctx, done, behind)
		}
		if ctx.Err() == nil {
			last = c.tell(last, done, err)
		}
		switch {
		case err != nil && ctx.Err() == nil:
			grown, again, err = nil, time.After(retryPause), nil
		case behind:
			again = time.After(behindPause)
		}
		select {
		case <-ctx.Done():
		case <-grown:
		case <-again:
		}
	}
}

// tell says what cosigning waits for, once, and that it goes on.
func (c *cosigner) tell(last string, done uint64, err error) string {
	c.say(err)
	switch {
	case err == nil && last != "":
		c.log.Info("cosigning goes on", "agency", c.agency, "size", done)
	case err != nil && err.Error() != last:
		c.log.Warn("couldn't cosign; trying again", "agency", c.agency, "size", done, "err", err)
	}
	if err == nil {
		return ""
	}
	return err.Error()
}

// begin returns the size beyond which checkpoints are to be cosigned.
func (c *cosigner) begin(ctx context.Context) (uint64, error) {
	done, err := c.ledger.Log().CosignedUpTo(ctx, c.agency)
	if err != nil {
		return 0, err
	}
	old, err := sqldb.Value[int64](ctx, c.db, "SELECT size FROM log_checkpoint WHERE at < $1 AND size < $2 ORDER BY size DESC LIMIT 1",
		time.Now().Add(-cosignBack).UnixMilli(), int64(c.ledger.Log().Last().Size))
	if errors.Is(err, sqldb.ErrNoRows) {
		return done, nil
	}
	return max(done, uint64(old)), err
}

// catchUp cosigns the checkpoints beyond a size, in their order, and returns how far it came. Where the agency has no vote
// there is nothing for it to stand behind.
func (c *cosigner) catchUp(ctx context.Context, done uint64, behind bool) (uint64, error) {
	for {
		points, err := c.points(ctx, done, behind)
		if err != nil || len(points) == 0 {
			return done, err
		}
		signer, err := c.current()
		if err != nil {
			return done, err
		}
		if signer == nil {
			return points[len(points)-1].checkpoint.Size, nil
		}
		if done, err = c.sign(ctx, signer, done, points); err != nil {
			return done, err
		}
	}
}

// sign cosigns these checkpoints and returns the size of the last. Where the key fails on the way, what was signed is
// kept, so that none is signed again. They are stored as Relaxed: what a power cut takes is signed anew.
func (c *cosigner) sign(ctx context.Context, signer *receipt.Signer, done uint64, points []point) (uint64, error) {
	signed := make(map[uint64]receipt.Signature, len(points))
	var failed error
	upto := done
	for _, p := range points {
		if !p.passed {
			s, err := signer.Cosign(p.checkpoint, time.Now().Add(time.Second-1)) // the next whole second: what is signed existed by then
			if err != nil {
				failed = err
				break
			}
			signed[p.checkpoint.Size] = s
		}
		upto = p.checkpoint.Size
	}
	if err := c.store(ctx, signed); err != nil {
		return done, err
	}
	return upto, failed
}

func (c *cosigner) store(ctx context.Context, signed map[uint64]receipt.Signature) error {
	if len(signed) == 0 {
		return nil
	}
	return c.db.Write(ctx, sqldb.Relaxed, func(tx *sqldb.Tx) error {
		for size, s := range signed {
			if err := c.ledger.Log().Cosigned(ctx, tx, size, s); err != nil {
				return err
			}
		}
		return nil
	})
}

// point is a checkpoint of the log, and whether it is passed over: since it is old and not the newest; or since it is a
// step of an import, at which the council never stood: no two blocks have the same time.
type point struct {
	checkpoint receipt.Checkpoint
	at         int64
	passed     bool
}

// points returns the next checkpoints beyond a size. Where the node is behind an old one is not the newest, and if none
// follows it yet it is left for later.
func (c *cosigner) points(ctx context.Context, size uint64, behind bool) ([]point, error) {
	points, err := sqldb.All(ctx, c.db, func(s sqldb.Scanner) (p point, err error) {
		var n int64
		var root []byte
		err = s.Scan(&n, &root, &p.at)
		p.checkpoint.Origin, p.checkpoint.Size = c.ledger.Log().Origin(), uint64(n)
		copy(p.checkpoint.Root[:], root)
		return p, err
	}, "SELECT size, root, at FROM log_checkpoint WHERE size > $1 ORDER BY size LIMIT $2", int64(size), cosignBatch+1)
	old := time.Now().Add(-cosignBack).UnixMilli()
	last := len(points) - 1
	for i := range max(last, 0) {
		points[i].passed = points[i].at < old || points[i].at == points[i+1].at
	}
	if last == cosignBatch || last >= 0 && behind && points[last].at < old {
		points = points[:last]
	}
	return points, err
}

// current returns the signer with the key that the policy in force names; nil where it has this agency not sign.
func (c *cosigner) current() (*receipt.Signer, error) {
	m := member(c.ledger.Policy(), c.agency)
	if m == nil || !m.Votes {
		return nil, nil
	}
	if c.signer != nil && c.pem == m.Cosigning {
		return c.signer, nil
	}
	pub, err := gm.ParsePublicKeyPEM([]byte(m.Cosigning))
	if err != nil {
		return nil, err
	}
	key, err := c.key(pub)
	if err != nil {
		return nil, err
	}
	signer, err := receipt.NewSigner(c.agency, key)
	if err != nil {
		return nil, err
	}
	c.pem, c.signer = m.Cosigning, signer
	c.log.Info("cosigning", "agency", c.agency, "key", signer.KeyID())
	return signer, nil
}

// member returns an agency as a policy has it; nil where it has none of the name.
func member(p *ledger.Policy, agency string) *council.Member {
	if p == nil {
		return nil
	}
	i := slices.IndexFunc(p.Members, func(m council.Member) bool { return m.Agency == agency })
	if i < 0 {
		return nil
	}
	return &p.Members[i]
}
