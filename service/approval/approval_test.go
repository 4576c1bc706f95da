package approval_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/qiongdev/qiong"
	"github.com/qiongdev/qiong/examples"
	"github.com/qiongdev/qiong/house/qiongtest"
	"github.com/qiongdev/qiong/kit/auth"
	"github.com/qiongdev/qiong/kit/client"
	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/service/approval"
	"github.com/qiongdev/qiong/service/sandbox"
	"github.com/qiongdev/qiong/tool/apply"
)

var services = []*qiong.Service{sandbox.Service, approval.Service}

// quick is a house whose agencies answer without delay.
func quick(t *testing.T, database string) *qiongtest.House {
	return qiongtest.Start(t, qiongtest.Options{Services: services, Database: database, Set: map[string]string{"sandbox.speed": "0"}})
}

// body is the example application, submitted at once.
func body(t testing.TB) []byte {
	t.Helper()
	b, err := apply.WithSubmit(examples.OpenEnterprise)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func submit(t testing.TB, c *client.Client, key string) *apply.Case {
	t.Helper()
	made, err := apply.Submit(context.Background(), c, body(t), key)
	if err != nil {
		t.Fatal(err)
	}
	return made
}

func follow(t testing.TB, c *client.Client, id string) *apply.Case {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	last, err := apply.Follow(ctx, c, id, func(*apply.Case) {})
	if err != nil {
		t.Fatal(err)
	}
	return last
}

// effects asks the sandbox what really happened.
func effects(t testing.TB, h *qiongtest.House) (summary struct{ Done, Undone, Doubles int }) {
	t.Helper()
	operator := h.As("operator", auth.Operator)
	if err := operator.Do(context.Background(), client.Request{Method: "GET", Path: "/api/sandbox/effects/summary"}, &summary); err != nil {
		t.Fatal(err)
	}
	return summary
}

// eventually polls for what no stream tells of.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	tick, deadline := time.NewTicker(10*time.Millisecond), time.After(30*time.Second)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("never: %s", what)
		}
	}
}

func TestACaseIsDecided(t *testing.T) {
	qiongtest.Databases(t, func(t *testing.T, database string) {
		h := quick(t, database)
		alice, bob := h.As("alice", auth.Applicant), h.As("bob", auth.Applicant)
		made := submit(t, alice, "k1")
		if made.Status != "processing" || made.Subject != "海口𠮷䶮数字科技有限公司（样例）" {
			t.Errorf("submitted: %+v", made)
		}
		last := follow(t, alice, made.ID)
		if last.Status != "decided" || len(last.Steps) != 5 {
			t.Fatalf("ended: %+v", last)
		}
		for _, s := range last.Steps {
			if s.Status != "done" || !bytes.Contains(s.Issued, []byte(`"fake":true`)) {
				t.Errorf("step %s: %s %s", s.Name, s.Status, s.Issued)
			}
		}
		if got := effects(t, h); got.Done != 5 || got.Undone != 0 || got.Doubles != 0 {
			t.Errorf("effects: %+v", got)
		}
		get := func(c *client.Client, path string, out any) error {
			return c.Do(t.Context(), client.Request{Method: "GET", Path: path}, out)
		}
		if err := get(bob, "/api/approval/cases/"+made.ID, nil); !errs.Is(err, errs.NotFound) {
			t.Errorf("someone else's case: %v", err)
		}
		if err := get(h.As("window", auth.Official), "/api/approval/cases/"+made.ID, nil); err != nil {
			t.Errorf("an official: %v", err)
		}
		var whole struct {
			Form struct{ Enterprise struct{ Name string } }
		}
		if err := get(alice, "/api/approval/cases/"+made.ID, &whole); err != nil || whole.Form.Enterprise.Name != made.Subject {
			t.Errorf("the form comes back as %+v, %v", whole, err)
		}
		var notices struct {
			Items []struct{ Case, Kind, Text string }
		}
		eventually(t, "a notice", func() bool {
			if err := get(alice, "/api/approval/notices", &notices); err != nil {
				t.Fatal(err)
			}
			return len(notices.Items) == 1
		})
		if n := notices.Items[0]; n.Case != made.ID || n.Kind != approval.EventDecided {
			t.Errorf("notice: %+v", n)
		}
	})
}

func TestTheSameKeyIsOneSubmission(t *testing.T) {
	qiongtest.Databases(t, func(t *testing.T, database string) {
		h := quick(t, database)
		alice := h.As("alice", auth.Applicant)
		const n = 16
		ids := make(chan string, n)
		for range n {
			go func() {
				made, err := apply.Submit(context.Background(), alice, body(t), "same")
				if err != nil {
					t.Error(err)
					ids <- ""
					return
				}
				ids <- made.ID
			}()
		}
		first := <-ids
		for range n - 1 {
			if id := <-ids; id != first {
				t.Errorf("one key made the cases %s and %s", first, id)
			}
		}
		other := bytes.Replace(body(t), []byte(`"employees": 12`), []byte(`"employees": 13`), 1)
		if _, err := apply.Submit(t.Context(), alice, other, "same"); !errs.Is(err, errs.Conflict) || errs.As(err).Code != "idempotency.conflict" {
			t.Errorf("the key with another body: %v", err)
		}
		if made, err := apply.Submit(t.Context(), h.As("bob", auth.Applicant), body(t), "same"); err != nil || made.ID == first {
			t.Errorf("another person's same key: %+v, %v", made, err)
		}
		follow(t, alice, first)
	})
}

