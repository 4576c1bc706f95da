package booking

import (
	"embed"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/qiongdev/qiong/kit/beijing"
	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/lang"
	"github.com/qiongdev/qiong/kit/yamlfile"
	"github.com/qiongdev/qiong/service/booking/ledger"
)

//go:embed spots/*.yaml
var embeddedSpots embed.FS

// Spot is a place to visit, as its YAML file says it. A slot keeps the rules that stood when it was opened.
type Spot struct {
	Name       string              `yaml:"spot"`
	Code       int                 `yaml:"code"` // 1 to 65535: stands in the codes for its gates
	Title      lang.Text           `yaml:"title"`
	RealName   bool                `yaml:"realName"`
	Identities []string            `yaml:"identities"` // kinds of document that are accepted; see kinds
	Products   []Product           `yaml:"products"`
	Party      int                 `yaml:"party"` // places of one booking, at most
	Limits     Limits              `yaml:"limits"`
	Hold       yamlfile.Duration   `yaml:"hold"`     // that a booking waits for its payment
	Cancel     yamlfile.Duration   `yaml:"cancel"`   // before the start, until when it can be cancelled
	Return     []yamlfile.Duration `yaml:"return"`   // shortest and longest time until places that became free are sold again
	Waitlist   int                 `yaml:"waitlist"` // places in the list of those who wait, of each slot
	NoShow     NoShow              `yaml:"noShow"`
	Children   Children            `yaml:"children"`
	Elderly    Elderly             `yaml:"elderly"`
	Entry      Entry               `yaml:"entry"`
	Sale       Sale                `yaml:"sale"`
	Closed     Closed              `yaml:"closed"`
	Hours      []Hours             `yaml:"hours"`
}

// Product is what a spot sells.
type Product struct {
	Name  string    `yaml:"name"`
	Title lang.Text `yaml:"title"`
	Price int64     `yaml:"price"` // of one place, in fen
}

// Limits are those of a person, in places; 0 means none.
type Limits struct {
	Slot int `yaml:"slot"`
	Day  int `yaml:"day"`
}

// NoShow is what becomes of people who do not come: after so many times within days, no booking for days.
type NoShow struct {
	Strikes int   `yaml:"strikes"` // 0: nothing
	Within  int64 `yaml:"within"`
	Ban     int64 `yaml:"ban"`
}

// Children go with an adult.
type Children struct {
	Under    int `yaml:"under"` // years; 0: there are no children's places
	PerAdult int `yaml:"perAdult"`
}

// Elderly people have a channel of their own.
type Elderly struct {
	From int `yaml:"from"` // years
}

// Entry is when people may come, before a slot begins and after.
type Entry struct {
	Early yamlfile.Duration `yaml:"early"`
	Late  yamlfile.Duration `yaml:"late"` // after the slot's end
}

// Sale is when a day's slots go on sale.
type Sale struct {
	Ahead int    `yaml:"ahead"` // days
	At    string `yaml:"at"`    // 08:00
	Room  string `yaml:"room"`  // the waiting room: on, off, or auto: where the writer gets more than it can do
	at    time.Duration
}

// Closed is when the spot is.
type Closed struct {
	Weekdays []string `yaml:"weekdays"` // monday, …
	Days     []string `yaml:"days"`     // 2026-10-08
}

// Hours are a slot of every day.
type Hours struct {
	From     string            `yaml:"from"`
	To       string            `yaml:"to"`
	Quotas   map[string]uint32 `yaml:"quotas"` // by channel
	from, to time.Duration
	quotas   ledger.Quotas
}

// The waiting rooms.
const (
	roomOn   = "on"
	roomOff  = "off"
	roomAuto = "auto"
)

// LoadSpots reads the spots of a folder; those that come with the program where it is empty.
func LoadSpots(dir string) ([]*Spot, error) {
	files, prefix := fs.FS(nil), ""
	if dir != "" {
		files, prefix = os.DirFS(dir), dir
	} else {
		files, _ = fs.Sub(embeddedSpots, "spots")
	}
	spots, err := yamlfile.Load(files, prefix, ParseSpot, func(s *Spot) string { return s.Name })
	if err != nil {
		return nil, err
	}
	byCode := map[int]string{}
	for _, s := range spots {
		if other, twice := byCode[s.Code]; twice {
			return nil, fmt.Errorf("spots %s and %s have the same code", other, s.Name)
		}
		byCode[s.Code] = s.Name
	}
	return spots, nil
}

// ParseSpot reads a spot's file and says all that is wrong with it.
func ParseSpot(data []byte) (*Spot, error) {
	s := &Spot{}
	root, err := yamlfile.Decode(data, s)
	if err != nil {
		return nil, err
	}
	c := &check{root: root}
	c.spot(s)
	return s, c.found.Err()
}

// check collects findings with their lines.
type check struct {
	root  *yaml.Node
	found yamlfile.Findings
}

func (c *check) must(ok bool, zh, en string, steps ...any) {
	if !ok {
		line, field := yamlfile.Find(c.root, steps...)
		c.found.Add(line, field, zh, en)
	}
}

