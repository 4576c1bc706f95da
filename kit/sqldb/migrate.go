package sqldb

import (
	"context"
	"database/sql"
	"fmt"
	"io/fs"
	"strings"

	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/database"

	"github.com/qiongdev/qiong/kit/errs"
)

// Migrate is for engines: it runs the files of set that db's version table does not know yet. Tables that a newer program
// has changed are refused: what an older one wrote into them would be wrong.
func Migrate(ctx context.Context, db *sql.DB, d Dialect, set string, files fs.FS) error {
	other := map[Dialect]string{SQLite: ".postgres.sql", Postgres: ".sqlite.sql"}[d]
	dialect := map[Dialect]database.Dialect{SQLite: goose.DialectSQLite3, Postgres: goose.DialectPostgres}[d]
	p, err := goose.NewProvider(dialect, db, only{files, other},
		goose.WithTableName("schema_"+set), goose.WithDisableGlobalRegistry(true))
	if err != nil {
		return fmt.Errorf("migrations of %s: %w", set, err)
	}
	has, knows, err := p.GetVersions(ctx)
	if err != nil {
		return fmt.Errorf("version of %s: %w", set, err)
	}
	if has > knows {
		return errs.Newf(errs.Conflict, "数据表 %[1]s 为第 %[2]d 版，本程序只认识到第 %[3]d 版", "the tables %[1]s are of version %[2]d; this program knows up to %[3]d", set, has, knows).
			WithCode("sqldb.newer").WithHint("请使用写入该数据的或更新的程序版本；不支持降级", "use the program that wrote these data, or a newer one: there is no way back")
	}
	if _, err := p.Up(ctx); err != nil {
		return fmt.Errorf("migrate %s: %w", set, err)
	}
	return nil
}

// only hides the files whose name ends in the other engine's suffix.
type only struct {
	fs.FS
	hidden string
}

func (o only) ReadDir(name string) ([]fs.DirEntry, error) {
	all, err := fs.ReadDir(o.FS, name)
	var kept []fs.DirEntry
	for _, e := range all {
		if !strings.HasSuffix(e.Name(), o.hidden) {
			kept = append(kept, e)
		}
	}
	return kept, err
}

func (o only) Glob(pattern string) ([]string, error) {
	all, err := fs.Glob(o.FS, pattern)
	var kept []string
	for _, name := range all {
		if !strings.HasSuffix(name, o.hidden) {
			kept = append(kept, name)
		}
	}
	return kept, err
}

// Files returns the migrations that a package has embedded from its folder tables. It panics where there is no such
// folder, which is a defect found at once.
func Files(embedded fs.FS) fs.FS {
	files, err := fs.Sub(embedded, "tables")
	if err != nil {
		panic(err)
	}
	return files
}
