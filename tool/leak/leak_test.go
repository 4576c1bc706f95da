package leak

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/spf13/pflag"

	"github.com/qiongdev/qiong"
	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/lang"
	"github.com/qiongdev/qiong/kit/leak"
	"github.com/qiongdev/qiong/kit/leak/stack"
	"github.com/qiongdev/qiong/tool/leak/trend"
)

// console returns one with the tool's flags, and what is written to it.
func console(t *testing.T, l lang.Lang, set ...string) (*qiong.Console, *bytes.Buffer, *bytes.Buffer) {
	t.Helper()
	var out, notes bytes.Buffer
	c := &qiong.Console{In: strings.NewReader(""), Out: &out, Err: &notes, Lang: l, Flags: pflag.NewFlagSet("leak", pflag.ContinueOnError)}
	Tool.Flags(c.Flags, c.Say)
	for i := 0; i < len(set); i += 2 {
		if err := c.Flags.Set(set[i], set[i+1]); err != nil {
			t.Fatal(err)
		}
	}
	return c, &out, &notes
}

// plant builds the leaking server, with the experiment or without, and starts it.
func plant(t *testing.T, experiment string) string {
	t.Helper()
	bin := filepath.Join(t.TempDir(), "planted")
	build := exec.Command("go", "build", "-o", bin, "./testdata/planted")
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOEXPERIMENT="+experiment)
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	cmd := exec.Command(bin)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = stdin.Close()
		_ = cmd.Wait() // it ends with its input
	})
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(line)
}

// planted are the routes that leak, and how.
var planted = map[string]stack.Kind{
	"POST /send/{id}": stack.Send, "GET /receive/{id}": stack.Receive, "GET /select/{id}": stack.Select,
	"GET /timer/{id}": stack.Timer, "PUT /mutex/{id}": stack.Mutex,
}

func visit(t *testing.T, method, url string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, resp.Body) // so that the connection is free again
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("%s %s: %s", method, url, resp.Status)
	}
}

// watchLooks watches with a load between each two looks.
func watchLooks(t *testing.T, url string, looks int, load func()) *trend.Report {
	t.Helper()
	c, _, _ := console(t, lang.EN)
	to, err := whereTo(c, url+"/debug/leak")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	w := &watcher{console: c, take: to.take, wait: func(context.Context) bool { load(); n++; return n < looks }}
	r, err := w.run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestPlantedLeaksAreNamed(t *testing.T) {
	for name, c := range map[string]struct{ experiment, query string }{
		"found by the runtime":                      {"goroutineleakprofile", "?lost=1"},
		"by the trend, what they wait for is kept":  {"goroutineleakprofile", ""},
		"by the trend, in a program without either": {"nogoroutineleakprofile", "?lost=1"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url := plant(t, c.experiment)
			r := watchLooks(t, url, 8, func() {
				for route := range planted {
					method, path, _ := strings.Cut(strings.Replace(route, "{id}", "110105", 1), " ")
					for range 10 {
						visit(t, method, url+path+c.query)
					}
				}
				visit(t, "GET", url+"/clean/fan")
			})
			have := map[string]stack.Kind{}
			for _, f := range r.Findings {
				have[f.Labels[leak.Route]] = f.Kind
				if f.Verdict != trend.Leak || !strings.HasPrefix(f.Place, "planted/main.go:") || len(f.Stack) == 0 {
					t.Errorf("%+v", f)
				}
				wantReason := trend.Outlive
				switch {
				case c.experiment == "goroutineleakprofile" && c.query != "" && f.Kind != stack.Timer:
					wantReason = trend.Profile
				case f.Kind == stack.Send || f.Kind == stack.Mutex:
					wantReason = trend.Stuck
				}
				if f.Reason != wantReason {
					t.Errorf("%s: by %s, want %s", f.Labels[leak.Route], f.Reason, wantReason)
				}
			}
			for route, kind := range planted {
				if have[route] != kind {
					t.Errorf("%s: kind %q, want %q", route, have[route], kind)
				}
			}
			if len(have) != len(planted) || r.Profile != (c.experiment == "goroutineleakprofile") {
				t.Errorf("findings %v, profile %v", have, r.Profile)
			}
			text, err := json.Marshal(r)
			if err != nil || bytes.Contains(text, []byte("110105")) {
				t.Errorf("%v, or the report has what the caller sent", err)
			}
		})
	}
}

