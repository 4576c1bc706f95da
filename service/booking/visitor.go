package booking

import (
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/qiongdev/qiong/kit/beijing"
	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/label"
	"github.com/qiongdev/qiong/kit/lang"
	"github.com/qiongdev/qiong/service/booking/ledger"
)

// kind is a document that says who somebody is.
type kind struct {
	title lang.Text
	check func(number string) error
	birth bool // its number has the date of birth in it
}

// kinds are the documents, by name.
var kinds = map[string]kind{
	"resident":          {lang.T("居民身份证", "resident identity card"), label.IDCard, true},
	"hk-macao":          {lang.T("港澳居民来往内地通行证", "mainland travel permit for Hong Kong and Macao residents"), label.HomePermit, false},
	"taiwan":            {lang.T("台湾居民来往大陆通行证", "mainland travel permit for Taiwan residents"), label.TaiwanPermit, false},
	"residence":         {lang.T("港澳台居民居住证", "residence permit for Hong Kong, Macao and Taiwan residents"), label.ResidencePermit, true},
	"foreign-residence": {lang.T("外国人永久居留身份证", "foreign permanent resident identity card"), label.ForeignerPermit, false},
	"passport":          {lang.T("护照", "passport"), passport, false},
}

// passport checks the number of any state's passport for its shape alone (ICAO Doc 9303: up to nine characters).
func passport(s string) error {
	if len(s) < 5 || len(s) > 9 || strings.ContainsFunc(s, func(r rune) bool { return (r < 'A' || r > 'Z') && (r < '0' || r > '9') }) {
		return errs.New(errs.Invalid, "护照号码应为 5 至 9 位大写字母与数字", "a passport's number has 5 to 9 capital letters and digits")
	}
	return nil
}

// Visitor is a person of a booking, as they are given.
type Visitor struct {
	Kind   string `json:"kind" grade:"L1" doc:"证件种类：resident、hk-macao、taiwan、residence、foreign-residence、passport；无证件的儿童留空 / kind of document; empty for a child without one"`
	Number string `json:"number,omitempty" grade:"L3,pii=id_card,mask=3-4" doc:"证件号码 / number of the document"`
	Name   string `json:"name,omitempty" grade:"L3,pii=name,mask=1-0" doc:"姓名，可不填 / name, may be left out"`
	Child  bool   `json:"child,omitempty" grade:"L2" doc:"随成人的儿童 / a child with an adult"`
}

const maxName = 40

// birth returns when the owner of a number was born, where the number tells.
func (v *Visitor) birth() (time.Time, bool) {
	if !kinds[v.Kind].birth || len(v.Number) != 18 {
		return time.Time{}, false
	}
	t, err := time.ParseInLocation("20060102", v.Number[6:14], beijing.Zone)
	return t, err == nil
}

// age returns how old somebody is on a day.
func age(birth, on time.Time) int {
	years := on.Year() - birth.Year()
	if on.Month() < birth.Month() || on.Month() == birth.Month() && on.Day() < birth.Day() {
		years--
	}
	return years
}

