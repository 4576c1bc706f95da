package main

import (
	"bytes"
	"flag"
	"os"
	"testing"

	"github.com/qiongdev/qiong/house"
	"github.com/qiongdev/qiong/kit/config"
	"github.com/qiongdev/qiong/kit/lang"
)

var update = flag.Bool("update", false, "write the documented configuration anew")

// The documented configuration is what `qiong config print` says. To write it anew: go test ./cmd/qiong -run Documented -update
func TestDocumentedConfigurationIsCurrent(t *testing.T) {
	for file, l := range map[string]lang.Lang{"../../doc/qiong.example.yaml": lang.ZH, "../../doc/qiong.example.en.yaml": lang.EN} {
		var want bytes.Buffer
		if err := config.Print(&want, house.Sections(services), l); err != nil {
			t.Fatal(err)
		}
		if *update {
			if err := os.WriteFile(file, want.Bytes(), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if got, err := os.ReadFile(file); err != nil || !bytes.Equal(got, want.Bytes()) {
			t.Errorf("%s is not what `qiong config print` says (%v): run this test with -update", file, err)
		}
	}
}
