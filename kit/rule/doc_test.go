package rule

import (
	"bytes"
	"os"
	"regexp"
	"testing"

	"go.yaml.in/yaml/v3"
)

var block = regexp.MustCompile("(?s)```yaml\n(.*?)```")

// The schema and the rule on the pages of the format are ones that compile.
func TestPages(t *testing.T) {
	for _, page := range []string{"rule.md", "rule.en.md"} {
		text, err := os.ReadFile("../../doc/formats/" + page)
		if err != nil {
			t.Fatal(err)
		}
		blocks := block.FindAllSubmatch(text, -1)
		if len(blocks) != 2 {
			t.Fatalf("%s has %d blocks of YAML", page, len(blocks))
		}
		schema, r := new(Schema), new(Rule)
		for i, v := range []any{schema, r} {
			dec := yaml.NewDecoder(bytes.NewReader(blocks[i][1]))
			dec.KnownFields(true)
			if err := dec.Decode(v); err != nil {
				t.Fatalf("%s: %v", page, err)
			}
		}
		known := readSchemas(t)
		known[schema.Type] = schema
		compile(t, r, known)
	}
}
