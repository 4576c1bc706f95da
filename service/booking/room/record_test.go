package room

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/qiongdev/qiong/kit/errs"
)

func publish(t testing.TB, d *Draw) []byte {
	t.Helper()
	var b bytes.Buffer
	n, err := d.Tree().list.WriteTo(&b)
	if err != nil || n != int64(b.Len()) {
		t.Fatalf("WriteTo = %d, %v", n, err)
	}
	return b.Bytes()
}

// What is published lets a stranger compute the order, and grows without contradicting itself.
func TestAnyoneCanCheckTheDraw(t *testing.T) {
	for _, n := range []int{0, 1, 2, 255, 256, 257, 1000} {
		r := filled(t, n, nil)
		before := r.Record()
		d := open(t, r, []byte("a beacon"))
		closed, drawn := d.Tree().Record(), d.Record()
		for _, rec := range []Record{before, closed, drawn} {
			back, err := ParseRecord(rec.Text())
			if err != nil || !bytes.Equal(back.Text(), rec.Text()) || back.Count != rec.Count || back.Drawn != rec.Drawn {
				t.Fatalf("%d: the record %s is read as %+v, %v", n, rec.Text(), back, err)
			}
		}
		if closed.Continues(before) != nil || drawn.Continues(closed) != nil || before.Continues(closed) == nil {
			t.Errorf("%d: the record does not continue itself", n)
		}
		if bytes.Contains(closed.Text(), []byte("seed")) {
			t.Error("the seed is published before the draw")
		}
		order, err := VerifyDraw(drawn, publish(t, d))
		if err != nil || !slices.Equal(order, d.Order()) {
			t.Errorf("%d: VerifyDraw: %v", n, err)
		}
		if _, err := VerifyDraw(closed, publish(t, d)); errs.As(err).Code != "room.draw" {
			t.Errorf("before the seed is known: %v", err)
		}
	}
}

func TestEveryoneCanProveTheirEntry(t *testing.T) {
	r := filled(t, 700, nil)
	must(t, r.Leave(300))
	d := open(t, r, nil)
	rec := d.Record()
	for n := uint32(1); n <= 700; n++ {
		proof, err := d.Tree().Prove(n)
		if n == 300 {
			if !errs.Is(err, errs.NotFound) {
				t.Errorf("who had left is proved: %v", err)
			}
			continue
		}
		must(t, err)
		alias := r.place(n).Alias
		if err := rec.VerifyEntry(n, alias, proof); err != nil {
			t.Fatalf("number %d: %v", n, err)
		}
		if rec.VerifyEntry(n+1, alias, proof) == nil || rec.VerifyEntry(n, Alias{}, proof) == nil {
			t.Fatalf("the proof of number %d proves another entry", n)
		}
	}
	if before := r.Record(); before.VerifyEntry(1, r.place(1).Alias, Proof{}) == nil {
		t.Error("an entry is proved against a record without a root")
	}
}

func TestACheatIsFound(t *testing.T) {
	r := filled(t, 20, nil)
	d := open(t, r, nil)
	list, rec := publish(t, d), d.Record()
	for name, c := range map[string]struct {
		change func(*Record)
		list   []byte
		code   string
	}{
		"another seed":         {func(r *Record) { r.Seed[0]++ }, list, "room.draw"},
		"another count":        {func(r *Record) { r.Count++ }, list, "room.draw"},
		"another root":         {func(r *Record) { r.Root[0]++ }, list, "room.draw"},
		"another beacon":       {func(r *Record) { r.Beacon = []byte("another") }, list, "room.draw"},
		"another opening":      {func(r *Record) { r.Opens = r.Opens.Add(time.Second) }, list, "room.draw"},
		"another sale":         {func(r *Record) { r.Sale += "x" }, list, "room.draw"},
		"another order":        {func(r *Record) { r.Order[31]++ }, list, "room.draw"},
		"an entry less":        {func(*Record) {}, list[:bytes.LastIndexByte(list[:len(list)-1], '\n')+1], "room.draw"},
		"another entry":        {func(*Record) {}, bytes.Replace(list, []byte("1 "), []byte("0"), 1), "room.list"},
		"an alias changed":     {func(*Record) {}, flipHex(list), "room.draw"},
		"an entry twice":       {func(*Record) {}, append(bytes.Clone(list), list[bytes.LastIndexByte(list[:len(list)-1], '\n')+1:]...), "room.list"},
		"a list cut":           {func(*Record) {}, list[:len(list)-1], "room.list"},
		"a number with a zero": {func(*Record) {}, append([]byte("0"), list...), "room.list"},
	} {
		bad := rec
		c.change(&bad)
		if _, err := VerifyDraw(bad, c.list); err == nil || errs.As(err).Code != c.code {
			t.Errorf("%s: %v", name, err)
		}
	}
	moved, err := d.Tree().Draw([]byte("another"))
	must(t, err)
	if slices.Equal(moved.Order(), d.Order()) {
		t.Error("the beacon does not move the order")
	}
}

