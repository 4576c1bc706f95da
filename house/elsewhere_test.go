package house_test

import (
	"context"
	"io"
	"net/http"
	"testing"

	"github.com/qiongdev/qiong"
	"github.com/qiongdev/qiong/house/qiongtest"
	"github.com/qiongdev/qiong/kit/lang"
)

// A service can have its requests answered elsewhere, and nobody else's.
func TestElsewhere(t *testing.T) {
	away := &qiong.Service{Name: "away", Doc: lang.T("他处", "elsewhere"), New: func(_ context.Context, h *qiong.Host, _ any) (qiong.Runner, error) {
		h.Mux.HandleFunc("GET /away/here", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "here") })
		h.Elsewhere(func(w http.ResponseWriter, r *http.Request) bool {
			if r.URL.Path == "/away/here" {
				return false
			}
			_, _ = io.WriteString(w, "there")
			return true
		})
		return running{}, nil
	}}
	h := qiongtest.Start(t, qiongtest.Options{Services: []*qiong.Service{away}})
	for path, want := range map[string]string{"/away/here": "here", "/away/": "there", "/away": "there", "/api/away": "there", "/api/away/x": "there", "/healthz": "ok\n"} {
		resp, err := http.Get(h.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || string(body) != want {
			t.Errorf("%s: %q, %v", path, body, err)
		}
	}
	for _, path := range []string{"/aways/x", "/api/house/tokens", "/api/awayx"} {
		resp, err := http.Get(h.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || string(body) == "there" {
			t.Errorf("%s is not its: %v", path, err)
		}
	}
}

type running struct{}

func (running) Run(ctx context.Context) error { <-ctx.Done(); return nil }
