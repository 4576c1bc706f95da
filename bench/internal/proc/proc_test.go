package proc

import (
	"bufio"
	"io"
	"os"
	"os/exec"
	"testing"
	"time"
)

// A child that burns a known time must be seen while it lives, and still be seen once it has been waited for.
func TestTreeCountsChildren(t *testing.T) {
	before := Tree(os.Getpid())
	cmd := exec.Command("sh", "-c", "i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done; echo done; read x")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	living := Tree(os.Getpid()) - before
	_, _ = io.WriteString(in, "x\n") // Wait tells
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	used := cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	ended := Tree(os.Getpid()) - before
	for name, got := range map[string]time.Duration{"living": living, "ended": ended} {
		if got < used-5*tick {
			t.Errorf("%s child: %v counted, it used %v", name, got, used)
		}
	}
}

func TestSelfGrowsWithWork(t *testing.T) {
	before := Self()
	for n, x := 0, uint64(1); Self() == before; n++ {
		for range 1_000_000 {
			x = x*6364136223846793005 + 1
		}
		if n > 10_000 {
			t.Fatalf("10,000 million multiplications took no time (%d)", x)
		}
	}
}