// Every byte of what is published means something.
func TestNoByteCanBeChanged(t *testing.T) {
	d := open(t, filled(t, 12, nil), []byte("a beacon"))
	record, list := d.Record().Text(), publish(t, d)
	passes := func(record, list []byte) bool {
		r, err := ParseRecord(record)
		if err == nil {
			_, err = VerifyDraw(r, list)
		}
		return err == nil
	}
	if !passes(record, list) {
		t.Fatal("what was published does not pass")
	}
	for _, text := range [][]byte{record, list} {
		for i := range text {
			for _, bit := range []byte{1, 2, 4, 8, 16, 32, 64, 128} {
				text[i] ^= bit
				if passes(record, list) {
					t.Errorf("with byte %d changed it passes:\n%s%s", i, record, list)
				}
				text[i] ^= bit
			}
		}
	}
}

// flipHex changes the first digit of the first alias.
func flipHex(list []byte) []byte {
	out := bytes.Clone(list)
	if i := bytes.IndexByte(out, ' ') + 1; out[i] == 'a' {
		out[i] = 'b'
	} else {
		out[i] = 'a'
	}
	return out
}

func TestRecordsHaveOneForm(t *testing.T) {
	good := string(open(t, filled(t, 3, nil), nil).Record().Text())
	for name, bad := range map[string]string{
		"nothing":         "",
		"cut":             good[:len(good)-1],
		"a line more":     good + "\n",
		"a space more":    strings.Replace(good, "sale ", "sale  ", 1),
		"upper case":      strings.Replace(good, "commitment ", "commitment A", 1),
		"a leading zero":  strings.Replace(good, "count 3", "count 03", 1),
		"another version": strings.Replace(good, "v1", "v2", 1),
		"windows":         strings.ReplaceAll(good, "\n", "\r\n"),
		"empty beacon":    strings.Replace(good, "beacon -", "beacon ", 1),
	} {
		if _, err := ParseRecord([]byte(bad)); !errs.Is(err, errs.Invalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestARecordIsRefusedByItsLine(t *testing.T) {
	good := string(open(t, filled(t, 3, nil), nil).Record().Text())
	lines := strings.SplitAfter(good, "\n")
	for i, name := range []string{"", "sale", "opens", "commitment", "count", "root", "beacon", "seed", "order"} {
		bad := strings.Replace(good, lines[i], "x"+lines[i], 1)
		if _, err := ParseRecord([]byte(bad)); err == nil || errs.As(err).Line != i+1 || errs.As(err).Field != name || errs.As(err).Code != "room.record" {
			t.Errorf("line %d: %v", i+1, err)
		}
		cut := strings.Join(lines[:i], "")
		if _, err := ParseRecord([]byte(cut)); i != 4 && i != 6 && (err == nil || errs.As(err).Line != i+1) {
			t.Errorf("before line %d: %v", i+1, err)
		}
	}
	for text, line := range map[string]int{good + "more\n": 10, good + "more": 10, good[:len(good)-1]: 9} {
		if _, err := ParseRecord([]byte(text)); err == nil || errs.As(err).Line != line {
			t.Errorf("%q: %v", text, err)
		}
	}
	if _, err := ParseRecord(bytes.Repeat([]byte(good), 20)); err == nil {
		t.Error("a long one is read")
	}
	r, err := ParseRecord([]byte(good))
	must(t, err)
	earlier := r
	earlier.Drawn, earlier.Root[0] = false, earlier.Root[0]+1
	if err := r.Continues(earlier); err == nil || errs.As(err).Line != 6 {
		t.Errorf("another root before: %v", err)
	}
}

func FuzzParseRecord(f *testing.F) {
	r := filled(f, 3, nil)
	f.Add(r.Record().Text())
	f.Add(open(f, r, []byte("b")).Record().Text())
	f.Fuzz(func(t *testing.T, text []byte) {
		r, err := ParseRecord(text)
		if err == nil && !bytes.Equal(r.Text(), text) {
			t.Fatalf("%q is read as %q", text, r.Text())
		}
		_, _ = VerifyDraw(r, text)
	})
}

func FuzzParseList(f *testing.F) {
	f.Add(publish(f, open(f, filled(f, 4, nil), nil)))
	f.Fuzz(func(t *testing.T, text []byte) {
		l, err := parseList(text)
		if err != nil {
			return
		}
		top := uint32(0)
		if len(l.numbers) > 0 {
			top = l.numbers[len(l.numbers)-1]
		}
		if top > 1<<20 {
			return
		}
		whole := &List{aliases: make([]Alias, top), numbers: l.numbers}
		for i, n := range l.numbers {
			whole.aliases[n-1] = l.aliases[i]
		}
		var b bytes.Buffer
		_, _ = whole.WriteTo(&b)
		if !bytes.Equal(b.Bytes(), text) {
			t.Fatalf("%q is read as %q", text, b.Bytes())
		}
	})
}

func TestDrawRefusesALongBeacon(t *testing.T) {
	l, err := filled(t, 1, nil).Close(opens.Add(time.Second))
	must(t, err)
	if _, err := l.Tree().Draw(make([]byte, MaxBeacon+1)); !errs.Is(err, errs.Invalid) {
		t.Errorf("Draw: %v", err)
	}
}