const maxSpotName = 40

func validName(s string) bool {
	if s == "" || len(s) > maxSpotName || s[0] == '-' {
		return false
	}
	return !strings.ContainsFunc(s, func(r rune) bool { return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-' })
}

func (c *check) spot(s *Spot) {
	const names, namesEn = "应为 1 至 40 个小写字母、数字与连字符", "must be 1 to 40 lower-case letters, digits and hyphens"
	c.must(validName(s.Name), names, namesEn, "spot")
	c.must(s.Code >= 1 && s.Code <= 65535, "应为 1 至 65535", "must be 1 to 65535", "code")
	c.must(s.Title.In(lang.ZH) != "" && s.Title.In(lang.EN) != "", "须有中文与英文", "both languages are needed", "title")
	c.must(!s.RealName || len(s.Identities) > 0, "实名景区须列出接受的证件", "a spot that asks for names lists the documents it accepts", "identities")
	for i, k := range s.Identities {
		c.must(kinds[k].check != nil, "没有此种证件", "there is no such kind of document", "identities", i)
	}
	c.must(len(s.Products) >= 1 && len(s.Products) <= 100, "须有 1 至 100 个票种", "there must be 1 to 100 products", "products")
	seen := map[string]bool{}
	for i, p := range s.Products {
		c.must(validName(p.Name) && !seen[p.Name], names+"，且不重复", namesEn+", each once", "products", i, "name")
		c.must(p.Price >= 0 && p.Price <= 1e9, "应为 0 至 10 亿分", "must be 0 to 10^9 fen", "products", i, "price")
		seen[p.Name] = true
	}
	c.must(s.Party >= 1 && s.Party <= ledger.MaxVisitors, "应为 1 至 50", "must be 1 to 50", "party")
	c.must(s.Limits.Slot >= 0 && s.Limits.Day >= 0, "不得为负", "must not be negative", "limits")
	c.must(time.Duration(s.Hold) >= time.Second && time.Duration(s.Hold) <= 24*time.Hour, "应为 1s 至 24h", "must be 1s to 24h", "hold")
	c.must(s.Cancel >= 0, "不得为负", "must not be negative", "cancel")
	c.must(len(s.Return) == 0 || len(s.Return) == 2 && s.Return[0] >= 0 && s.Return[0] <= s.Return[1], "应为最短与最长两个时长", "must be the shortest and the longest time", "return")
	c.must(s.Waitlist >= 0 && s.Waitlist <= 10_000, "应为 0 至 10000", "must be 0 to 10000", "waitlist")
	c.must(s.NoShow.Strikes >= 0 && s.NoShow.Within >= 0 && s.NoShow.Within <= 3650 && s.NoShow.Ban >= 0 && s.NoShow.Ban <= 3650, "应为 0 至 3650 天", "must be 0 to 3650 days", "noShow")
	c.must(s.Children.Under >= 0 && s.Children.Under <= 18 && s.Children.PerAdult >= 0, "年龄应为 0 至 18", "the age must be 0 to 18", "children")
	for name, d := range map[string]time.Duration{"early": time.Duration(s.Entry.Early), "late": time.Duration(s.Entry.Late)} {
		c.must(d >= 0 && d%time.Minute == 0, "应为整分钟，不得为负", "must be whole minutes, not negative", "entry", name)
	}
	c.sale(&s.Sale)
	for i, d := range s.Closed.Weekdays {
		_, ok := weekdays[d]
		c.must(ok, "应为 monday 至 sunday", "must be monday to sunday", "closed", "weekdays", i)
	}
	for i, d := range s.Closed.Days {
		_, err := beijing.ParseDate(d)
		c.must(err == nil, "应为 2026-10-08 这样的日期", "must be a date such as 2026-10-08", "closed", "days", i)
	}
	c.must(len(s.Hours) >= 1 && len(s.Hours) <= 96, "须有 1 至 96 个时段", "there must be 1 to 96 slots", "hours")
	last := time.Duration(0)
	for i := range s.Hours {
		h := &s.Hours[i]
		c.hours(h, i)
		c.must(h.from >= last, "时段须按时间先后，且不重叠", "slots must be in order and not overlap", "hours", i, "from")
		last = h.to
	}
}

func (c *check) sale(s *Sale) {
	var ok bool
	s.at, ok = clock(s.At)
	c.must(ok, "应为 08:00 这样的时刻", "must be a time such as 08:00", "sale", "at")
	c.must(s.Ahead >= 0 && s.Ahead <= 365, "应为 0 至 365 天", "must be 0 to 365 days", "sale", "ahead")
	if s.Room == "" {
		s.Room = roomAuto
	}
	c.must(slices.Contains([]string{roomOn, roomOff, roomAuto}, s.Room), "应为 on、off 或 auto", "must be on, off or auto", "sale", "room")
}

func (c *check) hours(h *Hours, i int) {
	var ok bool
	h.from, ok = clock(h.From)
	c.must(ok, "应为 08:00 这样的时刻", "must be a time such as 08:00", "hours", i, "from")
	h.to, ok = clock(h.To)
	c.must(ok && h.to > h.from, "应晚于开始时刻", "must be later than the beginning", "hours", i, "to")
	for name, n := range h.Quotas {
		channel, ok := ledger.ParseChannel(name)
		c.must(ok, "渠道应为 online、window、walk-in、agency 或 elderly", "a channel is online, window, walk-in, agency or elderly", "hours", i, "quotas", name)
		c.must(n <= ledger.MaxQuota, "名额过多", "too many places", "hours", i, "quotas", name)
		if ok {
			h.quotas[channel] = n
		}
	}
	c.must(staffed(h.quotas), "人工窗口与现场须各有名额", "the staffed window and walk-ins must have places", "hours", i, "quotas")
}

// staffed reports whether those who cannot book online have places: no slot is without.
func staffed(q ledger.Quotas) bool { return q[ledger.Window] > 0 && q[ledger.WalkIn] > 0 }

var errStaffed = errs.New(errs.Invalid, "人工窗口与现场须各有名额", "the staffed window and walk-ins must have places").WithField("quotas").WithCode("booking.staffed")

// setQuotas changes some of a slot's quotas.
func setQuotas(now int64, s *ledger.State, slot *ledger.Slot, change map[ledger.Channel]uint32, emit ledger.Emit) *errs.Error {
	q := slot.Quotas()
	for c, n := range change {
		q[c] = n
	}
	if !staffed(q) {
		return errStaffed
	}
	return s.SetQuotas(now, slot, q, emit)
}

var weekdays = map[string]time.Weekday{"sunday": 0, "monday": 1, "tuesday": 2, "wednesday": 3, "thursday": 4, "friday": 5, "saturday": 6}

// clock reads 08:00 as the time since midnight; 24:00 is the end of the day.
func clock(s string) (time.Duration, bool) {
	var h, m int
	if n, err := fmt.Sscanf(s, "%02d:%02d", &h, &m); n != 2 || err != nil || len(s) != 5 || h < 0 || m < 0 || m > 59 || h*60+m > 24*60 {
		return 0, false
	}
	return time.Duration(h)*time.Hour + time.Duration(m)*time.Minute, true
}

// product returns the place of a product in the list; the first where no name is given.
func (s *Spot) product(name string) (uint8, bool) {
	if name == "" {
		return 0, true
	}
	i := slices.IndexFunc(s.Products, func(p Product) bool { return p.Name == name })
	return uint8(max(i, 0)), i >= 0
}

// open reports whether the spot is open on a day, which is a midnight in Beijing.
func (s *Spot) open(day time.Time) bool {
	for _, d := range s.Closed.Weekdays {
		if weekdays[d] == day.Weekday() {
			return false
		}
	}
	return !slices.Contains(s.Closed.Days, day.Format(time.DateOnly))
}

// rules returns the rules that a slot keeps.
func (s *Spot) rules() ledger.Rules {
	seconds := func(d yamlfile.Duration) int64 { return int64(time.Duration(d) / time.Second) }
	r := ledger.Rules{RealName: s.RealName, Party: s.Party, Early: seconds(s.Entry.Early), Late: seconds(s.Entry.Late), PerSlot: s.Limits.Slot, PerDay: s.Limits.Day, Hold: seconds(s.Hold), Cutoff: seconds(s.Cancel),
		Waitlist: s.Waitlist, Strikes: s.NoShow.Strikes, Within: s.NoShow.Within, Ban: s.NoShow.Ban}
	if len(s.Return) == 2 {
		r.ReturnMin, r.ReturnMax = seconds(s.Return[0]), seconds(s.Return[1])
	}
	for _, p := range s.Products {
		r.Products = append(r.Products, ledger.Product{Name: p.Name, Price: p.Price})
	}
	return r
}

// midnight returns the beginning of the day of t in Beijing.
func midnight(t time.Time) time.Time {
	y, m, d := t.In(beijing.Zone).Date()
	return time.Date(y, m, d, 0, 0, 0, 0, beijing.Zone)
}

// opens returns when a day's slots go on sale.
func (s *Spot) opens(day time.Time) time.Time { return day.AddDate(0, 0, -s.Sale.Ahead).Add(s.Sale.at) }

// slots returns the slots of a day.
func (s *Spot) slots(day time.Time) (all []*ledger.Opening) {
	if !s.open(day) {
		return nil
	}
	for _, h := range s.Hours {
		start, end := day.Add(h.from), day.Add(h.to)
		all = append(all, &ledger.Opening{ID: fmt.Sprintf("%s-%s-%02d%02d", s.Name, day.Format("20060102"), int(h.from.Hours()), int(h.from.Minutes())%60),
			Spot: s.Name, Day: ledger.DayOf(start.Unix()), Start: start.Unix(), End: end.Unix(), Opens: s.opens(day).Unix(), Quotas: h.quotas, Rules: s.rules()})
	}
	return all
}

// saleOf names the sale of a slot: those of a spot and day go on sale together.
func saleOf(slot *ledger.Slot) string {
	return slot.Spot + "-" + time.Unix(slot.Start, 0).In(beijing.Zone).Format("20060102")
}
