package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"unicode/utf8"

	"github.com/qiongdev/qiong/kit/han"
)

// rare stands among the lines of the text: characters of the extensions with codes of two and four bytes, transliterated
// names, an emoji.
const rare = "某䶮、某㛃、𠮷某、某𬭎、某堃、某喆，某某·某某；ＡＢ１２，～①②Ⅲ㎡「」『』😀\n"

// corpus returns about a megabyte of Chinese text: the lines of this project's own Chinese documents that are mostly
// Han, and every so often a line of rare characters.
func corpus(root string) ([]byte, error) {
	var files []string
	for _, pattern := range []string{"*.md", "doc/*.md", "doc/*/*.md"} {
		found, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil {
			return nil, err
		}
		files = append(files, found...)
	}
	var b strings.Builder
	lines := 0
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		for line := range strings.Lines(string(data)) {
			if !mostlyHan(line) {
				continue
			}
			b.WriteString(line)
			if lines++; lines%20 == 0 {
				b.WriteString(rare)
			}
		}
	}
	if b.Len() < 1<<14 {
		return nil, fmt.Errorf("only %d bytes of Chinese text under %s", b.Len(), root)
	}
	return []byte(strings.Repeat(b.String(), 1+(1<<20)/b.Len())), nil
}

func mostlyHan(line string) bool {
	count := 0
	for _, r := range line {
		if han.IsHan(r) {
			count++
		}
	}
	return 2*count > utf8.RuneCountInString(line)
}

// describe says what a text consists of.
func describe(text []byte) string {
	var ascii, two, three, four, runes int
	for _, r := range string(text) {
		runes++
		switch utf8.RuneLen(r) {
		case 1:
			ascii++
		case 2:
			two++
		case 3:
			three++
		case 4:
			four++
		}
	}
	share := func(n int) float64 { return 100 * float64(n) / float64(runes) }
	return fmt.Sprintf("%.2f MB of UTF-8; of its characters %.1f %% are ASCII, and %.2f %%, %.1f %% and %.2f %% have two, three and four bytes",
		float64(len(text))/1e6, share(ascii), share(two), share(three), share(four))
}
