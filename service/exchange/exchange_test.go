package exchange_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/qiongdev/qiong/house/qiongtest"
	"github.com/qiongdev/qiong/kit/auth"
	"github.com/qiongdev/qiong/kit/client"
	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/gm"
	"github.com/qiongdev/qiong/kit/han/gb18030"
	"github.com/qiongdev/qiong/kit/label"
	"github.com/qiongdev/qiong/kit/recordio"
	"github.com/qiongdev/qiong/service/exchange"
)

// What the province wrote stands in the city's table, in its own encoding, byte for byte, whatever the format.
func TestFromFileToTable(t *testing.T) {
	qiongtest.Databases(t, func(t *testing.T, database string) {
		for _, f := range []recordio.Format{recordio.NDJSON, recordio.JSON, recordio.CSV, recordio.XML} {
			t.Run(string(f), func(t *testing.T) {
				from := ""
				if f == recordio.CSV || f == recordio.XML {
					from = "gb18030" // a partner may itself write GB 18030
				}
				if database != "" {
					database = qiongtest.Database(t)
				}
				l := newLab(t, feedOf(f, from, "gb18030"), database)
				all := people(2500)
				data := file(f, all)
				if from != "" {
					var err error
					if data, err = gb18030.V2022.AppendEncode(nil, data); err != nil {
						t.Fatal(err)
					}
				}
				v := l.take("a.1", data, int64(len(all)))
				if v.Status != "accepted" || v.Records != int64(len(all)) || v.Quarantined != 0 {
					t.Fatalf("%+v", v)
				}
				l.delivered(v.ID)
				if len(l.city.rows) != len(all) {
					t.Fatalf("%d rows of %d", len(l.city.rows), len(all))
				}
				for i, p := range all {
					row := l.city.rows[p.id]
					name, err := gb18030.V2022.AppendEncode(nil, []byte(p.name))
					if err != nil {
						t.Fatal(err)
					}
					sex, err := gb18030.V2022.AppendEncode(nil, []byte([]string{"男", "女"}[i%2]))
					if err != nil {
						t.Fatal(err)
					}
					want := fmt.Sprintf("%q", []string{p.id, string(name), string(sex), "1990-06-15", p.income, "2024-06-15 09:23:45"})
					if got := fmt.Sprintf("%q", row); got != want {
						t.Fatalf("row %s, want %s", got, want)
					}
				}
				if r := l.reconcile("city"); !r.Equal || !r.Read || r.Ours.Records != int64(len(all)) || r.Ours != r.Theirs {
					t.Errorf("%+v", r)
				}
			})
		}
	})
}

// A file may come in any pieces; each goes on from the last record that was kept.
func TestPieces(t *testing.T) {
	l := newLab(t, feedOf(recordio.NDJSON, "", "gb18030"), "")
	all := people(5000)
	data := file(recordio.NDJSON, all)
	m := l.manifest("pieces", data, int64(len(all)))
	v, err := l.announce(m)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.content(v.ID, 1, bytes.NewReader(data[1:]), nil); errs.As(err).Code != "exchange.offset" {
		t.Errorf("a gap: %v", err)
	}
	sizes := []int{1, 100, len(data) / 7, len(data) / 3, len(data)}
	for _, size := range sizes {
		end := min(int(v.Offset)+size, len(data))
		_, err := l.content(v.ID, v.Offset, bytes.NewReader(data[v.Offset:end]), nil)
		if end < len(data) && errs.As(err).Code != "exchange.incomplete" {
			t.Fatalf("a piece of %d bytes: %v", size, err)
		}
		before := v.Offset
		if v, err = l.announce(m); err != nil || v.Offset < before || v.Offset > int64(end) {
			t.Fatalf("after %d bytes: %+v, %v", end, v, err)
		}
	}
	if v.Status != "accepted" || v.Records != int64(len(all)) {
		t.Fatalf("%+v", v)
	}
	// Sent again whole, it is the same transfer, and changes nothing.
	again, err := l.content(v.ID, 0, bytes.NewReader(data), nil)
	if err != nil || again.ID != v.ID || again.Records != v.Records {
		t.Errorf("%+v, %v", again, err)
	}
	l.delivered(v.ID)
	if r := l.reconcile("city"); !r.Equal || r.Ours.Records != int64(len(all)) {
		t.Errorf("%+v", r)
	}
}