// The clean routes are visited from many sides for the looks of a watch; QIONG_SOAK says how long, such as 60s.
func TestNoFalseAlarms(t *testing.T) {
	length := 2 * time.Second
	if s := os.Getenv("QIONG_SOAK"); s != "" {
		var err error
		if length, err = time.ParseDuration(s); err != nil {
			t.Fatal(err)
		}
	}
	url := plant(t, "goroutineleakprofile")
	ctx, cancel := context.WithCancel(t.Context())
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}}
	var load sync.WaitGroup
	for i := range 16 {
		load.Go(func() {
			for n := i; ctx.Err() == nil; n++ {
				soak(ctx, client, url+"/clean/"+[]string{"plain", "fan", "after", "lock", "pool"}[n%5])
			}
		})
	}
	for range 10 {
		load.Go(func() { soak(ctx, client, url+"/clean/stream") })
	}
	c, out, _ := console(t, lang.EN, "for", length.String(), "stacks", t.TempDir(), "strict", "true")
	if err := watch(t.Context(), c, url+"/debug/leak"); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	cancel()
	load.Wait()
	client.CloseIdleConnections()
}

// soak makes a request and reads its answer; the soak's end ends it, too.
func soak(ctx context.Context, client *http.Client, url string) {
	req, err := http.NewRequestWithContext(ctx, "GET", url, nil)
	if err != nil {
		return
	}
	resp, err := client.Do(req)
	if err != nil {
		return // ctx has ended
	}
	_, _ = io.Copy(io.Discard, resp.Body)
	resp.Body.Close()
}

// script is a service that answers with snapshots, one after the other.
func script(t *testing.T, answer func(n int, r *http.Request) (int, any)) (*httptest.Server, *[]*http.Request) {
	t.Helper()
	var all []*http.Request
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		all = append(all, r)
		code, body := answer(len(all), r)
		if code == http.StatusTooManyRequests {
			w.Header().Set("Retry-After", "0")
		}
		w.WriteHeader(code)
		_ = json.NewEncoder(w).Encode(body)
	}))
	t.Cleanup(s.Close)
	return s, &all
}

// snapshot has n goroutines that wait to send, after as many requests for /x.
func snapshot(n int, profile string) *leak.Snapshot {
	labels := map[string]string{leak.Route: "GET /x", "user": "HUNTER"}
	s := &leak.Snapshot{Format: leak.Format, Profile: profile, Program: "shop", Go: "go1.26", Taken: time.Unix(int64(n), 0), Goroutines: n,
		Counts: []leak.Count{{Labels: labels, Begun: int64(n), Ended: int64(n)}}}
	if profile == "goroutine" {
		s.Groups = []stack.Goroutines{{Labels: labels, Kind: stack.Send, Count: max(8*n, 1), Stack: []stack.Frame{{Func: "shop.\x1b[31mwait", File: "/src/shop/shop.go", Line: 12}}}}
	}
	return s
}

func profileOf(r *http.Request) string {
	if r.URL.Query().Get("profile") == "leak" {
		return "leak"
	}
	return "goroutine"
}

func TestWatchReports(t *testing.T) {
	for _, l := range []lang.Lang{lang.ZH, lang.EN} {
		s, asked := script(t, func(n int, r *http.Request) (int, any) {
			switch {
			case n == 2:
				return http.StatusTooManyRequests, map[string]string{"detail": "later", "code": "leak.busy"}
			case n == 5:
				return http.StatusServiceUnavailable, map[string]string{"detail": "away"}
			}
			return http.StatusOK, snapshot(n, profileOf(r))
		})
		folder := t.TempDir()
		page := filepath.Join(folder, "report.html")
		c, out, _ := console(t, l, "for", "2s", "html", page, "stacks", folder)
		err := watch(t.Context(), c, s.URL+"/debug/leak?token=HUNTER")
		if !errs.Is(err, errs.Conflict) || errs.As(err).Code != "leak.found" {
			t.Fatalf("%v\n%s", err, out)
		}
		if (*asked)[0].URL.Query().Get("token") != "HUNTER" {
			t.Error("the address was not asked as it was given")
		}
		html, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		kept, err := filepath.Glob(filepath.Join(folder, "qiong-leak-*.txt"))
		if err != nil || len(kept) != 1 {
			t.Fatalf("%v, %v", kept, err)
		}
		stacks, err := os.ReadFile(kept[0])
		if err != nil {
			t.Fatal(err)
		}
		for name, text := range map[string]string{"text": out.String(), "page": string(html), "stacks": string(stacks)} {
			if strings.Contains(text, "HUNTER") || name != "page" && strings.Contains(text, "\x1b") {
				t.Errorf("%s: a secret or a control character:\n%s", name, text)
			}
			if !strings.Contains(text, "GET /x") || !strings.Contains(text, "shop.go:12") {
				t.Errorf("%s: route or place is missing:\n%s", name, text)
			}
		}
		if want := kinds[stack.Send].In(l); !strings.Contains(out.String(), want) || !strings.Contains(string(html), want) {
			t.Errorf("%s is missing:\n%s", want, out)
		}
		if strings.Contains(string(html), "<script") || strings.Contains(string(html), "http-equiv") || strings.Contains(string(html), `href=`) {
			t.Error("the page needs others")
		}
	}
}

