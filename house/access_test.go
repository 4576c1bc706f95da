package house_test

import (
	"context"
	"io"
	"net/http"
	"net/http/cookiejar"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"

	"github.com/qiongdev/qiong"
	"github.com/qiongdev/qiong/examples"
	"github.com/qiongdev/qiong/house"
	"github.com/qiongdev/qiong/house/qiongtest"
	"github.com/qiongdev/qiong/kit/auth"
	"github.com/qiongdev/qiong/kit/client"
	"github.com/qiongdev/qiong/kit/config"
	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/httpapi"
	"github.com/qiongdev/qiong/kit/label"
	"github.com/qiongdev/qiong/kit/lang"
	"github.com/qiongdev/qiong/kit/outbox"
	"github.com/qiongdev/qiong/kit/sqldb"
	"github.com/qiongdev/qiong/kit/telemetry"
	"github.com/qiongdev/qiong/tool/apply"
	labeltool "github.com/qiongdev/qiong/tool/label"
)

// answer calls a house and returns the answer's grade and body.
func answer(t *testing.T, c *client.Client, method, path string, body any) (grade, text string, err error) {
	t.Helper()
	resp, err := c.Send(t.Context(), client.Request{Method: method, Path: path, Body: body})
	if err != nil {
		return "", "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return resp.Header.Get(label.Header), string(b), err
}

// page shows a page to somebody who signed in.
func page(t *testing.T, h *qiongtest.House, path string, who auth.Principal) string {
	t.Helper()
	link, err := h.Link(t.Context(), who)
	if err != nil {
		t.Fatal(err)
	}
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, link+"&next="+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := (&http.Client{Jar: jar}).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != 200 {
		t.Fatalf("%s: %d, %v", path, resp.StatusCode, err)
	}
	return string(b)
}

// decided is a case of alice's that the agencies have decided.
func decided(t *testing.T, h *qiongtest.House, alice *client.Client) *apply.Case {
	t.Helper()
	body, err := apply.WithSubmit(examples.OpenEnterprise)
	if err != nil {
		t.Fatal(err)
	}
	made, err := apply.Submit(t.Context(), alice, body, "k")
	if err != nil {
		t.Fatal(err)
	}
	last, err := apply.Follow(t.Context(), alice, made.ID, func(*apply.Case) {})
	if err != nil || last.Status != "decided" {
		t.Fatalf("%+v, %v", last, err)
	}
	return last
}

func TestTheGradeDecidesWhoSeesWhat(t *testing.T) {
	qiongtest.Databases(t, func(t *testing.T, database string) {
		dir := t.TempDir()
		h := qiongtest.Start(t, qiongtest.Options{Services: all(), Data: dir, Database: database, Set: map[string]string{"sandbox.speed": "0"}})
		alice, official, operator := h.As("alice", auth.Applicant), h.As("window", auth.Official), h.As("ops", auth.Operator)
		made := decided(t, h, alice)
		path := "/api/approval/cases/" + made.ID
		for _, tt := range []struct {
			who   *client.Client
			grade string
			form  bool
		}{{alice, "L3", true}, {official, "L3", true}, {operator, "L2", false}} {
			grade, text, err := answer(t, tt.who, "GET", path, nil)
			if err != nil || grade != tt.grade || strings.Contains(text, `"form":`) != tt.form || strings.Contains(text, `"issued"`) != tt.form ||
				!strings.Contains(text, "海口𠮷䶮数字科技有限公司（样例）") {
				t.Errorf("of grade %s, want %s: %v %s", grade, tt.grade, err, text)
			}
		}
		if _, _, err := answer(t, operator, "GET", path+"/attachments/x", nil); !errs.Is(err, errs.Forbidden) || errs.As(err).Code != "grade.clearance" {
			t.Errorf("the operator downloads: %v", err)
		}
		show := func(id string, role auth.Role) string {
			return page(t, h, "/approval/cases/"+made.ID, auth.Principal{ID: id, Name: id, Roles: []auth.Role{role}})
		}
		if whole := show("alice", auth.Applicant); !strings.Contains(whole, `class="issued"`) {
			t.Error("the applicant's page lacks what was issued")
		}
		if masked := show("ops", auth.Operator); strings.Contains(masked, `class="issued"`) || !strings.Contains(masked, made.Subject) {
			t.Error("the operator's page shows what was issued, or lacks the subject")
		}
		if grade, _, err := answer(t, alice, "GET", "/api/approval/matters", nil); err != nil || grade != "L1" {
			t.Errorf("matters are of grade %s, %v", grade, err)
		}
		h.Stop()
		h = qiongtest.Start(t, qiongtest.Options{Services: all(), Data: dir, Database: database})
		auditor := h.As("auditor", auth.Auditor)
		recorded(t, auditor, "who=ops", "refused GET /api/approval/cases/{id}/attachments/{file}", "masked GET /api/approval/cases/{id}", "masked GET /approval/cases/{id}")
		recorded(t, auditor, "who=alice&route="+"POST%20/api/approval/cases", "passed POST /api/approval/cases")
		recorded(t, auditor, "decision=refused", "refused GET /api/approval/cases/{id}/attachments/{file}")
		recorded(t, auditor, "route=GET%20/api/approval/matters")
		for _, role := range []auth.Role{auth.Applicant, auth.Official, auth.Operator, auth.Security} {
			if _, _, err := answer(t, h.As("curious", role), "GET", "/api/house/accesses", nil); !errs.Is(err, errs.Forbidden) {
				t.Errorf("the record is shown to the role %s: %v", role, err)
			}
		}
	})
}

// recorded compares the record, which is read two a page, with what it should hold in any order.
func recorded(t *testing.T, auditor *client.Client, query string, want ...string) {
	t.Helper()
	var got []string
	for cursor, more := "", true; more; more = cursor != "" {
		var list struct {
			Items []house.AccessView
			Next  string
		}
		if err := auditor.Do(t.Context(), client.Request{Method: "GET", Path: "/api/house/accesses?limit=2&" + query + "&cursor=" + cursor}, &list); err != nil {
			t.Fatal(err)
		}
		for _, a := range list.Items {
			got = append(got, a.Decision+" "+a.Route)
			if a.Grade != "L3" || a.At == 0 {
				t.Errorf("recorded: %+v", a)
			}
		}
		cursor = list.Next
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("%s: %q; want %q", query, got, want)
	}
}

// careless is a service that leaves out one grade or another.
func careless(event qiong.Event, register func(h *qiong.Host)) *qiong.Service {
	return &qiong.Service{Name: "careless", Doc: lang.T("粗心", "careless"), Needs: qiong.DB, Events: []qiong.Event{event},
		New: func(_ context.Context, h *qiong.Host, _ any) (qiong.Runner, error) { register(h); return &book{h}, nil }}
}

func TestAHouseWithoutGradesDoesNotOpen(t *testing.T) {
	nothing := func(context.Context, *sqldb.Tx, outbox.Message) error { return nil }
	op := httpapi.Operation{Method: "GET", Path: "/api/careless/x", ID: "x", Summary: lang.T("甲", "x")}
	for what, tt := range map[string]struct {
		event    qiong.Event
		register func(h *qiong.Host)
		want     string
	}{
		"a field": {qiong.Event{Type: "e", Grade: "L1"}, func(h *qiong.Host) {
			httpapi.Register(h.API, op, func(context.Context, *struct{}) (*struct{ Body struct{ Phone string } }, error) { return nil, nil })
		}, "Phone (no grade)"},
		"a route": {qiong.Event{Type: "e", Grade: "L1"}, func(h *qiong.Host) {
			httpapi.Handle(h.API, op, func(http.ResponseWriter, *http.Request) error { return nil })
		}, "GET /api/careless/x: the route has no grade"},
		"an event": {qiong.Event{Type: "e"}, func(*qiong.Host) {}, "an event has no grade"},
		"a consumer": {qiong.Event{Type: "e", Grade: "L3"}, func(h *qiong.Host) { h.On("c", "e", false, nothing) },
			"careless.c is cleared for L2, and the event e is of grade L3"},
	} {
		services := []*qiong.Service{careless(tt.event, tt.register)}
		sections := house.Sections(services)
		fs := pflag.NewFlagSet("test", pflag.ContinueOnError)
		if err := config.BindFlags(fs, sections, func(_, en string) string { return en }); err != nil {
			t.Fatal(err)
		}
		if err := fs.Set("house.data", t.TempDir()); err != nil {
			t.Fatal(err)
		}
		cfg, err := config.Load(sections, config.Options{Flags: fs})
		if err != nil {
			t.Fatal(err)
		}
		tel, err := telemetry.Setup(telemetry.Options{Writer: io.Discard})
		if err != nil {
			t.Fatal(err)
		}
		h, err := house.Open(t.Context(), services, cfg, house.Options{Telemetry: tel})
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v; want %s", what, err, tt.want)
		}
		if err == nil {
			_ = h.Close() // it should not have opened
		}
	}
}

