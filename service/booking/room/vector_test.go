package room

import (
	"bytes"
	"crypto/hmac"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/qiongdev/qiong/kit/gm"
)

// vector is the draw of doc/formats/draw.md: six people, of whom the third left before the opening.
func vector(t *testing.T) *Draw {
	r := newRoom(t, func(c *Config) {
		c.Sale, c.Opens = "yalong-20261001", time.Date(2026, 9, 24, 8, 0, 0, 0, time.FixedZone("", 8*3600))
		for i := range c.Seed {
			c.Seed[i] = byte(i)
		}
	})
	for i := range 6 {
		join(t, r, r.Opens().Add(-time.Minute), i)
	}
	must(t, r.Leave(3))
	l, err := r.Close(r.Opens())
	must(t, err)
	beacon := gm.SM3([]byte("a receipt"))
	d, err := l.Tree().Draw(beacon[:])
	must(t, err)
	return d
}

func TestVector(t *testing.T) {
	d := vector(t)
	for file, want := range map[string][]byte{"testdata/draw.record": d.Record().Text(), "testdata/draw.list": publish(t, d)} {
		if got, err := os.ReadFile(file); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s is not\n%s", file, want)
		}
	}
}

// The pages of the format show the vector, and what stands on them is enough to verify it: this verifier uses nothing of
// the package.
func TestPagesOfTheFormat(t *testing.T) {
	record, err := os.ReadFile("testdata/draw.record")
	must(t, err)
	list, err := os.ReadFile("testdata/draw.list")
	must(t, err)
	steps, err := byThePage(string(record), string(list))
	must(t, err)
	for _, page := range []string{"draw.md", "draw.en.md"} {
		text, err := os.ReadFile("../../../doc/formats/" + page)
		must(t, err)
		for _, block := range []string{string(record), string(list), steps} {
			if !strings.Contains(string(text), "```text\n"+block+"```") {
				t.Errorf("%s does not show\n%s", page, block)
			}
		}
	}
	for i := range record {
		bad := bytes.Clone(record)
		bad[i] ^= 1
		if _, err := byThePage(string(bad), string(list)); err == nil {
			t.Errorf("with byte %d of the record changed it passes", i)
		}
	}
}

// byThePage verifies a draw, and returns the steps in between.
func byThePage(record, list string) (steps string, err error) {
	lines := strings.Split(record, "\n")
	if len(lines) != 10 {
		return "", fmt.Errorf("%d lines", len(lines))
	}
	values := map[string]string{}
	for _, line := range lines {
		name, value, _ := strings.Cut(line, " ")
		values[name] = value
	}
	seed, err1 := hex.DecodeString(values["seed"])
	beacon, err2 := hex.DecodeString(strings.TrimPrefix(values["beacon"], "-"))
	root, err3 := base64.StdEncoding.DecodeString(values["root"])
	if err1 != nil || err2 != nil || err3 != nil || fmt.Sprintf("%x", gm.SM3(seed)) != values["commitment"] {
		return "", fmt.Errorf("not the seed of the commitment")
	}
	type person struct {
		number uint32
		sum    []byte
	}
	var people []person
	var leaves [][]byte
	for line := range strings.Lines(list) {
		var n uint32
		var alias []byte
		if _, err := fmt.Sscanf(line, "%d %x\n", &n, &alias); err != nil {
			return "", err
		}
		entry := binary.BigEndian.AppendUint32(alias, n)
		leaf := gm.SM3([]byte{0}, entry)
		leaves = append(leaves, leaf[:])
		mac := hmac.New(gm.NewSM3, seed)
		mac.Write(slices.Concat(root, beacon, entry))
		sum := mac.Sum(nil)
		people = append(people, person{n, sum})
		steps += fmt.Sprintf("entry %x\n leaf %x\n  key %x\n", entry, leaf, sum)
	}
	if fmt.Sprint(len(people)) != values["count"] || !bytes.Equal(treeOf(leaves), root) {
		return "", fmt.Errorf("not the list of the root")
	}
	slices.SortFunc(people, func(a, b person) int { return bytes.Compare(a.sum[:16], b.sum[:16]) })
	var numbers []byte
	for _, p := range people {
		numbers = binary.BigEndian.AppendUint32(numbers, p.number)
	}
	steps += fmt.Sprintf("order %x\n", numbers)
	ground := strings.Join(lines[:8], "\n") + "\n"
	if fmt.Sprintf("order %x", gm.SM3([]byte(ground), numbers)) != lines[8] || lines[0] != "qiong room record v1" || lines[9] != "" {
		return "", fmt.Errorf("not the order of the record")
	}
	return steps, nil
}

// treeOf is the root of RFC 9162, section 2.1.1, over hashes of leaves.
func treeOf(leaves [][]byte) []byte {
	switch len(leaves) {
	case 0:
		sum := gm.SM3(nil)
		return sum[:]
	case 1:
		return leaves[0]
	}
	k := 1
	for 2*k < len(leaves) {
		k *= 2
	}
	sum := gm.SM3([]byte{1}, treeOf(leaves[:k]), treeOf(leaves[k:]))
	return sum[:]
}
