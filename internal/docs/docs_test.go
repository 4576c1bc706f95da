package docs

import (
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// page is what two languages of a document must have in common, and what may not be in it.
type page struct {
	file     string
	headings []int    // levels, in order
	titles   []string // of the headings
	code     []string // fenced blocks with their language, but for text and output
	rows     int      // of tables
	links    []string // targets
	words    string   // everything outside fenced blocks
}

// pages lists the Chinese documents by their path without ".md".
func pages(t *testing.T) []string {
	t.Helper()
	all := []string{"../../README"}
	err := filepath.WalkDir("../../doc", func(path string, d fs.DirEntry, err error) error {
		if err == nil && strings.HasSuffix(path, ".md") && !strings.HasSuffix(path, ".en.md") {
			all = append(all, strings.TrimSuffix(path, ".md"))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

var link = regexp.MustCompile(`\]\(([^)\s]+)\)`)

// read parses the few parts of Markdown that matter here.
func read(file string) (*page, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	return parse(file, string(data))
}

func parse(file, text string) (*page, error) {
	p := &page{file: file}
	var block, fence string
	var words strings.Builder
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\r\n")
		switch trimmed := strings.TrimSpace(line); {
		case fence == "" && strings.HasPrefix(trimmed, "```"):
			fence, block = "```", trimmed+"\n"
		case fence != "" && trimmed == fence:
			if lang := strings.TrimPrefix(strings.SplitN(block, "\n", 2)[0], "```"); lang != "text" && lang != "output" {
				p.code = append(p.code, block)
			}
			fence = ""
		case fence != "":
			block += line + "\n"
		default:
			p.line(trimmed)
			words.WriteString(line + "\n")
		}
	}
	if fence != "" {
		return nil, fmt.Errorf("%s: a code block is not closed", file)
	}
	p.words = words.String()
	for _, m := range link.FindAllStringSubmatch(p.words, -1) {
		p.links = append(p.links, m[1])
	}
	return p, nil
}

// line counts a line that is not in a code block.
func (p *page) line(text string) {
	if strings.HasPrefix(text, "|") {
		p.rows++
	}
	if title := strings.TrimLeft(text, "#"); title != text && strings.HasPrefix(title, " ") {
		p.headings = append(p.headings, len(text)-len(title))
		p.titles = append(p.titles, strings.TrimSpace(title))
	}
}

func TestBothLanguagesSayTheSame(t *testing.T) {
	for _, name := range pages(t) {
		zh, err := read(name + ".md")
		if err != nil {
			t.Fatal(err)
		}
		en, err := read(name + ".en.md")
		if err != nil {
			t.Errorf("%s.md has no English page beside it: %v", name, err)
			continue
		}
		for _, d := range differences(zh, en) {
			t.Errorf("%s: %s", name, d)
		}
	}
}

// differences lists what two pages do not have in common.
func differences(zh, en *page) (all []string) {
	if !slices.Equal(zh.headings, en.headings) {
		all = append(all, fmt.Sprintf("levels of headings: %v; in English %v", zh.headings, en.headings))
	}
	if zh.rows != en.rows {
		all = append(all, fmt.Sprintf("rows of tables: %d; in English %d", zh.rows, en.rows))
	}
	if len(zh.code) != len(en.code) {
		return append(all, fmt.Sprintf("code blocks: %d; in English %d", len(zh.code), len(en.code)))
	}
	for i := range zh.code {
		if zh.code[i] != en.code[i] {
			all = append(all, fmt.Sprintf("code block %d differs:\n%s\nin English:\n%s", i+1, zh.code[i], en.code[i]))
		}
	}
	return all
}

func TestNoEnglishPageStandsAlone(t *testing.T) {
	err := filepath.WalkDir("../../doc", func(path string, d fs.DirEntry, err error) error {
		if name, ok := strings.CutSuffix(path, ".en.md"); ok {
			if _, err := os.Stat(name + ".md"); err != nil {
				t.Errorf("%s has no Chinese page beside it", path)
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// each runs check on every page of both languages.
func each(t *testing.T, check func(p *page)) {
	for _, name := range pages(t) {
		for _, file := range []string{name + ".md", name + ".en.md"} {
			if p, err := read(file); err == nil { // absent ones are told of elsewhere
				check(p)
			}
		}
	}
}

func TestLinksResolve(t *testing.T) {
	each(t, func(p *page) {
		for _, target := range p.links {
			u, err := url.Parse(target)
			if err != nil {
				t.Errorf("%s: link %s: %v", p.file, target, err)
				continue
			}
			if u.Scheme != "" || u.Path == "" {
				continue
			}
			if _, err := os.Stat(filepath.Join(filepath.Dir(p.file), u.Path)); err != nil {
				t.Errorf("%s: link %s leads nowhere", p.file, target)
			}
		}
	})
}

// A link from a page leads to pages of the same language, but for the one to its other language.
func TestLinksKeepTheLanguage(t *testing.T) {
	each(t, func(p *page) {
		english := strings.HasSuffix(p.file, ".en.md")
		other := strings.TrimSuffix(filepath.Base(p.file), ".md") + ".en.md"
		if english {
			other = strings.TrimSuffix(filepath.Base(p.file), ".en.md") + ".md"
		}
		for _, target := range p.links {
			path, _, _ := strings.Cut(target, "#")
			if strings.HasSuffix(path, ".md") && path != other && !strings.Contains(path, "://") && strings.HasSuffix(path, ".en.md") != english {
				t.Errorf("%s: %s is in the other language", p.file, target)
			}
		}
	})
}

// Go code in a document names its file, "```go house/example_test.go", and stands there word for word, so that it builds.
func TestGoCodeIsQuoted(t *testing.T) {
	each(t, func(p *page) {
		for _, block := range p.code {
			info, code, _ := strings.Cut(block, "\n")
			file, ok := strings.CutPrefix(info, "```go")
			if !ok {
				continue
			}
			source, err := os.ReadFile(filepath.Join("../..", strings.TrimSpace(file)))
			if err != nil || file == "" || !strings.Contains(string(source), code) {
				t.Errorf("%s: this does not stand in the file %q (%v):\n%s", p.file, file, err, code)
			}
		}
	})
}

// A document is for every machine, not the one it was written on.
func TestNoPathOfOneMachine(t *testing.T) {
	private := regexp.MustCompile(`(^|[\s"'(=:])/(home|root|Users|work|tmp|mnt|opt/build)/`)
	for _, name := range pages(t) {
		for _, file := range []string{name + ".md", name + ".en.md"} {
			data, err := os.ReadFile(file)
			if err != nil {
				continue // told of elsewhere
			}
			if at := private.Find(data); at != nil {
				t.Errorf("%s holds the path %q", file, at)
			}
		}
	}
}

// The README is read first, and whole.
func TestReadmeIsShort(t *testing.T) {
	for _, file := range []string{"../../README.md", "../../README.en.md"} {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if n := strings.Count(string(data), "\n"); n > 150 {
			t.Errorf("%s has %d lines; it must not have more than 150", file, n)
		}
	}
}

func TestDifferencesAreSeen(t *testing.T) {
	const whole = "# A\n\n```sh\ntrue\n```\n\n```text\nsaid\n```\n\n| a |\n|---|\n\n## B\n"
	same, err := parse("x", strings.NewReplacer("said", "gesagt", "# A", "# 甲").Replace(whole))
	if err != nil {
		t.Fatal(err)
	}
	zh, err := parse("x", whole)
	if err != nil {
		t.Fatal(err)
	}
	if d := differences(zh, same); len(d) != 0 {
		t.Errorf("of two that are alike: %v", d)
	}
	for _, change := range [][2]string{{"## B", "### B"}, {"## B\n", ""}, {"true", "false"}, {"```sh", "```bash"}, {"| a |\n", ""}, {"```sh\ntrue\n```\n", ""}} {
		other, err := parse("x", strings.Replace(whole, change[0], change[1], 1))
		if err != nil {
			t.Fatal(err)
		}
		if d := differences(zh, other); len(d) == 0 {
			t.Errorf("%q for %q was not seen", change[1], change[0])
		}
	}
	if _, err := parse("x", "```\nopen"); err == nil {
		t.Error("an open code block was not seen")
	}
}
