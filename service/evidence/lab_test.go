package evidence_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/qiongdev/qiong"
	"github.com/qiongdev/qiong/house/qiongtest"
	"github.com/qiongdev/qiong/kit/auth"
	"github.com/qiongdev/qiong/kit/client"
	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/httpapi"
	"github.com/qiongdev/qiong/kit/lang"
	"github.com/qiongdev/qiong/kit/merkle"
	"github.com/qiongdev/qiong/kit/outbox"
	"github.com/qiongdev/qiong/kit/receipt"
	"github.com/qiongdev/qiong/kit/sqldb"
	"github.com/qiongdev/qiong/service/evidence"
)

// The desk is a service that does nothing but publish acts.

type desk struct{ host *qiong.Host }

type stamp struct {
	Body struct {
		Key  string `json:"key" grade:"L1"`
		Note string `json:"note" grade:"L1"`
	}
}

func deskService() *qiong.Service {
	return &qiong.Service{
		Name: "desk", Doc: lang.T("收发台", "a desk"), Needs: qiong.DB,
		Events: []qiong.Event{{Type: "desk.paper.stamped", Version: 1, Grade: "L1", Act: true, Doc: lang.T("已盖章", "stamped")}},
		New: func(_ context.Context, h *qiong.Host, _ any) (qiong.Runner, error) {
			d := &desk{h}
			httpapi.Register(h.API, httpapi.Operation{Method: "POST", Path: "/api/desk/papers", ID: "stamp-paper", Tag: "desk", Summary: lang.T("盖章", "Stamp"), Roles: []auth.Role{auth.Operator}}, d.stamp)
			httpapi.Handle(h.API, httpapi.Operation{Method: "GET", Path: "/api/desk/papers/{key}", ID: "get-proofs", Tag: "desk", Summary: lang.T("证明", "Proofs"), Roles: []auth.Role{auth.Operator}, Grade: 1, Produces: "application/json"}, d.proofs)
			return d, nil
		},
	}
}

func (d *desk) Run(ctx context.Context) error { <-ctx.Done(); return nil }

func (d *desk) stamp(ctx context.Context, in *stamp) (*struct{}, error) {
	return nil, d.host.DB.Write(ctx, sqldb.Durable, func(tx *sqldb.Tx) error {
		return d.host.Box.Publish(ctx, tx, outbox.Event{Type: "desk.paper.stamped", Version: 1, Grade: "L1", Act: true, Key: in.Body.Key, Data: map[string]string{"note": in.Body.Note}})
	})
}

func (d *desk) proofs(w http.ResponseWriter, r *http.Request) error {
	all, err := d.host.Proofs(r.Context(), "desk", r.PathValue("key"))
	if err != nil {
		return err
	}
	return json.NewEncoder(w).Encode(all)
}

// lab is a house with a desk and evidence.
type lab struct {
	t testing.TB
	*qiongtest.House
	operator *client.Client
	data     string
}

func services() []*qiong.Service { return []*qiong.Service{deskService(), evidence.New()} }

func open(t testing.TB, data string, set map[string]string, o ...func(*qiongtest.Options)) *lab {
	t.Helper()
	if data == "" {
		data = filepath.Join(t.TempDir(), "data")
	}
	options := qiongtest.Options{Services: services(), Data: data, Set: set}
	for _, f := range o {
		f(&options)
	}
	h := qiongtest.Start(t, options)
	return &lab{t, h, h.As("operator", auth.Operator), data}
}

func (l *lab) do(c *client.Client, method, path string, in, out any) error {
	return c.Do(l.t.Context(), client.Request{Method: method, Path: path, Body: in}, out)
}

func (l *lab) must(method, path string, in, out any) {
	l.t.Helper()
	if err := l.do(l.operator, method, path, in, out); err != nil {
		l.t.Fatalf("%s %s: %v", method, path, err)
	}
}

func (l *lab) stamp(key, note string) {
	l.t.Helper()
	l.must("POST", "/api/desk/papers", map[string]string{"key": key, "note": note}, nil)
}

func (l *lab) proofs(key string) (all []qiong.Proof) {
	l.t.Helper()
	l.must("GET", "/api/desk/papers/"+key, nil, &all)
	return all
}

func (l *lab) status() (v evidence.StatusView) {
	l.t.Helper()
	l.must("GET", "/api/evidence/status", nil, &v)
	return v
}

func (l *lab) record(id string) (v evidence.RecordView, err error) {
	err = l.do(l.operator, "GET", "/api/evidence/"+id, nil, &v)
	return v, err
}

// anon asks without a token.
func (l *lab) anon(method, path string, body io.Reader) (int, string) {
	l.t.Helper()
	req, err := http.NewRequestWithContext(l.t.Context(), method, l.URL+path, body)
	if err != nil {
		l.t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		l.t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		l.t.Fatal(err)
	}
	return res.StatusCode, string(text)
}

func (l *lab) trust() *receipt.Trust {
	l.t.Helper()
	code, text := l.anon("GET", "/evidence/trust.pem", nil)
	trust, err := receipt.ParseTrust([]byte(text))
	if code != 200 || err != nil {
		l.t.Fatal(code, err)
	}
	return trust
}

// eventually asks until ok, for as long as a slow machine may need.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("never came: %s", what)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// complete waits until every act of a key has its full receipt.
func (l *lab) complete(key string, n int) (all []qiong.Proof) {
	l.t.Helper()
	eventually(l.t, fmt.Sprintf("%d complete receipts of %s", n, key), func() bool {
		all = l.proofs(key)
		for _, p := range all {
			if !p.Complete {
				return false
			}
		}
		return len(all) == n
	})
	return all
}

// verify holds a receipt to the keys and its original, as its holder would.
func verify(t testing.TB, trust *receipt.Trust, file, original []byte) *receipt.Result {
	t.Helper()
	r, err := receipt.Parse(file)
	if err != nil {
		t.Fatal(err)
	}
	result, err := receipt.Verify(r, trust, original)
	if err != nil {
		t.Fatal(err)
	}
	return result
}

func wantErr(t testing.TB, err error, kind errs.Kind, code, field string) {
	t.Helper()
	var e *errs.Error
	if !errors.As(err, &e) || e.Kind != kind || code != "" && e.Code != code || field != "*" && e.Field != field {
		t.Errorf("got %+v, want kind %v, code %q, field %q", err, kind, code, field)
	}
}

// newRecord is a record as a producer puts it.
func newRecord(id string) (map[string]any, []byte) {
	o := &receipt.Original{Data: []byte("data of " + id)}
	copy(o.Salt[:], id)
	return map[string]any{"id": id, "type": "desk.form.filed/1", "commitment": b64(o.Commitment())}, o.Marshal()
}

func b64(h merkle.Hash) string { return base64.StdEncoding.EncodeToString(h[:]) }

func put(records ...map[string]any) map[string]any { return map[string]any{"records": records} }

func TestMain(m *testing.M) {
	if os.Getenv(asHouse) != "" {
		houseProcess()
		return
	}
	os.Exit(m.Run())
}

func contains(t testing.TB, text string, parts ...string) {
	t.Helper()
	for _, p := range parts {
		if !strings.Contains(text, p) {
			t.Errorf("%q is not in:\n%s", p, text)
		}
	}
}
