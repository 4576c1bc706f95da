package booking_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"

	"github.com/qiongdev/qiong"
	"github.com/qiongdev/qiong/house/qiongtest"
	"github.com/qiongdev/qiong/kit/auth"
	"github.com/qiongdev/qiong/kit/client"
	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/lang"
	"github.com/qiongdev/qiong/service/booking"
	"github.com/qiongdev/qiong/service/booking/ledger"
	"github.com/qiongdev/qiong/service/booking/ticket"
)

// gateTool is `qiong booking gate`.
func gateTool(t testing.TB) *qiong.Tool {
	t.Helper()
	for _, c := range booking.Service.Commands {
		if c.Name == "gate" {
			return c
		}
	}
	t.Fatal("there is no such command")
	return nil
}

// runGate runs the command with flags, as --name value.
func runGate(t testing.TB, c *qiong.Console, args []string, flags ...string) error {
	t.Helper()
	tool := gateTool(t)
	c.Flags = pflag.NewFlagSet("gate", pflag.ContinueOnError)
	tool.Flags(c.Flags, c.Say)
	if err := c.Flags.Parse(flags); err != nil {
		t.Fatal(err)
	}
	return tool.Run(context.Background(), c, args)
}

// box is a small machine with an offline gate.
type box struct {
	dir   string
	flags []string
}

func (g *gated) newBox(t testing.TB, number int) *box {
	t.Helper()
	b := &box{dir: t.TempDir()}
	if err := os.WriteFile(b.file("keys.pem"), g.pem(t), 0o600); err != nil {
		t.Fatal(err)
	}
	b.flags = []string{"--spot", "7", "--gate", fmt.Sprint(number), "--keys", b.file("keys.pem"), "--journal", b.file("journal"), "--revocations", b.file("revoked")}
	return b
}

func (b *box) file(name string) string { return filepath.Join(b.dir, name) }

