package evidence_test

import (
	"io"
	"net/http"
	"testing"

	"github.com/qiongdev/qiong/kit/auth"
	"github.com/qiongdev/qiong/kit/client"
)

// page reads a page as somebody who has signed in.
func (l *lab) page(c *client.Client, path string) (int, string) {
	l.t.Helper()
	req, err := http.NewRequestWithContext(l.t.Context(), "GET", l.URL+path, nil)
	if err != nil {
		l.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+c.Token)
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

func TestPages(t *testing.T) {
	t.Parallel()
	c := newCouncil(t)
	c.bad = "form-2"
	c.nodes[3].set(func(n *fakeNode) { n.lies = true })
	l := c.open("", "evidence.publish", "file:"+t.TempDir())
	l.put("form-1", "form-2")
	l.reaches("complete", "form-1")
	l.reaches("refused", "form-2")
	l.must("POST", "/api/evidence/publish", nil, nil)
	eventually(t, "the contradiction", func() bool { return len(l.status().Contradictions) == 1 })
	code, text := l.page(l.operator, "/evidence/?lang=en")
	contains(t, text, "council mode", "form-1", "in the log", "form-2", "refused", "Signatures that contradict the log", "Anchored outward", "/evidence/live.js")
	if code != 200 {
		t.Error(code)
	}
	if code, text = l.page(l.operator, "/evidence/records/form-1?lang=zh"); code != 200 {
		t.Error(code)
	}
	contains(t, text, "完整：应签者均已签署", "应签", "/api/evidence/form-1/receipt")
	if code, _ = l.page(l.operator, "/evidence/live.js"); code != 200 {
		t.Error(code)
	}
	if code, _ = l.page(l.As("citizen", auth.Applicant), "/evidence/"); code != http.StatusForbidden {
		t.Errorf("an applicant sees the log: %d", code)
	}
}
