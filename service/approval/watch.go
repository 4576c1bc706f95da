package approval

import (
	"context"
	"net/http"
	"sync"

	"github.com/qiongdev/qiong/kit/auth"
	"github.com/qiongdev/qiong/kit/httpapi"
	"github.com/qiongdev/qiong/kit/lang"
)

// watchers are the streams open now, by case. They are told that something changed, and read what it is: a slow one
// misses steps in between, never the last.
type watchers struct {
	mu     sync.Mutex
	byCase map[string]map[chan struct{}]bool
}

func (w *watchers) watch(id string) (news <-chan struct{}, stop func()) {
	ch := make(chan struct{}, 1)
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.byCase[id] == nil {
		w.byCase[id] = map[chan struct{}]bool{}
	}
	w.byCase[id][ch] = true
	return ch, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		delete(w.byCase[id], ch)
		if len(w.byCase[id]) == 0 {
			delete(w.byCase, id)
		}
	}
}

func (w *watchers) tell(id string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for ch := range w.byCase[id] {
		select {
		case ch <- struct{}{}:
		default:
		}
	}
}

// stream sends a case whenever it changes, until it has ended. The event id is the revision of what is shown, so that a
// client that comes back is sent only what is new.
func (a *Approval) stream(w http.ResponseWriter, r *http.Request) error {
	id, p := r.PathValue("id"), auth.From(r.Context())
	if _, _, _, err := a.load(r.Context(), p, id); err != nil {
		return err
	}
	l := lang.FromAccept(r.Header.Get("Accept-Language"))
	seen := httpapi.LastEventID(r)
	return httpapi.Stream(w, r, func(ctx context.Context, send httpapi.SendFunc) error {
		news, stop := a.watchers.watch(id)
		defer stop()
		for {
			c, m, in, err := a.load(ctx, p, id)
			if err != nil {
				return err
			}
			if rev := revision(c, in); rev != seen {
				if err := send(rev, "case", view(c, m, in, l)); err != nil {
					return nil // the client is gone
				}
				seen = rev
			}
			if c.Status != Draft && c.Status != Processing {
				return nil
			}
			select {
			case <-news:
			case <-ctx.Done():
				return nil
			}
		}
	})
}