// admit checks the visitors of a booking against the rules of a spot, on the day of the visit. Staff have seen their
// documents.
func (s *Spot) admit(channel ledger.Channel, staff bool, visitors []Visitor, on time.Time) error {
	bad := func(i int, part, code, zh, en string) error {
		return errs.New(errs.Invalid, zh, en).WithField(fmt.Sprintf("visitors[%d]%s", i, part)).WithCode(code)
	}
	adults, children, elderly := 0, 0, false
	for i := range visitors {
		v := &visitors[i]
		v.Number = strings.ToUpper(strings.TrimSpace(v.Number))
		if utf8.RuneCountInString(v.Name) > maxName {
			return bad(i, ".name", "booking.name", "姓名至多 40 个字", "a name has at most 40 characters")
		}
		without := v.Child && v.Kind == "" && v.Number == ""
		if !without {
			if !slices.Contains(s.Identities, v.Kind) {
				return bad(i, ".kind", "booking.kind", "不接受此种证件", "this kind of document is not accepted")
			}
			if err := kinds[v.Kind].check(v.Number); err != nil {
				e := *errs.As(err)
				return e.WithField(fmt.Sprintf("visitors[%d].number", i)).WithCode("booking.number")
			}
		}
		birth, known := v.birth()
		years := age(birth, on)
		switch {
		case known && birth.After(on):
			return bad(i, ".number", "booking.number", "出生日期尚未到来", "the date of birth is in the future")
		case v.Child && s.Children.Under == 0:
			return bad(i, ".child", "booking.child", "此景区没有儿童名额", "this spot has no children's places")
		case v.Child && known && years >= s.Children.Under:
			return bad(i, ".child", "booking.child", "已不是儿童", "is not a child any more")
		case v.Child:
			children++
		default:
			adults++
		}
		elderly = elderly || known && years >= s.Elderly.From || staff && !known && !without
	}
	if children > adults*s.Children.PerAdult {
		return errs.Newf(errs.Invalid, "每名成人可带 %d 名儿童", "an adult may bring %d children", s.Children.PerAdult).WithField("visitors").WithCode("booking.children")
	}
	if channel == ledger.Elderly && s.RealName && !elderly {
		return errs.Newf(errs.Invalid, "老年渠道须至少一位 %[1]d 岁以上游客；证件上看不出年龄的，请到人工窗口办理",
			"the channel for the elderly needs a visitor of %[1]d years or more; whose document does not tell goes to the window", s.Elderly.From).WithField("visitors").WithCode("booking.elderly")
	}
	return nil
}

// persons turns visitors into what the ledger knows of them. A child without a document is known by the adult it goes
// with, who can bring it once.
func (b *Booking) persons(into []ledger.Visitor, visitors []Visitor, slot *ledger.Slot) []ledger.Visitor {
	into = into[:0]
	nth := 0
	for i := range visitors {
		v := &visitors[i]
		var person ledger.Person
		if v.Number == "" {
			nth++
			adult := &visitors[slices.IndexFunc(visitors, func(v Visitor) bool { return !v.Child })]
			person = b.person(fmt.Sprintf("child %d\x00%s\x00%s", nth, adult.Kind, adult.Number))
		} else {
			person = b.person(v.Kind + "\x00" + v.Number)
		}
		into = append(into, ledger.Visitor{Person: person, Child: v.Child, Sealed: b.seal(v, slot)})
	}
	return into
}

// person returns the pseudonym of somebody.
func (b *Booking) person(who string) (p ledger.Person) {
	sum := b.pseudonym(who)
	copy(p[:], sum[:])
	return p
}

// seal returns what is kept of a visitor until after the visit: kind, number and name, sealed for the slot.
func (b *Booking) seal(v *Visitor, slot *ledger.Slot) []byte {
	var room [128]byte
	plain := append(append(room[:0], byte(len(v.Kind))), v.Kind...)
	plain = append(append(plain, byte(len(v.Number))), v.Number...)
	plain = append(append(plain, flag(v.Child)), v.Name...)
	return b.sealer.Seal(plain, []byte(slot.ID))
}

func flag(b bool) byte {
	if b {
		return 1
	}
	return 0
}

// unseal is the inverse of seal.
func (b *Booking) unseal(data []byte, slot string) (v Visitor, err error) {
	plain, err := b.sealer.Open(data, []byte(slot))
	if err != nil {
		return v, err
	}
	take := func() (s string) {
		if len(plain) == 0 || int(plain[0]) >= len(plain) {
			err = fmt.Errorf("a sealed visitor of %d bytes", len(data))
			return ""
		}
		n := int(plain[0])
		s, plain = string(plain[1:1+n]), plain[1+n:]
		return s
	}
	v.Kind, v.Number = take(), take()
	if err != nil || len(plain) == 0 {
		return Visitor{}, fmt.Errorf("a sealed visitor: %w", err)
	}
	v.Child, v.Name = plain[0] == 1, string(plain[1:])
	return v, nil
}
