// Package sqlite is the embedded engine of sqldb: one file, one writer that commits in groups, readers beside it.
//
// The file is in WAL mode. A durable group is committed with synchronous=FULL: the log is synced before anyone hears
// that the write is done. A group in which every write is relaxed is committed with synchronous=NORMAL, which leaves the
// sync to the next durable group or checkpoint; the log is a sequence, so nothing later can survive without it.
package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"

	"modernc.org/sqlite"
	lib "modernc.org/sqlite/lib"

	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/sqldb"
)

// maxGroup bounds how many writes share a commit, so that the first of them does not wait long.
const maxGroup = 256

// DB is a database in a file.
type DB struct {
	path    string
	readers *sql.DB
	reads   statements
	handle  *sql.DB // of the one writing connection
	writer  writer

	queue   chan *job
	stop    chan struct{}
	stopped chan struct{}
	closing sync.Once
	closed  sync.Once
	waiting atomic.Int64
	writes  atomic.Uint64
	commits atomic.Uint64
	failed  atomic.Uint64
}

var _ sqldb.DB = (*DB)(nil)

// Open opens the database at path, which it creates with mode 0600 where there is none; its folder must exist.
func Open(path string) (*DB, error) {
	if err := create(path); err != nil {
		return nil, err
	}
	ctx := context.Background()
	handle, err := sql.Open("sqlite", dsn(path, "journal_mode(WAL)", "synchronous(FULL)", "foreign_keys(1)",
		"busy_timeout(5000)", "temp_store(MEMORY)", "cache_size(-2000)", "wal_autocheckpoint(4000)", "journal_size_limit(67108864)",
		"secure_delete(FAST)")) // what is emptied in a row leaves nothing behind in its page
	if err != nil {
		return nil, err
	}
	handle.SetMaxOpenConns(1)
	conn, err := handle.Conn(ctx)
	if err != nil {
		handle.Close()
		return nil, fmt.Errorf("open %s: %w", filepath.Base(path), classify(err))
	}
	readers, err := sql.Open("sqlite", dsn(path, "query_only(1)", "busy_timeout(5000)", "temp_store(MEMORY)", "cache_size(-1000)"))
	if err != nil {
		handle.Close()
		return nil, err
	}
	n := max(4, runtime.NumCPU())
	readers.SetMaxOpenConns(n)
	readers.SetMaxIdleConns(n)
	db := &DB{
		path: path, readers: readers, handle: handle,
		reads:   statements{db: readers, byText: map[string]*sql.Stmt{}},
		writer:  writer{conn: conn, stmts: map[string]*sql.Stmt{}, full: true},
		queue:   make(chan *job, 4*maxGroup),
		stop:    make(chan struct{}),
		stopped: make(chan struct{}),
	}
	go db.run()
	return db, nil
}

func create(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("open database: %w", err)
	}
	return f.Close()
}

func dsn(path string, pragmas ...string) string {
	q := url.Values{"_pragma": pragmas}
	return (&url.URL{Scheme: "file", OmitHost: true, Path: filepath.ToSlash(path), RawQuery: q.Encode()}).String()
}

// Dialect implements sqldb.DB.
func (db *DB) Dialect() sqldb.Dialect { return sqldb.SQLite }

// Query implements sqldb.Querier.
func (db *DB) Query(ctx context.Context, query string, args ...any) (sqldb.Rows, error) {
	s, err := db.reads.stmt(query)
	if err != nil {
		return nil, classify(err)
	}
	r, err := s.QueryContext(ctx, args...)
	if err != nil {
		return nil, classify(err)
	}
	return rows{r}, nil
}

// QueryRow implements sqldb.Querier.
func (db *DB) QueryRow(ctx context.Context, query string, args ...any) sqldb.Scanner {
	s, err := db.reads.stmt(query)
	if err != nil {
		return failed{classify(err)}
	}
	return row{s.QueryRowContext(ctx, args...)}
}

// statements are the prepared statements of the readers, by their text. Texts are code, so there are few; at the bound
// all are dropped, and those in use close when their rows do.
type statements struct {
	db *sql.DB

	mu     sync.RWMutex
	byText map[string]*sql.Stmt
}

// maxStatements bounds how many are kept.
const maxStatements = 512

func (s *statements) close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return closeAll(s.byText)
}

// closeAll closes and forgets prepared statements. A connection with one open does not really close, and its log stays.
func closeAll(stmts map[string]*sql.Stmt) error {
	var all []error
	for _, s := range stmts {
		all = append(all, s.Close())
	}
	clear(stmts)
	return errors.Join(all...)
}

