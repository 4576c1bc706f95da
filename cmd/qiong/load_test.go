package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/qiongdev/qiong/examples"
	"github.com/qiongdev/qiong/kit/client"
	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/tool/apply"
)

// load is applicants who submit, send again what was not answered, and sometimes take back.
type load struct {
	t    testing.TB
	as   *client.Client
	seed uint64
	stop chan struct{} // closed: no new cases
	work sync.WaitGroup

	mu       sync.Mutex
	accepted map[string]string // case by key, once its 2xx was seen
}

// newLoad begins the load of so many applicants, all of one account.
func newLoad(t testing.TB, as *client.Client, applicants int, seed uint64) *load {
	l := &load{t: t, as: as, seed: seed, stop: make(chan struct{}), accepted: map[string]string{}}
	for n := range applicants {
		l.work.Go(func() { l.applicant(n) })
	}
	return l
}

// end lets every applicant finish what is under way.
func (l *load) end() {
	close(l.stop)
	l.work.Wait()
}

// cases returns how many cases were accepted so far.
func (l *load) cases() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.accepted)
}

// applicant submits one case after another.
func (l *load) applicant(n int) {
	r := rand.New(rand.NewPCG(l.seed, uint64(n)))
	for i := 0; ; i++ {
		select {
		case <-l.stop:
			return
		case <-time.After(time.Duration(10+r.IntN(150)) * time.Millisecond): // people take their time
		}
		if err := l.one(r, fmt.Sprintf("applicant-%d-case-%d", n, i)); err != nil {
			l.t.Errorf("applicant %d, case %d: %v", n, i, err)
			return
		}
	}
}

// one brings in one case: at once or as a draft first; some are sent twice, some withdrawn, some to be refused.
func (l *load) one(r *rand.Rand, key string) error {
	form, err := application(key, r.IntN(10) == 0)
	if err != nil {
		return err
	}
	draft := r.IntN(5) == 0
	id, err := l.send(map[string]any{"matter": "open-enterprise", "form": form, "submit": !draft}, "/api/approval/cases", key)
	if err != nil {
		return err
	}
	if draft {
		if id, err = l.send(nil, "/api/approval/cases/"+id+"/submit", key+"-submit"); err != nil {
			return err
		}
	}
	l.mu.Lock()
	l.accepted[key] = id
	l.mu.Unlock()
	if r.IntN(8) == 0 && !draft {
		again, err := l.send(map[string]any{"matter": "open-enterprise", "form": form, "submit": true}, "/api/approval/cases", key)
		if err != nil || again != id {
			return errors.Join(err, fmt.Errorf("the key %s made the cases %s and %s", key, id, again))
		}
	}
	if r.IntN(4) == 0 {
		_, err = l.send(nil, "/api/approval/cases/"+id+"/withdraw", "")
		if errs.Is(err, errs.Conflict) { // the pivot was first
			err = nil
		}
	}
	return err
}

// application is the example under a name of its own, which the agency refuses where it says so.
func application(name string, refused bool) (form map[string]any, err error) {
	var app struct{ Form map[string]any }
	if err := json.Unmarshal(examples.OpenEnterprise, &app); err != nil {
		return nil, err
	}
	if refused {
		name += "已占用"
	}
	app.Form["enterprise"].(map[string]any)["name"] = name
	return app.Form, nil
}

// send posts until there is an answer, however often the house dies meanwhile, and returns the case it tells of.
func (l *load) send(body any, path, key string) (string, error) {
	header := map[string]string{}
	if key != "" {
		header["Idempotency-Key"] = key
	}
	for {
		var made apply.Case
		err := l.as.Do(context.Background(), client.Request{Method: "POST", Path: path, Body: body, Header: header}, &made)
		if !noAnswer(err) {
			return made.ID, err
		}
		<-time.After(20 * time.Millisecond)
		if l.t.Failed() {
			return "", err
		}
	}
}

// noAnswer reports whether err leaves open what has happened.
func noAnswer(err error) bool {
	var broken *net.OpError
	return errs.Is(err, errs.Unavailable) || errs.Is(err, errs.TooMany) ||
		errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) || errors.As(err, &broken)
}
