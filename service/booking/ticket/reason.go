package ticket

import "github.com/qiongdev/qiong/kit/lang"

// Reason is why nobody is let in.
type Reason uint8

// The reasons.
const (
	OK         Reason = iota // none
	Malformed                // not a code of ours
	UnknownKey               // signed, if at all, by a key that is not trusted here
	Forged                   // not signed by the key it names
	WrongSpot                // of another spot
	TooEarly                 // not valid yet
	TooLate                  // not valid any more
	Revoked                  // the booking was cancelled
	Entered                  // all of the party have entered before
	TooMany                  // more people than are left of the party
)

var reasons = [...]struct {
	name string
	text lang.Text
}{
	OK:         {"ok", lang.T("请入园", "please enter")},
	Malformed:  {"malformed", lang.T("不是有效的入园码", "not an entry code")},
	UnknownKey: {"unknown-key", lang.T("签发方不受信任，请更新闸机密钥", "signed by a key this gate does not trust; update its keys")},
	Forged:     {"forged", lang.T("入园码签名不符，疑为伪造", "the signature does not match; the code may be forged")},
	WrongSpot:  {"wrong-spot", lang.T("不是本景区的门票", "a ticket of another spot")},
	TooEarly:   {"too-early", lang.T("未到入园时间", "too early")},
	TooLate:    {"too-late", lang.T("已过入园时间", "too late")},
	Revoked:    {"revoked", lang.T("预约已取消", "the booking was cancelled")},
	Entered:    {"entered", lang.T("该码已使用", "the code has been used")},
	TooMany:    {"too-many", lang.T("人数超过该码剩余人数", "more people than are left of the party")},
}

// String returns the reason's stable name.
func (r Reason) String() string { return r.row().name }

// Text returns the words for the person at the gate.
func (r Reason) Text() lang.Text { return r.row().text }

func (r Reason) row() struct {
	name string
	text lang.Text
} {
	if int(r) >= len(reasons) {
		r = Malformed
	}
	return reasons[r]
}
