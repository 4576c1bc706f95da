package agent

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/lang"
)

// Fleet is agents that carry out a load together.
type Fleet struct {
	Agents []string // as host:port, or https://host:port
	Token  string
	Lang   lang.Lang    // of what agents say
	HTTP   *http.Client // default: one without a time-out
}

// lead is how far ahead the moment is at which all begin: long enough for every agent to be told.
const lead = 500 * time.Millisecond

// maxAnswer bounds what an agent may answer; what is kept of a long run is large.
const maxAnswer = 8 << 30

// Run deals the order out, has all agents begin at one moment, and returns what each has done. Each has the same number
// of connections, the order's divided up, and as many workers. An agent that fails ends the others.
func (f *Fleet) Run(ctx context.Context, o Order) ([]*Answer, error) {
	n := len(f.Agents)
	o.Connections = (cmp.Or(o.Connections, DefaultConnections) + n - 1) / n
	o.Workers = min(cmp.Or(o.Workers, 4), o.Connections)
	o.Shards = n
	ids := make([]string, n)
	ahead := make([]time.Duration, n) // of the agents' clocks before ours
	err := f.all(ctx, func(ctx context.Context, i int) error {
		o := o
		o.Shard = i
		var p prepared
		if err := f.post(ctx, i, "/prepare", o, &p); err != nil {
			return err
		}
		ids[i] = p.ID
		var err error
		ahead[i], err = f.clock(ctx, i)
		return err
	})
	if err != nil {
		return nil, err
	}
	at := time.Now().Add(lead)
	stop := context.AfterFunc(ctx, func() { f.stop(context.WithoutCancel(ctx), ids) })
	defer stop()
	answers := make([]*Answer, n)
	err = f.all(context.WithoutCancel(ctx), func(ctx context.Context, i int) error {
		answers[i] = &Answer{}
		if err := f.post(ctx, i, "/start", startAt{ids[i], at.Add(ahead[i]).UnixNano()}, answers[i]); err != nil {
			return err
		}
		answers[i].Name = f.Agents[i]
		if answers[i].Tally == nil || len(answers[i].Tally.Kinds) != len(o.Definition.Requests) {
			return errs.New(errs.Unavailable, "压测端的应答不完整", "the agent's answer is not whole")
		}
		return nil
	})
	return answers, err
}

// stop has agents end before their time. They answer with what they have done; who can't be told ends by itself.
func (f *Fleet) stop(ctx context.Context, ids []string) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	_ = f.all(ctx, func(ctx context.Context, i int) error {
		return f.post(ctx, i, "/stop", startAt{ID: ids[i]}, &struct{}{})
	})
}

// all does the same with every agent at a time; the first error ends the others.
func (f *Fleet) all(ctx context.Context, do func(ctx context.Context, i int) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var wg sync.WaitGroup
	for i := range f.Agents {
		wg.Go(func() {
			if err := do(ctx, i); err != nil {
				e := errs.As(err)
				e.Field = f.Agents[i]
				cancel(e)
			}
		})
	}
	wg.Wait()
	return context.Cause(ctx)
}

// clock returns by how much the clock of an agent is ahead of ours: the best of a few readings, the one that came back
// first, is wrong by at most half of the time it took.
func (f *Fleet) clock(ctx context.Context, i int) (time.Duration, error) {
	var ahead time.Duration
	best := time.Hour
	for range 5 {
		var c clock
		before := time.Now()
		if err := f.do(ctx, http.MethodGet, i, "/clock", nil, &c); err != nil {
			return 0, err
		}
		if took := time.Since(before); took < best {
			best = took
			ahead = time.Unix(0, c.Now).Sub(before.Add(took / 2))
		}
	}
	return ahead, nil
}

func (f *Fleet) post(ctx context.Context, i int, path string, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	return f.do(ctx, http.MethodPost, i, path, body, out)
}

func (f *Fleet) do(ctx context.Context, method string, i int, path string, body []byte, out any) error {
	request, err := http.NewRequestWithContext(ctx, method, base(f.Agents[i])+path, bytes.NewReader(body))
	if err != nil {
		return errs.Wrap(err, errs.Invalid, "压测端地址不对", "the agent's address is wrong")
	}
	request.Header.Set("Authorization", "Bearer "+f.Token)
	request.Header.Set("Accept-Language", string(f.Lang))
	resp, err := cmp.Or(f.HTTP, http.DefaultClient).Do(request)
	if err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return errs.Wrap(err, errs.Unavailable, "压测端无法连接", "the agent can't be reached")
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return refused(resp)
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxAnswer)).Decode(out); err != nil {
		return errs.Wrap(err, errs.Unavailable, "压测端的应答无法读取", "the agent's answer can't be read")
	}
	return nil
}

func base(agent string) string {
	if bytes.Contains([]byte(agent), []byte("://")) {
		return agent
	}
	return "http://" + agent
}

// refused returns why an agent did not do what it was asked.
func refused(resp *http.Response) error {
	var p struct{ Title, Detail string }
	body, err := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	if err = errors.Join(err, json.Unmarshal(body, &p)); err != nil {
		return errs.Wrap(err, errs.Unavailable, "压测端的应答无法读取", "the agent's answer can't be read")
	}
	words := cmp.Or(p.Detail, p.Title, fmt.Sprint(resp.StatusCode))
	e := errs.New(errs.FromHTTP(resp.StatusCode), words, words)
	e.Msg = lang.T("压测端："+words, "agent: "+words)
	return e
}