func TestDraftFormSubmit(t *testing.T) {
	qiongtest.Databases(t, func(t *testing.T, database string) {
		h := quick(t, database)
		alice := h.As("alice", auth.Applicant)
		var draft apply.Case
		if err := alice.Do(t.Context(), client.Request{Method: "POST", Path: "/api/approval/cases",
			Body: map[string]any{"matter": "open-enterprise", "form": map[string]any{"enterprise": map[string]any{"name": "未填完"}}}}, &draft); err != nil {
			t.Fatal(err)
		}
		path := "/api/approval/cases/" + draft.ID
		if draft.Status != "draft" || draft.Subject != "未填完" {
			t.Errorf("draft: %+v", draft)
		}
		err := alice.Do(t.Context(), client.Request{Method: "POST", Path: path + "/submit"}, nil)
		if e := errs.As(err); e.Kind != errs.Invalid || len(e.Also) < 4 {
			t.Errorf("submit of an incomplete draft: %v %d", err, len(e.Also))
		}
		var app struct{ Form json.RawMessage }
		if err := json.Unmarshal(examples.OpenEnterprise, &app); err != nil {
			t.Fatal(err)
		}
		put := func(etag string) error {
			return alice.Do(t.Context(), client.Request{Method: "PUT", Path: path + "/form", Body: map[string]any{"form": app.Form}, Header: map[string]string{"If-Match": etag}}, nil)
		}
		if err := put(`"99"`); !errs.Is(err, errs.Precondition) {
			t.Errorf("a stale If-Match: %v", err)
		}
		if err := put(""); err != nil {
			t.Fatal(err)
		}
		for range 2 { // the second time by its key
			if err := alice.Do(t.Context(), client.Request{Method: "POST", Path: path + "/submit", Header: map[string]string{"Idempotency-Key": "s"}}, nil); err != nil {
				t.Fatal(err)
			}
		}
		if err := put(""); !errs.Is(err, errs.Conflict) {
			t.Errorf("changing what was submitted: %v", err)
		}
		if last := follow(t, alice, draft.ID); last.Status != "decided" {
			t.Errorf("ended: %+v", last)
		}
	})
}

func TestWithdraw(t *testing.T) {
	h := qiongtest.Start(t, qiongtest.Options{Services: services, Set: map[string]string{"sandbox.speed": "1"}})
	alice := h.As("alice", auth.Applicant)
	withdraw := func(c *client.Client, id string) error {
		return c.Do(t.Context(), client.Request{Method: "POST", Path: "/api/approval/cases/" + id + "/withdraw"}, nil)
	}
	t.Run("before the pivot", func(t *testing.T) {
		made := submit(t, alice, "w1")
		if err := withdraw(h.As("bob", auth.Applicant), made.ID); !errs.Is(err, errs.NotFound) {
			t.Errorf("by somebody else: %v", err)
		}
		if err := withdraw(alice, made.ID); err != nil {
			t.Fatal(err)
		}
		last := follow(t, alice, made.ID)
		got := effects(t, h)
		if last.Status == "withdrawn" && got.Done != 0 || last.Status == "decided" && got.Done != 5 {
			t.Errorf("ended %s with %+v", last.Status, got)
		}
	})
	t.Run("a draft", func(t *testing.T) {
		var draft apply.Case
		if err := alice.Do(t.Context(), client.Request{Method: "POST", Path: "/api/approval/cases", Body: map[string]any{"matter": "open-enterprise", "form": map[string]any{}}}, &draft); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if err := withdraw(alice, draft.ID); err != nil {
				t.Fatal(err)
			}
		}
	})
	t.Run("after the end", func(t *testing.T) {
		made := submit(t, alice, "w3")
		follow(t, alice, made.ID)
		if err := withdraw(alice, made.ID); !errs.Is(err, errs.Conflict) {
			t.Errorf("got %v", err)
		}
	})
}

