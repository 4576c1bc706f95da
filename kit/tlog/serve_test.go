package tlog

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/qiongdev/qiong/kit/merkle"
	"github.com/qiongdev/qiong/kit/sqldb"
)

func TestHandler(t *testing.T) {
	s := serve(t)
	h := s.log.Handler(nil)
	ask := func(path string) *httptest.ResponseRecorder {
		rec := httptest.NewRecorder()
		h.ServeHTTP(rec, httptest.NewRequestWithContext(t.Context(), "GET", path, nil))
		return rec
	}
	if rec := ask("/checkpoint"); rec.Code != 404 && rec.Code != 503 {
		t.Errorf("an empty log: %d %s", rec.Code, rec.Body)
	}
	s.grow(t, 600)
	for path, want := range map[string]struct {
		status int
		cache  string
		length int
	}{
		"/checkpoint":                  {200, "no-cache", -1},
		"/tile/0/000":                  {200, immutable, 256 * 32},
		"/tile/0/002.p/88":             {200, immutable, 88 * 32},
		"/tile/0/002.p/1":              {200, immutable, 32},
		"/tile/0/000.p/7":              {200, immutable, 7 * 32}, // a full tile has every partial one
		"/tile/1/000.p/2":              {200, immutable, 64},
		"/tile/0/002.p/89":             {404, "", 0}, // not there yet
		"/tile/0/002":                  {404, "", 0},
		"/tile/0/003":                  {404, "", 0},
		"/tile/1/000.p/3":              {404, "", 0},
		"/tile/2/000.p/1":              {404, "", 0},
		"/tile/entries/000":            {200, immutable, -1},
		"/tile/entries/002.p/88":       {200, immutable, -1},
		"/tile/entries/002.p/89":       {404, "", 0},
		"/tile/entries/x001/000":       {404, "", 0},
		"/tile/0/0":                    {400, "", 0},
		"/tile/0/000.p/0":              {400, "", 0},
		"/tile/0/000.p/256":            {400, "", 0},
		"/tile/8/000":                  {400, "", 0},
		"/tile/-1/000":                 {400, "", 0},
		"/tile/0/x000/000":             {400, "", 0},
		"/tile/entries/":               {400, "", 0},
		"/tile/0/999999999999999999":   {400, "", 0},
		"/notes":                       {200, "no-store", -1},
		"/notes?after=600":             {200, "no-store", 0},
		"/notes?after=x":               {400, "", 0},
		"/notes?after=-1":              {400, "", 0},
		"/notes?after=600&wait=1e9":    {400, "", 0},
		"/notes?after=999999999999999": {200, "no-store", 0},
		"/":                            {404, "", 0},
	} {
		rec := ask(path)
		if rec.Code != want.status || rec.Header().Get("Cache-Control") != want.cache && want.status == 200 ||
			want.status == 200 && want.length >= 0 && rec.Body.Len() != want.length {
			t.Errorf("%s: %d, %q, %d bytes; want %+v", path, rec.Code, rec.Header().Get("Cache-Control"), rec.Body.Len(), want)
		}
	}
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, httptest.NewRequestWithContext(t.Context(), "POST", "/checkpoint", nil))
	if rec.Code != 405 {
		t.Errorf("POST: %d", rec.Code)
	}
	entries, err := merkle.ParseBundle(ask("/tile/entries/002.p/88").Body.Bytes(), 88)
	if err != nil || string(entries[87]) != "entry 599" {
		t.Errorf("the last bundle: %v", err)
	}
}

// Errors go where the owner of the handler wants them.
func TestHandlerRefuses(t *testing.T) {
	s := serve(t)
	var told error
	h := s.log.Handler(func(w http.ResponseWriter, _ *http.Request, err error) { told = err; w.WriteHeader(418) })
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, httptest.NewRequestWithContext(t.Context(), "GET", "/tile/x", nil))
	if rec.Code != 418 || told == nil {
		t.Error(rec.Code, told)
	}
}

