package house

import (
	"bytes"
	"context"
	"encoding/hex"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/qiongdev/qiong/kit/audit"
	"github.com/qiongdev/qiong/kit/auth"
	"github.com/qiongdev/qiong/kit/config"
	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/gm"
	"github.com/qiongdev/qiong/kit/lang"
	"github.com/qiongdev/qiong/kit/receipt"
	"github.com/qiongdev/qiong/kit/sqldb"
	"github.com/qiongdev/qiong/kit/tlog"
)

// auditCheck is how often the audit log is computed anew.
const auditCheck = time.Hour

// openAudit opens the audit log in the house's own database. Its witness remembers in a folder apart from that.
func (h *House) openAudit(ctx context.Context, db sqldb.DB) error {
	operator, err := h.keys.Signer("audit")
	if err != nil {
		return err
	}
	witness, err := h.keys.Signer("audit-witness")
	if err != nil {
		return err
	}
	outside, err := h.outside()
	if err != nil {
		return err
	}
	folder := filepath.Join(h.Config.Data, "audit")
	h.audit, err = audit.Open(ctx, audit.Options{DB: db, Operator: operator, Witness: witness, Memory: filepath.Join(h.Config.Data, "witness", "audit"),
		Outside: outside, Archive: folder, Keep: h.Config.AuditKeep, Now: h.clock.Now, Log: h.telemetry.Log})
	if err != nil {
		if e := errs.As(err); e.Code == audit.CodeOutside {
			return e.WithField("house.audit-witness-keys")
		}
		return err
	}
	h.closers = append(h.closers, h.audit.Close)
	if err := publishTrust(folder, h.audit.Trust().Marshal()); err != nil {
		return err
	}
	return h.takeOver(ctx, db)
}

// outside returns the witness of the audit log in another house; nil where none is configured.
func (h *House) outside() (*audit.Outside, error) {
	if h.Config.AuditWitness == "" {
		return nil, nil
	}
	text, err := os.ReadFile(h.Config.AuditWitnessKeys)
	if err != nil {
		return nil, errs.Wrap(err, errs.Invalid, "读不到公钥文件", "the file of keys cannot be read").WithField("house.audit-witness-keys")
	}
	trust, err := receipt.ParseTrust(text)
	if err != nil {
		return nil, errs.As(err).WithField("house.audit-witness-keys")
	}
	client, err := tlog.NewWitnessClient(strings.TrimSuffix(h.Config.AuditWitness, "/")+"/evidence/witness", trust, nil)
	if err != nil {
		return nil, errs.As(err).WithField("house.audit-witness")
	}
	return &audit.Outside{Keys: trust.Keys(), Witness: client}, nil
}

// publishTrust leaves the keys with which the log is verified where an auditor looks for them first.
func publishTrust(folder string, keys []byte) error {
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return err
	}
	file := filepath.Join(folder, "trust.pem")
	if have, err := os.ReadFile(file); err == nil && bytes.Equal(have, keys) {
		return nil
	}
	return os.WriteFile(file, keys, 0o600)
}

// takeOver moves the accesses that an earlier version kept in a table of their own into the log, in their order.
func (h *House) takeOver(ctx context.Context, db sqldb.DB) error {
	for {
		var last int64
		old, err := sqldb.All(ctx, db, func(s sqldb.Scanner) (e audit.Entry, err error) {
			e.What = audit.Access
			return e, s.Scan(&last, &e.Who, &e.Route, &e.Grade, &e.Clearance, &e.Outcome, &e.Trace, (*int64)(&e.Time))
		}, "SELECT id, who, route, grade, clearance, decision, trace, at FROM access_record ORDER BY id LIMIT 1000")
		if err != nil || len(old) == 0 {
			return err
		}
		err = h.audit.Import(ctx, old, func(tx *sqldb.Tx) error {
			_, err := tx.Exec(ctx, "DELETE FROM access_record WHERE id <= $1", last)
			return err
		})
		if err != nil {
			return err
		}
	}
}

// began records that the house starts, with which settings and which keys.
func (h *House) opened(ctx context.Context, cfg *config.Config) error {
	v := Version()
	settings, changed := digestOf(cfg)
	names, keys := h.publicKeys()
	for _, e := range []audit.Entry{
		{What: audit.Start, Detail: v.Version + " " + v.Platform},
		{What: audit.Config, Object: settings, Detail: strings.Join(changed, " ")},
		{What: audit.Keys, Object: keys, Detail: strings.Join(names, " ")},
	} {
		e.Who, e.Outcome = audit.House, audit.Done
		if err := h.audit.Record(ctx, e); err != nil {
			return err
		}
	}
	return nil
}

// digestOf returns the SM3 of the effective configuration without its secrets, and the keys that are not left at their
// default.
func digestOf(cfg *config.Config) (digest string, changed []string) {
	var text strings.Builder
	for _, s := range cfg.Settings(lang.EN) {
		fmt.Fprintf(&text, "%s %s\n", s.Key, s.Value)
		if s.Source.Kind != "default" {
			changed = append(changed, s.Key)
		}
	}
	sum := gm.SM3([]byte(text.String()))
	return hex.EncodeToString(sum[:]), changed
}

