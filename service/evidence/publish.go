package evidence

import (
	"context"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/receipt"
	"github.com/qiongdev/qiong/kit/tlog"
)

// publisher anchors the newest checkpoint outward, where nobody can take it back. Each target has a line of its own, and
// none of them holds up the log.
type publisher struct {
	x       *Evidence
	targets []target
}

const (
	publishLimit = 30 * time.Second
	firstPause   = time.Second
	longestPause = 10 * time.Minute
)

func newPublisher(x *Evidence, chains map[string]Chain) (*publisher, error) {
	p := &publisher{x: x}
	for _, text := range x.cfg.Publish {
		to, err := x.target(text, chains)
		if err != nil {
			return nil, err
		}
		p.targets = append(p.targets, target{text, to})
	}
	return p, nil
}

// Run publishes until ctx ends.
func (p *publisher) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	for _, t := range p.targets {
		g.Go(func() error { p.serve(ctx, t); return nil })
	}
	return g.Wait()
}

// serve publishes to one target: each period, and again after a failure with longer and longer pauses.
func (p *publisher) serve(ctx context.Context, t target) {
	failing := time.Duration(0)
	for {
		pause := p.x.cfg.PublishEvery
		if err := p.publish(ctx, t); err == nil {
			failing = 0
		} else {
			failing = min(max(2*failing, firstPause), longestPause)
			pause = failing
		}
		if wait(ctx, pause); ctx.Err() != nil {
			return
		}
	}
}

// publish anchors the newest checkpoint at a target, unless that has it.
func (p *publisher) publish(ctx context.Context, t target) error {
	note, err := p.newest(ctx)
	if err != nil || note == nil {
		return err
	}
	last, err := p.x.store.anchorings(ctx, []string{t.text})
	if err != nil {
		return err
	}
	if len(last) > 0 && last[0].Done && last[0].Size == note.Checkpoint.Size {
		return nil
	}
	limited, cancel := context.WithTimeout(ctx, publishLimit)
	defer cancel()
	answer, failed := t.to.publish(limited, note)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if failed != nil {
		answer = reason(failed)
		p.say(t, failed)
	}
	if err := p.x.store.anchored(ctx, t.text, note.Checkpoint, failed == nil, plain(answer), p.x.host.Now().UnixMilli()); err != nil {
		return err
	}
	return failed
}

// reason returns what went wrong in both languages, as it is kept to be shown; the cause is for the log alone.
func reason(err error) string {
	m := errs.As(err).Msg
	return m.ZH + " / " + m.EN
}

// newest returns the newest note that others would believe; nil where there is none.
func (p *publisher) newest(ctx context.Context) (*receipt.Note, error) {
	note, err := p.x.log.Newest(ctx)
	if kind := errs.KindOf(err); err != nil && (kind == errs.NotFound || kind == errs.Unavailable) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if _, err := p.x.trust().Verify(note); err != nil {
		if errs.As(err).Code == receipt.CodeQuorum {
			return nil, nil // not yet
		}
		return nil, err
	}
	return note, nil
}

func (p *publisher) say(t target, err error) {
	switch errs.As(err).Code {
	case tlog.CodeShrunk, tlog.CodeForked, tlog.CodeProof:
		p.x.host.Log.Error("a witness has seen another history of this log", "target", t.text, "err", err)
	default:
		p.x.quiet.warn("a checkpoint could not be anchored", "target", t.text, err)
	}
}

type anchoringsAnswer struct {
	Body struct {
		Items []AnchoringView `json:"items"`
	}
}

type anchoringsQuery struct {
	Target string `query:"target" grade:"L1" doc:"只列此目标；留空则每个目标列最近一次 / of this target; empty: the latest of each"`
	Limit  int    `query:"limit" grade:"L1" minimum:"1" maximum:"1000" default:"100"`
}

func (x *Evidence) listAnchorings(ctx context.Context, in *anchoringsQuery) (*anchoringsAnswer, error) {
	out := &anchoringsAnswer{}
	var err error
	if in.Target == "" {
		out.Body.Items, err = x.store.anchorings(ctx, x.cfg.Publish)
	} else {
		out.Body.Items, err = x.store.anchoringsOf(ctx, in.Target, in.Limit)
	}
	if out.Body.Items == nil {
		out.Body.Items = []AnchoringView{}
	}
	return out, err
}

// publishNow anchors the newest checkpoint at every target, and answers what came of it.
func (x *Evidence) publishNow(ctx context.Context, _ *struct{}) (*anchoringsAnswer, error) {
	if len(x.publisher.targets) == 0 {
		return nil, errs.New(errs.Conflict, "没有配置对外锚定的目标", "no targets are configured").WithField("evidence.publish").
			WithHint("设置 evidence.publish", "set evidence.publish")
	}
	var g errgroup.Group
	for _, t := range x.publisher.targets {
		g.Go(func() error { _ = x.publisher.publish(ctx, t); return nil }) // its row says what became of it
	}
	_ = g.Wait()
	return x.listAnchorings(ctx, &anchoringsQuery{})
}
