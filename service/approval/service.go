package approval

import (
	"context"
	"embed"
	"encoding/hex"
	"fmt"
	"os"
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/qiongdev/qiong"
	"github.com/qiongdev/qiong/kit/agency"
	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/gm"
	"github.com/qiongdev/qiong/kit/ident"
	"github.com/qiongdev/qiong/kit/lang"
	"github.com/qiongdev/qiong/kit/outbox"
	"github.com/qiongdev/qiong/kit/saga"
	"github.com/qiongdev/qiong/kit/saga/engine"
	"github.com/qiongdev/qiong/kit/sqldb"
	"github.com/qiongdev/qiong/kit/telemetry"
)

//go:embed tables/*.sql
var tables embed.FS

var events = []qiong.Event{
	{Type: EventSubmitted, Version: 1, Grade: "L2", Act: true, Doc: lang.T("办件已提交", "a case was submitted")},
	{Type: EventDecided, Version: 1, Grade: "L2", Act: true, Doc: lang.T("办件已办结", "a case was decided")},
	{Type: EventRefused, Version: 1, Grade: "L2", Act: true, Doc: lang.T("办件不予办理", "a case was refused")},
	{Type: EventWithdrawn, Version: 1, Grade: "L2", Act: true, Doc: lang.T("办件已撤回", "a case was withdrawn")},
	{Type: EventRetrying, Version: 1, Grade: "L2", Doc: lang.T("环节无答复，正在重试", "a step had no answer and is tried again")},
	{Type: EventParked, Version: 1, Grade: "L2", Doc: lang.T("环节停放，待人工处理", "a step waits for a person")},
}

// Service is approval in a house.
var Service = &qiong.Service{
	Name:         "approval",
	Doc:          lang.T("一网通办：受理申请，联办各部门，直至办结", "one-stop approval: takes applications and brings each to its end"),
	Needs:        qiong.DB | qiong.Sagas | qiong.Blobs | qiong.Keys,
	Tables:       sqldb.Files(tables),
	Config:       &Defaults,
	ConfigSource: configSource,
	Events:       events,
	Commands:     commands,
	New: func(ctx context.Context, h *qiong.Host, cfg any) (qiong.Runner, error) {
		return open(ctx, h, *cfg.(*Config))
	},
}

// Approval is the service.
type Approval struct {
	host     *qiong.Host
	cfg      Config
	store    store
	ids      ident.Source
	sealer   *gm.Sealer
	current  map[string]*Matter // newest version, by name
	matters  map[matterKey]*Matter
	agencies map[string]*agency.Client
	watchers watchers
	recent   recent
	intake   atomic.Int64 // submissions being taken in
}

type matterKey struct {
	name    string
	version int
}

func open(ctx context.Context, h *qiong.Host, cfg Config) (*Approval, error) {
	a := &Approval{host: h, cfg: cfg, store: store{h.DB}, current: map[string]*Matter{}, matters: map[matterKey]*Matter{},
		agencies: map[string]*agency.Client{}}
	a.watchers.byCase = map[string]map[chan struct{}]bool{}
	h.Sagas.MaxActive, h.Sagas.MaxBacklog = cfg.Active, cfg.Backlog
	h.Sagas.Busy = func() bool { return a.intake.Load() > 2*int64(runtime.GOMAXPROCS(0)) }
	h.Sagas.Noticed, h.Sagas.Changed = a.noticed, a.changed
	var err error
	if a.sealer, err = h.Keys.Sealer("approval.data"); err != nil {
		return nil, err
	}
	for _, step := range []func(context.Context) error{a.resumeIDs, a.loadMatters, a.reachAgencies, a.registerSagas} {
		if err := step(ctx); err != nil {
			return nil, err
		}
	}
	for _, e := range []string{EventDecided, EventRefused, EventWithdrawn, EventParked} {
		h.On("notice", e, false, a.notify)
	}
	h.Every("drafts", draftsEvery, a.dropDrafts)
	a.routes()
	a.pageRoutes()
	return a, nil
}

// Run implements qiong.Runner: the house runs what was registered.
func (a *Approval) Run(ctx context.Context) error {
	<-ctx.Done()
	return nil
}

