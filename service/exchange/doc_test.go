package exchange

import (
	"os"
	"strings"
	"testing"
)

// The feed that the documents show is one.
func TestTheDocumentedFeed(t *testing.T) {
	for _, page := range []string{"../../doc/exchange.md", "../../doc/exchange.en.md"} {
		data, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		_, rest, _ := strings.Cut(string(data), "```yaml\n")
		feed, _, _ := strings.Cut(rest, "```")
		if _, err := ParseFeed([]byte(feed)); err != nil {
			t.Errorf("%s: %v", page, err)
		}
	}
}
