package audit

import (
	"github.com/qiongdev/qiong/kit/beijing"
	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/gm"
	"github.com/qiongdev/qiong/kit/receipt"
	"github.com/qiongdev/qiong/kit/tlog"
)

// Back is how far a witness that another house runs for a log goes back where it accepts a gap of that.
type Back struct {
	From   receipt.Checkpoint // what it remembers
	To     receipt.Checkpoint
	Signed beijing.Time // when it has signed To itself; 0 where no signature of its own is in the statement

	witness *tlog.Witness
}

// Back returns how far w would go back: to the checkpoint in the statement that bears own, its own signature, or, where
// there is none, to what the log's own keys say alone. trust has these. Nothing is changed yet.
//
// Who has the log's keys chooses what the statement says: an older signature of w than the newest, or none. Hence a person
// sees first what the witness gives up, and agrees to it in [Back.Accept].
func (g *Gap) Back(w *tlog.Witness, trust *receipt.Trust, own *gm.PublicKey) (*Back, error) {
	if err := g.Verify(trust); err != nil {
		return nil, errs.Wrap(err, errs.Invalid, errs.As(err).Msg.ZH, errs.As(err).Msg.EN).WithCode(CodeChanged)
	}
	from, ok := w.Last(g.Shown.Origin)
	if !ok || !g.covers(from.Size) {
		return nil, errs.New(errs.Conflict, "声明与见证者记得的无关，不必认可", "the statement is not about what the witness remembers: there is nothing to accept")
	}
	b := &Back{From: from, To: g.Shown, witness: w}
	if g.Cosigned == nil {
		return b, nil
	}
	s := g.Cosigned.Signatures[0]
	b.To, b.Signed = g.Cosigned.Checkpoint, beijing.Time(s.Time*1000)
	if err := receipt.VerifySignature(own, b.To, s); err != nil || b.To.Origin != from.Origin {
		return nil, errs.Wrap(err, errs.Invalid, "声明中的联署不是本见证者的", "the cosignature in the statement is not this witness's own").WithCode(CodeChanged)
	}
	return b, nil
}

// Accept has the witness go back, where size is that of To: who runs it has seen it. One that no signature of its own shows
// may be of any history, which the witness then takes for the log's; it is refused unless unsigned says to take it.
func (b *Back) Accept(size uint64, unsigned bool) error {
	if size != b.To.Size {
		return errs.New(errs.Invalid, "声明使见证者退回到另一大小", "the statement has the witness go back to another size")
	}
	if b.Signed == 0 && !unsigned {
		return errs.New(errs.Conflict, "声明中没有本见证者自己的签名，它所说的可能是任何一段历史", "no signature of this witness's own is in the statement, which may be of any history")
	}
	return b.witness.SetBack(b.From, b.To)
}
