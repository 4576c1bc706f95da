package tlog

import (
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/qiongdev/qiong/kit/receipt"
	"github.com/qiongdev/qiong/kit/sqldb"
	"github.com/qiongdev/qiong/kit/sqldb/sqldbtest"
)

// served is a log of one operator on a server that can be told to lie.
type served struct {
	db       sqldb.DB
	log      *Log
	operator *receipt.Signer
	trust    *receipt.Trust
	url      string
	n        int // entries so far

	mu  sync.Mutex
	lie func(w http.ResponseWriter, r *http.Request, truth http.Handler) // nil for the truth
}

func serve(t *testing.T) *served {
	t.Helper()
	s := &served{db: sqldbtest.SQLite(t)}
	s.log = open(t, s.db)
	var key receipt.Key
	s.operator, key = signer(t, "operator")
	key.Role = receipt.Operator
	var err error
	if s.trust, err = receipt.NewTrust([]receipt.Key{key}); err != nil {
		t.Fatal(err)
	}
	truth := s.log.Handler(nil)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		lie := s.lie
		s.mu.Unlock()
		if lie != nil {
			lie(w, r, truth)
			return
		}
		truth.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	s.url = server.URL
	return s
}

// grow appends n entries and cosigns.
func (s *served) grow(t *testing.T, n int) {
	t.Helper()
	c, err := s.log.Append(t.Context(), time.UnixMilli(0), entries(s.n, n), nil)
	if err != nil {
		t.Fatal(err)
	}
	s.n += n
	cosign(t, s.db, s.log, s.operator, c.Size)
}

func (s *served) tell(lie func(w http.ResponseWriter, r *http.Request, truth http.Handler)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lie = lie
}

// another has the server show another log of the same operator.
func (s *served) another(other *Log) {
	h := other.Handler(nil)
	s.tell(func(w http.ResponseWriter, r *http.Request, _ http.Handler) { h.ServeHTTP(w, r) })
}

func (s *served) client(t *testing.T) *Client {
	t.Helper()
	c, err := NewClient(s.url, &http.Transport{DisableKeepAlives: true})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func (s *served) mirror(t *testing.T, from Seen) *Mirror {
	t.Helper()
	return NewMirror(s.client(t), s.trust, origin, from)
}

// fork returns a log of the same operator whose entries differ from number at on.
func (s *served) fork(t *testing.T, at, n int) *Log {
	t.Helper()
	db := sqldbtest.SQLite(t)
	l := open(t, db)
	all := entries(0, n)
	for i := at; i < n; i++ {
		all[i].Data = append([]byte("another "), all[i].Data...)
	}
	c, err := l.Append(t.Context(), time.UnixMilli(0), all, nil)
	if err != nil {
		t.Fatal(err)
	}
	cosign(t, db, l, s.operator, c.Size)
	return l
}
