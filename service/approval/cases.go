package approval

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/qiongdev/qiong/kit/auth"
	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/gm"
	"github.com/qiongdev/qiong/kit/httpapi"
	"github.com/qiongdev/qiong/kit/httpapi/idem"
	"github.com/qiongdev/qiong/kit/ident"
	"github.com/qiongdev/qiong/kit/lang"
	"github.com/qiongdev/qiong/kit/saga"
	"github.com/qiongdev/qiong/kit/sqldb"
	"github.com/qiongdev/qiong/kit/strictjson"
)

// draftsEvery is how often drafts are looked through.
const draftsEvery = 6 * time.Hour

// matter returns the newest version of what is called name.
func (a *Approval) matter(name string) (*Matter, error) {
	m := a.current[name]
	if m == nil {
		return nil, errs.New(errs.NotFound, "没有这个事项", "there is no such matter").WithField("matter").WithCode("approval.no-matter")
	}
	return m, nil
}

// create makes a case for the caller, and submits it at once where asked. Its answer is kept with it for a repeated
// request. The error is always there: it is the answer itself where all went well.
func (a *Approval) create(ctx context.Context, call httpapi.Call, name string, form json.RawMessage, submit bool) error {
	a.intake.Add(1)
	defer a.intake.Add(-1)
	m, err := a.matter(name)
	if err != nil {
		return err
	}
	c := &Case{Matter: m.Name, Version: m.Version, Owner: call.Principal.ID, Status: Draft, Rev: 1}
	if submit {
		if err := a.host.Sagas.Admit(); err != nil {
			return err
		}
	}
	if err := a.fill(c, m, form, submit); err != nil {
		return err
	}
	now := a.host.Now()
	c.ID = ident.String(a.ids.Next(now))
	c.form = a.sealer.Seal(form, aad(c.ID))
	c.Created = now.UnixMilli()
	var more []sqldb.Insert
	committed := func() {}
	if submit {
		c.Status, c.Submitted = Processing, c.Created
		if more, committed, err = a.submission(ctx, c); err != nil {
			return err
		}
	}
	answer, err := a.answer(201, c, call.Lang)
	if err != nil {
		return err
	}
	rows := append([]sqldb.Insert{c.row()}, more...)
	err = a.host.DB.Append(ctx, append(rows, idem.Rows(call, answer, now)...)...)
	if errors.Is(err, sqldb.ErrUnique) && call.Key != "" {
		if again := idem.Find(ctx, a.host.DB, call); again != nil {
			return again
		}
	}
	if err != nil {
		return err
	}
	committed()
	return httpapi.Send(answer)
}

// fill puts a form into a case: as it is into a draft, only as the schema wants it where it is submitted.
func (a *Approval) fill(c *Case, m *Matter, form json.RawMessage, complete bool) error {
	sum := gm.SM3(form)
	c.formSM3 = sum[:]
	if complete {
		if err := m.form.Check(form, "form"); err != nil {
			return err
		}
		c.Subject = strictjson.Text(form, m.Subject)
		return nil
	}
	if fields := strictjson.NewCursor(form); fields.Peek() != '{' {
		return errs.New(errs.Invalid, "表单应为对象", "the form must be an object").WithField("form")
	}
	c.Subject = strictjson.Text(form, m.Subject)
	if len([]rune(c.Subject)) > 200 {
		c.Subject = string([]rune(c.Subject)[:200])
	}
	return nil
}

// submission returns the rows that start the saga of c and tell of it.
func (a *Approval) submission(ctx context.Context, c *Case) ([]sqldb.Insert, func(), error) {
	tr := trace(ctx)
	row, started, err := a.host.Sagas.Prepare(c.Matter, c.ID, json.RawMessage(`{}`), tr)
	if err != nil {
		return nil, nil, err
	}
	rows, sent, err := a.host.Box.First(message(EventSubmitted, c.ID, tr, c.event()))
	if err != nil {
		return nil, nil, err
	}
	return append(rows, row), func() { started(); sent() }, nil
}

// answer is a case as the answer to what changed it.
func (a *Approval) answer(status int, c *Case, l lang.Lang) (httpapi.Stored, error) {
	v := view(c, nil, nil, l)
	v.FormSM3 = hex.EncodeToString(c.formSM3)
	v.Withdraw = c.Status == Draft || c.Status == Processing // no agency has been asked yet
	return httpapi.Encode(status, map[string][]string{
		"Location": {"/api/approval/cases/" + c.ID}, "Etag": {httpapi.VersionETag(c.Rev)},
	}, v)
}

func aad(caseID string) []byte { return []byte("approval/case/" + caseID) }

func (a *Approval) openForm(c *Case) (json.RawMessage, error) {
	form, err := a.sealer.Open(c.form, aad(c.ID))
	if err != nil {
		return nil, fmt.Errorf("case %s: form: %w", c.ID, err)
	}
	return form, nil
}

// load returns a case that the caller may see, its matter, and its saga where it was submitted.
func (a *Approval) load(ctx context.Context, p *auth.Principal, id string) (*Case, *Matter, *saga.Instance, error) {
	c, err := a.store.get(ctx, a.host.DB, id)
	if err != nil {
		return nil, nil, nil, err
	}
	if !c.visible(p) {
		return nil, nil, nil, notFound() // whether it exists is nobody else's business
	}
	m := a.matters[matterKey{c.Matter, c.Version}]
	if c.Submitted == 0 {
		return c, m, nil, nil
	}
	in, _, err := a.host.Sagas.Get(ctx, id)
	if err == nil && in.Status.Ended() && c.Status == Processing { // it ended between the two reads
		c, err = a.store.get(ctx, a.host.DB, id)
	}
	return c, m, in, err
}

