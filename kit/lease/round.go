package lease

import (
	"context"
	"slices"
	"time"

	"github.com/qiongdev/qiong/kit/errs"
)

// reply is what came of asking one voter.
type reply struct {
	voter  string
	answer Answer
	err    error
}

func agreed(r reply) bool        { return r.err == nil && r.answer.OK }
func answeredAtAll(r reply) bool { return r.err == nil }

// ask asks all voters at once and returns when so many good replies have come, or all, or ctx ends. The requests to the
// others go on until their patience is at an end, so that slow voters hear of everything, too.
func (c *Client) ask(ctx context.Context, r Request, enough int, good func(reply) bool) []reply {
	r.Sole = c.o.Sole
	all := make(chan reply, len(c.o.Voters))
	for _, v := range c.o.Voters {
		go func() {
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), c.patience())
			defer cancel()
			a, err := v.Ask(ctx, r)
			all <- reply{v.Name(), a, err}
		}()
	}
	var got []reply
	for range c.o.Voters {
		select {
		case <-ctx.Done():
			return got
		case one := <-all:
			if got = append(got, one); good(one) {
				enough--
			}
			if enough == 0 {
				return got
			}
		}
	}
	return got
}

func count(replies []reply, good func(reply) bool) (n int) {
	for _, r := range replies {
		if good(r) {
			n++
		}
	}
	return n
}

// newest returns the answer with the register that was accepted last.
func newest(replies []reply) (a Answer) {
	for _, r := range replies {
		if r.err == nil && r.answer.Accepted.Compare(a.Accepted) > 0 {
			a = r.answer
		}
	}
	return a
}

// proposal is a ballot that a majority has promised to heed, and what is agreed on up to it.
type proposal struct {
	ballot Ballot
	was    Register
	by     string // who proposed that
}

// propose looks whether a majority lets this client in and, only then, has them promise: a candidate that must wait
// disturbs no holder.
func (c *Client) propose(ctx context.Context, lease string) (proposal, error) {
	looks := c.ask(ctx, Request{Kind: Look, Lease: lease, Ballot: Ballot{By: c.by}}, c.quorum(), agreed)
	if count(looks, agreed) < c.quorum() {
		return proposal{}, c.refusal(looks)
	}
	return c.prepare(ctx, lease, c.ballot(looks...))
}

// prepare has a majority promise.
func (c *Client) prepare(ctx context.Context, lease string, b Ballot) (proposal, error) {
	replies := c.ask(ctx, Request{Kind: Prepare, Lease: lease, Ballot: b}, c.quorum(), agreed)
	c.ballot(replies...) // the next is beyond what these have promised
	if count(replies, agreed) < c.quorum() {
		return proposal{}, c.refusal(replies)
	}
	// Only what came with a promise counts.
	a := newest(slices.DeleteFunc(replies, func(r reply) bool { return !agreed(r) }))
	return proposal{b, a.Register, a.Accepted.By}, nil
}

// decide has a majority accept. After an error it may have been accepted all the same.
func (c *Client) decide(ctx context.Context, lease string, b Ballot, r Register, seq uint64) error {
	replies := c.ask(ctx, Request{Kind: Accept, Lease: lease, Ballot: b, Register: &r, Seq: seq}, c.quorum(), agreed)
	c.ballot(replies...)
	if count(replies, agreed) < c.quorum() {
		return c.refusal(replies)
	}
	return nil
}

// refusal says why no majority agreed.
func (c *Client) refusal(replies []reply) error {
	var left []time.Duration // of voters that keep this client out
	for _, r := range replies {
		if r.err == nil && !r.answer.OK && r.answer.Held > 0 {
			left = append(left, r.answer.held())
		}
	}
	switch heard := count(replies, answeredAtAll); {
	case heard < c.quorum():
		return fewer(replies)
	case len(left) > 0:
		slices.Sort(left)
		// As many of them must let this client in as are missing from a majority.
		missing := c.quorum() - (heard - len(left))
		return errs.New(errs.Conflict, "租约在另一个进程手中", "another process holds the lease").WithCode(CodeHeld).WithRetryAfter(left[max(missing, 1)-1])
	}
	return errs.New(errs.Conflict, "另一个候选者先到", "another candidate was faster").WithCode(CodeContended)
}

// fewer says that too few voters answered, and what the others said instead.
func fewer(replies []reply) error {
	e := errs.New(errs.Unavailable, "多数投票者没有答复", "most voters do not answer").WithCode(CodeQuorum)
	refused := 0
	for _, r := range replies {
		if r.err == nil {
			continue
		}
		e.Err = r.err
		if k := errs.KindOf(r.err); k == errs.Forbidden || k == errs.Invalid {
			refused++
		}
	}
	if refused > 0 && refused == len(replies) {
		return e.Err // they all say the same: waiting is no use
	}
	return e
}

func noAnswer() error {
	return errs.New(errs.Unavailable, "投票者没有答复", "the voter did not answer")
}
