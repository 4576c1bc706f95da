package house_test

import (
	"archive/zip"
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/qiongdev/qiong"
	"github.com/qiongdev/qiong/examples"
	"github.com/qiongdev/qiong/house/qiongtest"
	"github.com/qiongdev/qiong/kit/auth"
	"github.com/qiongdev/qiong/kit/client"
	"github.com/qiongdev/qiong/service/approval"
	"github.com/qiongdev/qiong/service/sandbox"
)

// Every layout of the data folder there ever was is kept in testdata: a folder in which `qiong demo --once --data` has
// decided the example, zipped after VACUUM, with its master key, which seals nothing else. A change of layout adds one.
var layouts = []struct{ file, id string }{
	{"layout1.zip", "1M81Z0JW70000"},
}

// unpack puts a kept folder where a house can open it. Neither zip nor git keeps the mode that the master key needs.
func unpack(t *testing.T, file string) string {
	t.Helper()
	kept, err := zip.OpenReader(filepath.Join("testdata", file))
	if err != nil {
		t.Fatal(err)
	}
	defer kept.Close()
	dir := filepath.Join(t.TempDir(), "data")
	if err := os.CopyFS(dir, kept); err != nil {
		t.Fatal(err)
	}
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		return os.Chmod(path, 0o600)
	})
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestEveryLayoutIsUpgraded(t *testing.T) {
	var example struct{ Form json.RawMessage }
	if err := json.Unmarshal(examples.OpenEnterprise, &example); err != nil {
		t.Fatal(err)
	}
	for _, old := range layouts {
		t.Run(old.file, func(t *testing.T) {
			o := qiongtest.Options{Services: []*qiong.Service{sandbox.Service, approval.Service}, Data: unpack(t, old.file)}
			for _, what := range []string{"upgraded", "opened again"} {
				h := qiongtest.Start(t, o)
				var kept struct {
					ID, Status, Subject, FormSM3 string
					Form                         json.RawMessage
					Steps                        []struct{ Status, Ended string }
				}
				err := h.As("demo", auth.Applicant).Do(t.Context(), client.Request{Method: "GET", Path: "/api/approval/cases/" + old.id}, &kept)
				if err != nil {
					t.Fatalf("%s: %v", what, err)
				}
				if kept.Status != "decided" || kept.Subject != "海口𠮷䶮数字科技有限公司（样例）" || len(kept.Steps) != 5 || len(kept.FormSM3) != 64 {
					t.Errorf("%s: %+v", what, kept)
				}
				if !sameJSON(t, kept.Form, example.Form) {
					t.Errorf("%s: the form is now %s", what, kept.Form)
				}
				var effects struct{ Done, Doubles int }
				if err := h.As("operator", auth.Operator).Do(t.Context(), client.Request{Method: "GET", Path: "/api/sandbox/effects/summary"}, &effects); err != nil || effects.Done != 5 || effects.Doubles != 0 {
					t.Errorf("%s: effects %+v, %v", what, effects, err)
				}
				h.Stop()
			}
		})
	}
}

// sameJSON compares documents by value.
func sameJSON(t *testing.T, a, b json.RawMessage) bool {
	t.Helper()
	var x, y any
	if err := json.Unmarshal(a, &x); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &y); err != nil {
		t.Fatal(err)
	}
	return reflect.DeepEqual(x, y)
}
