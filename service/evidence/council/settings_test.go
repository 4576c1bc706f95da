package council

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	cmtcfg "github.com/cometbft/cometbft/config"
)

// A node that was killed while a database was being made starts again; one that has lost the name of what is in it does not
// lose the rest too.
func TestADatabaseHalfMade(t *testing.T) {
	for name, test := range map[string]struct {
		write bool     // whether something was in it
		gone  []string // what is not there when it is opened again
		left  map[string]string
		opens bool
	}{
		"whole":                {write: true, opens: true},
		"no name yet":          {gone: []string{"CURRENT", "*.log"}, opens: true},
		"half a name":          {gone: []string{"CURRENT", "*.log"}, left: map[string]string{"CURRENT.0": "MAN"}, opens: true},
		"half a manifest":      {gone: []string{"CURRENT", "*.log"}, left: map[string]string{"MANIFEST-000000": "x"}, opens: true},
		"nothing but the lock": {gone: []string{"CURRENT", "*.log", "MANIFEST*"}, opens: true},
		"its name lost":        {write: true, gone: []string{"CURRENT"}},
		"its newest part lost": {write: true, gone: []string{"CURRENT", "*.log"}},
	} {
		t.Run(name, func(t *testing.T) {
			c := &Config{Home: &Home{dir: t.TempDir()}}
			at := &cmtcfg.DBContext{ID: "evidence"}
			dir := filepath.Join(c.Home.dir, dataFolder, "evidence.db")
			rounds := 1
			if test.write {
				rounds = 3 // from the second on there is a table
			}
			for range rounds {
				db, err := c.database(at)
				if err != nil {
					t.Fatal(err)
				}
				if test.write {
					if err := db.SetSync([]byte("key"), []byte("value")); err != nil {
						t.Fatal(err)
					}
				}
				if err := db.Close(); err != nil {
					t.Fatal(err)
				}
			}
			for _, pattern := range test.gone {
				names, _ := filepath.Glob(filepath.Join(dir, pattern)) // the patterns are good
				for _, n := range names {
					if err := os.Remove(n); err != nil {
						t.Fatal(err)
					}
				}
			}
			for n, text := range test.left {
				if err := os.WriteFile(filepath.Join(dir, n), []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			before, _ := filepath.Glob(filepath.Join(dir, "*.ldb"))
			db, err := c.database(at)
			if (err == nil) != test.opens {
				t.Fatalf("it opens: %t, %v", err == nil, err)
			}
			if err != nil {
				if after, _ := filepath.Glob(filepath.Join(dir, "*.ldb")); len(before) == 0 || !slices.Equal(before, after) {
					t.Errorf("%v became %v", before, after)
				}
				return
			}
			value, err := db.Get([]byte("key"))
			if err != nil || (string(value) == "value") != test.write {
				t.Errorf("it holds %q, %v", value, err)
			}
			if err := db.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}