func (b *box) journal(t testing.TB) []byte {
	t.Helper()
	data, err := os.ReadFile(b.file("journal"))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// scan shows lines to the gate, and returns what it answers and warns of.
func (b *box) scan(t testing.TB, lines ...string) (answers []booking.Passage, warned string) {
	t.Helper()
	var out, told bytes.Buffer
	c := &qiong.Console{In: strings.NewReader(strings.Join(lines, "\n")), Out: &out, Err: &told, Lang: lang.EN, JSON: true}
	if err := runGate(t, c, nil, b.flags...); err != nil {
		t.Fatal(err)
	}
	for d := json.NewDecoder(&out); d.More(); {
		var p booking.Passage
		if err := d.Decode(&p); err != nil {
			t.Fatal(err)
		}
		answers = append(answers, p)
	}
	return answers, told.String()
}

// sync brings the gate and its house together.
func (b *box) sync(t testing.TB, g *gated) (s booking.Synced, err error) {
	t.Helper()
	g.settle(t)
	var out bytes.Buffer
	c := &qiong.Console{Out: &out, Err: io.Discard, Lang: lang.EN, JSON: true}
	if err := runGate(t, c, []string{"sync"}, append(b.flags, "--url", g.URL, "--token", g.gate.Token)...); err != nil {
		return s, err
	}
	return s, json.Unmarshal(out.Bytes(), &s)
}

func (g *gated) upload(body []byte) (v booking.JournalAnswer, err error) {
	err = g.gate.Do(context.Background(), client.Request{Method: "POST", Path: "/api/booking/gate/journal", Body: bytes.NewReader(body), Header: map[string]string{"Content-Type": "application/octet-stream"}}, &v)
	return v, err
}

func (g *gated) doubles(t testing.TB) (list struct {
	Items []booking.DoubleView
	Next  string
}) {
	t.Helper()
	get(t, g.As("operator", auth.Operator), "/api/booking/gate/doubles", &list)
	return list
}

func TestTwoOfflineGatesAndOneCode(t *testing.T) {
	qiongtest.Databases(t, func(t *testing.T, database string) {
		g := startGated(t, database)
		slot := g.slot(t, 0).ID
		copied, shared, alone := g.book(t, slot, 3), g.book(t, slot, 5), g.book(t, slot, 2)
		north, south := g.newBox(t, 1), g.newBox(t, 2)
		first, _ := north.scan(t, copied.Code, "3 "+shared.Code, "1 "+alone.Code)
		second, _ := south.scan(t, copied.Code, "4 "+shared.Code)
		for _, p := range append(first, second...) {
			if !p.Admitted {
				t.Fatalf("%+v", p)
			}
		}
		s, err := north.sync(t, g)
		if err != nil || s.Cursor != 3 || s.Taken != 3 || len(s.Doubles) != 0 {
			t.Fatalf("north: %+v, %v", s, err)
		}
		if s, err = south.sync(t, g); err != nil || s.Cursor != 2 || s.Taken != 2 || len(s.Doubles) != 2 {
			t.Fatalf("south: %+v, %v", s, err)
		}
		for i, want := range []struct {
			id           string
			people, over int
		}{{copied.ID, 3, 3}, {shared.ID, 4, 2}} {
			if d := s.Doubles[i]; d.Booking != want.id || d.People != want.people || d.Over != want.over || d.Reason != "all-in" || d.Gate != 2 || d.Sequence != uint32(i+1) {
				t.Errorf("double %+v", d)
			}
		}
		for range 2 { // the same upload again changes nothing, and tells the same
			v, err := g.upload(south.journal(t))
			if err != nil || v.Cursor != 2 || v.Taken != 0 || len(v.Doubles) != 2 {
				t.Errorf("again: %+v, %v", v, err)
			}
		}
		if list := g.doubles(t); len(list.Items) != 2 || list.Items[0].Booking != shared.ID {
			t.Errorf("%+v", list)
		}
		var page struct {
			Items []booking.DoubleView
			Next  string
		}
		get(t, g.As("operator", auth.Operator), "/api/booking/gate/doubles?limit=1", &page)
		if len(page.Items) != 1 || page.Next == "" {
			t.Errorf("%+v", page)
		}
		page.Items = nil
		get(t, g.As("operator", auth.Operator), "/api/booking/gate/doubles?limit=1&cursor="+page.Next, &page)
		if len(page.Items) != 1 || page.Items[0].Booking != copied.ID {
			t.Errorf("%+v", page)
		}
		for _, want := range []struct {
			id      string
			entered int
		}{{copied.ID, 3}, {shared.ID, 5}, {alone.ID, 1}} {
			g.settle(t)
			if v := g.show(t, want.id); v.Entered != want.entered {
				t.Errorf("%d of %s entered, want %d", v.Entered, want.id, want.entered)
			}
		}
		if p, err := enter(g.gate, "online", map[string]any{"code": copied.Code, "gate": "3"}); err != nil || p.Reason != "all-in" {
			t.Errorf("online after the upload: %+v, %v", p, err)
		}
		if got := metric(t, g, `qiong_booking_gate_doubles_total{reason="all-in"}`); got != "2" {
			t.Errorf("the metric is %q", got)
		}
	})
}

func metric(t *testing.T, g *gated, name string) string {
	t.Helper()
	resp, err := http.Get(g.URL + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "\n"+name+" ")
	value, _, _ := strings.Cut(rest, "\n")
	return value
}

// Whoever came in though the booking was given up, or never was, is found at the upload.
func TestWhatAGateShouldNotHaveLetIn(t *testing.T) {
	g := startGated(t, "")
	today := g.slot(t, 0)
	given := g.book(t, today.ID, 1)
	n, err := ledger.ParseNumber(given.ID)
	if err != nil {
		t.Fatal(err)
	}
	gate := g.newBox(t, 1)
	if p, _ := gate.scan(t, given.Code, g.sign(t, today, n+500, 2)); !p[0].Admitted || !p[1].Admitted {
		t.Fatalf("%+v", p)
	}
	g.cancel(t, given.ID)
	s, err := gate.sync(t, g)
	if err != nil || len(s.Doubles) != 2 || s.Doubles[0].Reason != "revoked" || s.Doubles[1].Reason != "unknown" || s.Doubles[1].Over != 2 || s.Revoked != 1 {
		t.Fatalf("%+v, %v", s, err)
	}
}

func TestAnOfflineGateRefuses(t *testing.T) {
	g := startGated(t, "")
	slot := g.slot(t, 0).ID
	good, given, early := g.book(t, slot, 2), g.book(t, slot, 2), g.book(t, g.slot(t, 3).ID, 1)
	gate := g.newBox(t, 1)
	g.cancel(t, given.ID)
	if s, err := gate.sync(t, g); err == nil || !errs.Is(err, errs.NotFound) {
		t.Fatalf("without a journal: %+v, %v", s, err)
	}
	gate.scan(t)
	if s, err := gate.sync(t, g); err != nil || s.Revoked != 1 || s.Keys {
		t.Fatalf("%+v, %v", s, err)
	}
	tail := "0"
	if good.Code[150] == '0' {
		tail = "1"
	}
	got, warned := gate.scan(t, "", given.Code, early.Code, good.Code[:150]+tail+good.Code[151:], "hello", strings.Repeat("A", 70_000), "3 "+good.Code, "2 "+good.Code, good.Code)
	var reasons []string
	for _, p := range got {
		reasons = append(reasons, p.Reason)
	}
	if want := "revoked too-early forged malformed malformed too-many ok all-in"; strings.Join(reasons, " ") != want || warned != "" {
		t.Errorf("%q (%s), want %q", reasons, warned, want)
	}
	again, _ := gate.scan(t, good.Code) // after a restart
	if again[0].Reason != "all-in" {
		t.Errorf("%+v", again[0])
	}
	late := g.book(t, slot, 1)
	if s, err := gate.sync(t, g); err != nil || s.Taken != 1 || s.Revoked != 1 || len(s.Doubles) != 0 {
		t.Fatalf("%+v, %v", s, err)
	}
	g.cancel(t, late.ID)
	if s, err := gate.sync(t, g); err != nil || s.Taken != 0 || s.Revoked != 2 {
		t.Fatalf("%+v, %v", s, err)
	}
	if p, _ := gate.scan(t, late.Code, given.Code); p[0].Reason != "revoked" || p[1].Reason != "revoked" {
		t.Errorf("%+v", p)
	}
	revoked, err := os.ReadFile(gate.file("revoked"))
	if err != nil {
		t.Fatal(err)
	}
	revoked[len(revoked)-1] ^= 1
	if err := os.WriteFile(gate.file("revoked"), revoked, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, warned := gate.scan(t, given.Code); !strings.Contains(warned, "not a valid list") {
		t.Errorf("a forged list: %q", warned)
	}
}

// A running gate takes over keys and revocations as they come.
func TestARunningGateHearsOfRevocations(t *testing.T) {
	g := startGated(t, "")
	slot := g.slot(t, 0).ID
	gate, v := g.newBox(t, 1), g.book(t, slot, 2)
	in, typed := io.Pipe()
	told, out := io.Pipe()
	ended := make(chan error, 1)
	c := &qiong.Console{In: in, Out: out, Err: io.Discard, Lang: lang.EN, JSON: true}
	go func() { ended <- runGate(t, c, nil, gate.flags...) }()
	answers := json.NewDecoder(told)
	ask := func(line string) (p booking.Passage) {
		t.Helper()
		if _, err := io.WriteString(typed, line+"\n"); err != nil {
			t.Fatal(err)
		}
		if err := answers.Decode(&p); err != nil {
			t.Fatal(err)
		}
		return p
	}
	other := g.book(t, slot, 1)
	if p := ask("1 " + v.Code); p.Reason != "ok" {
		t.Fatalf("%+v", p)
	}
	g.cancel(t, other.ID)
	if s, err := gate.sync(t, g); err != nil || s.Taken != 1 || s.Revoked != 1 {
		t.Fatalf("%+v, %v", s, err)
	}
	if p := ask(other.Code); p.Reason != "revoked" {
		t.Errorf("%+v", p)
	}
	if err := os.WriteFile(gate.file("keys.pem"), []byte("nothing"), 0o600); err != nil {
		t.Fatal(err)
	}
	if p := ask("1 " + v.Code); p.Reason != "ok" {
		t.Errorf("with a bad file of keys it goes on with those it had: %+v", p)
	}
	if err := typed.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
}

func TestAJournalIsHeldToItsChecks(t *testing.T) {
	g := startGated(t, "")
	slot := g.slot(t, 0).ID
	gate := g.newBox(t, 1)
	var lines []string
	for range 4 {
		lines = append(lines, g.book(t, slot, 1).Code)
	}
	gate.scan(t, lines...)
	whole := gate.journal(t)
	at := func(n int) int { return ticket.HeadSize + n*ticket.EntrySize }
	for n := range 4 {
		changed := bytes.Clone(whole)
		changed[at(n)+10] ^= 1
		_, err := g.upload(changed)
		if e := errs.As(err); err == nil || e.Code != "ticket.journal" || !e.HasOffset || e.Offset != int64(at(n)) {
			t.Errorf("entry %d changed: %v", n+1, err)
		}
	}
	for name, c := range map[string]struct {
		body []byte
		code string
	}{
		"empty": {nil, "ticket.journal"}, "a text": {[]byte("hello, this is no journal at all"), "ticket.journal"},
		"half an entry": {whole[:at(1)+7], "ticket.journal"}, "a gap": {append(bytes.Clone(whole[:at(0)]), whole[at(1):]...), "ticket.gap"},
		"in another order": {append(append(bytes.Clone(whole[:at(1)]), whole[at(2):at(3)]...), whole[at(1):at(2)]...), "ticket.journal"},
	} {
		if _, err := g.upload(c.body); code(err) != c.code {
			t.Errorf("%s: %v", name, err)
		}
	}
	if v, err := g.upload(whole[:at(0)]); err != nil || v.Cursor != 0 {
		t.Fatalf("what was refused was taken in: %+v, %v", v, err)
	}
	if v, err := g.upload(whole[:at(2)]); err != nil || v.Cursor != 2 || v.Taken != 2 {
		t.Fatalf("%+v, %v", v, err)
	}
	if v, err := g.upload(append(bytes.Clone(whole[:at(0)]), whole[at(1):]...)); err != nil || v.Cursor != 4 || v.Taken != 2 {
		t.Fatalf("the rest, with an overlap: %+v, %v", v, err)
	}
	// The gate's disk is put back to an earlier day, and the gate goes on.
	if err := os.WriteFile(gate.file("journal"), whole[:at(3)], 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := gate.sync(t, g); code(err) != "booking.journal" {
		t.Errorf("a journal that lost entries: %v", err)
	}
	gate.scan(t, g.book(t, slot, 1).Code)
	if _, err := gate.sync(t, g); code(err) != "booking.journal" {
		t.Errorf("a journal that goes on otherwise: %v", err)
	}
	if _, err := g.upload(gate.journal(t)); code(err) != "booking.journal" || errs.As(err).Offset != int64(at(3)) {
		t.Errorf("uploaded: %v", err)
	}
	if _, err := g.visitorUpload(t, whole); !errs.Is(err, errs.Forbidden) {
		t.Errorf("by a visitor: %v", err)
	}
	large := make([]byte, 5<<20)
	if _, err := g.upload(append(bytes.Clone(whole[:at(0)]), large...)); !errs.Is(err, errs.TooLarge) {
		t.Errorf("a large one: %v", err)
	}
}

func (g *gated) visitorUpload(t *testing.T, body []byte) (v booking.JournalAnswer, err error) {
	t.Helper()
	err = g.visitor.Do(t.Context(), client.Request{Method: "POST", Path: "/api/booking/gate/journal", Body: bytes.NewReader(body), Header: map[string]string{"Content-Type": "application/octet-stream"}}, &v)
	return v, err
}

// The words and colours of a terminal.
func TestWhatAGateShows(t *testing.T) {
	g := startGated(t, "")
	v := g.book(t, g.slot(t, 0).ID, 3)
	gate := g.newBox(t, 1)
	show := func(l lang.Lang, color bool, line string) string {
		t.Helper()
		var out bytes.Buffer
		c := &qiong.Console{In: strings.NewReader(line + "\t\r\n  \n"), Out: &out, Err: io.Discard, Lang: l, Color: color}
		if err := runGate(t, c, nil, gate.flags...); err != nil {
			t.Fatal(err)
		}
		return out.String()
	}
	for _, c := range []struct {
		lang  lang.Lang
		color bool
		line  string
		want  string
	}{
		{lang.EN, false, "2 " + v.Code, "✓ please enter: 2 people, of a party of 3, 1 left; compare the document\n"},
		{lang.ZH, false, "2 " + v.Code, "✗ 人数超过该码剩余人数（余 1 人）\n"},
		{lang.ZH, true, v.Code, "\x1b[1;32m✓ 请入园：1 人，同行 3 人，余 0 人；请核对证件\x1b[0m\n"},
		{lang.EN, true, v.Code, "\x1b[1;31m✗ all of this booking have entered\x1b[0m\n"},
	} {
		if got := show(c.lang, c.color, c.line); got != c.want {
			t.Errorf("%q, want %q", got, c.want)
		}
	}
}

func TestWrongUseOfAGate(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	for name, text := range map[string]string{"text": "hello, this is no journal", "short": "hello", "bad.pem": "nothing"} {
		if err := os.WriteFile(at(name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	g := startGated(t, "")
	pem := g.newBox(t, 1).file("keys.pem")
	for name, c := range map[string]struct {
		args  []string
		flags []string
		kind  errs.Kind
	}{
		"another word":       {[]string{"dance"}, nil, errs.Invalid},
		"no journal":         {nil, []string{"--spot", "7", "--keys", pem}, errs.Invalid},
		"no spot":            {nil, []string{"--keys", pem, "--journal", at("new")}, errs.Invalid},
		"no keys":            {nil, []string{"--spot", "7", "--journal", at("new")}, errs.Invalid},
		"keys not there":     {nil, []string{"--spot", "7", "--journal", at("new"), "--keys", at("none.pem")}, errs.NotFound},
		"keys that are none": {nil, []string{"--spot", "7", "--journal", at("new"), "--keys", at("bad.pem")}, errs.Invalid},
		"a text as journal":  {nil, []string{"--spot", "7", "--journal", at("text"), "--keys", pem}, errs.Invalid},
		"a short text":       {nil, []string{"--spot", "7", "--journal", at("short"), "--keys", pem}, errs.Invalid},
		"negative grace":     {nil, []string{"--spot", "7", "--journal", at("new"), "--keys", pem, "--grace", "-1s"}, errs.Invalid},
		"sync without spot":  {[]string{"sync"}, []string{"--journal", at("text"), "--revocations", at("r")}, errs.Invalid},
		"sync of a text":     {[]string{"sync"}, []string{"--journal", at("text"), "--url", g.URL, "--token", g.gate.Token}, errs.Invalid},
		"sync of nothing":    {[]string{"sync"}, []string{"--journal", at("none"), "--url", g.URL, "--token", g.gate.Token}, errs.NotFound},
		"nobody":             {[]string{"sync"}, []string{"--journal", at("text"), "--url", g.URL, "--token", "qiong_no"}, errs.Unauthenticated},
	} {
		c0 := &qiong.Console{In: strings.NewReader(""), Out: io.Discard, Err: io.Discard, Lang: lang.EN}
		if err := runGate(t, c0, c.args, c.flags...); !errs.Is(err, c.kind) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if text, err := os.ReadFile(at("text")); err != nil || string(text) != "hello, this is no journal" {
		t.Errorf("a file that is no journal was changed: %q, %v", text, err)
	}
	if short, err := os.ReadFile(at("short")); err != nil || string(short) != "hello" {
		t.Errorf("a file that is no journal was changed: %q, %v", short, err)
	}
}

// Who came in at a gate without a network is in the ledger once, whatever the house forgot of the upload.
func TestAnUploadThatWasCutShort(t *testing.T) {
	g := startGated(t, "")
	slot := g.slot(t, 0).ID
	gate, v, w := g.newBox(t, 1), g.book(t, slot, 3), g.book(t, slot, 2)
	gate.scan(t, "1 "+v.Code, "1 "+v.Code, w.Code)
	if p, err := enter(g.gate, "before", map[string]any{"code": w.Code, "count": 1, "gate": "3"}); err != nil || !p.Admitted {
		t.Fatalf("%+v, %v", p, err)
	}
	if v, err := g.upload(gate.journal(t)); err != nil || v.Taken != 3 || len(v.Doubles) != 1 || v.Doubles[0].Over != 1 {
		t.Fatalf("%+v, %v", v, err)
	}
	g.restart(t, "DELETE FROM gate_journal", "DELETE FROM gate_double")
	got, err := g.upload(gate.journal(t))
	if err != nil || got.Taken != 3 || len(got.Doubles) != 1 || got.Doubles[0].Over != 1 || got.Doubles[0].Booking != w.ID {
		t.Fatalf("%+v, %v", got, err)
	}
	if p, err := enter(g.gate, "before", map[string]any{"code": w.Code, "count": 1, "gate": "3"}); err != nil || !p.Admitted || p.Left != 1 {
		t.Errorf("asked again after the restart: %+v, %v", p, err)
	}
	g.settle(t)
	if a, b := g.show(t, v.ID), g.show(t, w.ID); a.Entered != 2 || b.Entered != 2 {
		t.Errorf("%d and %d entered", a.Entered, b.Entered)
	}
	if p, err := enter(g.gate, "after", map[string]any{"code": v.Code, "gate": "3"}); err != nil || p.People != 1 {
		t.Errorf("%+v, %v", p, err)
	}
}

// An upload that comes after the slot is over finds its bookings marked as missed and makes that good, and one of
// days later finds them retired: neither is lost on the way.
func TestALateUpload(t *testing.T) {
	g := startGated(t, "")
	slot := g.slot(t, 0).ID
	first, second := g.newBox(t, 1), g.newBox(t, 2)
	v, w := g.book(t, slot, 2), g.book(t, slot, 1)
	first.scan(t, v.Code)
	second.scan(t, w.Code)
	g.ahead.Store(int64(26 * time.Hour))
	eventually(t, "missed", func() bool { return g.show(t, v.ID).Status == "missed" })
	s, err := first.sync(t, g)
	if err != nil || s.Taken != 1 || len(s.Doubles) != 0 {
		t.Fatalf("%+v, %v", s, err)
	}
	eventually(t, "came after all", func() bool { return g.show(t, v.ID).Status == "used" })
	g.ahead.Store(int64(6 * 24 * time.Hour))
	eventually(t, "retired", func() bool {
		p, err := enter(g.gate, "retired", map[string]any{"code": w.Code, "gate": "3"})
		return err == nil && p.Reason == "too-late" && !listed(slots(t, g.House), slot)
	})
	if s, err = second.sync(t, g); err != nil || s.Taken != 1 || s.Late != 1 || len(s.Doubles) != 0 {
		t.Fatalf("%+v, %v", s, err)
	}
}

func listed(all []booking.SlotView, id string) bool {
	return slices.ContainsFunc(all, func(s booking.SlotView) bool { return s.ID == id })
}
