package audit

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/gm"
	"github.com/qiongdev/qiong/kit/receipt"
	"github.com/qiongdev/qiong/kit/sqldb"
	"github.com/qiongdev/qiong/kit/tlog"
)

// The names under which checkpoints are signed.
const (
	OperatorName = "house"
	WitnessName  = "witness"
)

// identify derives the log's name from the key of its operator, and the trust from both keys.
func (l *Log) identify() error {
	operator, err := gm.PublicKeyOf(l.o.Operator.Public())
	if err != nil {
		return err
	}
	witness, err := gm.PublicKeyOf(l.o.Witness.Public())
	if err != nil {
		return err
	}
	origin := "qiong.dev/audit/" + gm.KeyID(operator)
	keys := []receipt.Key{
		{Name: OperatorName, Origin: origin, Role: receipt.Operator, Public: operator},
		{Name: WitnessName, Origin: origin, Role: receipt.Witness, Public: witness},
	}
	if l.o.Outside != nil {
		outside, err := l.o.Outside.trusted(origin)
		if err != nil {
			return err
		}
		keys, l.outside = append(keys, outside...), outside[0].Name
	}
	if l.trust, err = receipt.NewTrust(keys); err != nil {
		return err
	}
	l.operator, err = receipt.NewSigner(OperatorName, l.o.Operator)
	return err
}

// Trust returns the public keys with which the log's notes are verified.
func (l *Log) Trust() *receipt.Trust { return l.trust }

// openWitness opens the local witness. A memory that is gone while the log bears its cosignatures is not made anew: that
// is what somebody would do who has rewritten the log.
func (l *Log) openWitness(ctx context.Context) error {
	signed, err := l.log.CosignedUpTo(ctx, WitnessName)
	if err != nil {
		return err
	}
	signer, err := receipt.NewSigner(WitnessName, l.o.Witness)
	if err != nil {
		return err
	}
	l.witness, err = tlog.OpenWitness(tlog.WitnessOptions{Dir: l.o.Memory, Create: signed == 0, Signer: signer, Trust: l.trust, Now: l.o.Now})
	if err != nil && errs.As(err).Code == tlog.CodeForgot {
		l.found(ctx, err)
		return nil
	}
	return err
}

// sign signs now and then, until ctx ends.
func (l *Log) sign(ctx context.Context) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for last := ""; ; {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		err := l.Sign(ctx)
		if err != nil && err.Error() != last && ctx.Err() == nil {
			l.o.Log.ErrorContext(ctx, "the audit log could not be signed; trying again", "err", err)
		}
		if last = ""; err != nil {
			last = err.Error()
		}
	}
}

// Sign signs the newest checkpoint and has the witness cosign it, where they have not yet.
func (l *Log) Sign(ctx context.Context) error {
	l.signing.Lock()
	defer l.signing.Unlock()
	c := l.log.Last()
	signed, err := l.log.CosignedUpTo(ctx, WitnessName)
	if err != nil || c.Size == signed || l.witness == nil {
		return err
	}
	own, err := l.operator.Cosign(c, l.o.Now())
	if err != nil {
		return err
	}
	// This write is durable, and so then is all before it: a witness must not remember what a power cut could take.
	if err := l.cosigned(ctx, sqldb.Durable, c.Size, own); err != nil {
		return err
	}
	note, err := l.log.Note(ctx, c.Size)
	if err != nil {
		return err
	}
	s, err := l.log.Ask(ctx, l.witness, note, signed)
	if err != nil {
		l.found(ctx, err)
		return fmt.Errorf("witness: %w", err)
	}
	return l.cosigned(ctx, sqldb.Relaxed, c.Size, s)
}

func (l *Log) cosigned(ctx context.Context, d sqldb.Durability, size uint64, s receipt.Signature) error {
	return l.o.DB.Write(ctx, d, func(tx *sqldb.Tx) error { return l.log.Cosigned(ctx, tx, size, s) })
}

// Note returns the newest checkpoint that the witness has cosigned. Signatures of witnesses outside that are no longer
// believed are left out.
func (l *Log) Note(ctx context.Context) (*receipt.Note, error) {
	size, err := l.log.CosignedUpTo(ctx, WitnessName)
	if err != nil {
		return nil, err
	}
	n, err := l.log.Note(ctx, size)
	if err != nil {
		return nil, err
	}
	keys := l.trust.Keys()
	n.Signatures = slices.DeleteFunc(n.Signatures, func(s receipt.Signature) bool {
		return s.Name != OperatorName && s.Name != WitnessName &&
			!slices.ContainsFunc(keys, func(k receipt.Key) bool { return k.Name == s.Name && k.ID() == s.KeyID })
	})
	return n, nil
}

// Last returns the newest checkpoint, signed or not.
func (l *Log) Last() receipt.Checkpoint { return l.log.Last() }

// broken reports whether err says that the log is not what it was, and not that it can't be read at the moment.
func broken(err error) bool {
	var e *errs.Error
	if !errors.As(err, &e) {
		return false
	}
	switch e.Code {
	case tlog.CodeBroken, tlog.CodeForgot, tlog.CodeShrunk, tlog.CodeForked, tlog.CodeProof, CodeSyntax, CodeChanged,
		receipt.CodeSignature, receipt.CodeSigner, receipt.CodeQuorum:
		return true
	}
	return false
}
