package approval_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/qiongdev/qiong/house/qiongtest"
	"github.com/qiongdev/qiong/kit/auth"
	"github.com/qiongdev/qiong/kit/client"
	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/gm"
	"github.com/qiongdev/qiong/kit/httpsig"
	"github.com/qiongdev/qiong/tool/apply"
)

// send posts raw bytes in a language and returns the status and the answer.
func send(t *testing.T, c *client.Client, method, path, lang string, body io.Reader, header map[string]string) (int, http.Header, []byte) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, c.URL+path, body)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+c.Token)
	req.Header.Set("Accept-Language", lang)
	req.Header.Set("Content-Type", "application/json")
	for k, v := range header {
		req.Header.Set(k, v)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, resp.Header, answer
}

type problem struct {
	Status              int
	Kind, Code, Field   string
	Detail, Hint, Title string
	TraceID             string
	Offset              *int64
	Errors              []struct{ Field, Code, Detail string }
}

func count(t *testing.T, c *client.Client) int {
	t.Helper()
	var page struct{ Items []apply.Case }
	if err := c.Do(context.Background(), client.Request{Method: "GET", Path: "/api/approval/cases?limit=200"}, &page); err != nil {
		t.Fatal(err)
	}
	return len(page.Items)
}

// Every bad submission is refused with its place, in both languages, without repeating a value, and leaves nothing.
func TestBadSubmissions(t *testing.T) {
	h := quick(t, "")
	alice := h.As("alice", auth.Applicant)
	good := string(body(t))
	change := func(old, new string) string {
		if !strings.Contains(good, old) {
			t.Fatalf("the example has no %q", old)
		}
		return strings.Replace(good, old, new, 1)
	}
	const marker = "TELLTALE"
	for name, c := range map[string]struct {
		body   string
		status int
		code   string
		field  string
		offset bool
	}{
		"truncated":              {good[:len(good)/2], 400, "json.truncated", "", true},
		"not JSON":               {"<xml>" + marker + "</xml>", 400, "", "", true},
		"empty":                  {"", 400, "", "", false},
		"duplicate key":          {change(`"employees": 12`, `"employees": 12, "employees": 13`), 400, "json.duplicate-key", "", true},
		"case-variant key":       {change(`"matter":`, `"Matter": "x", "matter":`), 400, "", "", true},
		"unknown field":          {change(`"matter":`, `"extra": "`+marker+`", "matter":`), 400, "json.unknown-field", "extra", true},
		"unknown field of form":  {change(`"employees": 12`, `"employees": 12, "`+marker+`": 13`), 400, "form.unknown", "form", false},
		"missing field":          {change(`"employees": 12`, `"employees": null`), 400, "form.form", "form.employees", false},
		"missing legal":          {change(`"legal": {`, `"finance2": {`), 400, "", "", false},
		"wrong type":             {change(`"employees": 12`, `"employees": "`+marker+`"`), 400, "form.form", "form.employees", false},
		"id card checksum":       {change(`"id": "900000195001010004"`, `"id": "900000195001010005"`), 400, "id-card.check", "form.legal.id", false},
		"credit code checksum":   {change(`91900000Y9RPG000X3`, `91900000Y9RPG000X4`), 400, "credit-code.check", "form.shareholders[1].id", false},
		"phone":                  {change(`"13800000000"`, `"`+marker+`"`), 400, "phone.format", "form.legal.phone", false},
		"control character":      {change(`"样例·堃喆"`, "\"样例\x01"+marker+"\""), 400, "", "", true},
		"escaped control":        {change(`"样例·堃喆"`, `"样例\u0001`+marker+`"`), 400, "", "form.finance.name", false},
		"NUL":                    {change(`"样例·堃喆"`, `"样例\u0000`+marker+`"`), 400, "", "", true},
		"lone surrogate":         {change(`"样例·堃喆"`, `"样例\ud800`+marker+`"`), 400, "json.lone-surrogate", "", true},
		"private use":            {change(`"样例·堃喆"`, `"样例\ue000"`), 400, "", "form.finance.name", false},
		"bidi override":          {change(`"样例·堃喆"`, `"样例\u202e`+marker+`"`), 400, "", "form.finance.name", false},
		"invalid UTF-8":          {change(`"样例·堃喆"`, "\"样例\xff\""), 400, "json.invalid-utf8", "", true},
		"empty shareholders":     {strings.Replace(good, `"share": 60`, `"share": 0`, 1), 400, "form.form", "form.shareholders[0].share", false},
		"unknown matter":         {change(`"open-enterprise"`, `"`+marker+`"`), 404, "approval.no-matter", "matter", false},
		"no matter":              {change(`"matter": "open-enterprise",`, ""), 400, "", "matter", false},
		"matter of wrong type":   {change(`"open-enterprise"`, `["`+marker+`"]`), 400, "", "matter", false},
		"no form":                {`{"matter":"open-enterprise","submit":true}`, 400, "", "form", false},
		"form of wrong type":     {`{"matter":"open-enterprise","form":"` + marker + `"}`, 400, "", "form", false},
		"submit of wrong type":   {`{"matter":"open-enterprise","form":{},"submit":"` + marker + `"}`, 400, "", "submit", false},
		"null":                   {"null", 400, "", "", false},
		"an array":               {"[1]", 400, "", "", false},
		"trailing data":          {good + " {}", 400, "", "", true},
		"number beyond its kind": {change(`"capital": 5000000`, `"capital": 1e400`), 400, "", "", false},
	} {
		t.Run(name, func(t *testing.T) {
			details := map[string]string{}
			for _, lang := range []string{"zh", "en"} {
				status, header, answer := send(t, alice, "POST", "/api/approval/cases", lang, strings.NewReader(c.body), nil)
				var p problem
				if err := json.Unmarshal(answer, &p); err != nil || header.Get("Content-Type") != "application/problem+json" {
					t.Fatalf("no problem document: %d %s %s", status, header.Get("Content-Type"), answer)
				}
				if status != c.status || c.code != "" && p.Code != c.code || c.field != "" && p.Field != c.field || c.offset && p.Offset == nil {
					t.Errorf("%s: %d %s", lang, status, answer)
				}
				if bytes.Contains(answer, []byte(marker)) || bytes.Contains(answer, []byte("900000195001010005")) || bytes.Contains(answer, []byte("91900000Y9RPG000X4")) {
					t.Errorf("%s: the answer repeats what was submitted: %s", lang, answer)
				}
				if p.Detail == "" || p.TraceID == "" {
					t.Errorf("%s: no words or no trace: %s", lang, answer)
				}
				details[lang] = p.Detail
			}
			if details["zh"] == details["en"] {
				t.Errorf("both languages say %q", details["zh"])
			}
		})
	}
	if n := count(t, alice); n != 0 {
		t.Errorf("bad submissions left %d cases", n)
	}
}

