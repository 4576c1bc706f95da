package evidence_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/qiongdev/qiong"
	"github.com/qiongdev/qiong/house"
	"github.com/qiongdev/qiong/house/qiongtest"
	"github.com/qiongdev/qiong/kit/auth"
	"github.com/qiongdev/qiong/kit/client"
	"github.com/qiongdev/qiong/kit/config"
	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/lang"
	"github.com/qiongdev/qiong/kit/merkle"
	"github.com/qiongdev/qiong/kit/receipt"
	"github.com/qiongdev/qiong/kit/sqldb"
	"github.com/qiongdev/qiong/kit/telemetry"
	"github.com/qiongdev/qiong/kit/tlog"
	"github.com/qiongdev/qiong/service/evidence"
)

func TestEveryActHasOneRecordAndItsReceipt(t *testing.T) {
	t.Parallel()
	qiongtest.Databases(t, func(t *testing.T, database string) {
		l := open(t, "", nil, func(o *qiongtest.Options) { o.Database = database })
		for i := range 30 {
			l.stamp(fmt.Sprintf("paper-%d", i%3), fmt.Sprintf("note %d", i))
		}
		trust, ids := l.trust(), map[string]bool{}
		for k := range 3 {
			key := fmt.Sprintf("paper-%d", k)
			for i, p := range l.complete(key, 10) {
				result := verify(t, trust, p.Receipt, p.Original)
				if result.State != receipt.Complete || !result.Original || p.Type != "desk.paper.stamped/1" || result.Record.ID != p.Record {
					t.Errorf("%+v", result)
				}
				if !bytes.HasSuffix(p.Original, fmt.Appendf(nil, `{"note":"note %d"}}`, 3*i+k)) {
					t.Errorf("the acts of %s are out of order: %s", key, p.Original)
				}
				ids[p.Record] = true
			}
		}
		if s := l.status(); len(ids) != 30 || s.Size != 30 || s.Waiting != 0 || s.Mode != "log" || s.Problem != "" {
			t.Errorf("%d ids, %+v", len(ids), s)
		}
	})
}

func TestARestartLosesAndDoublesNothing(t *testing.T) {
	t.Parallel()
	l := open(t, "", nil)
	for i := range 5 {
		l.stamp("paper", fmt.Sprint(i))
	}
	before := l.complete("paper", 5)
	root := l.status().Root
	l.Stop()
	l = open(t, l.data, nil)
	if s := l.status(); s.Size != 5 || s.Root != root {
		t.Errorf("%+v", s)
	}
	l.stamp("paper", "5")
	after := l.complete("paper", 6)
	for i, p := range before {
		if after[i].Record != p.Record || !bytes.Equal(after[i].Original, p.Original) {
			t.Errorf("act %d is another: %+v", i, after[i])
		}
		verify(t, l.trust(), p.Receipt, p.Original)
	}
	if s := l.status(); s.Size != 6 {
		t.Errorf("%+v", s)
	}
}

func TestTheOriginCannotChange(t *testing.T) {
	t.Parallel()
	l := open(t, "", nil)
	l.Stop()
	err := openErr(t, l.data, map[string]string{"evidence.origin": "another.example"})
	wantErr(t, err, errs.Conflict, "", "evidence.origin")
}

// openErr opens a house that cannot be.
func openErr(t *testing.T, data string, set map[string]string) error {
	t.Helper()
	h, err := openHouse(t.Context(), data, set)
	if err == nil {
		h.Close()
		t.Fatal("the house opened")
	}
	return err
}

func openHouse(ctx context.Context, data string, set map[string]string) (*house.House, error) {
	var env []string
	for k, v := range set {
		env = append(env, "QIONG_"+strings.ToUpper(strings.NewReplacer(".", "_", "-", "_").Replace(k))+"="+v)
	}
	all := services()
	cfg, err := config.Load(house.Sections(all), config.Options{Env: append(env, "QIONG_HOUSE_LISTEN=127.0.0.1:0", "QIONG_HOUSE_DATA="+data)})
	if err != nil {
		return nil, err
	}
	tel, err := telemetry.Setup(telemetry.Options{Writer: os.Stderr, LogLevel: "error"})
	if err != nil {
		return nil, err
	}
	return house.Open(ctx, all, cfg, house.Options{Telemetry: tel})
}

