package docs

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/qiongdev/qiong"
	"github.com/qiongdev/qiong/house/qiongtest"
	"github.com/qiongdev/qiong/kit/auth"
	"github.com/qiongdev/qiong/service/approval"
	"github.com/qiongdev/qiong/service/sandbox"
	"github.com/qiongdev/qiong/tool/apply"
)

// block writes the YAML of a page that begins with start to a file of that name in a folder of its own.
func block(t *testing.T, page, start, name string) string {
	t.Helper()
	p, err := read(page)
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range p.code {
		if code, ok := strings.CutPrefix(b, "```yaml\n"); ok && strings.HasPrefix(code, start) {
			path := filepath.Join(t.TempDir(), name)
			if err := os.WriteFile(path, []byte(code), 0o600); err != nil {
				t.Fatal(err)
			}
			return path
		}
	}
	t.Fatalf("%s has no YAML that begins with %q", page, start)
	return ""
}

// A house takes the matter and the scenario that the pages show, and decides a case of it.
func TestExamplesWork(t *testing.T) {
	h := qiongtest.Start(t, qiongtest.Options{Services: []*qiong.Service{sandbox.Service, approval.Service}, Set: map[string]string{
		"approval.matters": filepath.Dir(block(t, "../../doc/approval.md", "matter:", "shop-sign.yaml")),
		"sandbox.scenario": block(t, "../../doc/sandbox.md", "agencies:", "scenario.yaml"),
		"sandbox.speed":    "0",
	}})
	applicant := h.As("applicant", auth.Applicant)
	made, err := apply.Submit(t.Context(), applicant, []byte(`{"matter": "shop-sign", "submit": true, "form": {
		"enterprise": {"name": "海口样例科技有限公司", "creditCode": "91900000Y9RPG000X3"}, "sign": {"text": "样例"}}}`), "key")
	if err != nil {
		t.Fatal(err)
	}
	last, err := apply.Follow(t.Context(), applicant, made.ID, func(*apply.Case) {})
	if err != nil || last.Status != "decided" || len(last.Steps) != 3 {
		t.Fatalf("ended: %+v, %v", last, err)
	}
	if issued := last.Steps[2].Issued; !bytes.Contains(issued, []byte("海口样例科技有限公司")) {
		t.Errorf("the scenario was not used: %s", issued)
	}
}
