package approval

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"

	"github.com/qiongdev/qiong/kit/agency"
	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/saga"
	"github.com/qiongdev/qiong/kit/saga/engine"
)

// participant is an agency as the saga of a matter sees it.
type participant struct {
	a      *Approval
	matter *Matter
	name   string
}

// Do implements engine.Participant.
func (p *participant) Do(ctx context.Context, c engine.Call) (saga.Answer, error) {
	step, _ := p.matter.Step(c.Step)
	req, err := p.request(ctx, step, c)
	if err != nil {
		return saga.Answer{}, err
	}
	return p.ask(func(client *agency.Client) (agency.Answer, error) { return client.Do(ctx, step.Resource, req) })
}

// Query implements engine.Participant.
func (p *participant) Query(ctx context.Context, c engine.Call) (saga.Answer, error) {
	step, _ := p.matter.Step(c.Step)
	return p.ask(func(client *agency.Client) (agency.Answer, error) {
		return client.Query(ctx, step.Resource, c.RequestID)
	})
}

// Undo implements engine.Participant.
func (p *participant) Undo(ctx context.Context, c engine.Call) (saga.Answer, error) {
	step, _ := p.matter.Step(c.Step)
	return p.ask(func(client *agency.Client) (agency.Answer, error) {
		return client.Undo(ctx, step.Resource, c.RequestID)
	})
}

func (p *participant) ask(call func(*agency.Client) (agency.Answer, error)) (saga.Answer, error) {
	client, err := p.a.client(p.name)
	if err != nil {
		return saga.Answer{}, err
	}
	a, err := call(client)
	if err != nil {
		return refusal(err)
	}
	return answer(a), nil
}

// refusal tells a signed "this will never do" from silence and trouble, which leave open whether the agency acted.
func refusal(err error) (saga.Answer, error) {
	e := errs.As(err)
	switch e.Kind {
	case errs.Invalid, errs.NotFound, errs.TooLarge, errs.Unsupported:
		if e.Code != "agency.request" {
			return saga.Answer{Outcome: saga.Refused, Reason: "agency." + e.Kind.String()}, nil
		}
	}
	return saga.Answer{}, err
}

func answer(a agency.Answer) saga.Answer {
	out := saga.Answer{Outcome: saga.Outcome(a.Outcome), Output: a.Output, PollAfter: a.PollAfter.Duration()}
	if a.Outcome == agency.Refused {
		out.Reason = a.Reason.ZH
		if out.Reason == "" {
			out.Reason = a.Code
		}
	}
	return out
}

// request builds what an agency is sent: the parts of the form that the step names, and what earlier steps issued.
func (p *participant) request(ctx context.Context, step Step, c engine.Call) (agency.Request, error) {
	req := agency.Request{
		RequestID: c.RequestID, Case: c.Saga, Matter: p.matter.Name, Step: step.Name,
		Callback: p.a.host.URL() + "/api/approval/callbacks/" + p.name,
		Earlier:  map[string]json.RawMessage{},
	}
	all, err := p.a.formParts(ctx, c.Saga)
	if err != nil {
		return req, err
	}
	parts := map[string]json.RawMessage{}
	for _, name := range step.Send {
		if part, ok := all[name]; ok {
			parts[name] = part
		}
	}
	if req.Form, err = json.Marshal(parts); err != nil {
		return req, err
	}
	for i := range p.matter.Stages {
		for _, s := range p.matter.Stages[i].steps {
			if out := c.Output(s.Name); len(out) > 0 {
				req.Earlier[s.Name] = out
			}
		}
	}
	return req, nil
}

// recent holds the opened forms of cases being worked on, since every step needs a part. It is emptied when it is full.
type recent struct {
	mu    sync.Mutex
	forms map[string]map[string]json.RawMessage // by case
}

// maxRecent is twice what is worked on at a time by default.
const maxRecent = 2048

// formParts returns the parts of a submitted case's form, which no longer changes.
func (a *Approval) formParts(ctx context.Context, id string) (map[string]json.RawMessage, error) {
	a.recent.mu.Lock()
	parts := a.recent.forms[id]
	a.recent.mu.Unlock()
	if parts != nil {
		return parts, nil
	}
	kase, err := a.store.get(ctx, a.host.DB, id)
	if err != nil {
		return nil, err
	}
	form, err := a.openForm(kase)
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(form, &parts); err != nil {
		return nil, fmt.Errorf("case %s: form: %w", id, err)
	}
	a.recent.mu.Lock()
	defer a.recent.mu.Unlock()
	if a.recent.forms == nil || len(a.recent.forms) >= maxRecent {
		a.recent.forms = map[string]map[string]json.RawMessage{}
	}
	a.recent.forms[id] = parts
	return parts, nil
}

// forget drops the opened form of a case that has ended.
func (r *recent) forget(id string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.forms, id)
}

// callback takes an agency's own word on a step.
func (a *Approval) callback(w http.ResponseWriter, r *http.Request) error {
	name := r.PathValue("agency")
	if a.agencies[name] == nil {
		return errs.New(errs.NotFound, "没有这个部门", "there is no such agency")
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, agency.MaxBody))
	if err != nil {
		return err
	}
	cb, err := agency.VerifyCallback(r, body, a.keyOf(name), a.host.Now())
	if err != nil {
		return err
	}
	id, stepName, _ := strings.Cut(cb.RequestID, ".")
	kase, err := a.store.get(r.Context(), a.host.DB, id)
	if err != nil {
		return err
	}
	m := a.matters[matterKey{kase.Matter, kase.Version}]
	step, ok := m.Step(stepName)
	if !ok || step.Agency != name {
		return errs.New(errs.NotFound, "该部门没有这个环节", "the agency has no such step").WithField("requestId")
	}
	if err := a.host.Sagas.Deliver(r.Context(), id, stepName, saga.Do, answer(cb.Answer)); err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}