func TestListFiltersAndPages(t *testing.T) {
	h := quick(t, "")
	alice := h.As("alice", auth.Applicant)
	var ids []string
	for i := range 7 {
		made := submit(t, alice, fmt.Sprint("l", i))
		follow(t, alice, made.ID)
		ids = append([]string{made.ID}, ids...)
	}
	submit(t, h.As("bob", auth.Applicant), "b")
	var got []string
	cursor := ""
	for {
		var page struct {
			Items []apply.Case
			Next  string
		}
		if err := alice.Do(t.Context(), client.Request{Method: "GET", Path: "/api/approval/cases?limit=3&status=decided&cursor=" + cursor}, &page); err != nil {
			t.Fatal(err)
		}
		for _, c := range page.Items {
			got = append(got, c.ID)
		}
		if cursor = page.Next; cursor == "" {
			break
		}
	}
	if strings.Join(got, " ") != strings.Join(ids, " ") {
		t.Errorf("listed %v, want %v", got, ids)
	}
	if err := alice.Do(t.Context(), client.Request{Method: "GET", Path: "/api/approval/cases?cursor=nonsense"}, nil); errs.As(err).Field != "cursor" {
		t.Errorf("a bad cursor: %v", err)
	}
	if err := alice.Do(t.Context(), client.Request{Method: "GET", Path: "/api/approval/cases?status=lost"}, nil); !errs.Is(err, errs.Invalid) {
		t.Errorf("a bad status: %v", err)
	}
}

// More under way than is allowed is answered with the time to come back, and what was accepted is decided.
func TestAdmission(t *testing.T) {
	h := qiongtest.Start(t, qiongtest.Options{Services: services, Set: map[string]string{"sandbox.speed": "0.2", "approval.backlog": "3"}})
	alice := h.As("alice", auth.Applicant)
	var accepted []*apply.Case
	var refused error
	for i := 0; refused == nil && i < 50; i++ {
		made, err := apply.Submit(t.Context(), alice, body(t), fmt.Sprint("a", i))
		if err != nil {
			refused = err
			break
		}
		accepted = append(accepted, made)
	}
	if e := errs.As(refused); e.Kind != errs.TooMany || e.Code != "saga.backlog" || e.RetryAfter <= 0 || len(accepted) < 3 {
		t.Fatalf("after %d submissions: %v, retry after %s", len(accepted), refused, e.RetryAfter)
	}
	for _, c := range accepted {
		if last := follow(t, alice, c.ID); last.Status != "decided" {
			t.Errorf("%s: %s", c.ID, last.Status)
		}
	}
	if made := submit(t, alice, "with-room-again"); made.Status != "processing" {
		t.Errorf("with room again: %+v", made)
	}
}

// A person is certified once it is clear who it is; where the certificate is refused, the check of the identity is
// withdrawn.
func TestCertifyPerson(t *testing.T) {
	h := quick(t, "")
	alice := h.As("alice", auth.Applicant)
	certify := func(key string, changes ...string) (*apply.Case, error) {
		t.Helper()
		b, err := apply.WithSubmit([]byte(strings.NewReplacer(changes...).Replace(string(examples.CertifyPerson))))
		if err != nil {
			t.Fatal(err)
		}
		made, err := apply.Submit(t.Context(), alice, b, key)
		if err != nil {
			return nil, err
		}
		return follow(t, alice, made.ID), nil
	}
	last, err := certify("resident")
	if err != nil || last.Status != "decided" {
		t.Fatalf("%+v, %v", last, err)
	}
	if got := effects(t, h); got.Done != 2 || got.Undone != 0 {
		t.Errorf("%+v", got)
	}
	const resident = `"resident",
      "id": "900000195001010004"`
	for name, doc := range map[string]struct {
		kind, id string
		fits     bool
	}{
		"a home permit": {"home-permit", "H12345678", true}, "no home permit": {"home-permit", "X12345678", false},
		"a Taiwan permit": {"taiwan-permit", "12345678", true}, "no Taiwan permit": {"taiwan-permit", "1234567A", false},
		"a foreigner's": {"foreigner-permit", "ABC123456789012", true}, "no foreigner's": {"foreigner-permit", "AB1234567890123", false},
		"no residence permit": {"residence-permit", "900000195001010004", false},
		"no identity card":    {"resident", "900000195001010005", false},
		"no such document":    {"letter", "900000195001010004", false},
	} {
		last, err := certify(doc.kind+doc.id, resident, fmt.Sprintf("%q, \"id\": %q", doc.kind, doc.id))
		if doc.fits != (err == nil && last.Status == "decided") {
			t.Errorf("%s: %+v, %v", name, last, err)
		}
		if err != nil && (!errs.Is(err, errs.Invalid) || strings.Contains(err.Error(), doc.id)) {
			t.Errorf("%s: %v", name, err)
		}
	}
	before := effects(t, h)
	if last, err = certify("mismatch", "样例·䶮𠮷", "样例核验不符"); err != nil || last.Status != "refused" {
		t.Errorf("%+v, %v", last, err)
	}
	if last, err = certify("unlisted", "港口理货员", "未列入目录的职业"); err != nil || last.Status != "refused" {
		t.Errorf("%+v, %v", last, err)
	}
	if after := effects(t, h); after.Done != before.Done || after.Undone != before.Undone+1 {
		t.Errorf("before %+v, after %+v", before, after)
	}
}