// endless is a body that never ends.
type endless struct{ n atomic.Int64 }

func (e *endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = ' '
	}
	e.n.Add(int64(len(p)))
	return len(p), nil
}

func TestAHundredMegabytesAreRefusedEarly(t *testing.T) {
	h := quick(t, "")
	alice := h.As("alice", auth.Applicant)
	src := &endless{}
	req, err := http.NewRequestWithContext(t.Context(), "POST", h.URL+"/api/approval/cases", io.LimitReader(src, 100<<20))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+alice.Token)
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err == nil {
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusRequestEntityTooLarge {
			t.Errorf("status %d", resp.StatusCode)
		}
	} // or the house hung up while it was still being sent
	if n := src.n.Load(); n > 20<<20 {
		t.Errorf("%d bytes were taken before it was refused", n)
	}
}

func draft(t *testing.T, c *client.Client) string {
	t.Helper()
	var made apply.Case
	if err := c.Do(t.Context(), client.Request{Method: "POST", Path: "/api/approval/cases", Body: map[string]any{"matter": "open-enterprise", "form": map[string]any{}}}, &made); err != nil {
		t.Fatal(err)
	}
	return made.ID
}

func TestAttachments(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data")
	h := qiongtest.Start(t, qiongtest.Options{Services: services, Data: data, Set: map[string]string{"sandbox.speed": "0"}})
	alice := h.As("alice", auth.Applicant)
	id := draft(t, alice)
	path := func(name string) string {
		return "/api/approval/cases/" + id + "/attachments?name=" + url.QueryEscape(name)
	}
	pdf := []byte("%PDF-1.7\n" + strings.Repeat("章程 𠮷䶮 ", 20_000))
	sum := gm.SM3(pdf)
	digest := "sm3=:" + base64.StdEncoding.EncodeToString(sum[:]) + ":"
	upload := func(name, media, digest string, body []byte) (int, []byte) {
		status, _, answer := send(t, alice, "POST", path(name), "zh", bytes.NewReader(body), map[string]string{"Content-Type": media, "Content-Digest": digest})
		return status, answer
	}
	zip := append([]byte("PK\x03\x04"), bytes.Repeat([]byte{0}, 1<<20)...)
	for name, c := range map[string]struct {
		name, media, digest string
		body                []byte
		status              int
	}{
		"a path":              {"../../etc/passwd.pdf", "application/pdf", "", pdf, 400},
		"a Windows path":      {`C:\x.pdf`, "application/pdf", "", pdf, 400},
		"no name":             {"", "application/pdf", "", pdf, 400},
		"a hidden file":       {".htaccess", "application/pdf", "", pdf, 400},
		"a reversed name":     {"x\u202efdp.exe", "application/pdf", "", pdf, 400},
		"a NUL in the name":   {"x\x00.pdf", "application/pdf", "", pdf, 400},
		"wrong digest":        {"a.pdf", "application/pdf", "sm3=:" + base64.StdEncoding.EncodeToString(make([]byte, 32)) + ":", pdf, 400},
		"malformed digest":    {"a.pdf", "application/pdf", "md5=abc", pdf, 400},
		"a zip bomb":          {"a.zip", "application/zip", "", zip, 415},
		"a zip that says pdf": {"a.pdf", "application/pdf", "", zip, 415},
		"empty":               {"a.pdf", "application/pdf", "", nil, 415},
		"too large":           {"a.pdf", "application/pdf", "", append([]byte("%PDF-"), make([]byte, 21<<20)...), 413},
	} {
		t.Run(name, func(t *testing.T) {
			status, answer := upload(c.name, c.media, c.digest, c.body)
			var p problem
			if err := json.Unmarshal(answer, &p); err != nil || status != c.status || p.Detail == "" {
				t.Errorf("%d %s", status, answer)
			}
		})
	}
	if left, _ := filepath.Glob(filepath.Join(data, "blobs", "approval", "*")); len(left) != 0 {
		t.Errorf("refused uploads left %v", left)
	}
	var first, second struct{ ID, SM3 string }
	for _, into := range []any{&first, &second} {
		status, answer := upload("公司章程（䶮）.pdf", "application/pdf", digest, pdf)
		if err := json.Unmarshal(answer, into); err != nil || status != 201 {
			t.Fatalf("%d %s", status, answer)
		}
	}
	if first.ID != second.ID {
		t.Error("the same file was kept twice")
	}
	files, _ := filepath.Glob(filepath.Join(data, "blobs", "approval", "*"))
	if len(files) != 1 {
		t.Fatalf("files: %v", files)
	}
	if raw, err := os.ReadFile(files[0]); err != nil || bytes.Contains(raw, []byte("章程")) {
		t.Errorf("the file lies open on the disk (%v)", err)
	}
	status, header, back := send(t, alice, "GET", "/api/approval/cases/"+id+"/attachments/"+first.ID, "zh", nil, nil)
	if status != 200 || !bytes.Equal(back, pdf) || header.Get("Content-Digest") != digest || !strings.HasPrefix(header.Get("Content-Disposition"), "attachment;") {
		t.Errorf("download: %d, %d bytes, %v", status, len(back), header)
	}
	if status, _, _ := send(t, h.As("bob", auth.Applicant), "GET", "/api/approval/cases/"+id+"/attachments/"+first.ID, "zh", nil, nil); status != 404 {
		t.Errorf("someone else's file: %d", status)
	}
}

