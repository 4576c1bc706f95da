package audit

import (
	"context"
	"errors"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/qiongdev/qiong"
	"github.com/qiongdev/qiong/kit/audit"
	"github.com/qiongdev/qiong/kit/beijing"
	"github.com/qiongdev/qiong/kit/client"
	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/lang"
	"github.com/qiongdev/qiong/kit/receipt"
	"github.com/qiongdev/qiong/kit/sqldb"
)

// house is the log of a running house.
type house struct{ *client.Client }

func (h *house) get(ctx context.Context, path string, query url.Values, out any) error {
	return h.Do(ctx, client.Request{Method: "GET", Path: "/api/house/audit" + path + "?" + query.Encode()}, out)
}

func times(f audit.Filter) url.Values {
	q := url.Values{}
	if f.Since != 0 {
		q.Set("since", f.Since.String())
	}
	if f.Until != 0 {
		q.Set("until", f.Until.String())
	}
	return q
}

func (h *house) List(ctx context.Context, f audit.Filter, each func(*audit.Entry) (bool, error)) error {
	q := times(f)
	q.Set("limit", "200")
	q.Set("who", f.Who)
	q.Set("what", f.What)
	q.Set("outcome", f.Outcome)
	for {
		var page struct {
			Items []audit.Entry
			Next  string
		}
		if err := h.get(ctx, "", q, &page); err != nil {
			return err
		}
		for i := range page.Items {
			if more, err := each(&page.Items[i]); err != nil || !more {
				return err
			}
		}
		if page.Next == "" {
			return nil
		}
		q.Set("cursor", page.Next)
	}
}

func (h *house) Span(ctx context.Context, f audit.Filter) (from, to uint64, p *audit.Proof, err error) {
	var span struct {
		From, To uint64
		Proof    string
	}
	if err := h.get(ctx, "/span", times(f), &span); err != nil || span.Proof == "" {
		return span.From, span.From, nil, err
	}
	p, err = audit.ParseProof([]byte(span.Proof))
	return span.From, span.To, p, err
}

func (h *house) Leaves(ctx context.Context, from uint64, limit int) ([][]byte, error) {
	var page struct {
		Items []struct {
			Leaf uint64
			Text string
		}
	}
	err := h.get(ctx, "/leaves", url.Values{"from": {strconv.FormatUint(from, 10)}, "limit": {strconv.Itoa(limit)}}, &page)
	var leaves [][]byte
	for _, leaf := range page.Items {
		leaves = append(leaves, []byte(leaf.Text))
	}
	return leaves, err
}

// answer is the state of the log as the house tells it.
type answer struct {
	Origin          string
	Leaves, Expired uint64
	Checked         beijing.Time
	Broken          string
	Note, Trust     string
	Gaps            []string
	Witnesses       []struct {
		Name    string
		Leaves  uint64
		At      beijing.Time
		Problem string
	}
}

// text reads what the API says in both languages.
func text(both string) lang.Text {
	zh, en, _ := strings.Cut(both, " / ")
	return lang.T(zh, en)
}

func (a *answer) gaps() (all []*audit.Gap, err error) {
	return audit.ParseGaps([]byte(strings.Join(a.Gaps, "")))
}

func (a *answer) state() (*state, error) {
	s := &state{Origin: a.Origin, Leaves: a.Leaves, Expired: a.Expired, Note: a.Note, At: a.Checked, Broken: text(a.Broken)}
	for _, w := range a.Witnesses {
		s.witnesses = append(s.witnesses, audit.WitnessState{Name: w.Name, Size: w.Leaves, At: w.At, Problem: text(w.Problem)})
	}
	var err error
	s.gaps, err = a.gaps()
	return s, err
}

func (h *house) Check(ctx context.Context) (*state, error) {
	var a answer
	if err := h.Do(ctx, client.Request{Method: "POST", Path: "/api/house/audit/check", Timeout: -1}, &a); err != nil {
		return nil, err
	}
	return a.state()
}

func (h *house) Gaps(ctx context.Context) ([]*audit.Gap, error) {
	var a answer
	if err := h.get(ctx, "/state", nil, &a); err != nil {
		return nil, err
	}
	return a.gaps()
}

func (h *house) Trust(ctx context.Context) ([]byte, error) {
	var a answer
	err := h.get(ctx, "/state", nil, &a)
	return []byte(a.Trust), err
}

func (h *house) Close() error { return nil }

// folder is the log in a data folder.
type folder struct {
	*audit.Reader
	db    sqldb.DB
	trust []byte
	live  func(done, size uint64)
}

// database returns the file of the house's own database in a data folder.
func database(dir string) (string, error) {
	file := filepath.Join(dir, "db", "house.db")
	if _, err := os.Stat(file); errors.Is(err, fs.ErrNotExist) {
		return "", errs.New(errs.NotFound, "数据目录中没有 db/house.db", "the data folder has no db/house.db").WithField("--data").
			WithHint("检查路径；使用 PostgreSQL 时请用 --url", "check the path; with PostgreSQL use --url")
	}
	return file, nil
}

func openFolder(ctx context.Context, c *qiong.Console, dir string, open func(string) (sqldb.DB, error)) (source, error) {
	file, err := database(dir)
	if err != nil {
		return nil, err
	}
	name, _ := c.Flags.GetString("trust")
	if name == "" {
		name = filepath.Join(dir, "audit", "trust.pem")
	}
	keys, err := os.ReadFile(name)
	if err != nil {
		return nil, missing(err, "--trust")
	}
	trust, err := receipt.ParseTrust(keys)
	if err != nil {
		return nil, err
	}
	db, err := open(file)
	if err != nil {
		return nil, err
	}
	r, err := audit.OpenReader(ctx, db, trust, filepath.Join(dir, "witness", "audit"))
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return &folder{Reader: r, db: db, trust: keys, live: progress(c)}, nil
}

func missing(err error, field string) error {
	return errs.Wrap(err, errs.NotFound, "文件不存在或不可读", "the file is not there, or can't be read").WithField(field)
}

func (f *folder) List(ctx context.Context, filter audit.Filter, each func(*audit.Entry) (bool, error)) error {
	before, err := audit.ParsePosition("")
	if err != nil {
		return err
	}
	for next := &before; next != nil; {
		var found []audit.Found
		if found, next, err = f.Reader.List(ctx, filter, *next, 200); err != nil {
			return err
		}
		for i := range found {
			if more, err := each(&found[i].Entry); err != nil || !more {
				return err
			}
		}
	}
	return nil
}

func (f *folder) Check(ctx context.Context) (*state, error) {
	err := f.Reader.Check(ctx, f.live)
	if err != nil && !audit.Broken(err) {
		return nil, err
	}
	st := f.Status()
	s := &state{Leaves: st.Size, Expired: st.Expired, gaps: st.Gaps}
	if err != nil {
		s.Broken = errs.As(err).Msg
	} else if s.witnesses, err = f.Outside(ctx); err != nil {
		return nil, err
	}
	n, err := f.Note(ctx)
	if errs.Is(err, errs.NotFound) || err != nil && !s.Broken.IsZero() {
		return s, nil
	}
	if err != nil {
		return nil, err
	}
	text, err := n.Marshal()
	s.Origin, s.Note = n.Checkpoint.Origin, string(text)
	return s, err
}

func (f *folder) Trust(context.Context) ([]byte, error) { return f.trust, nil }

func (f *folder) Close() error { return errors.Join(f.Reader.Close(), f.db.Close()) }
