package receipt_test

import (
	"os"
	"strings"
	"testing"

	"github.com/qiongdev/qiong/kit/receipt"
)

// blocks returns the fenced texts of a page.
func blocks(t *testing.T, page string) []string {
	t.Helper()
	text, err := os.ReadFile("../../doc/formats/" + page)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for i, part := range strings.Split(string(text), "```") {
		if i%2 == 1 {
			all = append(all, strings.TrimPrefix(part, "text\n"))
		}
	}
	return all
}

// What the pages of the formats show is real.
func TestPagesOfTheFormats(t *testing.T) {
	for _, language := range []string{".md", ".en.md"} {
		pages := blocks(t, "receipt"+language)
		file, record, act, original := pages[0], pages[1], pages[2], pages[3]
		r, err := receipt.Parse([]byte(file))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := receipt.Verify(r, councilTrust(t), []byte(original)); err != nil || got.State != receipt.Complete {
			t.Errorf("receipt%s: %v", language, err)
		}
		if shown, err := receipt.ParseRecord([]byte(record)); err != nil || shown.Batch != 1024 || shown.Commitment != r.Record.Commitment {
			t.Errorf("receipt%s: the record: %v", language, err)
		}
		if two := oneActOf(t); two != act {
			t.Errorf("receipt%s: the act is\n%s", language, two)
		}

		pages = blocks(t, "checkpoint"+language)
		n, err := receipt.ParseNote([]byte(pages[0]))
		if err != nil || n.Checkpoint != r.Note.Checkpoint {
			t.Fatalf("checkpoint%s: %v", language, err)
		}
		if s := n.Signatures[0]; pages[1] != "cosignature/v1\ntime 1795349518\n"+n.Checkpoint.Text() || s.Time != 1795349518 || s != r.Note.Signatures[0] {
			t.Errorf("checkpoint%s: another message", language)
		}

		keys, err := receipt.ParseTrust([]byte(blocks(t, "trust"+language)[0]))
		if err != nil || len(keys.Keys()) != 2 || keys.Keys()[0].ID() != n.Signatures[0].KeyID {
			t.Errorf("trust%s: %v", language, err)
		}
	}
}

// oneActOf returns the second part of the receipt of an act.
func oneActOf(t *testing.T) string {
	t.Helper()
	r := twoLevel(t)
	text := "act 2\ncommitment " + r.Act.Commitment.String() + "\n"
	for _, h := range r.Act.Path {
		text += h.String() + "\n"
	}
	return text
}