func TestCompressed(t *testing.T) {
	l := newLab(t, feedOf(recordio.CSV, "", "gb18030"), "")
	data := file(recordio.CSV, people(3000))
	var z bytes.Buffer
	w := gzip.NewWriter(&z)
	if _, err := w.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	v, err := l.announce(l.manifest("z", data, 3000))
	if err != nil {
		t.Fatal(err)
	}
	header := map[string]string{"Content-Encoding": "gzip"}
	if _, err := l.content(v.ID, 0, bytes.NewReader(z.Bytes()[:z.Len()/2]), header); err == nil {
		t.Error("half of it passes for the whole")
	}
	if v, err = l.content(v.ID, 0, bytes.NewReader(z.Bytes()), header); err != nil || v.Status != "accepted" || v.Records != 3000 {
		t.Errorf("%+v, %v", v, err)
	}
	if _, err := l.content(v.ID, 0, strings.NewReader("x"), map[string]string{"Content-Encoding": "br"}); err != nil {
		t.Logf("an accepted transfer takes nothing more: %v", err)
	}
}

// What is not as its manifest says has no effect.
func TestFilesThatAreRefused(t *testing.T) {
	l := newLab(t, feedOf(recordio.NDJSON, "", "gb18030"), "")
	data := file(recordio.NDJSON, people(10))
	flipped := bytes.Clone(data)
	flipped[len(flipped)/2] ^= 1
	for id, tc := range map[string]struct {
		manifest string
		body     []byte
		code     string
	}{
		"digest":  {l.manifest("digest", data, 10), bytes.Replace(data, []byte("1990"), []byte("1991"), 1), "manifest.sm3"},
		"records": {l.manifest("records", data, 11), data, "manifest.records"},
		"longer":  {l.manifest("longer", data[:len(data)-300], 9), data, "manifest.bytes"},
		"endless": {l.manifest("endless", bytes.Repeat([]byte("x"), 2<<20), 1), bytes.Repeat([]byte("x"), 2<<20), recordio.CodeTooLong},
	} {
		v, err := l.announce(tc.manifest)
		if err != nil {
			t.Fatal(err)
		}
		_, err = l.content(v.ID, 0, bytes.NewReader(tc.body), nil)
		if errs.As(err).Code != tc.code {
			t.Errorf("%s: %v (%s)", id, err, errs.As(err).Code)
		}
		if v, err = l.announce(tc.manifest); err != nil || v.Status != "refused" || v.Reason == "" {
			t.Errorf("%s: %+v, %v", id, v, err)
		}
	}
	if len(l.city.rows) != 0 {
		t.Errorf("%d rows of refused files", len(l.city.rows))
	}
}

func TestManifestsThatAreRefused(t *testing.T) {
	l := newLab(t, feedOf(recordio.NDJSON, "", "gb18030"), "")
	data := file(recordio.NDJSON, people(1))
	good := l.manifest("m", data, 1)
	stranger, err := gm.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	forged, err := exchange.Manifest{Feed: "residents", ID: "m", Day: day, Records: 1, Bytes: 1}.Sign(stranger)
	if err != nil {
		t.Fatal(err)
	}
	other, err := exchange.Manifest{Feed: "nobody", ID: "m", Day: day}.Sign(l.key)
	if err != nil {
		t.Fatal(err)
	}
	for text, code := range map[string]string{
		string(forged): "manifest.signature",
		string(other):  "exchange.no-feed",
		strings.Replace(good, "records 1\n", "records 2\n", 1):  "manifest.signature",
		strings.Replace(good, "records 1\n", "records 01\n", 1): "manifest.syntax",
		strings.Replace(good, "manifest/1", "manifest/2", 1):    "manifest.syntax",
		good + "\n": "manifest.syntax",
		"x":         "manifest.syntax",
	} {
		if _, err := l.announce(text); errs.As(err).Code != code {
			t.Errorf("%.60q: %v (%s), want %s", text, err, errs.As(err).Code, code)
		}
	}
	if _, err := l.announce(good); err != nil {
		t.Fatal(err)
	}
	if _, err := l.announce(l.manifest("m", data, 2)); errs.As(err).Code != "exchange.name-used" {
		t.Errorf("another file of the same name: %v", err)
	}
	applicant := l.house.As("somebody", auth.Applicant)
	if err := applicant.Do(context.Background(), client.Request{Method: "POST", Path: "/api/exchange/transfers", Body: map[string]string{"manifest": good}}, nil); !errs.Is(err, errs.Forbidden) {
		t.Errorf("an applicant may send: %v", err)
	}
}

