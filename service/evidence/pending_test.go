package evidence

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/qiongdev/qiong/kit/merkle"
	"github.com/qiongdev/qiong/kit/receipt"
)

func at(size uint64, root string) receipt.Checkpoint {
	return receipt.Checkpoint{Origin: "o", Size: size, Root: merkle.LeafHash([]byte(root))}
}

func count(p *pending) (n int) {
	for _, roots := range p.sizes {
		for _, signatures := range roots {
			n += len(signatures)
		}
	}
	return n
}

// Whoever signs without end fills nobody's memory, and pushes out nobody else's signatures.
func TestPendingIsBounded(t *testing.T) {
	var p pending
	p.add(at(7, "right"), receipt.Signature{Name: "tax"})
	for i := range uint64(10 * maxPending) {
		p.add(at(i+1, fmt.Sprint(i)), receipt.Signature{Name: "customs"})
		p.add(at(i+1, fmt.Sprint(i)), receipt.Signature{Name: "customs"}) // and again
	}
	if n := count(&p); n != maxPending+1 || len(p.sizes) != maxPending+1 || len(p.order["customs"]) != maxPending {
		t.Errorf("%d signatures of %d sizes, %d in order", n, len(p.sizes), len(p.order["customs"]))
	}
	with, against := p.add(at(7, "right"), receipt.Signature{Name: "forex"})
	if len(with) != 2 || len(against) != 0 {
		t.Errorf("%v, %v", with, against)
	}
	if with, _ := p.add(at(10*maxPending, fmt.Sprint(10*maxPending-1)), receipt.Signature{Name: "forex"}); len(with) != 2 {
		t.Errorf("the newest is gone: %v", with)
	}
	p.upTo(10 * maxPending)
	if count(&p) != 0 || len(p.sizes) != 0 || len(p.order) != 0 {
		t.Errorf("%+v is left", p)
	}
}

func TestTwoRootsOfOneNameAreSeen(t *testing.T) {
	var p pending
	p.add(at(7, "one"), receipt.Signature{Name: "tax"})
	if _, against := p.add(at(7, "two"), receipt.Signature{Name: "customs"}); len(against) != 0 {
		t.Errorf("of another name: %v", against)
	}
	if _, against := p.add(at(7, "two"), receipt.Signature{Name: "tax"}); len(against) != 1 || against[0] != at(7, "one").Root {
		t.Errorf("%v", against)
	}
	two := p.ready("o", func(s []receipt.Signature) bool { return len(s) == 2 })
	if len(two) != 1 || two[0].checkpoint != at(7, "two") {
		t.Errorf("%v", two)
	}
}

// What goes wrong again and again is said once a minute; other matters are said beside it.
func TestALogIsNotFlooded(t *testing.T) {
	var b bytes.Buffer
	q := quiet{log: slog.New(slog.NewTextHandler(&b, nil))}
	for range 1000 {
		q.warn("no answer", "node", "a", errors.New("x"))
		q.warn("no answer", "node", "b", errors.New("x"))
	}
	for i := range 3 * maxSayings {
		q.warn("no answer", "node", fmt.Sprint(i), errors.New("x"))
	}
	if n := strings.Count(b.String(), "\n"); n != 2+3*maxSayings || len(q.said) > maxSayings {
		t.Errorf("%d lines, %d remembered", n, len(q.said))
	}
}

func FuzzPlain(f *testing.F) {
	f.Add("a\nb\x1b[31m\xff")
	f.Add(strings.Repeat("琼", 400))
	f.Fuzz(func(t *testing.T, text string) {
		out := plain(text)
		if !utf8.ValidString(out) || strings.ContainsFunc(out, func(r rune) bool { return r < ' ' || r == 0x7f }) || utf8.RuneCountInString(out) > 301 {
			t.Errorf("%q", out)
		}
	})
}
