package evidence

import (
	"context"
	"embed"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/qiongdev/qiong/kit/auth"
	"github.com/qiongdev/qiong/kit/beijing"
	"github.com/qiongdev/qiong/kit/label"
	"github.com/qiongdev/qiong/kit/label/httplabel"
	"github.com/qiongdev/qiong/kit/lang"
	"github.com/qiongdev/qiong/kit/pages"
	"github.com/qiongdev/qiong/kit/receipt"
	"github.com/qiongdev/qiong/service/evidence/web"
)

//go:embed pages
var pageFiles embed.FS

var templates = pages.Parse(pageFiles, "log", "record", "verify")

func (x *Evidence) pages() {
	site := &pages.Site{
		Brand: lang.T("存证", "Evidence"), Home: "/evidence/", Who: x.host.Who, Fail: x.host.API.Fail,
		Nav: []pages.Link{
			{Name: "log", Path: "/evidence/", Text: lang.T("日志与部门", "Log and agencies")},
			{Name: "verify", Path: "/evidence/verify", Text: lang.T("核验回执", "Verify a receipt")},
		},
	}
	for path, show := range map[string]pages.Show{"GET /evidence/{$}": x.logPage, "GET /evidence/records/{id}": x.recordPage} {
		gate := x.host.API.Gate(httplabel.Route{Name: path, Grade: label.L1})
		x.host.Mux.HandleFunc(path, site.Handle(func(w http.ResponseWriter, r *http.Request, p pages.Page, who *auth.Principal) error {
			if _, err := gate.Enter(r.Context(), w.Header()); err != nil {
				return err
			}
			return show(w, r, p, who)
		}, auth.Operator, auth.Auditor))
	}
	x.host.Mux.HandleFunc("GET /evidence/verify", site.Public(x.verifyPage))
	x.host.Mux.HandleFunc("GET /evidence/live.js", func(w http.ResponseWriter, r *http.Request) {
		http.ServeFileFS(w, r, pageFiles, "pages/live.js")
	})
	x.host.Mux.HandleFunc("GET /evidence/verify.js", func(w http.ResponseWriter, r *http.Request) {
		module, ok := web.Verify()
		if !ok {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Type", "text/javascript; charset=utf-8")
		_, _ = w.Write(module) // the client has gone
	})
}

type signerRow struct {
	Name, Key, State, Tone, Turn, Heard, Problem string
	Size                                         uint64
}

type recordRow struct{ ID, Type, Accepted, State, Tone string }

func (x *Evidence) logPage(w http.ResponseWriter, r *http.Request, p pages.Page, _ *auth.Principal) error {
	v, err := x.status(r.Context(), p.Lang)
	if err != nil {
		return err
	}
	anchorings, err := x.store.anchorings(r.Context(), x.cfg.Publish)
	if err != nil {
		return err
	}
	records, err := x.latest(r.Context(), p)
	if err != nil {
		return err
	}
	p.Title, p.At, p.Script = p.Say("日志与部门", "Log and agencies"), "log", "/evidence/live.js"
	data := struct {
		pages.Page
		Status     StatusView
		Council    bool
		Signers    []signerRow
		Records    []recordRow
		Anchorings []AnchoringView
		Clock      func(beijing.Time) string
	}{Clock: func(t beijing.Time) string { return pages.Clock(int64(t)) }, Page: p, Status: v, Council: len(x.cfg.Nodes) > 0, Records: records, Anchorings: anchorings}
	for _, s := range v.Signers {
		row := signerRow{Name: s.Name, Key: s.Key, Size: s.Size, Problem: s.Problem}
		switch {
		case s.Role == receipt.Witness:
			row.State, row.Tone = p.Say("见证者", "witness"), "idle"
		case s.Up != nil && *s.Up:
			row.State, row.Tone = p.Say("在线", "up"), "good"
		case s.Up != nil && s.Heard != nil && s.Problem != "":
			row.State, row.Tone = p.Say("有问题", "in trouble"), "bad"
		case s.Up != nil:
			row.State, row.Tone = p.Say("没有应答", "does not answer"), "bad"
		}
		if s.Heard != nil {
			row.Heard = pages.Clock(int64(*s.Heard))
		}
		if s.Turn {
			row.Turn = p.Say("轮到该部门", "its turn")
		}
		data.Signers = append(data.Signers, row)
	}
	return templates.Render(w, "log", data)
}

// maxLatest is how many records the page shows.
const maxLatest = 20

// latest returns the newest records: those of the log, whoever has put them, and those of this house that are not in it.
func (x *Evidence) latest(ctx context.Context, p pages.Page) (rows []recordRow, err error) {
	acts, err := x.store.list(ctx, "", maxLatest)
	if err != nil {
		return nil, err
	}
	for _, a := range acts {
		row := recordRow{ID: a.id, Type: a.typ, Accepted: pages.Clock(a.acceptedAt)}
		switch a.state() {
		case "ordered":
			continue
		case "refused":
			row.State, row.Tone = p.Say("账本拒收", "refused"), "bad"
		default:
			row.State, row.Tone = p.Say("待排序", "waiting"), "busy"
		}
		rows = append(rows, row)
	}
	size := x.log.Last().Size
	entries, err := x.log.Entries(ctx, size-min(size, maxLatest), maxLatest)
	slices.Reverse(entries)
	for _, e := range entries {
		r, err := receipt.ParseRecord(e.Data)
		if err != nil {
			return nil, err
		}
		rows = append(rows, recordRow{ID: r.ID, Type: r.Type, Accepted: pages.Clock(int64(r.Time)), State: p.Say("已入日志", "in the log"), Tone: "good"})
	}
	slices.SortStableFunc(rows, func(a, b recordRow) int { return strings.Compare(b.Accepted, a.Accepted) })
	return rows[:min(len(rows), maxLatest)], err
}

func (x *Evidence) recordPage(w http.ResponseWriter, r *http.Request, p pages.Page, _ *auth.Principal) error {
	id := r.PathValue("id")
	s, err := x.stand(r.Context(), id)
	if err != nil {
		return err
	}
	v, err := s.view(id)
	if err != nil {
		return err
	}
	p.Title, p.At = id, "log"
	state, tone := stateWords(p, v.State)
	data := struct {
		pages.Page
		Record                RecordView
		State, Tone, Accepted string
		Cosignatures          []cosignatureRow
		Rule                  string
	}{Page: p, Record: v, State: state, Tone: tone}
	if v.Accepted != nil {
		data.Accepted = pages.Clock(int64(*v.Accepted))
	}
	if v.Rule != nil {
		data.Rule = fmt.Sprintf("%s/%d %s %s", v.Rule.Name, v.Rule.Version, v.Rule.Outcome, v.Rule.Clause)
	}
	if s.result != nil {
		for _, c := range s.result.Cosignatures {
			data.Cosignatures = append(data.Cosignatures, cosignatureRow{c.Name, c.Fingerprint, pages.Clock(int64(c.Time)), slices.Contains(s.result.Signed, c.Name)})
		}
	}
	return templates.Render(w, "record", data)
}

type cosignatureRow struct {
	Name, Key, At string
	Needed        bool
}

func stateWords(p pages.Page, state string) (words, tone string) {
	switch state {
	case "complete":
		return p.Say("完整：应签者均已签署", "complete: all who must have cosigned"), "good"
	case "provisional":
		return p.Say("暂定：法定数已签署，尚有应签者未签", "provisional: a quorum has signed, some still owe"), "busy"
	case "refused":
		return p.Say("账本拒收", "refused by the ledger"), "bad"
	case "ordered":
		return p.Say("已排序，待签署", "ordered, not signed yet"), "busy"
	default:
		return p.Say("待排序", "waiting to be ordered"), "busy"
	}
}

func (x *Evidence) verifyPage(w http.ResponseWriter, _ *http.Request, p pages.Page, _ *auth.Principal) error {
	p.Title, p.At = p.Say("核验回执", "Verify a receipt"), "verify"
	_, built := web.Verify()
	if built {
		p.Script = "/evidence/verify.js"
	}
	return templates.Render(w, "verify", struct {
		pages.Page
		Built bool
	}{p, built})
}