func (s *statements) stmt(query string) (*sql.Stmt, error) {
	s.mu.RLock()
	known := s.byText[query]
	s.mu.RUnlock()
	if known != nil {
		return known, nil
	}
	made, err := s.db.PrepareContext(context.Background(), query)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if known := s.byText[query]; known != nil {
		return known, made.Close()
	}
	if len(s.byText) >= maxStatements {
		_ = closeAll(s.byText) // they hold nothing to lose
	}
	s.byText[query] = made
	return made, nil
}

// Write implements sqldb.DB.
func (db *DB) Write(ctx context.Context, d sqldb.Durability, f func(*sqldb.Tx) error) error {
	return db.do(ctx, &job{do: f, relaxed: d == sqldb.Relaxed})
}

// Append implements sqldb.DB.
func (db *DB) Append(ctx context.Context, rows ...sqldb.Insert) error {
	return db.do(ctx, &job{do: func(tx *sqldb.Tx) error { return tx.Insert(context.Background(), rows...) }})
}

// Exec implements sqldb.DB.
func (db *DB) Exec(ctx context.Context, d sqldb.Durability, query string, args ...any) (affected int64, err error) {
	err = db.Write(ctx, d, func(tx *sqldb.Tx) error {
		affected, err = tx.Exec(ctx, query, args...)
		return err
	})
	return affected, err
}

// Migrate implements sqldb.DB. It must not run beside writes.
func (db *DB) Migrate(ctx context.Context, set string, files fs.FS) error {
	var err error
	writeErr := db.do(ctx, &job{alone: func() {
		// goose wants a pool: it gets one of its own while the writer stands still.
		own, openErr := sql.Open("sqlite", dsn(db.path, "journal_mode(WAL)", "synchronous(FULL)", "busy_timeout(5000)"))
		if openErr != nil {
			err = openErr
			return
		}
		defer own.Close()
		err = sqldb.Migrate(context.WithoutCancel(ctx), own, sqldb.SQLite, set, files)
	}})
	return errors.Join(classify(err), writeErr)
}

// Size implements sqldb.DB.
func (db *DB) Size(context.Context) (int64, error) {
	var total int64
	for _, suffix := range []string{"", "-wal"} {
		info, err := os.Stat(db.path + suffix)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return 0, err
		}
		total += info.Size()
	}
	return total, nil
}

// Stats implements sqldb.DB.
func (db *DB) Stats() sqldb.Stats {
	return sqldb.Stats{Writes: db.writes.Load(), Commits: db.commits.Load(), Failed: db.failed.Load(), Waiting: db.waiting.Load()}
}

// Close implements sqldb.DB.
func (db *DB) Close() error {
	db.closing.Do(func() { close(db.stop) })
	<-db.stopped
	var err error
	db.closed.Do(func() { err = errors.Join(db.reads.close(), db.readers.Close(), db.writer.close(), db.handle.Close()) })
	return err
}

type rows struct{ *sql.Rows }

func (r rows) Close()                 { _ = r.Rows.Close() } // Err has told already
func (r rows) Err() error             { return classify(r.Rows.Err()) }
func (r rows) Scan(dest ...any) error { return classify(r.Rows.Scan(dest...)) }

type row struct{ *sql.Row }

func (r row) Scan(dest ...any) error { return classify(r.Row.Scan(dest...)) }

// classify gives the engine's errors the kinds the house knows.
func classify(err error) error {
	var e *sqlite.Error
	switch {
	case err == nil:
		return nil
	case errors.Is(err, sql.ErrNoRows):
		return sqldb.ErrNoRows
	case errors.Is(err, sql.ErrConnDone):
		return sqldb.ErrClosed()
	case !errors.As(err, &e):
		return err
	}
	switch code := e.Code(); {
	case code == lib.SQLITE_CONSTRAINT_UNIQUE || code == lib.SQLITE_CONSTRAINT_PRIMARYKEY:
		return fmt.Errorf("%w: %w", sqldb.ErrUnique, err)
	case code == lib.SQLITE_FULL || code == lib.SQLITE_IOERR_WRITE || code == lib.SQLITE_IOERR_SHMSIZE:
		return errs.Wrap(err, errs.Full, "存储空间不足，数据未写入", "no storage left; nothing was written").
			WithHint("请清理磁盘或扩容后重试", "free or add disk space, then try again")
	case code == lib.SQLITE_BUSY:
		return errs.Wrap(err, errs.Unavailable, "数据库正被其他程序占用", "another program holds the database")
	case code == lib.SQLITE_CORRUPT || code == lib.SQLITE_NOTADB:
		return errs.Wrap(err, errs.Internal, "数据库文件已损坏", "the database file is damaged")
	case code == lib.SQLITE_CANTOPEN || code&0xff == lib.SQLITE_IOERR:
		return errs.Wrap(err, errs.Unavailable, "数据库文件无法读写", "the database file can't be read or written")
	}
	return err
}