func TestErasureLeavesTheReceipt(t *testing.T) {
	t.Parallel()
	l := open(t, "", nil)
	l.stamp("paper", "secret")
	p := l.complete("paper", 1)[0]
	path := "/api/evidence/" + p.Record + "/original"
	if err := l.do(l.As("auditor", auth.Auditor), "DELETE", path, nil, nil); errs.KindOf(err) != errs.Forbidden {
		t.Errorf("an auditor: %v", err)
	}
	l.must("DELETE", path, nil, nil)
	gone := l.proofs("paper")[0]
	if len(gone.Original) != 0 || !gone.Complete {
		t.Errorf("%+v", gone)
	}
	verify(t, l.trust(), gone.Receipt, nil)
	verify(t, l.trust(), p.Receipt, p.Original) // what its holder kept still fits
	wantErr(t, l.do(l.operator, "DELETE", path, nil, nil), errs.NotFound, "evidence.record", "")
}

func TestOldOriginalsAreErased(t *testing.T) {
	t.Parallel()
	l := open(t, "", nil)
	l.stamp("paper", "secret")
	p := l.complete("paper", 1)[0]
	l.Stop()
	l = open(t, l.data, map[string]string{"evidence.originals": "1ms"})
	eventually(t, "the erasure", func() bool { return len(l.proofs("paper")[0].Original) == 0 })
	verify(t, l.trust(), l.proofs("paper")[0].Receipt, nil)
	verify(t, l.trust(), p.Receipt, p.Original)
}

func TestPutRecords(t *testing.T) {
	t.Parallel()
	l := open(t, "", nil)
	agency := l.As("customs", auth.Agency)
	r, original := newRecord("form-1")
	var out struct{ Accepted int }
	if err := l.do(agency, "POST", "/api/evidence/records", put(r), &out); err != nil || out.Accepted != 1 {
		t.Fatal(out, err)
	}
	v, err := l.record("form-1")
	if err != nil || v.State != "complete" || v.Index == nil {
		t.Fatalf("%+v, %v", v, err)
	}
	if result := verify(t, l.trust(), []byte(v.Receipt), original); result.Record.Type != "desk.form.filed/1" {
		t.Errorf("%+v", result)
	}
	if err := l.do(l.As("reader", auth.Auditor), "POST", "/api/evidence/records", put(r), nil); errs.KindOf(err) != errs.Forbidden {
		t.Errorf("an auditor: %v", err)
	}
}

