package audit

import (
	"context"
	"errors"
	"time"

	"github.com/qiongdev/qiong/kit/beijing"
	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/lang"
	"github.com/qiongdev/qiong/kit/merkle"
	"github.com/qiongdev/qiong/kit/receipt"
	"github.com/qiongdev/qiong/kit/sqldb"
	"github.com/qiongdev/qiong/kit/tlog"
)

// Outside is a witness in another house, which cosigns the log's checkpoints beside the local one: what it remembers is
// out of reach of whoever has this machine.
type Outside struct {
	Keys    []receipt.Key // of one name for this log, in the role of a witness; others are passed over
	Witness tlog.Cosigner
	Every   time.Duration // between two times that it is asked; default 10 s
}

// WitnessState is how far a witness outside has cosigned.
type WitnessState struct {
	Name    string
	Size    uint64       // of the newest checkpoint that it has cosigned
	At      beijing.Time // when it did; 0 where never
	Problem lang.Text    // why it has not cosigned more; empty where there is nothing wrong
}

// CodeOutside is the code of errors that say that the keys of a witness outside are not such.
const CodeOutside = "audit.outside"

const longestPause = 5 * time.Minute // between two times that a witness is asked that is away

// trusted returns the keys by which the witness outside is believed, all of the one name under which it signs.
func (o *Outside) trusted(origin string) (keys []receipt.Key, err error) {
	bad := func(zh, en string) error { return errs.New(errs.Invalid, zh, en).WithCode(CodeOutside) }
	for _, k := range o.Keys {
		if k.Origin != origin || k.Role != receipt.Witness {
			continue
		}
		if keys = append(keys, k); k.Name != keys[0].Name {
			return nil, bad("公钥文件中有两个见证者："+keys[0].Name+"、"+k.Name, "two witnesses are in the file of keys: "+keys[0].Name+" and "+k.Name)
		}
	}
	switch {
	case len(keys) == 0:
		return nil, bad("公钥文件中没有这本日志的见证者；日志名为 "+origin, "no witness of this log is in the file of keys; the log's name is "+origin)
	case keys[0].Name == OperatorName || keys[0].Name == WitnessName:
		return nil, bad("外部见证者名为 "+keys[0].Name+"，此名已属本日志", "the witness outside is called "+keys[0].Name+", as this log's own signer is")
	}
	return keys, nil
}

// cosignOutside asks the witness outside now and then, and more rarely while it is away, until ctx ends. Nothing waits
// for it.
func (l *Log) cosignOutside(ctx context.Context) {
	every := l.o.Outside.Every
	if every == 0 {
		every = 10 * time.Second
	}
	for pause := min(every, time.Second); ; {
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
		if done, err := l.log.CosignedUpTo(ctx, l.outside); err == nil && done == l.log.Last().Size {
			pause = every
		} else if err := l.AskOutside(ctx); err != nil {
			pause = min(max(2*pause, every), longestPause)
		} else {
			pause = every
		}
	}
}

// AskOutside has the witness outside cosign the newest checkpoint. An error for which [Broken] is true says that it has
// seen another history; the others are in the Status, too, and pass.
func (l *Log) AskOutside(ctx context.Context) error {
	size, err := l.ask(ctx)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if broken(err) {
		covered, failed := l.covered(ctx, size)
		if failed != nil {
			return failed
		}
		if covered {
			err = errs.Wrap(err, errs.Conflict, "外部见证者见过恢复之前的日志，须由其管理者认可恢复声明", "the witness outside has seen the log before it was restored; who runs it must accept the statement of that")
		}
	}
	l.mu.Lock()
	if l.problem = (lang.Text{}); err != nil {
		l.problem = errs.As(err).Msg
	}
	l.mu.Unlock()
	l.found(ctx, err)
	return err
}

// ask asks the witness outside for its cosignature, and stores it. Where it refuses, size is the one that it has cosigned
// last, as far as it says.
func (l *Log) ask(ctx context.Context) (size uint64, err error) {
	n, err := l.Note(ctx)
	if errs.Is(err, errs.NotFound) || errs.Is(err, errs.Unavailable) {
		return 0, nil // nothing is signed yet
	}
	if err != nil {
		return 0, err
	}
	done, err := l.log.CosignedUpTo(ctx, l.outside)
	if err != nil {
		return 0, err
	}
	w := &attentive{Cosigner: l.o.Outside.Witness}
	s, err := l.log.Ask(ctx, w, n, done)
	if err != nil {
		return w.known, err
	}
	if _, err := l.trust.VerifySignature(n.Checkpoint, s); err != nil || s.Name != l.outside {
		return 0, errs.Wrap(err, errs.Unavailable, "外部见证者的签名不可信", "the witness outside gave a signature that is not believed")
	}
	return n.Checkpoint.Size, l.cosigned(ctx, sqldb.Relaxed, n.Checkpoint.Size, s)
}

// attentive notices which size a witness has cosigned last, from what it says or from what it was asked.
type attentive struct {
	tlog.Cosigner
	known uint64
}

func (a *attentive) Cosign(ctx context.Context, older uint64, proof []merkle.Hash, n *receipt.Note) (receipt.Signature, error) {
	s, err := a.Cosigner.Cosign(ctx, older, proof, n)
	a.known = older
	var known *tlog.Known
	if errors.As(err, &known) {
		a.known = known.Size
	}
	return s, err
}

// Outside returns how far the witnesses outside have cosigned: the one that is asked, and in the folder of a house that
// does not run those whose keys are believed.
func (l *Log) Outside(ctx context.Context) (all []WitnessState, err error) {
	seen := map[string]bool{OperatorName: true, WitnessName: true}
	for _, k := range l.trust.Keys() {
		if seen[k.Name] {
			continue
		}
		seen[k.Name] = true
		w := WitnessState{Name: k.Name}
		if w.Size, err = l.log.CosignedUpTo(ctx, k.Name); err != nil {
			return nil, err
		}
		if w.Size > 0 {
			n, err := l.log.Note(ctx, w.Size)
			if err != nil {
				return nil, err
			}
			for _, s := range n.Signatures {
				if s.Name == k.Name {
					w.At = beijing.Time(s.Time * 1000)
				}
			}
		}
		l.mu.Lock()
		w.Problem = l.problem
		l.mu.Unlock()
		all = append(all, w)
	}
	return all, nil
}
