package booking

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"time"

	"github.com/qiongdev/qiong/kit/httpapi"
)

const (
	// passedHeader is on a request that one server of a pair has handed to another, and is not handed on again.
	passedHeader = "Qiong-Booking-Passed"
	// serverHeader says in an answer which server of a pair gave it.
	serverHeader = "Qiong-Booking-Server"
)

// gateway takes requests from a standby to the leader, whoever that is.
type gateway struct {
	meets *http.Client // of the servers themselves
	proxy *httputil.ReverseProxy
}

type targetKey struct{}

func (p *pair) openGateway() {
	transport := &http.Transport{
		DialContext:         (&net.Dialer{Timeout: time.Second, KeepAlive: 15 * time.Second}).DialContext,
		TLSHandshakeTimeout: 2 * time.Second, ResponseHeaderTimeout: 30 * time.Second, IdleConnTimeout: time.Minute,
		MaxIdleConnsPerHost: 512, DisableCompression: true,
	}
	p.front.meets = &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	p.front.proxy = &httputil.ReverseProxy{
		Transport:     transport,
		FlushInterval: -1, // events of a waiting room go on as they come
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(r.In.Context().Value(targetKey{}).(*url.URL))
			r.Out.Host = r.In.Host // a payment provider has signed it
			r.SetXForwarded()
			r.Out.Header.Set(passedHeader, p.me)
		},
		ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) {
			p.b.host.Log.LogAttrs(r.Context(), slog.LevelDebug, "a request did not reach the leader", slog.Any("err", err)) // thousands say the same
			httpapi.WriteProblem(w, r, errNoLeader)
		},
	}
}

// elsewhere answers a request to bookings where this server does not lead: by the leader's hand, and with the leader's
// tokens, before anybody is asked for theirs here.
func (p *pair) elsewhere(w http.ResponseWriter, r *http.Request) bool {
	if r.URL.Path == pairBase || strings.HasPrefix(r.URL.Path, pairBase+"/") {
		return false // of this server itself
	}
	p.mu.Lock()
	t, leader, until := p.term, p.leader, p.until
	p.mu.Unlock()
	switch {
	case t != nil && t.holder.Valid():
		w.Header().Set(serverHeader, p.me)
		return false
	case leader == nil || r.Header.Get(passedHeader) != "":
		httpapi.WriteProblem(w, r, errNoLeader)
		return true
	}
	target, err := url.Parse(leader.url)
	if err != nil {
		httpapi.WriteProblem(w, r, err) // openPair has read it
		return true
	}
	p.counts.passed.Inc()
	ctx, cancel := context.WithCancel(context.WithValue(r.Context(), targetKey{}, target))
	defer cancel()
	defer context.AfterFunc(until, cancel)() // nobody waits for a leader that is none any more
	p.front.proxy.ServeHTTP(w, r.WithContext(ctx))
	return true
}