func TestBadRecordsAreRefused(t *testing.T) {
	t.Parallel()
	l := open(t, "", nil)
	with := func(key string, value any) map[string]any {
		r, _ := newRecord("form-1")
		if r[key] = value; value == nil {
			delete(r, key)
		}
		return put(r)
	}
	good, _ := newRecord("form-0")
	second, _ := newRecord("form-2")
	second["id"] = "Form"
	tooMany := make([]map[string]any, 1001)
	for i := range tooMany {
		tooMany[i], _ = newRecord(fmt.Sprintf("form-%d", i))
	}
	acts := make([]string, 4097)
	for i := range acts {
		acts[i] = b64(merkle.LeafHash(fmt.Append(nil, i)))
	}
	batch := with("commitment", nil)
	batch["records"].([]map[string]any)[0]["acts"] = acts
	counted := with("commitment", nil)
	counted["records"].([]map[string]any)[0]["acts"] = acts[:3]
	counted["records"].([]map[string]any)[0]["batch"] = 4
	for name, c := range map[string]struct {
		body  any
		field string
	}{
		"no records":            {map[string]any{"records": []any{}}, "records"},
		"too many":              {put(tooMany...), "records"},
		"no id":                 {with("id", nil), "records[0].id"},
		"upper case":            {with("id", "Form-1"), "records[0].id"},
		"long id":               {with("id", strings.Repeat("a", 81)), "records[0].id"},
		"the second one":        {put(good, second), "records[1].id"},
		"no type":               {with("type", nil), "records[0].type"},
		"no version":            {with("type", "desk.form.filed"), "records[0].type"},
		"no commitment":         {with("commitment", nil), "records[0].commitment"},
		"short commitment":      {with("commitment", "AAAA"), "*"},
		"loose base64":          {with("commitment", strings.Repeat("A", 42)+"B="), "*"},
		"time":                  {with("time", "yesterday"), "*"},
		"early time":            {with("time", "1969-12-31T00:00:00+08:00"), "*"},
		"negative batch":        {with("batch", -1), "*"},
		"great batch":           {with("batch", uint64(1)<<63), "records[0].batch"},
		"facts without schema":  {with("facts", map[string]any{"a": 1}), "*"},
		"type of the ledger":    {with("type", "evidence.policy/1"), "*"},
		"unknown field":         {with("extra", 1), "*"},
		"acts and a commitment": {with("acts", acts[:2]), "records[0].acts"},
		"too many acts":         {batch, "records[0].acts"},
		"acts not as counted":   {counted, "records[0].batch"},
	} {
		t.Run(name, func(t *testing.T) {
			err := l.do(l.operator, "POST", "/api/evidence/records", c.body, nil)
			if k := errs.KindOf(err); k != errs.Invalid && k != errs.Forbidden {
				t.Errorf("got %v", err)
			} else if e := errs.As(err); c.field != "*" && e.Field != c.field && !strings.HasSuffix(e.Field, c.field) {
				t.Errorf("field %q, want %q", e.Field, c.field)
			}
		})
	}
	if s := l.status(); s.Size != 0 || s.Waiting != 0 {
		t.Errorf("something was accepted: %+v", s)
	}
}

func TestAnIdHasOneRecord(t *testing.T) {
	t.Parallel()
	qiongtest.Databases(t, func(t *testing.T, database string) {
		l := open(t, "", map[string]string{"house.database": database})
		duplicates(t, l)
		if s := l.status(); s.Size != 2 {
			t.Errorf("%+v", s)
		}
	})
}

// duplicates puts the same again, which is accepted, and something else under the same id, which is told.
func duplicates(t *testing.T, l *lab) {
	t.Helper()
	r, _ := newRecord("form-1")
	other := maps.Clone(r)
	other["commitment"] = b64(merkle.EmptyRoot())
	retyped := maps.Clone(r)
	retyped["type"] = "desk.form.filed/2"
	fresh, _ := newRecord("form-2")
	l.must("POST", "/api/evidence/records", put(r, r), nil)
	l.must("POST", "/api/evidence/records", put(r), nil)
	for _, c := range []map[string]any{other, retyped} {
		wantErr(t, l.do(l.operator, "POST", "/api/evidence/records", put(fresh, c), nil), errs.Conflict, evidence.CodeTaken, "records[1].id")
	}
	wantErr(t, l.do(l.operator, "POST", "/api/evidence/records", put(fresh, r, other), nil), errs.Conflict, evidence.CodeTaken, "records[2].id")
	if _, err := l.record("form-2"); errs.KindOf(err) != errs.NotFound {
		t.Errorf("a part of a refused request was accepted: %v", err)
	}
	l.must("POST", "/api/evidence/records", put(fresh, r), nil)
}

// Of two that bring the same id at once, with different commitments, one is told.
func TestOneOfTwoAtOnceIsTold(t *testing.T) {
	t.Parallel()
	l := open(t, "", nil)
	for round := range 20 {
		const n = 4
		answers := make([]error, n)
		var wait sync.WaitGroup
		for i := range n {
			wait.Go(func() {
				r, _ := newRecord(fmt.Sprintf("form-%d", round))
				r["commitment"] = b64(merkle.LeafHash([]byte{byte(i)}))
				answers[i] = l.do(l.operator, "POST", "/api/evidence/records", put(r), nil)
			})
		}
		wait.Wait()
		accepted := 0
		for _, err := range answers {
			if err == nil {
				accepted++
			} else {
				wantErr(t, err, errs.Conflict, evidence.CodeTaken, "records[0].id")
			}
		}
		if accepted != 1 {
			t.Fatalf("round %d: %d were accepted", round, accepted)
		}
	}
}

