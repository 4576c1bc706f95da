package tlog

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/merkle"
	"github.com/qiongdev/qiong/kit/receipt"
	"github.com/qiongdev/qiong/kit/sqldb"
)

// maxWait is how long a request may wait for news; maxNews is how many notes one answer holds.
const (
	maxWait = 25 * time.Second
	maxNews = 256
)

// Handler serves the log as C2SP tlog-tiles has it, so that a mirror or a monitor is a loop over GET: checkpoint,
// tile/<level>/…, tile/entries/…; and notes?after=SIZE&wait=SECONDS, the notes of later checkpoints one after the
// other, each behind a line with its length, for who follows closely. refuse, where not nil, answers errors.
func (l *Log) Handler(refuse func(w http.ResponseWriter, r *http.Request, err error)) http.Handler {
	if refuse == nil {
		refuse = func(w http.ResponseWriter, _ *http.Request, err error) {
			e := errs.As(err)
			http.Error(w, e.Error(), e.Kind.HTTP())
		}
	}
	serve := func(f func(r *http.Request) (body []byte, cache string, err error)) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			body, cache, err := f(r)
			if err != nil {
				refuse(w, r, err)
				return
			}
			w.Header().Set("Cache-Control", cache)
			w.Header().Set("Content-Length", strconv.Itoa(len(body)))
			_, _ = w.Write(body) // the client has gone
		}
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /checkpoint", serve(l.serveCheckpoint))
	mux.HandleFunc("GET /notes", serve(l.serveNotes))
	mux.HandleFunc("GET /tile/", serve(l.serveTile))
	return mux
}

// Tiles never change, a partial one is that of its size.
const immutable = "public, max-age=31536000, immutable"

func (l *Log) serveCheckpoint(r *http.Request) ([]byte, string, error) {
	n, err := l.Newest(r.Context())
	if err != nil {
		return nil, "", err
	}
	body, err := n.Marshal()
	return body, "no-cache", err
}

// Newest returns the note of the newest checkpoint that is cosigned.
func (l *Log) Newest(ctx context.Context) (*receipt.Note, error) {
	size, err := sqldb.Value[int64](ctx, l.db, "SELECT COALESCE(max(size), 0) FROM log_cosignature")
	if err != nil {
		return nil, err
	}
	return l.Note(ctx, uint64(size))
}

func (l *Log) serveTile(r *http.Request) ([]byte, string, error) {
	path := strings.TrimPrefix(r.URL.Path, "/")
	if strings.HasPrefix(path, "tile/entries/") {
		b, err := merkle.ParseBundlePath(path)
		if err != nil {
			return nil, "", err
		}
		body, err := l.bundle(r.Context(), b)
		return body, immutable, err
	}
	t, err := merkle.ParseTilePath(path)
	if err != nil {
		return nil, "", err
	}
	if size := l.Last().Size >> (merkle.TileHeight * t.Level); t.Index > size/merkle.TileWidth || t.Index*merkle.TileWidth+uint64(t.Width) > size {
		return nil, "", missing()
	}
	body, err := readTile(r.Context(), l.db, t)
	return body, immutable, err
}

func (l *Log) bundle(ctx context.Context, b merkle.Bundle) (body []byte, err error) {
	if size := l.Last().Size; b.Index > size/merkle.TileWidth || b.Index*merkle.TileWidth+uint64(b.Width) > size {
		return nil, missing()
	}
	entries, err := l.Entries(ctx, b.Index*merkle.TileWidth, b.Width)
	if err == nil && len(entries) != b.Width {
		err = missing() // expired, or worse: that is for Check to tell
	}
	for _, e := range entries {
		if err == nil {
			body, err = merkle.AppendEntry(body, e.Data)
		}
	}
	return body, err
}

func (l *Log) serveNotes(r *http.Request) ([]byte, string, error) {
	after, err := number(r, "after")
	if err != nil {
		return nil, "", err
	}
	wait, err := number(r, "wait")
	if err != nil {
		return nil, "", err
	}
	ctx, cancel := context.WithTimeout(r.Context(), min(time.Duration(min(wait, 3600))*time.Second, maxWait))
	defer cancel()
	for {
		signed := l.signed.Wait()
		notes, err := l.notes(r.Context(), after)
		if err != nil || len(notes) > 0 {
			return notes, "no-store", err
		}
		select {
		case <-signed:
		case <-ctx.Done():
			return nil, "no-store", nil
		}
	}
}

// number reads a parameter that is a number of at most 19 digits; 0 where it is absent.
func number(r *http.Request, name string) (uint64, error) {
	text := r.URL.Query().Get(name)
	if text == "" {
		return 0, nil
	}
	n, err := strconv.ParseUint(text, 10, 63)
	if err != nil {
		return 0, errs.New(errs.Invalid, "参数须为非负整数", "the parameter must be a number from 0 up").WithField(name)
	}
	return n, nil
}

// notes returns the notes of the next checkpoints beyond size that have a cosignature.
func (l *Log) notes(ctx context.Context, size uint64) (body []byte, err error) {
	sizes, err := sqldb.All(ctx, l.db, func(s sqldb.Scanner) (n int64, err error) { return n, s.Scan(&n) },
		"SELECT DISTINCT size FROM log_cosignature WHERE size > $1 ORDER BY size LIMIT $2", int64(size), maxNews)
	for _, n := range sizes {
		note, err := l.Note(ctx, uint64(n))
		if err != nil {
			return nil, err
		}
		text, err := note.Marshal()
		if err != nil {
			return nil, err
		}
		body = fmt.Appendf(body, "%d\n%s", len(text), text)
	}
	return body, err
}
