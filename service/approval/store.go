package approval

import (
	"context"
	"errors"

	"github.com/qiongdev/qiong/kit/sqldb"
)

// store keeps cases, attachments and notices.
type store struct{ db sqldb.DB }

var (
	intoCase = sqldb.NewInto("cases", "id", "matter", "version", "owner", "status", "subject", "form", "form_sm3", "reason",
		"rev", "created_at", "submitted_at", "decided_at")
	intoAttachment = sqldb.NewInto("attachment", "id", "case_id", "name", "media_type", "size", "sm3", "created_at")
	intoNotice     = sqldb.NewInto("notice", "id", "owner", "case_id", "kind", "subject", "created_at")
	intoMatter     = sqldb.NewInto("matter", "name", "version", "sm3", "source", "loaded_at")
)

const caseColumns = "id, matter, version, owner, status, subject, form, form_sm3, reason, rev, created_at, submitted_at, decided_at"

func (c *Case) row() sqldb.Insert {
	return intoCase.Row(c.ID, c.Matter, c.Version, c.Owner, string(c.Status), c.Subject, c.form, c.formSM3, c.Reason, c.Rev,
		c.Created, c.Submitted, c.Decided)
}

func scanCase(r sqldb.Scanner) (*Case, error) {
	c := &Case{}
	var version int64
	err := r.Scan(&c.ID, &c.Matter, &version, &c.Owner, (*string)(&c.Status), &c.Subject, &c.form, &c.formSM3, &c.Reason, &c.Rev,
		&c.Created, &c.Submitted, &c.Decided)
	c.Version = int(version)
	return c, err
}

// get returns a case, or NotFound.
func (s *store) get(ctx context.Context, q sqldb.Querier, id string) (*Case, error) {
	c, err := scanCase(q.QueryRow(ctx, "SELECT "+caseColumns+" FROM cases WHERE id = $1", id))
	if errors.Is(err, sqldb.ErrNoRows) {
		return nil, notFound()
	}
	return c, err
}

// filter says which cases to list; an empty field matches all.
type filter struct {
	owner  string
	status Status
	matter string
	before string // id of the last one seen
	limit  int
}

// list returns cases, newest first.
func (s *store) list(ctx context.Context, f filter) ([]*Case, error) {
	if f.before == "" {
		f.before = "ZZZZZZZZZZZZZZ" // after every case number, in every collation
	}
	return sqldb.All(ctx, s.db, scanCase, "SELECT "+caseColumns+` FROM cases
		WHERE ($1 = '' OR owner = $1) AND ($2 = '' OR status = $2) AND ($3 = '' OR matter = $3) AND id < $4
		ORDER BY id DESC LIMIT $5`, f.owner, string(f.status), f.matter, f.before, f.limit)
}

// update writes the changeable columns of c over its row of the revision before; sqldb.ErrMissed says that it is of another.
func (s *store) update(ctx context.Context, tx *sqldb.Tx, c *Case) error {
	c.Rev++
	return tx.Update(ctx, `UPDATE cases SET version = $1, status = $2, subject = $3, form = $4, form_sm3 = $5, reason = $6,
		rev = $7, submitted_at = $8, decided_at = $9 WHERE id = $10 AND rev = $11`,
		c.Version, string(c.Status), c.Subject, c.form, c.formSM3, c.Reason, c.Rev, c.Submitted, c.Decided, c.ID, c.Rev-1)
}

// file is an attachment's row.
type file struct {
	ID, Case, Name, Type string
	Size                 int64
	SM3                  []byte
	Created              int64
}

func scanFile(r sqldb.Scanner) (f file, err error) {
	return f, r.Scan(&f.ID, &f.Case, &f.Name, &f.Type, &f.Size, &f.SM3, &f.Created)
}

const fileColumns = "id, case_id, name, media_type, size, sm3, created_at"

// files lists the attachments of a case.
func (s *store) files(ctx context.Context, q sqldb.Querier, caseID string) ([]file, error) {
	return sqldb.All(ctx, q, scanFile, "SELECT "+fileColumns+" FROM attachment WHERE case_id = $1 ORDER BY id", caseID)
}

// note is a notice's row.
type note struct {
	ID                  int64
	Case, Kind, Subject string
	Created             int64
}

// notices lists what an applicant was told, newest first.
func (s *store) notices(ctx context.Context, owner string, before int64, limit int) ([]note, error) {
	return sqldb.All(ctx, s.db, func(r sqldb.Scanner) (n note, err error) {
		return n, r.Scan(&n.ID, &n.Case, &n.Kind, &n.Subject, &n.Created)
	}, `SELECT id, case_id, kind, subject, created_at FROM notice WHERE owner = $1 AND id < $2 ORDER BY id DESC LIMIT $3`,
		owner, before, limit)
}

// lastID returns the greatest id of a case, attachment or notice, for numbering on.
func (s *store) lastID(ctx context.Context) (string, error) {
	return sqldb.Value[string](ctx, s.db, `SELECT coalesce(max(id), '') FROM (
		SELECT max(id) AS id FROM cases UNION ALL SELECT max(id) FROM attachment) AS ids`)
}

// abandoned lists drafts that were made before the given time.
func (s *store) abandoned(ctx context.Context, before int64) ([]string, error) {
	return sqldb.All(ctx, s.db, func(r sqldb.Scanner) (id string, err error) { return id, r.Scan(&id) },
		"SELECT id FROM cases WHERE status = 'draft' AND created_at < $1 ORDER BY id LIMIT 500", before)
}