func TestBatchesHaveReceiptsOfTwoLevels(t *testing.T) {
	t.Parallel()
	l := open(t, "", nil)
	for _, n := range []int{1, 2, 7, 300, 4096} {
		originals, acts := make([][]byte, n), make([]string, n)
		for i := range n {
			o := &receipt.Original{Data: fmt.Appendf(nil, "booking %d", i)}
			originals[i], acts[i] = o.Marshal(), b64(o.Commitment())
		}
		id := fmt.Sprintf("batch-%d", n)
		r := map[string]any{"id": id, "type": "booking.batch.sealed/1", "acts": acts}
		l.must("POST", "/api/evidence/records", put(r), nil)
		l.must("POST", "/api/evidence/records", put(r), nil)
		trust := l.trust()
		for _, i := range []int{0, n / 2, n - 1} {
			code, text := l.anon("GET", fmt.Sprintf("/api/evidence/%s/acts/%d/receipt", id, i), nil)
			if code != 200 {
				t.Fatal(code, text)
			}
			result := verify(t, trust, []byte(text), originals[i])
			if result.Act == nil || result.Act.Index != uint64(i) || result.Record.Batch != uint64(n) || !result.Original {
				t.Errorf("%+v", result)
			}
			parsed, err := receipt.Parse([]byte(text))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := receipt.Verify(parsed, trust, originals[(i+1)%n]); n > 1 && err == nil {
				t.Error("the receipt fits another act's original")
			}
		}
		if code, _ := l.anon("GET", fmt.Sprintf("/api/evidence/%s/acts/%d/receipt", id, n), nil); code != http.StatusNotFound {
			t.Errorf("beyond the last act: %d", code)
		}
	}
	l.Stop()
	l = open(t, l.data, nil)
	if code, text := l.anon("GET", "/api/evidence/batch-7/acts/3/receipt", nil); code != 200 {
		t.Errorf("after a restart: %d %s", code, text)
	}
	single, _ := newRecord("form-1")
	l.must("POST", "/api/evidence/records", put(single), nil)
	for path, want := range map[string]int{"form-1/acts/0": 404, "nobody/acts/0": 404, "batch-7/acts/x": 400, "batch-7/acts/-1": 400} {
		if code, _ := l.anon("GET", "/api/evidence/"+path+"/receipt", nil); code != want {
			t.Errorf("%s: %d, want %d", path, code, want)
		}
	}
}

func TestRecordsAreListedByPages(t *testing.T) {
	t.Parallel()
	l := open(t, "", nil)
	for i := range 25 {
		l.stamp("paper", fmt.Sprint(i))
	}
	l.complete("paper", 25)
	type page struct {
		Items []evidence.RecordView
		Next  string
	}
	var ids []string
	for cursor := ""; ; {
		var p page
		l.must("GET", "/api/evidence/records?limit=10&cursor="+cursor, nil, &p)
		for _, r := range p.Items {
			ids = append(ids, r.ID)
		}
		if cursor = p.Next; cursor == "" {
			break
		}
		if len(p.Items) != 10 {
			t.Errorf("a page of %d", len(p.Items))
		}
	}
	own := l.proofs("paper")
	slices.Reverse(own)
	for i, p := range own {
		if len(ids) != 25 || ids[i] != p.Record {
			t.Fatalf("record %d of %d is not %s", i, len(ids), p.Record)
		}
	}
	err := l.do(l.operator, "GET", "/api/evidence/records?cursor=x", nil, nil)
	wantErr(t, err, errs.Invalid, "", "cursor")
}