// Nothing that can't be taken is dropped: it waits with its reason and place, and goes its way once corrected.
func TestQuarantineOnArrival(t *testing.T) {
	l := newLab(t, feedOf(recordio.NDJSON, "gb18030", "gb18030"), "")
	good := people(3)
	lines := strings.SplitAfter(string(file(recordio.NDJSON, good)), "\n")
	bad := []string{
		strings.Replace(lines[1], good[1].id, good[1].id[:17]+"Y", 1),
		strings.Replace(lines[1], `"1990/6/15"`, `"15/06/1990"`, 1),
		strings.Replace(lines[1], `"性别":"2"`, `"性别":"9"`, 1),
		strings.Replace(lines[1], `"姓名"`, `"名字"`, 1),
		strings.Replace(lines[1], good[1].name, "a\\u0001b", 1),
		`{"身份证号":` + "\n",
	}
	data, err := gb18030.V2022.AppendEncode(nil, []byte(lines[0]+strings.Join(bad, "")+lines[2]))
	if err != nil {
		t.Fatal(err)
	}
	half, err := gb18030.V2022.AppendEncode(nil, []byte(`{"身份证号":"`))
	if err != nil {
		t.Fatal(err)
	}
	at := len(data)
	data = append(append(data, half...), "\xff\"}\n"...)
	v := l.take("bad", data, 9)
	if v.Records != 2 || v.Quarantined != 7 {
		t.Fatalf("%+v", v)
	}
	held := l.quarantine()
	if len(held) != 7 {
		t.Fatalf("%d in quarantine", len(held))
	}
	byLine := map[int64]exchange.HeldView{}
	for _, h := range held {
		byLine[h.Line] = h
		if strings.Contains(h.Reason, good[1].id) || strings.Contains(h.Reason, good[1].name) {
			t.Errorf("a value is repeated: %s", h.Reason)
		}
	}
	for line, want := range map[int64]string{2: "id id-card.checksum", 3: "born date.syntax", 4: "sex value.code", 5: " record.unknown", 6: "name value.control", 7: "* json.", 9: " encoding.malformed"} {
		if got := byLine[line].Field + " " + byLine[line].Code; !strings.HasPrefix(got, want) && !(line == 2 && strings.HasPrefix(got, "id ")) {
			t.Errorf("line %d: %q, want %q", line, got, want)
		}
	}
	if got := byLine[9].Offset; got != int64(at+len(half)) {
		t.Errorf("half a character at %d, want %d", got, at+len(half))
	}

	var shown struct{ Text string }
	l.get("/quarantine/"+byLine[4].ID, &shown)
	if !strings.Contains(shown.Text, good[1].name) {
		t.Errorf("the content of line 4: %q", shown.Text)
	}
	l.get("/quarantine/"+byLine[9].ID, &shown)
	if !strings.HasPrefix(shown.Text, "hex:") {
		t.Errorf("the content of line 9: %q", shown.Text)
	}

	fix := map[string]string{"身份证号": good[1].id, "姓名": good[1].name, "性别": "9"}
	replay := func(h exchange.HeldView, values map[string]string) (v exchange.TransferView, err error) {
		err = l.ops.Do(context.Background(), client.Request{Method: "POST", Path: "/api/exchange/quarantine/" + h.ID + "/replay", Body: map[string]any{"values": values}}, &v)
		return v, err
	}
	if _, err := replay(byLine[4], fix); errs.As(err).Field != "sex" {
		t.Errorf("a correction that is wrong: %v", err)
	}
	fix["性别"] = "2"
	corrected, err := replay(byLine[4], fix)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := replay(byLine[4], fix); errs.As(err).Code != "exchange.settled" {
		t.Errorf("replayed twice: %v", err)
	}
	if err := l.ops.Do(context.Background(), client.Request{Method: "POST", Path: "/api/exchange/quarantine/" + byLine[7].ID + "/dismiss", Body: map[string]string{"reason": "来源已确认作废"}}, nil); err != nil {
		t.Fatal(err)
	}
	l.delivered(v.ID)
	l.delivered(corrected.ID)
	if len(l.city.rows) != 3 || len(l.quarantine()) != 5 {
		t.Errorf("%d rows, %d in quarantine", len(l.city.rows), len(l.quarantine()))
	}
	if r := l.reconcile("city"); !r.Equal || r.Ours.Records != 3 {
		t.Errorf("%+v", r)
	}
}