// resumeIDs numbers on from the last number stored.
func (a *Approval) resumeIDs(ctx context.Context) error {
	last, err := a.store.lastID(ctx)
	if err != nil || last == "" {
		return err
	}
	n, err := ident.Parse(last)
	a.ids.Seen(n)
	return err
}

// loadMatters reads the matters on offer and those that cases under way still need, and keeps each version.
func (a *Approval) loadMatters(ctx context.Context) error {
	offered, err := LoadMatters(a.cfg.Matters)
	if err != nil {
		return err
	}
	type kept struct {
		key    matterKey
		sm3    []byte
		source string
	}
	stored, err := sqldb.All(ctx, a.host.DB, func(r sqldb.Scanner) (k kept, err error) {
		return k, r.Scan(&k.key.name, &k.key.version, &k.sm3, &k.source)
	}, "SELECT name, version, sm3, source FROM matter")
	if err != nil {
		return err
	}
	digests := map[matterKey]string{}
	for _, k := range stored {
		m, err := ParseMatter([]byte(k.source))
		if err != nil {
			return fmt.Errorf("stored matter %s version %d: %w", k.key.name, k.key.version, err)
		}
		a.matters[k.key], digests[k.key] = m, string(k.sm3)
	}
	for _, m := range offered {
		key, digest := matterKey{m.Name, m.Version}, gm.SM3(m.source)
		switch have, ok := digests[key]; {
		case !ok:
			row := intoMatter.Row(m.Name, m.Version, digest[:], string(m.source), a.host.Now().UnixMilli())
			if err := a.host.DB.Append(ctx, row); err != nil {
				return err
			}
		case have != string(digest[:]):
			return errs.Newf(errs.Conflict, "事项 %s 的内容变了而版本号没有变", "the matter %s has changed and its version has not", m.Name).
				WithHint("请把文件中的 version 加一", "raise version in its file by one")
		}
		a.matters[key], a.current[m.Name] = m, m
	}
	return nil
}

// reachAgencies makes a client for every agency that some matter names.
func (a *Approval) reachAgencies(context.Context) error {
	signer, err := a.host.Keys.Signer("approval")
	if err != nil {
		return err
	}
	http := agency.NewHTTP(a.cfg.Connections)
	for _, m := range a.matters {
		for name := range m.Agencies {
			if a.agencies[name] != nil {
				continue
			}
			c := &agency.Client{HTTP: http, Signer: signer, Now: a.host.Now, KeyOf: a.keyOf(name)}
			if ext, ok := a.cfg.Agencies[name]; ok {
				c.Base = ext.URL
				if err := a.trust(name, ext.Key); err != nil {
					return err
				}
			}
			a.agencies[name] = c
		}
	}
	return nil
}

func (a *Approval) trust(name, path string) error {
	field := "approval.agencies." + name + ".key"
	pem, err := os.ReadFile(path)
	if err != nil {
		return errs.Wrap(err, errs.Invalid, "无法读取公钥文件", "the public key file can't be read").WithField(field)
	}
	pub, err := gm.ParsePublicKeyPEM(pem)
	if err != nil {
		return errs.Wrap(err, errs.Invalid, "不是 SM2 公钥（PEM）", "not an SM2 public key (PEM)").WithField(field)
	}
	return a.host.Keys.Trust("agency."+name+".trusted", pub)
}

// keyOf knows one agency's keys: the trusted one where it is another system's, the house's own where the sandbox
// stands in for it.
func (a *Approval) keyOf(name string) func(keyID string) (*gm.PublicKey, error) {
	ring := "agency." + name
	if _, ok := a.cfg.Agencies[name]; ok {
		ring += ".trusted"
	}
	var mu sync.Mutex
	var known *gm.PublicKey
	return func(keyID string) (*gm.PublicKey, error) {
		mu.Lock()
		defer mu.Unlock()
		if known == nil {
			pub, err := a.host.Keys.Public(ring)
			if err != nil {
				return nil, err
			}
			pub.Precompute() // it verifies every answer of the agency
			known = pub
		}
		if gm.KeyID(known) != keyID {
			return nil, errs.New(errs.Unauthenticated, "不是该部门的密钥", "not the agency's key").WithCode("signature.unknown-key")
		}
		return known, nil
	}
}

