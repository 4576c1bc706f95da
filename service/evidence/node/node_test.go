package node

import (
	"testing"
	"time"

	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/gm"
)

// Four nodes order a batch and serve their cosigned notes, of one root; a stranger's batch is refused.
func TestFourNodesOrderABatch(t *testing.T) {
	t.Parallel()
	ctx := deadline(t, time.Minute)
	l := newLab(t, four...)
	begun := time.Now()
	l.start()
	size := l.place(ctx, l.seats, "a-1", "a-2", "a-3")
	l.cosigned(ctx, size, l.seats...)
	t.Logf("three records were cosigned by four %v after the start", time.Since(begun))
	root := ""
	for _, s := range l.seats {
		n, err := s.noteAt(ctx, size)
		if err != nil {
			t.Fatal(err)
		}
		if root == "" {
			root = n.Checkpoint.Root.String()
		}
		if n.Checkpoint.Root.String() != root {
			t.Errorf("the root of %s is another", s.name)
		}
	}
	stranger, err := gm.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	for name, tx := range map[string][]byte{
		"another key":     batch(t, "house", stranger, "x"),
		"another gateway": batch(t, "shed", l.gateway, "x"),
	} {
		if err := l.seats[0].client.Submit(ctx, tx); !errs.Is(err, errs.Forbidden) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
