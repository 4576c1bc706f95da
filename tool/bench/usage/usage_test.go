package usage

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/qiongdev/qiong/kit/errs"
)

func TestParseStat(t *testing.T) {
	const line = "42 (a (b) c) S 7 42 42 0 -1 4194560 100 0 0 0 150 50 10 5 20 0 4 0 1000 123456 256 18446744073709551615 0"
	s, err := parseStat(line)
	if err != nil || s.parent != 7 || s.cpu != 2150*time.Millisecond || s.rss != 256*int64(os.Getpagesize()) {
		t.Errorf("%v, %+v", err, s)
	}
	for _, bad := range []string{"", "42 (x) S", strings.Replace(line, " 150 ", " x ", 1)} {
		if _, err := parseStat(bad); err == nil {
			t.Errorf("%q was read", bad)
		}
	}
}

func TestThisProcess(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("/proc is of Linux")
	}
	u, err := Process(os.Getpid())(t.Context())
	if err != nil || u.RSS < 1<<20 {
		t.Errorf("%v, %+v", err, u)
	}
	if _, err := Process(1 << 30)(t.Context()); !errs.Is(err, errs.NotFound) {
		t.Errorf("a process that is not there: %v", err)
	}
}

func TestMetrics(t *testing.T) {
	page := "# HELP x\nprocess_cpu_seconds_total 1.5\nprocess_resident_memory_bytes 1.048576e+06\nother{a=\"b c\"} 1\n"
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, page) }))
	defer s.Close()
	read := Metrics(s.URL, s.Client())
	if u, err := read(t.Context()); err != nil || u.CPU != 1500*time.Millisecond || u.RSS != 1<<20 {
		t.Errorf("%v, %+v", err, u)
	}
	for _, page = range []string{"", "process_cpu_seconds_total NaN\n", "process_cpu_seconds_total -1\n"} {
		if _, err := read(t.Context()); !errs.Is(err, errs.Unavailable) {
			t.Errorf("%q: %v", page, err)
		}
	}
}

func FuzzMetrics(f *testing.F) {
	f.Add("process_cpu_seconds_total 1e300\nprocess_resident_memory_bytes 1\n")
	f.Fuzz(func(t *testing.T, page string) {
		if u, err := parseMetrics(strings.NewReader(page)); err == nil && (u.CPU < 0 || u.RSS < 0) {
			t.Fatalf("%+v", u)
		}
	})
}