func TestWhatAnyoneMayRead(t *testing.T) {
	t.Parallel()
	l := open(t, "", nil)
	l.stamp("paper", "secret")
	id := l.complete("paper", 1)[0].Record
	for path, want := range map[string]int{
		"/api/evidence/status": 200, "/api/evidence/" + id: 200, "/api/evidence/" + id + "/receipt": 200, "/evidence/trust.pem": 200,
		"/evidence/log/checkpoint": 200, "/evidence/log/tile/entries/000.p/1": 200, "/evidence/verify": 200,
		"/api/evidence/nobody": 404, "/api/evidence/nobody/receipt": 404,
		"/api/evidence/records": 401, "/api/evidence/anchorings": 401,
	} {
		if code, text := l.anon("GET", path, nil); code != want || strings.Contains(text, "secret") {
			t.Errorf("%s: %d, want %d: %s", path, code, want, text)
		}
	}
	if code, _ := l.anon("DELETE", "/api/evidence/"+id+"/original", nil); code != 401 {
		t.Errorf("erasing without a token: %d", code)
	}
	if code, _ := l.anon("POST", "/api/evidence/records", strings.NewReader("{}")); code != 401 {
		t.Errorf("putting without a token: %d", code)
	}
}

func TestTheStaticLogIsReadByAMirror(t *testing.T) {
	t.Parallel()
	l := open(t, "", nil)
	var want []string
	for i := range 300 {
		r, _ := newRecord(fmt.Sprintf("form-%d", i))
		want = append(want, r["id"].(string))
		if i%100 == 99 {
			var records []map[string]any
			for _, id := range want[i-99:] {
				r, _ := newRecord(id)
				records = append(records, r)
			}
			l.must("POST", "/api/evidence/records", put(records...), nil)
		}
	}
	c, err := tlog.NewClient(l.URL+"/evidence/log", nil)
	if err != nil {
		t.Fatal(err)
	}
	m := tlog.NewMirror(c, l.trust(), "qiong-local", tlog.Seen{})
	var got []string
	for {
		step, err := m.Next(t.Context(), 0)
		if err != nil {
			t.Fatal(err)
		}
		if step == nil {
			break
		}
		for _, e := range step.Entries {
			r, err := receipt.ParseRecord(e)
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, r.ID)
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("%d entries, want %d", len(got), len(want))
	}
}

// A crowded table refuses other systems; acts of the house still come in.
func TestTheBacklogIsBounded(t *testing.T) {
	t.Parallel()
	l := open(t, "", map[string]string{"evidence.nodes": "http://127.0.0.1:1", "evidence.trust": someTrust(t), "evidence.backlog": "3"})
	one, _ := newRecord("form-1")
	two, _ := newRecord("form-2")
	three, _ := newRecord("form-3")
	four, _ := newRecord("form-4")
	l.must("POST", "/api/evidence/records", put(one, two), nil)
	err := l.do(l.operator, "POST", "/api/evidence/records", put(three, four), nil)
	wantErr(t, err, errs.TooMany, "", "")
	if errs.As(err).RetryAfter == 0 {
		t.Error("it does not say when to come back")
	}
	l.must("POST", "/api/evidence/records", put(three), nil)
	l.stamp("paper", "note")
	eventually(t, "four that wait", func() bool { return l.status().Waiting == 4 })
	code, _ := l.anon("GET", "/api/evidence/form-1/receipt", nil)
	if v, err := l.record("form-1"); err != nil || v.State != "waiting" || v.Receipt != "" || code != http.StatusServiceUnavailable {
		t.Errorf("%+v, %v, %d", v, err, code)
	}
}

func TestAChangedDatabaseIsFound(t *testing.T) {
	t.Parallel()
	l := open(t, "", nil)
	r, _ := newRecord("form-1")
	l.must("POST", "/api/evidence/records", put(r), nil)
	l.Stop()
	rewrite(t, l.data, func(tx *sqldb.Tx) error {
		_, err := tx.Exec(t.Context(), "UPDATE log_checkpoint SET root = $1", make([]byte, 32))
		return err
	})
	if err := openErr(t, l.data, nil); errs.As(err).Code != tlog.CodeBroken {
		t.Errorf("got %v", err)
	}
}