// publicKeys lists the ring's public keys with their fingerprints: its own and those of others that are trusted. A key
// that was trusted while the house did not run, with qiong keys trust, shows at the next start.
func (h *House) publicKeys() (names []string, digest string) {
	for _, name := range h.keys.Names() {
		if pub, err := h.keys.Public(name); err == nil { // others are secrets
			names = append(names, name+"="+gm.KeyID(pub))
		}
	}
	sum := gm.SM3([]byte(strings.Join(names, "\n")))
	return names, hex.EncodeToString(sum[:])
}

// ended records that the house stops.
func (h *House) ended() error {
	return h.audit.Commit(context.Background(), audit.Entry{Who: audit.House, What: audit.Stop, Outcome: audit.Done})
}

// did records an act of a principal durably; nobody stands for the house itself.
func (h *House) did(ctx context.Context, what, object, detail string) error {
	who := audit.House
	if p := auth.From(ctx); p != nil {
		who = p.ID
	}
	return h.audit.Commit(ctx, audit.Entry{Who: who, What: what, Object: object, Outcome: audit.Done, Detail: detail})
}

// signedIn records an attempt to sign in or out: one that succeeds durably, before it is answered. One that is refused
// waits for no disk, so that strangers can't keep it busy; and what is not even looked at, because an address has failed
// too often, is not recorded.
func (h *House) signedIn(r *http.Request, what, who string, err error) error {
	e := audit.Entry{Who: who, What: what, Outcome: audit.Done, Detail: "from " + auth.RemoteIP(r)}
	switch {
	case err == nil:
		return h.audit.Commit(r.Context(), e)
	case errs.Is(err, errs.TooMany):
		return nil
	}
	e.Outcome = audit.Refused
	return h.audit.Record(r.Context(), e)
}

// careful is the house's authenticator: what an administrator is about to change is on record before it is done.
type careful struct {
	auth.Authenticator
	log *audit.Log
}

// Authenticate implements auth.Authenticator.
func (c careful) Authenticate(ctx context.Context, r *http.Request) (*auth.Principal, error) {
	p, err := c.Authenticator.Authenticate(ctx, r)
	if err != nil || r.Method == http.MethodGet || r.Method == http.MethodHead || !administers(p) || strings.HasPrefix(r.URL.Path, "/api/house/") {
		return p, err
	}
	e := audit.Entry{Who: p.ID, What: audit.Operate, Object: objectOf(r.Pattern, r.URL.Path), Route: r.Pattern, Outcome: audit.Begun}
	return p, c.log.Commit(ctx, e)
}

func administers(p *auth.Principal) bool {
	return p.Is(auth.Operator, auth.Security, auth.Auditor)
}

type pathKey struct{}

// named lets the record of a request name the object that its path has.
func named(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), pathKey{}, r.URL.Path)))
	})
}

// objectOf returns what stands in a path where its pattern has names, with / between: ids of things. What does not look
// like one is left out.
func objectOf(pattern, path string) string {
	_, pattern, _ = strings.Cut(pattern, "/")
	want, have := strings.Split(pattern, "/"), strings.Split(strings.TrimPrefix(path, "/"), "/")
	var ids []string
	for i, part := range want {
		if i < len(have) && strings.HasPrefix(part, "{") && isID(have[i]) {
			ids = append(ids, have[i])
		}
	}
	return strings.Join(ids, "/")
}

func isID(s string) bool {
	for _, c := range []byte(s) {
		if (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') && c != '-' && c != '_' && c != '.' {
			return false
		}
	}
	return s != "" && len(s) <= 80
}

// measureAudit registers what tells the state of the audit log.
func (h *House) measureAudit(m prometheus.Registerer) {
	gauge(m, "audit_broken", "1 where somebody has changed or deleted what was on record, otherwise 0.", func() float64 {
		if h.audit.Status().Broken != nil {
			return 1
		}
		return 0
	})
	gauge(m, "audit_leaves", "Leaves of the audit log.", func() float64 { return float64(h.audit.Status().Size) })
	gauge(m, "audit_checked_seconds", "When the audit log was last found whole, in seconds since 1970.", func() float64 {
		return float64(h.audit.Status().Checked) / 1000
	})
	if h.Config.AuditWitness == "" {
		return
	}
	gauge(m, "audit_witness_behind", "Leaves of the audit log that the witness in another house has not cosigned.", func() float64 {
		cosigned := h.witnessed().Size // first, since both grow
		size := h.audit.Status().Size
		return float64(size - min(cosigned, size))
	})
	gauge(m, "audit_witness_cosigned_seconds", "When the witness in another house has cosigned last, in seconds since 1970.", func() float64 {
		return float64(h.witnessed().At) / 1000
	})
}

// witnessed returns how far the witness in another house has cosigned.
func (h *House) witnessed() (w audit.WitnessState) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if all, err := h.audit.Outside(ctx); err == nil && len(all) > 0 { // else it is as far behind as can be
		w = all[0]
	}
	return w
}