// Who waits is answered when something is signed; who leaves keeps nothing waiting; and nobody waits for ever.
func TestWaitingForNotes(t *testing.T) {
	s := serve(t)
	s.grow(t, 1)
	h := s.log.Handler(nil)
	ask := func(ctx context.Context, query string) *httptest.ResponseRecorder {
		rec := httptest.NewRecorder()
		h.ServeHTTP(rec, httptest.NewRequestWithContext(ctx, "GET", "/notes?"+query, nil))
		return rec
	}
	const waiters = 20
	var wg sync.WaitGroup
	answers := make(chan string, waiters)
	for range waiters {
		wg.Go(func() { answers <- ask(t.Context(), "after=1&wait=25").Body.String() })
	}
	ctx, leave := context.WithCancel(t.Context())
	gone := make(chan struct{})
	go func() {
		ask(ctx, "after=5&wait=25")
		close(gone)
	}()
	leave()
	<-gone
	s.grow(t, 1)
	wg.Wait()
	for range waiters {
		if notes, err := ParseNotes([]byte(<-answers)); err != nil || len(notes) != 1 || notes[0].Checkpoint.Size != 2 {
			t.Errorf("%v, %v", notes, err)
		}
	}
}

// news is what waiting stands on: nobody who asked before a Tell is forgotten.
func TestNews(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n news
		n.Tell() // nobody waits
		var wg sync.WaitGroup
		for range 10 {
			told := n.Wait()
			wg.Go(func() { <-told })
		}
		n.Tell()
		wg.Wait()
		select {
		case <-n.Wait():
			t.Error("old news is told again")
		case <-time.After(time.Hour):
		}
	})
}

// Readers of all kinds beside a log that grows see one consistent log.
func TestReadersBesideAWriter(t *testing.T) {
	s := serve(t)
	s.grow(t, 10)
	m := s.mirror(t, Seen{})
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		defer close(done)
		for i := range 40 {
			s.grow(t, 1+i%17)
		}
	})
	wg.Go(func() {
		for open := true; open; {
			select {
			case <-done:
				open = false
			default:
			}
			if _, err := m.Next(t.Context(), 0); err != nil {
				t.Error(err)
				return
			}
		}
	})
	wg.Go(func() {
		for open := true; open; {
			select {
			case <-done:
				open = false
			default:
			}
			if err := s.log.Check(t.Context(), nil); err != nil {
				t.Error(err)
				return
			}
		}
	})
	wg.Wait()
	if _, notes := drain(t, m); m.seen.Size() != s.log.Last().Size {
		t.Error(fmt.Sprint(notes, m.seen.Size()))
	}
}

// Expired entries are gone for readers; their hashes are not, and what follows is still proved.
func TestExpiredEntries(t *testing.T) {
	s := serve(t)
	s.grow(t, 700)
	for {
		var n int64
		err := s.db.Write(t.Context(), sqldb.Relaxed, func(tx *sqldb.Tx) (err error) {
			n, err = s.log.Expire(t.Context(), tx, 300, 100)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		if n == 0 {
			break
		}
	}
	if err := s.log.CheckFrom(t.Context(), 300, nil); err != nil {
		t.Error(err)
	}
	err := s.log.Check(t.Context(), nil)
	if wantCode(t, err, CodeBroken); !strings.Contains(err.Error(), "lacks entry 0") {
		t.Error(err)
	}
	err = s.log.CheckFrom(t.Context(), 299, nil)
	if wantCode(t, err, CodeBroken); !strings.Contains(err.Error(), "lacks entry 299") {
		t.Error(err)
	}
	if _, err := s.client(t).Entries(t.Context(), 0, 700); err == nil {
		t.Error("what has expired is served")
	}
	if e, err := s.client(t).Entries(t.Context(), 512, 700); err != nil || string(e[0]) != "entry 512" {
		t.Error(err)
	}
	if open(t, s.db).Last() != s.log.Last() {
		t.Error("the log can't be opened again")
	}
}