// own returns a case that the caller may change.
func (a *Approval) own(ctx context.Context, q sqldb.Querier, p *auth.Principal, id string) (*Case, error) {
	c, err := a.store.get(ctx, q, id)
	if err == nil && c.Owner != p.ID {
		return nil, notFound()
	}
	return c, err
}

func notDraft() error {
	return errs.New(errs.Conflict, "办件已提交，不能再修改", "the case was submitted and can't be changed").WithCode("approval.not-draft")
}

// change applies f to a draft of the caller's and writes it, together with the rows f returns.
func (a *Approval) change(ctx context.Context, call httpapi.Call, id string, f func(tx *sqldb.Tx, c *Case) error) error {
	err := a.host.DB.Write(ctx, sqldb.Durable, func(tx *sqldb.Tx) error {
		c, err := a.own(ctx, tx, call.Principal, id)
		if err != nil {
			return err
		}
		if c.Status != Draft {
			return notDraft()
		}
		if err := f(tx, c); err != nil {
			return err
		}
		return a.store.update(ctx, tx, c)
	})
	if errors.Is(err, sqldb.ErrMissed) {
		err = errs.New(errs.Conflict, "办件刚被修改，请刷新后重试", "the case has just been changed; read it again").WithCode("approval.changed")
	}
	return err
}

// putForm replaces the form of a draft.
func (a *Approval) putForm(ctx context.Context, call httpapi.Call, id, ifMatch string, form json.RawMessage) (*Case, error) {
	var changed *Case
	err := a.change(ctx, call, id, func(_ *sqldb.Tx, c *Case) error {
		if err := httpapi.CheckMatch(ifMatch, httpapi.VersionETag(c.Rev)); err != nil {
			return err
		}
		changed = c
		c.form = a.sealer.Seal(form, aad(c.ID))
		return a.fill(c, a.matters[matterKey{c.Matter, c.Version}], form, false)
	})
	return changed, err
}

// submit starts a draft's saga. A draft is submitted on the newest version of its matter. The error is always there, as
// with create.
func (a *Approval) submit(ctx context.Context, call httpapi.Call, id string) error {
	if err := idem.Find(ctx, a.host.DB, call); err != nil {
		return err
	}
	if err := a.host.Sagas.Admit(); err != nil {
		return err
	}
	var answer httpapi.Stored
	err := a.change(ctx, call, id, func(tx *sqldb.Tx, c *Case) error {
		m, err := a.matter(c.Matter)
		if err != nil {
			return err
		}
		form, err := a.openForm(c)
		if err != nil {
			return err
		}
		if err := a.fill(c, m, form, true); err != nil {
			return err
		}
		now := a.host.Now()
		c.Version, c.Status, c.Submitted = m.Version, Processing, now.UnixMilli()
		rows, committed, err := a.submission(ctx, c)
		if err != nil {
			return err
		}
		c.Rev++ // as update will write it
		answer, err = a.answer(200, c, call.Lang)
		c.Rev--
		if err != nil {
			return err
		}
		tx.OnCommit(committed)
		return tx.Insert(ctx, append(rows, idem.Rows(call, answer, now)...)...)
	})
	if errors.Is(err, sqldb.ErrUnique) || errs.Is(err, errs.Conflict) {
		if again := idem.Find(ctx, a.host.DB, call); again != nil { // another request of the same key was first
			return again
		}
	}
	if err != nil {
		return err
	}
	return httpapi.Send(answer)
}

// withdraw takes a case back: a draft at once, a submitted one by its saga, for as long as the way back is open.
func (a *Approval) withdraw(ctx context.Context, call httpapi.Call, id string) error {
	c, err := a.own(ctx, a.host.DB, call.Principal, id)
	if err != nil {
		return err
	}
	switch c.Status {
	case Withdrawn:
		return nil
	case Processing:
		return a.host.Sagas.Cancel(ctx, id, reasonWithdrawn)
	case Draft:
		return a.change(ctx, call, id, func(_ *sqldb.Tx, c *Case) error {
			c.Status, c.Reason, c.Decided = Withdrawn, reasonWithdrawn, a.host.Now().UnixMilli()
			return nil
		})
	}
	return errs.New(errs.Conflict, "办件已结束，不能撤回", "the case has ended and can't be withdrawn").WithCode("approval.ended")
}

// dropDrafts deletes drafts nobody has touched for long, and their files.
func (a *Approval) dropDrafts(ctx context.Context) error {
	ids, err := a.store.abandoned(ctx, a.host.Now().Add(-a.cfg.Drafts).UnixMilli())
	if err != nil {
		return err
	}
	for _, id := range ids {
		files, err := a.store.files(ctx, a.host.DB, id)
		if err != nil {
			return err
		}
		err = a.host.DB.Write(ctx, sqldb.Durable, func(tx *sqldb.Tx) error {
			n, err := tx.Exec(ctx, "DELETE FROM cases WHERE id = $1 AND status = 'draft'", id)
			if err != nil || n == 0 {
				return err
			}
			_, err = tx.Exec(ctx, "DELETE FROM attachment WHERE case_id = $1", id)
			return err
		})
		if err != nil {
			return err
		}
		for _, f := range files {
			if err := a.host.Blobs.Delete(f.ID); err != nil {
				return err
			}
		}
	}
	return nil
}
