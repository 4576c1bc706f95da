package keys

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/qiongdev/qiong/kit/gm"
)

// The two keys that the child of TestKillLeavesOldOrNew trusts in turn.
func crashKeys(t testing.TB) [2]*gm.PublicKey {
	var keys [2]*gm.PublicKey
	for i := range keys {
		scalar := make([]byte, 32)
		scalar[31] = byte(i + 1)
		keys[i] = must[*gm.PrivateKey](t)(gm.NewPrivateKey(scalar)).PublicKey()
	}
	return keys
}

// TestCrashChild is no test of its own: it writes to the ring in QIONG_CRASH_DIR and tells what is done, until killed.
func TestCrashChild(t *testing.T) {
	dir := os.Getenv("QIONG_CRASH_DIR")
	if dir == "" {
		t.Skip("run by TestKillLeavesOldOrNew")
	}
	r := open(t, dir, Options{CreateMaster: true})
	keys := crashKeys(t)
	for i := 0; ; i++ {
		if err := r.Trust("partner", keys[i%2]); err != nil {
			t.Fatal(err)
		}
		name := fmt.Sprintf("%d-%d", os.Getpid(), i)
		key := must[*Key](t)(r.Signer(name))
		fmt.Printf("made %s %s\n", name, key.KeyID())
	}
}

// A child is killed at moments that vary with how much it has done. What it said was made must be there, whole; the
// replaced key must be the old or the new one; nothing else may stand in the way of opening the ring.
func TestKillLeavesOldOrNew(t *testing.T) {
	dir := t.TempDir()
	keys := crashKeys(t)
	made := map[string]string{}
	for round := range 20 {
		child := exec.Command(os.Args[0], "-test.run=^TestCrashChild$", "-test.v")
		child.Env = append(os.Environ(), "QIONG_CRASH_DIR="+dir)
		out := must[io.ReadCloser](t)(child.StdoutPipe())
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		seen := 0
		for lines := bufio.NewScanner(out); lines.Scan(); {
			if words := strings.Fields(lines.Text()); len(words) == 3 && words[0] == "made" {
				made[words[1]] = words[2]
				seen++
			}
			if seen == round+1 {
				child.Process.Kill() // and read on: what it said before it died counts
			}
		}
		child.Wait()
		if seen <= round {
			t.Fatalf("round %d: the child died early, after %d keys", round, seen)
		}
		r := open(t, dir, Options{})
		if pub := must[*gm.PublicKey](t)(r.Public("partner")); !pub.Equal(keys[0]) && !pub.Equal(keys[1]) {
			t.Fatalf("round %d: the replaced key is neither old nor new", round)
		}
		reader := open(t, dir, Options{ReadOnly: true}) // makes no key anew
		for name, id := range made {
			if key, err := reader.Signer(name); err != nil || key.KeyID() != id {
				t.Fatalf("round %d: the key %s is lost: %v", round, name, err)
			}
		}
	}
	if left := must[[]string](t)(filepath.Glob(filepath.Join(dir, "*"))); len(left) < len(made)+3 {
		t.Errorf("%d files for %d keys", len(left), len(made))
	}
}
