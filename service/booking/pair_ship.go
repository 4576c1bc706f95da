package booking

import (
	"bytes"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/httpsig"
)

// tickets are those that were issued and not used up.
type tickets struct {
	mu  sync.Mutex
	all map[string]*ticketOf
}

type ticketOf struct {
	name string
	till time.Time
	used map[int]bool // by shard
}

// maxTickets is how many are good at a time.
const maxTickets = 1024

func (t *tickets) issue(name string) string {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	for text, one := range t.all {
		if now.After(one.till) {
			delete(t.all, text)
		}
	}
	if len(t.all) >= maxTickets {
		return "" // somebody sends old requests again; the next has one
	}
	if t.all == nil {
		t.all = map[string]*ticketOf{}
	}
	text := httpsig.NewNonce()
	t.all[text] = &ticketOf{name, now.Add(ticketFor), map[int]bool{}}
	return text
}

// use reports whether a ticket lets a server follow a shard, which it does once.
func (t *tickets) use(text, name string, shard int) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	one := t.all[text]
	if one == nil || one.name != name || time.Now().After(one.till) || one.used[shard] {
		return false
	}
	one.used[shard] = true
	return true
}

// boarding asks for the log of a shard.
type boarding struct {
	Ticket string `json:"ticket"`
	Shard  int    `json:"shard"`
}

// ship turns a request into the connection over which a standby follows a log.
func (p *pair) ship(w http.ResponseWriter, r *http.Request) error {
	var in boarding
	name, err := p.admit(w, r, &in)
	if err != nil {
		return err
	}
	p.mu.Lock()
	t := p.term
	p.mu.Unlock()
	if t == nil || !t.holder.Valid() {
		return errNoLeader
	}
	if r.Header.Get("Upgrade") != pairLog || in.Shard < 0 || in.Shard >= len(t.logs) || !p.tickets.use(in.Ticket, name, in.Shard) {
		return errs.New(errs.Forbidden, "凭证无效", "the ticket is not good").WithCode("booking.pair-ticket")
	}
	h := http.Header{"Connection": {"Upgrade"}, "Upgrade": {pairLog}}
	if err := httpsig.SignResponse(h, http.StatusSwitchingProtocols, nil, r, p.key, time.Now(), httpsig.NewNonce()); err != nil {
		return err
	}
	conn, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return err
	}
	if err := upgrade(conn, buffered.Reader.Buffered(), h); err != nil {
		return conn.Close()
	}
	_ = t.logs[in.Shard].Ship(t.ships, conn, name) // the log tells why it ended: see term.condition
	return nil
}

// upgrade answers on a connection that is the server's no more.
func upgrade(conn net.Conn, early int, h http.Header) error {
	if early > 0 {
		return fmt.Errorf("%d bytes before the answer", early)
	}
	var head bytes.Buffer
	head.WriteString("HTTP/1.1 101 Switching Protocols\r\n")
	if err := h.Write(&head); err != nil {
		return err
	}
	head.WriteString("\r\n")
	if err := conn.SetDeadline(time.Now().Add(meetFor)); err != nil {
		return err
	}
	if _, err := conn.Write(head.Bytes()); err != nil {
		return err
	}
	return conn.SetDeadline(time.Time{})
}
