package web_test

import (
	"bytes"
	"os"
	"testing"

	"github.com/qiongdev/qiong/service/evidence/web"
)

// What is embedded is what stands in dist: nothing, or the whole module.
func TestVerify(t *testing.T) {
	want, err := os.ReadFile("dist/verify.js")
	module, ok := web.Verify()
	if ok != (err == nil) || !bytes.Equal(module, want) {
		t.Errorf("%d bytes, %v; in dist %d bytes, %v", len(module), ok, len(want), err)
	}
	if ok && !bytes.Contains(module, []byte("export{")) {
		t.Error("what was built is no module")
	}
	if _, err := os.Stat("dist/.gitkeep"); err != nil {
		t.Errorf("without the placeholder the program does not build from source alone: %v", err)
	}
}