// client returns the client of an agency. The house's own address is known only once it listens.
func (a *Approval) client(name string) (*agency.Client, error) {
	c := a.agencies[name]
	if c == nil {
		return nil, errs.Newf(errs.Unavailable, "没有部门 %s", "there is no agency %s", name)
	}
	if c.Base != "" {
		return c, nil
	}
	own := *c
	own.Base = a.host.URL() + "/api/sandbox/agencies/" + name
	return &own, nil
}

func (a *Approval) registerSagas(context.Context) error {
	for _, m := range a.matters {
		ps := map[string]engine.Participant{}
		for name := range m.Agencies {
			ps[name] = &participant{a, m, name}
		}
		if err := a.host.Sagas.Register(engine.Kind{Definition: m.saga, Participants: ps, End: a.end}); err != nil {
			return err
		}
	}
	return nil
}

// end closes a case in the transaction that ends its saga.
func (a *Approval) end(ctx context.Context, tx *sqldb.Tx, in *saga.Instance) error {
	c, err := a.store.get(ctx, tx, in.ID)
	if err != nil {
		return fmt.Errorf("case %s: %w", in.ID, err)
	}
	event := EventDecided
	c.Status, c.Decided = Decided, in.Updated
	if in.Status == saga.Compensated {
		c.Status, c.Reason, event = Refused, in.Reason, EventRefused
		if in.Reason == reasonWithdrawn {
			c.Status, event = Withdrawn, EventWithdrawn
		}
	}
	if err := a.store.update(ctx, tx, c); err != nil {
		return fmt.Errorf("case %s: end: %w", in.ID, err)
	}
	data := c.event()
	if c.Status == Decided {
		data.Issued = map[string]string{}
		for i := range in.Steps {
			if out := in.Steps[i].Output; len(out) > 0 {
				sum := gm.SM3(out)
				data.Issued[in.Steps[i].Name] = hex.EncodeToString(sum[:])
			}
		}
	}
	return a.publish(ctx, tx, event, c.ID, in.Trace, data)
}

func (c *Case) event() CaseEvent {
	return CaseEvent{Case: c.ID, Matter: c.Matter, Version: c.Version, Owner: c.Owner, Subject: c.Subject,
		FormSM3: hex.EncodeToString(c.formSM3), Reason: c.Reason}
}

// changed is told of every change of a case's saga.
func (a *Approval) changed(in *saga.Instance) {
	a.watchers.tell(in.ID)
	if in.Status.Ended() {
		a.recent.forget(in.ID)
	}
}

func (a *Approval) publish(ctx context.Context, tx *sqldb.Tx, event, key, trace string, data any) error {
	return a.host.Box.Publish(ctx, tx, message(event, key, trace, data))
}

// message is an event of the given type as the service declares it.
func message(event, key, trace string, data any) outbox.Event {
	for _, e := range events {
		if e.Type == event {
			return outbox.Event{Type: event, Key: key, Act: e.Act, Version: e.Version, Grade: e.Grade, Trace: trace, Data: data}
		}
	}
	panic("approval: event " + event + " is not declared")
}

// noticed publishes what keeps a case from getting on.
func (a *Approval) noticed(ctx context.Context, tx *sqldb.Tx, in *saga.Instance, n saga.Notice) error {
	c, err := a.store.get(ctx, tx, in.ID)
	if err != nil {
		return fmt.Errorf("case %s: %w", in.ID, err)
	}
	event := EventRetrying
	if n.Kind == saga.Parked {
		event = EventParked
	}
	return a.publish(ctx, tx, event, c.ID, in.Trace, StepEvent{Case: c.ID, Matter: c.Matter, Owner: c.Owner, Subject: c.Subject,
		Step: n.Step, Agency: n.Participant, Reason: n.Reason, Attempts: n.Attempts})
}

// notify keeps a notice for the applicant.
func (a *Approval) notify(ctx context.Context, tx *sqldb.Tx, m outbox.Message) error {
	var about struct{ Case, Owner, Subject string }
	if err := m.Data(&about); err != nil {
		return errs.Wrap(err, errs.Invalid, "消息内容无法读取", "the message can't be read")
	}
	return tx.Insert(ctx, intoNotice.Row(m.ID, about.Owner, about.Case, m.Type, about.Subject, m.At))
}

// trace returns the trace of ctx for rows and messages.
func trace(ctx context.Context) string { return telemetry.Inject(ctx) }
