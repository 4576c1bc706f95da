package lease

import (
	"encoding/json"
	"time"

	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/strictjson"
)

// Kind is what a voter is asked.
type Kind string

// The kinds.
const (
	Look    Kind = "look"    // what do you know, and would you let me in
	Prepare Kind = "prepare" // promise to heed no smaller ballot, and tell what you accepted
	Accept  Kind = "accept"  // keep this register, or, where it is kept already, renew the lease
)

// Request asks a voter.
type Request struct {
	Kind     Kind      `json:"kind"`
	Lease    string    `json:"lease"`
	Ballot   Ballot    `json:"ballot"`             // of Look only By
	Sole     bool      `json:"sole,omitempty"`     // no other process of this replica runs, so that its lease is mine
	Register *Register `json:"register,omitempty"` // of Accept
	Seq      uint64    `json:"seq,omitempty"`      // of Accept: grows with each renewal, so that an old one renews nothing
}

// Check returns an error of kind Invalid where the request is none.
func (r *Request) Check() error {
	if !ValidName(r.Lease) {
		return invalid("lease", "不是合法的租约名", "is not the name of a lease")
	}
	if _, ok := validBy(r.Ballot.By); !ok {
		return invalid("ballot.by", "不是合法的提议者", "is not a proposer")
	}
	if r.Ballot.N > 1<<53 {
		return invalid("ballot.n", "至多 2^53", "must be at most 2^53")
	}
	switch r.Kind {
	case Look, Prepare:
		if r.Register != nil || r.Seq != 0 || (r.Kind == Prepare) != (r.Ballot.N > 0) {
			return invalid("kind", "与其余字段不符", "does not fit the other fields")
		}
		return nil
	case Accept:
		if r.Register == nil || r.Seq == 0 || r.Ballot.N == 0 {
			return invalid("kind", "与其余字段不符", "does not fit the other fields")
		}
		return r.Register.Check()
	}
	return invalid("kind", "应为 look、prepare 或 accept", "must be look, prepare or accept")
}

// Answer is a voter's. It is on the voter's disk.
type Answer struct {
	OK       bool     `json:"ok"`       // promised, accepted or renewed; of Look: nobody else is kept in
	Held     int64    `json:"held"`     // milliseconds for which others than the holder are kept out, rounded up
	Promised Ballot   `json:"promised"` // no smaller ballot is heeded
	Accepted Ballot   `json:"accepted"` // of Register
	Register Register `json:"register"`
}

func (a Answer) held() time.Duration { return time.Duration(a.Held) * time.Millisecond }

// check returns an error where no voter would say this.
func (a *Answer) check() error {
	if a.Held < 0 || a.Held > MaxTTL.Milliseconds() || a.Promised.N > 1<<53 || a.Accepted.Compare(a.Promised) > 0 || (a.Accepted.N == 0) != (a.Register.Epoch == 0) {
		return errs.New(errs.Invalid, "答复自相矛盾", "the answer contradicts itself")
	}
	for _, b := range []Ballot{a.Promised, a.Accepted} {
		if _, ok := validBy(b.By); b != (Ballot{}) && !ok {
			return invalid("by", "不是合法的提议者", "is not a proposer")
		}
	}
	if a.Register.Epoch == 0 {
		if !a.Register.Equal(Register{}) {
			return invalid("register", "没有任期却有内容", "says something without an epoch")
		}
		return nil
	}
	return a.Register.Check()
}

// asked is the body of a request over HTTP. The session is the voter's, of this life of its process: what was sent to an
// earlier one is not heard.
type asked struct {
	Session string  `json:"session"`
	Request Request `json:"request"`
}

// answered is the body of an answer over HTTP.
type answered struct {
	Session string  `json:"session"`
	Voter   string  `json:"voter"`
	Answer  *Answer `json:"answer,omitempty"` // none: the request was for another session; ask again
}

// maxMessage bounds a message in bytes: a register of 16 long names is 2 KiB.
const maxMessage = 16 << 10

func parseAsked(data []byte) (m asked, err error) {
	if err = decode(data, &m); err == nil {
		err = m.Request.Check()
	}
	return m, err
}

func parseAnswered(data []byte) (m answered, err error) {
	if err = decode(data, &m); err == nil && m.Answer != nil {
		err = m.Answer.check()
	}
	return m, err
}

func decode(data []byte, v any) error {
	if len(data) > maxMessage {
		return errs.Newf(errs.TooLarge, "消息超过 %d 字节", "the message is longer than %d bytes", maxMessage)
	}
	return strictjson.Unmarshal(data, v)
}

// encode never fails: all there is are names, numbers and text.
func encode(v any) []byte {
	data, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return data
}