// A target that lacks characters gets the rest; what it lacks waits for a word that it has.
func TestQuarantineForATarget(t *testing.T) {
	l := newLab(t, feedOf(recordio.NDJSON, "", "gbk"), "")
	all := people(len(names))
	v := l.take("gbk", file(recordio.NDJSON, all), int64(len(all)))
	if v.Quarantined != 0 {
		t.Fatalf("%+v", v)
	}
	v = l.delivered(v.ID)
	lacking := int64(0)
	for _, n := range names {
		if _, err := gb18030.GBK.AppendEncode(nil, []byte(n)); err != nil {
			lacking++
		}
	}
	if d := v.Deliveries[0]; lacking == 0 || d.Quarantined != lacking || d.Delivered != int64(len(all))-lacking {
		t.Fatalf("%+v, %d names that GBK lacks", d, lacking)
	}
	held := l.quarantine()
	h := held[len(held)-1]
	if h.Target != "city" || h.Field != "name" || h.Code != "encoding.unmapped" {
		t.Fatalf("%+v", h)
	}
	var shown struct{ Fields map[string]string }
	l.get("/quarantine/"+h.ID, &shown)
	if shown.Fields["name"] == "" || shown.Fields["id"] == "" {
		t.Errorf("%+v", shown)
	}
	replay := func(values map[string]string) (v exchange.TransferView, err error) {
		err = l.ops.Do(context.Background(), client.Request{Method: "POST", Path: "/api/exchange/quarantine/" + h.ID + "/replay", Body: map[string]any{"values": values}}, &v)
		return v, err
	}
	if _, err := replay(nil); errs.As(err).Code != "encoding.unmapped" {
		t.Errorf("as it is: %v", err)
	}
	corrected, err := replay(map[string]string{"name": "王（龙天）"})
	if err != nil {
		t.Fatal(err)
	}
	l.delivered(corrected.ID)
	if row := l.city.rows[shown.Fields["id"]]; row == nil {
		t.Error("the corrected record is not there")
	}
	if r := l.reconcile("city"); !r.Equal {
		t.Errorf("%+v", r)
	}
}

// A row that the target's database refuses waits; the others arrive.
func TestARowThatTheDatabaseRefuses(t *testing.T) {
	l := newLab(t, feedOf(recordio.NDJSON, "", "gb18030"), "")
	all := people(20)
	l.city.refuse = all[7].id
	v := l.delivered(l.take("row", file(recordio.NDJSON, all), 20).ID)
	if d := v.Deliveries[0]; d.Delivered != 19 || d.Quarantined != 1 {
		t.Errorf("%+v", d)
	}
	held := l.quarantine()
	if len(held) != 1 || held[0].Seq != 8 || held[0].Code != "table.row" {
		t.Fatalf("%+v", held)
	}
	l.city.mu.Lock()
	l.city.refuse = ""
	l.city.mu.Unlock()
	var again exchange.TransferView
	if err := l.ops.Do(context.Background(), client.Request{Method: "POST", Path: "/api/exchange/quarantine/" + held[0].ID + "/replay", Body: map[string]any{}}, &again); err != nil {
		t.Fatal(err)
	}
	l.delivered(again.ID)
	if len(l.city.rows) != 20 {
		t.Errorf("%d rows", len(l.city.rows))
	}
}

// A target that is away gets everything when it is back, once, in order, also over a restart of the house.
func TestATargetThatIsAway(t *testing.T) {
	l := newLab(t, feedOf(recordio.NDJSON, "", "gb18030"), "")
	l.city.gone = true
	all := people(1500)
	first := l.take("one", file(recordio.NDJSON, all), 1500)
	all[0].name = "改名"
	second := l.take("two", file(recordio.NDJSON, all[:1]), 1)
	var v exchange.TransferView
	for range 400 {
		if l.get("/transfers/"+first.ID, &v); v.Deliveries[0].Attempts > 1 {
			break
		}
		time.Sleep(10 * time.Millisecond) // polls a service
	}
	if v.Deliveries[0].Attempts < 2 || v.Deliveries[0].Reason == "" {
		t.Fatalf("%+v", v)
	}
	var feeds struct{ Items []exchange.FeedView }
	l.get("/feeds", &feeds)
	if target := feeds.Items[0].Targets[0]; target.Transfers != 2 || target.Chunks != 3 || target.Reason == "" {
		t.Errorf("%+v", target)
	}
	l.house.Stop()
	l.city.gone = false
	l.start()
	l.delivered(second.ID)
	l.delivered(first.ID)
	if l.city.writes != 3 || string(l.city.rows[all[0].id][1]) != must(gb18030.V2022.AppendEncode(nil, []byte("改名"))) {
		t.Errorf("%d writes", l.city.writes)
	}
	if r := l.reconcile("city"); !r.Equal || r.Superseded != 1 || r.Ours.Records != 1500 {
		t.Errorf("%+v", r)
	}
}

