package leaktest_test

import (
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/qiongdev/qiong/kit/leak/leaktest"
)

func TestMain(m *testing.M) {
	if os.Getenv("LEAKTEST_BAD") == "" {
		leaktest.Main(m)
	}
	os.Exit(m.Run())
}

func request() *http.Request { return httptest.NewRequest("GET", "/", nil) }

func TestCleanHandler(t *testing.T) {
	t.Parallel()
	leaktest.Serve(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		go func() { time.Sleep(time.Millisecond) }()
	}), 20, request)
}

func TestCleanClock(t *testing.T) {
	leaktest.Run(t, func(t *testing.T) {
		go func() { time.Sleep(4 * time.Second) }()
		tick := time.NewTicker(time.Minute)
		defer tick.Stop()
		<-tick.C
	})
}

func TestCleanCheck(t *testing.T) {
	leaktest.Check(t)
	done := make(chan struct{})
	go close(done)
	<-done
}

// Each of these leaks; they are run in a process of their own, which must fail and say where.
var bad = map[string]struct {
	run  func(t *testing.T)
	want string
}{
	"a handler": {func(t *testing.T) {
		leaktest.Serve(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
			c := make(chan int)
			go func() { c <- 1 }()
		}), 3, request)
	}, "3 × send at leaktest/leaktest_test.go:"},
	"a blocked goroutine on the fake clock": {func(t *testing.T) {
		leaktest.Run(t, func(*testing.T) { go func() { select {} }() })
	}, "1 × select at leaktest/leaktest_test.go:"},
	"a ticker on the fake clock": {func(t *testing.T) {
		leaktest.Run(t, func(*testing.T) {
			go func() {
				for range time.Tick(time.Second) {
					continue
				}
			}()
		})
	}, "1 × receive at leaktest/leaktest_test.go:"},
	"a test": {func(t *testing.T) {
		leaktest.Check(t)
		go func() { select {} }()
	}, "found unexpected goroutines"},
}

func TestBad(t *testing.T) {
	if name := os.Getenv("LEAKTEST_BAD"); name != "" {
		bad[name].run(t)
		return
	}
	for name, c := range bad {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cmd := exec.Command(os.Args[0], "-test.run", "^TestBad$", "-test.timeout", "1m")
			cmd.Env = append(os.Environ(), "LEAKTEST_BAD="+name)
			out, err := cmd.CombinedOutput()
			if err == nil || !strings.Contains(string(out), c.want) {
				t.Errorf("%v, want %q:\n%s", err, c.want, out)
			}
		})
	}
}