const asHouse = "QIONG_TEST_EVIDENCE_HOUSE"

// houseProcess is a house in a process of its own, to be killed.
func houseProcess() {
	ctx := context.Background()
	h, err := openHouse(ctx, os.Getenv(asHouse), nil)
	if err != nil {
		fmt.Println("error", err)
		os.Exit(1)
	}
	token, err := h.Issue(ctx, auth.Principal{ID: "operator", Name: "operator", Roles: []auth.Role{auth.Operator}}, time.Hour, false, "test")
	if err != nil {
		fmt.Println("error", err)
		os.Exit(1)
	}
	done := make(chan error, 1)
	go func() { done <- h.Run(ctx) }()
	fmt.Println(h.URL(), token)
	fmt.Println("error", <-done)
}

// noteOf returns the note in the original of a stamped paper.
func noteOf(original []byte) string {
	return string(original[bytes.LastIndexByte(original, ':')+2 : len(original)-3])
}

// Killed at any moment, a house forgets no act and records none twice.
func TestKillsLoseAndDoubleNothing(t *testing.T) {
	t.Parallel()
	data := t.TempDir() + "/data"
	var accepted, ids []string
	records := 0
	for round := range 6 {
		cmd := exec.Command(os.Args[0], "-test.run=^$")
		cmd.Env = append(os.Environ(), asHouse+"="+data)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		cmd.Stderr = os.Stderr
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		var url, token string
		if _, err := fmt.Fscanln(out, &url, &token); err != nil || url == "error" {
			t.Fatal(url, token, err)
		}
		c := &client.Client{URL: url, Token: token, Lang: lang.EN}
		var wait sync.WaitGroup
		var mu sync.Mutex
		for w := range 3 {
			wait.Go(func() {
				for i := range 1000 {
					note := fmt.Sprintf("%d-%d-%d", round, w, i)
					if c.Do(t.Context(), client.Request{Method: "POST", Path: "/api/desk/papers", Body: map[string]string{"key": "paper", "note": note}}, nil) != nil {
						return
					}
					id := "form-" + note
					r, _ := newRecord(id)
					err := c.Do(t.Context(), client.Request{Method: "POST", Path: "/api/evidence/records", Body: put(r)}, nil)
					mu.Lock()
					if accepted = append(accepted, note); err == nil {
						ids = append(ids, id)
					}
					enough := len(accepted) >= 25*(round+1)
					mu.Unlock()
					if err != nil {
						return
					}
					if enough {
						_ = cmd.Process.Kill()
						return
					}
				}
			})
		}
		wait.Wait()
		var exit *exec.ExitError
		if err := cmd.Wait(); !errors.As(err, &exit) {
			t.Fatal(err)
		}
	}
	l := open(t, data, nil)
	var proofs []qiong.Proof
	eventually(t, "a complete receipt of every act", func() bool {
		proofs = l.proofs("paper")
		there := map[string]bool{}
		for _, p := range proofs {
			there[noteOf(p.Original)] = true
			if !p.Complete {
				return false
			}
		}
		return !slices.ContainsFunc(accepted, func(note string) bool { return !there[note] })
	})
	var all []string
	for _, p := range proofs {
		verify(t, l.trust(), p.Receipt, p.Original)
		all = append(all, noteOf(p.Original))
	}
	records = len(all)
	slices.Sort(all)
	if n := len(slices.Compact(slices.Clone(all))); n != records {
		t.Errorf("%d acts are there twice", records-n)
	}
	for _, note := range accepted {
		if _, found := slices.BinarySearch(all, note); !found {
			t.Errorf("act %s was accepted and is lost", note)
		}
	}
	for _, id := range ids {
		if v, err := l.record(id); err != nil || v.State != "complete" {
			t.Errorf("record %s was accepted: %+v, %v", id, v, err)
		}
	}
}