func TestAForgedCallbackChangesNothing(t *testing.T) {
	h := quick(t, "")
	alice := h.As("alice", auth.Applicant)
	id := draft(t, alice)
	forger, err := gm.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	call := func(body string, sign bool) int {
		req, err := http.NewRequestWithContext(t.Context(), "POST", h.URL+"/api/approval/callbacks/tax", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		if sign {
			if err := httpsig.SignRequest(req, []byte(body), forger, time.Now(), httpsig.NewNonce()); err != nil {
				t.Fatal(err)
			}
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		return resp.StatusCode
	}
	forged := fmt.Sprintf(`{"requestId":"%s.invoice","outcome":"done","output":{}}`, id)
	if status := call(forged, true); status != 401 {
		t.Errorf("signed by a stranger: %d", status)
	}
	if status := call(forged, false); status != 401 {
		t.Errorf("unsigned: %d", status)
	}
}

// movable is a clock that tests move.
type movable struct{ by atomic.Int64 }

func (m *movable) now() time.Time       { return time.Now().Add(time.Duration(m.by.Load())) }
func (m *movable) move(d time.Duration) { m.by.Add(int64(d)) }

func TestAnAgencyThatIsDownForAnHour(t *testing.T) {
	clock := &movable{}
	h := qiongtest.Start(t, qiongtest.Options{Services: services, Set: map[string]string{"sandbox.speed": "0"}, Clock: clock.now})
	alice, operator := h.As("alice", auth.Applicant), h.As("operator", auth.Operator)
	do := func(method, path string, in, out any) {
		t.Helper()
		if err := operator.Do(t.Context(), client.Request{Method: method, Path: path, Body: in}, out); err != nil {
			t.Fatal(err)
		}
	}
	do("PUT", "/api/sandbox/agencies/tax/faults", map[string]any{"kind": "down", "seconds": 3600}, nil)
	var cases []*apply.Case
	for i := range 3 {
		cases = append(cases, submit(t, alice, fmt.Sprint("d", i)))
	}
	parked := func() int {
		var page struct{ Items []struct{ Parked bool } }
		do("GET", "/api/approval/stuck", nil, &page)
		n := 0
		for _, s := range page.Items {
			if s.Parked {
				n++
			}
		}
		return n
	}
	eventually(t, "all are parked", func() bool { clock.move(time.Second); return parked() == len(cases) })
	clock.move(time.Hour)
	var answer struct{ Count int }
	do("POST", "/api/approval/retry", map[string]string{"agency": "tax"}, &answer)
	if answer.Count != len(cases) {
		t.Errorf("%d steps retried, want %d", answer.Count, len(cases))
	}
	for _, c := range cases {
		if last := follow(t, alice, c.ID); last.Status != "decided" {
			t.Errorf("%s: %s", c.ID, last.Status)
		}
	}
	if got := effects(t, h); got.Done != 15 || got.Doubles != 0 {
		t.Errorf("effects: %+v", got)
	}
	var notices struct{ Items []struct{ Kind string } }
	eventually(t, "notices of parking and decision", func() bool {
		if err := alice.Do(t.Context(), client.Request{Method: "GET", Path: "/api/approval/notices"}, &notices); err != nil {
			t.Fatal(err)
		}
		return len(notices.Items) == 2*len(cases)
	})
}

func TestAClockSteppedBackHoldsNothingUp(t *testing.T) {
	clock := &movable{}
	h := qiongtest.Start(t, qiongtest.Options{Services: services, Set: map[string]string{"sandbox.speed": "0.05"}, Clock: clock.now})
	alice := h.As("alice", auth.Applicant)
	before := submit(t, alice, "c1")
	clock.move(-3 * time.Hour)
	after := submit(t, alice, "c2")
	for _, c := range []*apply.Case{before, after} {
		if last := follow(t, alice, c.ID); last.Status != "decided" || last.Took() < 0 {
			t.Errorf("%s %s", last.Status, last.Took())
		}
	}
	if after.ID <= before.ID || after.Created < before.Created {
		t.Errorf("numbers or times went back: %s %s, %s %s", before.ID, before.Created, after.ID, after.Created)
	}
}

func TestAFullDisk(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=8m"); err != nil {
		t.Skipf("a small file system can't be mounted here: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	h := qiongtest.Start(t, qiongtest.Options{Services: services, Data: filepath.Join(dir, "data"), Set: map[string]string{"sandbox.speed": "0"}})
	defer h.Stop()
	alice := h.As("alice", auth.Applicant)
	junk := filepath.Join(dir, "junk")
	f, err := os.Create(junk)
	if err != nil {
		t.Fatal(err)
	}
	for err == nil {
		_, err = f.Write(make([]byte, 4096))
	}
	f.Close()
	var full error
	accepted := 0
	for i := 0; i < 500 && full == nil; i++ {
		if _, full = apply.Submit(t.Context(), alice, body(t), fmt.Sprint("f", i)); full == nil {
			accepted++
		}
	}
	if !errs.Is(full, errs.Full) {
		t.Errorf("a full disk gave %v", full)
	}
	if err := os.Remove(junk); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it goes on with room again", func() bool {
		_, err := apply.Submit(t.Context(), alice, body(t), "after")
		return err == nil
	})
	eventually(t, "all that was accepted is decided", func() bool {
		var page struct{ Items []apply.Case }
		if err := alice.Do(t.Context(), client.Request{Method: "GET", Path: "/api/approval/cases?status=decided&limit=200"}, &page); err != nil {
			t.Fatal(err)
		}
		return len(page.Items) == accepted+1
	})
}

func TestTheDatabaseGoneAndBack(t *testing.T) {
	qiongtest.Databases(t, func(t *testing.T, database string) {
		if database == "" {
			return // a file does not go away; a full disk is tested above
		}
		h := quick(t, database)
		alice := h.As("alice", auth.Applicant)
		admin, err := pgx.Connect(t.Context(), os.Getenv("QIONG_POSTGRES"))
		if err != nil {
			t.Fatal(err)
		}
		defer admin.Close(context.Background())
		u, err := url.Parse(database)
		if err != nil {
			t.Fatal(err)
		}
		name := strings.TrimPrefix(u.Path, "/")
		run := func(sql string) {
			t.Helper()
			if _, err := admin.Exec(t.Context(), sql); err != nil {
				t.Fatal(err)
			}
		}
		run("ALTER DATABASE " + name + " ALLOW_CONNECTIONS false")
		run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '" + name + "'")
		_, err = apply.Submit(t.Context(), alice, body(t), "gone")
		if !errs.Is(err, errs.Unavailable) {
			t.Errorf("with the database away: %v", err)
		}
		if status, _, _ := send(t, alice, "GET", "/readyz", "en", nil, nil); status != 503 {
			t.Errorf("readyz: %d", status)
		}
		<-time.After(3 * time.Second) // all that looks after something has looked
		run("ALTER DATABASE " + name + " ALLOW_CONNECTIONS true")
		var made *apply.Case
		eventually(t, "it is back", func() bool {
			made, err = apply.Submit(t.Context(), alice, body(t), "gone")
			return err == nil
		})
		if last := follow(t, alice, made.ID); last.Status != "decided" {
			t.Errorf("%s", last.Status)
		}
		if n := count(t, alice); n != 1 {
			t.Errorf("%d cases", n)
		}
	})
}
