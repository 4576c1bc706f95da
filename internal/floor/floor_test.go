package floor

import (
	"bufio"
	"fmt"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/qiongdev/qiong"

// pkg is a package of the tree.
type pkg struct {
	dir     string
	doc     string
	imports map[string]bool // of its non-test files
	tests   map[string]bool // of its test files
}

// root is the folder of the module.
func root(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// floors reads FLOORS.
func floors(t *testing.T) map[string]int {
	t.Helper()
	f, err := os.Open(filepath.Join(root(t), "FLOORS"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	all := map[string]int{}
	for lines, n := bufio.NewScanner(f), 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		words := strings.Fields(line)
		floor, err := strconv.Atoi(words[0])
		if err != nil || len(words) < 3 {
			t.Errorf("FLOORS:%d: want floor, folder, caption", n)
			continue
		}
		if _, twice := all[words[1]]; twice {
			t.Errorf("FLOORS:%d: %s stands twice", n, words[1])
		}
		all[words[1]] = floor
	}
	return all
}

// tree parses every package of the module.
func tree(t *testing.T) map[string]*pkg {
	t.Helper()
	all := map[string]*pkg{}
	err := filepath.WalkDir(root(t), func(file string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root(t), file)
		if err != nil {
			return err
		}
		if d.IsDir() {
			if rel != "." && (strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata" || otherModule(file)) {
				return filepath.SkipDir
			}
			return nil
		}
		if filepath.Ext(file) != ".go" {
			return nil
		}
		return read(all, file, path.Dir(filepath.ToSlash(rel)))
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// otherModule reports whether dir, which is not the root, is a module of its own.
func otherModule(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, "go.mod"))
	return err == nil
}

func read(all map[string]*pkg, file, dir string) error {
	parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly|parser.ParseComments)
	if err != nil {
		return err
	}
	p := all[dir]
	if p == nil {
		p = &pkg{dir: dir, imports: map[string]bool{}, tests: map[string]bool{}}
		all[dir] = p
	}
	into := p.imports
	if strings.HasSuffix(file, "_test.go") {
		into = p.tests
	} else if parsed.Doc != nil {
		p.doc = parsed.Doc.Text()
	}
	for _, i := range parsed.Imports {
		name, err := strconv.Unquote(i.Path.Value)
		if err != nil {
			return err
		}
		into[name] = true
	}
	return nil
}

// local returns the folder of an import of this module.
func local(name string) (string, bool) {
	if name == module {
		return ".", true
	}
	return strings.CutPrefix(name, module+"/")
}

func TestFloorsListsEveryPackage(t *testing.T) {
	law, have := floors(t), tree(t)
	for dir := range have {
		if _, ok := law[dir]; !ok {
			t.Errorf("FLOORS does not list %s", dir)
		}
	}
	for dir := range law {
		if have[dir] == nil {
			t.Errorf("FLOORS lists %s, which is not there", dir)
		}
	}
}

func TestImportsGoDownward(t *testing.T) {
	law := floors(t)
	for dir, p := range tree(t) {
		for name := range p.imports {
			to, ok := local(name)
			if !ok {
				continue
			}
			switch {
			case law[to] > law[dir]:
				t.Errorf("%s (floor %d) imports %s (floor %d): imports go downward", dir, law[dir], to, law[to])
			case strings.HasPrefix(dir, "service/") && strings.HasPrefix(to, "service/") && room(dir) != room(to):
				t.Errorf("%s imports its sibling %s: services meet in the house only", dir, to)
			}
		}
	}
}

// room is the service a folder belongs to.
func room(dir string) string {
	parts := strings.SplitN(dir, "/", 3)
	return strings.Join(parts[:2], "/")
}

func TestEveryPackageSaysWhatItPromises(t *testing.T) {
	for dir, p := range tree(t) {
		if len(p.imports) == 0 && p.doc == "" && dir != "." && onlyTests(p) {
			continue
		}
		if !strings.HasPrefix(p.doc, "Package ") && !strings.HasPrefix(p.doc, "Command ") {
			t.Errorf("%s has no package comment", dir)
		}
	}
}

func onlyTests(p *pkg) bool { return len(p.tests) > 0 && len(p.imports) == 0 }

// Adapters are chosen by assembly, and by tests.
func TestAdaptersAreImportedByAssemblyAlone(t *testing.T) {
	adapters := []string{"kit/sqldb/sqlite", "kit/sqldb/postgres", "kit/table/mysql", "kit/table/postgres"}
	may := []string{"cmd/qiong", "house", "kit/sqldb/sqldbtest", "kit/table/tabletest", "house/qiongtest"}
	for dir, p := range tree(t) {
		for name := range p.imports {
			if to, ok := local(name); ok && slices.Contains(adapters, to) && !slices.Contains(may, dir) {
				t.Errorf("%s imports the adapter %s", dir, to)
			}
		}
	}
}

// Floor 0 is words: no network, no files, no clock.
func TestFloorZeroIsPure(t *testing.T) {
	banned := []string{"net", "net/http", "os", "os/exec", "database/sql", "syscall", "log/slog"}
	law := floors(t)
	for dir, p := range tree(t) {
		if law[dir] != 0 || dir == "internal/floor" {
			continue
		}
		for _, name := range banned {
			if p.imports[name] {
				t.Errorf("%s is on floor 0 and imports %s", dir, name)
			}
		}
	}
}

// What the offline verifier of receipts imports must stay small, and but for reading files pure.
func TestWhatTheVerifierMayImport(t *testing.T) {
	have := tree(t)
	may := map[string]bool{"kit/gm": true, "kit/gm/internal/point": true,
		"kit/errs": true, "kit/lang": true, "kit/beijing": true, "kit/merkle": true, "kit/receipt": true,
		"tool/receipt/verifier": true, "cmd/qiong-verify": true}
	for dir := range may {
		p := have[dir]
		if p == nil {
			t.Errorf("%s is not there", dir)
			continue
		}
		for name := range p.imports {
			if to, ok := local(name); ok && !may[to] {
				t.Errorf("%s, which the verifier imports, imports %s", dir, to)
			}
			if strings.Contains(name, "cometbft") || name == "net" || strings.HasPrefix(name, "net/") {
				t.Errorf("%s, which the verifier imports, imports %s", dir, name)
			}
		}
	}
}

// CometBFT stays behind one door: it panics where it cannot go on, and is large.
func TestCometBFTIsImportedByTheCouncilAlone(t *testing.T) {
	const door = "service/evidence/council"
	found := false
	for dir, p := range tree(t) {
		for name := range p.imports {
			if !strings.HasPrefix(name, "github.com/cometbft/") {
				continue
			}
			if found = found || dir == door; dir != door {
				t.Errorf("%s imports %s: only %s may", dir, name, door)
			}
		}
	}
	if !found {
		t.Errorf("%s does not import CometBFT: has it moved?", door)
	}
}

func TestGoMod(t *testing.T) {
	data, err := os.ReadFile(filepath.Join(root(t), "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	text := string(data)
	if strings.Contains(text, "\nreplace ") || strings.Contains(text, "\nreplace(") {
		t.Error("go.mod replaces a module: go install would not work")
	}
	if strings.Contains(text, "k8s.io/") {
		t.Error("the main module must not know Kubernetes")
	}
	sqlite := version(text, "modernc.org/sqlite")
	cache := os.Getenv("GOMODCACHE")
	if cache == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			t.Fatal(err)
		}
		cache = filepath.Join(home, "go", "pkg", "mod")
		if gopath := os.Getenv("GOPATH"); gopath != "" {
			cache = filepath.Join(gopath, "pkg", "mod")
		}
	}
	theirs, err := os.ReadFile(filepath.Join(cache, fmt.Sprintf("modernc.org/sqlite@%s", sqlite), "go.mod"))
	if err != nil {
		t.Fatalf("the go.mod of modernc.org/sqlite: %v", err)
	}
	if ours, want := version(text, "modernc.org/libc"), version(string(theirs), "modernc.org/libc"); ours != want {
		t.Errorf("modernc.org/libc is %s; modernc.org/sqlite %s was made with %s", ours, sqlite, want)
	}
}

// version returns the version that a go.mod requires of a module.
func version(gomod, name string) string {
	for line := range strings.Lines(gomod) {
		words := strings.Fields(strings.TrimPrefix(strings.TrimSpace(line), "require "))
		if len(words) >= 2 && words[0] == name {
			return words[1]
		}
	}
	return ""
}