func TestTokenGoesToItsOwnServiceAlone(t *testing.T) {
	t.Setenv("QIONG_TOKEN", "qiong_environment")
	s, asked := script(t, func(n int, r *http.Request) (int, any) { return http.StatusOK, snapshot(n, profileOf(r)) })
	for name, c := range map[string]struct {
		set  []string
		want string
	}{
		"another service":        {nil, ""},
		"the service of --url":   {[]string{"url", s.URL}, "Bearer qiong_environment"},
		"a token that was given": {[]string{"token", "given"}, "Bearer given"},
	} {
		con, _, _ := console(t, lang.EN, c.set...)
		to, err := whereTo(con, s.URL+"/debug/leak")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := to.take(t.Context(), false); err != nil {
			t.Fatal(err)
		}
		if got := (*asked)[len(*asked)-1].Header.Get("Authorization"); got != c.want {
			t.Errorf("%s: Authorization %q, want %q", name, got, c.want)
		}
	}
	con, _, _ := console(t, lang.EN, "url", s.URL)
	if to, err := whereTo(con, ""); err != nil || to.path != house {
		t.Errorf("without an address: %+v, %v", to, err)
	}
}

func TestBadAddresses(t *testing.T) {
	plain := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>")) }))
	defer plain.Close()
	for address, kind := range map[string]errs.Kind{
		"ftp://x/": errs.Invalid, "nonsense": errs.Invalid, "http://user:HUNTER@127.0.0.1/": errs.Invalid, plain.URL + "/x": errs.Invalid, "http://127.0.0.1:1/x": errs.Unavailable,
	} {
		c, out, _ := console(t, lang.EN, "for", "200ms")
		err := watch(t.Context(), c, address)
		if !errs.Is(err, kind) || strings.Contains(err.Error()+out.String(), "HUNTER") {
			t.Errorf("%s: %v", address, err)
		}
	}
}

func TestShow(t *testing.T) {
	dir := t.TempDir()
	file := func(name string, content any) string {
		data, isText := content.(string)
		if !isText {
			encoded, err := json.Marshal(content)
			if err != nil {
				t.Fatal(err)
			}
			data = string(encoded)
		}
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(data), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	var series trend.Series
	for i := range 5 {
		series.Add(snapshot(10*i, "goroutine"))
	}
	dump := "goroutine 7 [chan send%s]:\nshop.wait(0xc000)\n\t/src/shop/shop.go:12 +0x2a\n"
	for name, c := range map[string]struct {
		path string
		kind errs.Kind // of the error, where bad
		bad  bool
	}{
		"a report":            {file("report.json", series.Judge()), errs.Conflict, true},
		"a snapshot":          {file("snapshot.json", snapshot(3, "goroutine")), 0, false},
		"a dump":              {file("dump.txt", strings.ReplaceAll(dump, "%s", "")), 0, false},
		"a dump with a leak":  {file("leaked.txt", "panic: x\n\n"+strings.ReplaceAll(dump, "%s", " (leaked)")+"\n"+strings.ReplaceAll(dump, "%s", " (leaked)")), errs.Conflict, true},
		"nothing of the kind": {file("other.json", `{"a":1}`), errs.Invalid, true},
		"no file":             {filepath.Join(dir, "absent"), errs.NotFound, true},
	} {
		con, out, _ := console(t, lang.EN)
		err := run(t.Context(), con, []string{"show", c.path})
		if c.bad != (err != nil) || c.bad && !errs.Is(err, c.kind) {
			t.Errorf("%s: %v", name, err)
		}
		if (!c.bad || c.kind == errs.Conflict) && !strings.Contains(out.String(), "shop.go:12") {
			t.Errorf("%s: %s", name, out)
		}
		if strings.Contains(out.String(), "HUNTER") {
			t.Errorf("%s: a label that is not ours: %s", name, out)
		}
	}
}

func FuzzShow(f *testing.F) {
	for _, v := range []any{snapshot(3, "goroutine"), snapshot(0, "leak"), (&trend.Series{}).Judge()} {
		data, err := json.Marshal(v)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Add([]byte("goroutine 7 [chan send]:\nmain.f()\n\t/x.go:1\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := parse(data)
		if err != nil {
			return
		}
		c := &qiong.Console{Out: io.Discard, Lang: lang.EN}
		if err := printText(c, r); err != nil {
			t.Error(err)
		}
		if err := reportPage.Execute(io.Discard, view{r, lang.ZH}); err != nil {
			t.Error(err)
		}
	})
}
