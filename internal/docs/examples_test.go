package docs

import (
	"strings"
	"testing"

	"github.com/qiongdev/qiong/service/approval"
	"github.com/qiongdev/qiong/service/sandbox"
)

// block returns the first block of a page in that language which begins with start.
func block(t *testing.T, file, info, start string) string {
	t.Helper()
	p, err := read(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range p.code {
		if code, ok := strings.CutPrefix(b, "```"+info+"\n"); ok && strings.HasPrefix(code, start) {
			return code
		}
	}
	t.Fatalf("%s has no %s that begins with %q", file, info, start)
	return ""
}

// The matter and the scenario that the pages show are ones that the program takes.
func TestExamplesAreRight(t *testing.T) {
	m, err := approval.ParseMatter([]byte(block(t, "../../doc/approval.md", "yaml", "matter:")))
	if err != nil {
		t.Errorf("the matter: %v", err)
	} else if m.Name != "shop-sign" {
		t.Errorf("the matter is %s", m.Name)
	}
	if _, err := sandbox.LoadScenario([]byte(block(t, "../../doc/sandbox.md", "yaml", "agencies:"))); err != nil {
		t.Errorf("the scenario: %v", err)
	}
}
