package bench_test

import (
	"os"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/qiongdev/qiong/tool/bench/scenario"
)

// The scenario in the manual is one.
func TestTheManualsScenario(t *testing.T) {
	data, err := os.ReadFile("../../doc/load.en.md")
	if err != nil {
		t.Fatal(err)
	}
	_, text, _ := strings.Cut(string(data), "```yaml\n")
	text, _, _ = strings.Cut(text, "```")
	d, at, err := scenario.Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.Compile("h", fstest.MapFS{"cities.csv": {Data: []byte("name\nx\n")}}, at); err != nil {
		t.Fatal(err)
	}
	if len(d.Requests) != 2 || len(d.Phases) != 3 {
		t.Errorf("%+v", d)
	}
}