func must(b []byte, err error) string {
	if err != nil {
		panic(err)
	}
	return string(b)
}

// Two targets may be one database: what one has been given, the other still gets.
func TestTwoTargetsOfOneDatabase(t *testing.T) {
	feed := feedOf(recordio.NDJSON, "", "gb18030")
	second := feed[strings.Index(feed, "  - name: city"):]
	l := newLab(t, feed+strings.Replace(second, "name: city", "name: other", 1), "")
	v := l.delivered(l.take("two", file(recordio.NDJSON, people(10)), 10).ID)
	if len(v.Deliveries) != 2 || l.city.writes != 2 {
		t.Errorf("%d writes for %+v", l.city.writes, v.Deliveries)
	}
}

// Reconciliation names what somebody changed, and what somebody took away.
func TestDifferences(t *testing.T) {
	l := newLab(t, feedOf(recordio.NDJSON, "", "gb18030"), "")
	all := people(500)
	v := l.take("d", file(recordio.NDJSON, all), 500)
	l.delivered(v.ID)
	l.city.mu.Lock()
	l.city.rows[all[3].id][4] = []byte("1000000.00")
	l.city.rows[all[5].id][4] = []byte("5.5") // the same number
	delete(l.city.rows, all[9].id)
	l.city.mu.Unlock()
	r := l.reconcile("city")
	if r.Equal || r.Ours.Records != 500 || r.Theirs.Records != 499 || r.Ours.SM3 == r.Theirs.SM3 {
		t.Errorf("%+v", r)
	}
	if got := fmt.Sprintf("%+v", r.Differences); got != fmt.Sprintf("[{Transfer:%s Seq:4 Missing:false Fields:[income]} {Transfer:%s Seq:10 Missing:true Fields:[]}]", v.ID, v.ID) {
		t.Errorf("%s", got)
	}
}

// Files appear whole, in the target's encoding, with their digest beside them; an interface gets them signed, with a
// key that makes them count once.
func TestFilesAndInterfaces(t *testing.T) {
	folder := t.TempDir()
	type pushed struct {
		key, media, signature string
		body                  []byte
	}
	got := make(chan pushed, 10)
	var fail sync.Once
	interfaces := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		got <- pushed{r.Header.Get("Idempotency-Key"), r.Header.Get("Content-Type"), r.Header.Get("Signature"), body}
		fail.Do(func() { w.WriteHeader(http.StatusInternalServerError) }) // it took effect, and the answer is lost
	}))
	defer interfaces.Close()
	feed := feedOf(recordio.NDJSON, "", "gb18030")
	feed = feed[:strings.Index(feed, "to:")] + fmt.Sprintf(`to:
  - name: folder
    columns: {id: 证件, name: 姓名}
    file: {folder: %s, format: xml, root: 人员, row: 人}
  - name: interface
    encoding: gbk
    push: {url: %q, format: ndjson}
`, folder, interfaces.URL)
	l := newLab(t, feed, "")
	all := people(4)
	all[0].name, all[1].name = "乚\\\"<&", "俓" // last bytes of GBK that look like marks
	all[2].name, all[3].name = "丙", "丁"
	v := l.delivered(l.take("f", file(recordio.NDJSON, all), 4).ID)
	path := filepath.Join(folder, "residents-folder-"+v.ID+"-0.xml")
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	text := must(gb18030.V2022.AppendDecode(nil, data))
	if !strings.HasPrefix(text, `<?xml version="1.0" encoding="GB18030"?>`+"\n<人员>\n<人><证件>") || !strings.Contains(text, `<姓名>乚\"&lt;&amp;</姓名>`) {
		t.Errorf("%s", text)
	}
	if ok, err := os.ReadFile(path + ".ok"); err != nil || string(ok) != fmt.Sprintf("%x  %s\n", gm.SM3(data), filepath.Base(path)) {
		t.Errorf("%q, %v", ok, err)
	}
	first, second := <-got, <-got
	if first.key != second.key || first.key != "residents-interface-"+v.ID+"-0" || !bytes.Equal(first.body, second.body) || first.signature == "" || first.media != "application/x-ndjson; charset=GBK" {
		t.Errorf("%+v, then %+v", first, second)
	}
	line, _, _ := strings.Cut(must(gb18030.GBK.AppendDecode(nil, first.body)), "\n")
	var record map[string]any
	if err := json.Unmarshal([]byte(line), &record); err != nil || record["name"] != all[0].name || record["income"] != 0.5 || record["changed"] != "2024-06-15T09:23:45.000+08:00" {
		t.Errorf("%s: %v", line, err)
	}
	if r := l.reconcile("folder"); !r.Equal || r.Read || r.Ours.Records != 4 {
		t.Errorf("%+v", r)
	}
}