// An event whose data turn out graver than declared does not reach who is cleared for the declared grade alone.
func TestAGraveMessageBecomesADeadLetter(t *testing.T) {
	var host *qiong.Host
	handled := make(chan string, 2)
	s := careless(qiong.Event{Type: "e", Grade: "L1"}, func(h *qiong.Host) {
		host = h
		h.Subscribe(qiong.Subscription{Consumer: "careless.c", Event: "e", Clearance: label.L1, Handle: func(_ context.Context, _ *sqldb.Tx, m outbox.Message) error {
			handled <- m.Key
			return nil
		}})
	})
	qiongtest.Start(t, qiongtest.Options{Services: []*qiong.Service{s}})
	for key, grade := range map[string]string{"harmless": "L1", "grave": "L3"} {
		err := host.DB.Write(t.Context(), sqldb.Durable, func(tx *sqldb.Tx) error {
			return host.Box.Publish(t.Context(), tx, outbox.Event{Type: "e", Key: key, Grade: grade, Data: key})
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	tick, deadline := time.NewTicker(5*time.Millisecond), time.After(30*time.Second)
	defer tick.Stop()
	for {
		dead, err := host.Box.ListDead(t.Context(), 0, 10)
		if err != nil {
			t.Fatal(err)
		}
		if len(dead) == 1 {
			if dead[0].Key != "grave" || !strings.Contains(dead[0].Reason, "cleared for L1") {
				t.Errorf("dead: %+v", dead)
			}
			break
		}
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatal("it never became a dead letter")
		}
	}
	if key := <-handled; key != "harmless" || len(handled) > 0 {
		t.Errorf("%s was handled, and %d more", key, len(handled))
	}
}

// command runs a command line of this house's program.
func command(t *testing.T, env []string, args ...string) (code int, out string) {
	t.Helper()
	var b strings.Builder
	code = house.Execute(t.Context(), all(), []*qiong.Tool{labeltool.Tool}, &qiong.Console{In: strings.NewReader(""), Out: &b, Err: &b}, append([]string{"--lang", "en"}, args...), env)
	return code, b.String()
}

func TestTheCommandsOfGrades(t *testing.T) {
	h := qiongtest.Start(t, qiongtest.Options{Services: all()})
	if code, out := command(t, nil, "label", "scan", h.URL); code != 0 {
		t.Errorf("scanning the API ended with %d: %s", code, out)
	}
	code, out := command(t, nil, "label", "report", h.URL, "--format", "csv")
	if code != 0 || !strings.Contains(out, ",POST /api/approval/cases,request,form,") || strings.Contains(out, "ungraded") {
		t.Errorf("the table of assets: %d\n%s", code, out)
	}
	if _, _, err := answer(t, h.As("security", auth.Security), "POST", "/api/house/tokens", map[string]any{"id": "x", "name": "x", "roles": []string{"applicant"}}); err != nil {
		t.Fatal(err)
	}
	args := []string{"label", "accesses", "--url", h.URL, "--token", h.As("auditor", auth.Auditor).Token}
	if code, out := command(t, nil, args...); code != 0 || !strings.Contains(out, "security\tpassed\tL4\tL4\tPOST /api/house/tokens\n") {
		t.Errorf("accesses: %d\n%s", code, out)
	}
	if code, out := command(t, nil, append(args, "nobody")...); code != 0 || out != "" {
		t.Errorf("accesses of nobody: %d\n%s", code, out)
	}
}