// What was accepted for a target is delivered, also when the feed is offered no longer.
func TestAFeedThatIsNoLongerOffered(t *testing.T) {
	l := newLab(t, feedOf(recordio.NDJSON, "", "gb18030"), "")
	l.city.gone = true
	v := l.take("last", file(recordio.NDJSON, people(3)), 3)
	l.house.Stop()
	l.city.gone = false
	l.opt.Set["exchange.feeds"] = ""
	l.start()
	l.delivered(v.ID)
	if len(l.city.rows) != 3 {
		t.Errorf("%d rows", len(l.city.rows))
	}
}

// The pages are for those who run the house and those who audit it.
func TestPages(t *testing.T) {
	l := newLab(t, feedOf(recordio.NDJSON, "", "gbk"), "")
	all := people(20)
	v := l.delivered(l.take("pages", file(recordio.NDJSON, all), 20).ID)
	get := func(c *client.Client, path string) (status int, grade, body string) {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, c.URL+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+c.Token)
		req.Header.Set("Accept-Language", "en")
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, resp.Header.Get(label.Header), string(text)
	}
	for path, want := range map[string]string{
		"/exchange/":                   "up to date",
		"/exchange/transfers":          "pages",
		"/exchange/transfers/" + v.ID:  "qiong/exchange-manifest/1",
		"/exchange/quarantine":         "the character set has no such character",
		"/exchange/quarantine?lang=zh": "目标字符集没有这个字符",
		"/exchange/reconciliation?of=residents/city&day=" + day:    "equal",
		"/exchange/reconciliation?of=residents/city&day=yesterday": "a date is written as 2024-06-15",
	} {
		status, grade, body := get(l.ops, path)
		if status != http.StatusOK || grade != "L2" || !strings.Contains(body, want) {
			t.Errorf("%s: %d, %s, without %q", path, status, grade, want)
		}
		if strings.Contains(body, all[0].id) || strings.Contains(body, all[0].name) {
			t.Errorf("%s shows a record", path)
		}
		if status, _, _ := get(l.send, path); status != http.StatusForbidden {
			t.Errorf("%s is shown to a partner: %d", path, status)
		}
	}
	if status, _, _ := get(l.ops, "/exchange/transfers/nobody"); status != http.StatusNotFound {
		t.Errorf("a transfer that is not: %d", status)
	}
}

func TestTooManyBadRecords(t *testing.T) {
	l := newLab(t, feedOf(recordio.NDJSON, "", "gb18030"), "")
	l.house.Stop()
	l.opt.Set["exchange.quarantine"] = "10"
	l.start()
	data := bytes.Repeat([]byte("{\"x\":1}\n"), 11)
	v, err := l.announce(l.manifest("many", data, 11))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.content(v.ID, 0, bytes.NewReader(data), nil); errs.As(err).Code != "exchange.too-many-bad" {
		t.Errorf("%v", err)
	}
}

func TestBacklog(t *testing.T) {
	l := newLab(t, feedOf(recordio.NDJSON, "", "gb18030"), "")
	l.city.gone = true
	l.house.Stop()
	l.opt.Set["exchange.backlog"] = "1"
	l.start()
	data := file(recordio.NDJSON, people(1))
	l.take("one", data, 1)
	if _, err := l.announce(l.manifest("two", data, 1)); errs.As(err).Code != "exchange.backlog" || errs.As(err).RetryAfter == 0 {
		t.Errorf("%v", err)
	}
	if _, err := l.announce(l.manifest("one", data, 1)); err != nil {
		t.Errorf("what is known is answered: %v", err)
	}
}
