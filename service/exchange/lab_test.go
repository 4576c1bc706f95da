package exchange_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/qiongdev/qiong"
	"github.com/qiongdev/qiong/house/qiongtest"
	"github.com/qiongdev/qiong/kit/auth"
	"github.com/qiongdev/qiong/kit/client"
	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/gm"
	"github.com/qiongdev/qiong/kit/keys"
	"github.com/qiongdev/qiong/kit/label"
	"github.com/qiongdev/qiong/kit/recordio"
	"github.com/qiongdev/qiong/kit/table"
	"github.com/qiongdev/qiong/service/exchange"
)

const day = "2026-11-20"

// memory is a table in memory, of a database that can go away.
type memory struct {
	mu     sync.Mutex
	spec   table.Spec
	rows   map[string]table.Row
	ledger map[string]bool
	writes int
	gone   bool
	refuse string // a key whose row is refused
}

func newMemory() *memory { return &memory{rows: map[string]table.Row{}, ledger: map[string]bool{}} }

func (m *memory) Write(_ context.Context, batch string, rows []table.Row) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.gone {
		return errs.New(errs.Unavailable, "数据库不可用", "the database is gone")
	}
	if m.ledger[batch] {
		return nil
	}
	for i, r := range rows {
		if m.refuse != "" && string(r[m.spec.Key]) == m.refuse {
			return table.Refused(i, "1406")
		}
	}
	m.ledger[batch] = true
	m.writes++
	for _, r := range rows {
		kept := make(table.Row, len(r))
		for i, v := range r {
			kept[i] = bytes.Clone(v)
		}
		m.rows[string(r[m.spec.Key])] = kept
	}
	return nil
}

func (m *memory) Find(_ context.Context, keys []table.Value) (found []table.Row, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, k := range keys {
		if r, ok := m.rows[string(k)]; ok {
			found = append(found, r)
		}
	}
	return found, nil
}

func (m *memory) Scan(context.Context, string, int64, int) ([]table.Row, int64, error) {
	return nil, 0, nil
}
func (m *memory) Close() error { return nil }

// lab is a house with one feed, a sender's key that it trusts, and a memory for its table.
type lab struct {
	t     *testing.T
	house *qiongtest.House
	opt   qiongtest.Options
	data  string
	city  *memory
	key   *gm.PrivateKey
	ops   *client.Client
	send  *client.Client
}

const residents = `
feed: residents
version: 1
title: {zh: 常住人口, en: Residents}
from: {partner: province, format: %s, row: person, naive: beijing%s}
key: id
fields:
  - {name: id, from: 身份证号, type: id-card, required: true, grade: "L3,pii=id_card"}
  - {name: name, from: 姓名, type: text, required: true, max: 50, grade: "L3,pii=name"}
  - {name: sex, from: 性别, type: code, codes: {"1": male, "2": female}, grade: L2}
  - {name: born, from: 出生日期, type: date, grade: L2}
  - {name: income, from: 收入, type: decimal, grade: L3}
  - {name: changed, from: 更新时间, type: time, grade: L1}
to:
  - name: city
    encoding: %s
    columns: {id: SFZH, name: XM, sex: XB, born: CSRQ, income: SR, changed: GXSJ}
    codes: {sex: {male: "男", female: "女"}}
    time: "2006-01-02 15:04:05"
    table: {connection: city, name: JM}
`

func newLab(t *testing.T, feed, database string) *lab {
	t.Helper()
	l := &lab{t: t, city: newMemory(), data: filepath.Join(t.TempDir(), "data")}
	feeds := t.TempDir()
	if err := os.WriteFile(filepath.Join(feeds, "feed.yaml"), []byte(feed), 0o600); err != nil {
		t.Fatal(err)
	}
	ring, err := keys.Open(filepath.Join(l.data, "keys"), keys.Options{CreateMaster: true})
	if err != nil {
		t.Fatal(err)
	}
	if l.key, err = gm.GenerateKey(); err != nil {
		t.Fatal(err)
	}
	if err := ring.Trust("exchange.province", l.key.PublicKey()); err != nil {
		t.Fatal(err)
	}
	config := filepath.Join(t.TempDir(), "qiong.yaml")
	if err := os.WriteFile(config, []byte("exchange: {connections: {city: {driver: memory, dsn: x}}}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	open := func(_ context.Context, _ string, spec table.Spec) (table.Table, error) {
		l.city.mu.Lock()
		defer l.city.mu.Unlock()
		l.city.spec = spec
		return l.city, nil
	}
	l.opt = qiongtest.Options{Data: l.data, Database: database, File: config, Services: []*qiong.Service{exchange.New(map[string]table.Opener{"memory": open})},
		Set: map[string]string{"exchange.feeds": feeds, "exchange.pause": "50ms"}}
	l.start()
	return l
}

func (l *lab) start() {
	l.house = qiongtest.Start(l.t, l.opt)
	l.ops, l.send = l.house.As("ops", auth.Operator), l.house.As("province", auth.Agency)
}

// manifest announces a file.
func (l *lab) manifest(id string, file []byte, records int64) string {
	l.t.Helper()
	text, err := exchange.Manifest{Feed: "residents", ID: id, Day: day, Records: records, Bytes: int64(len(file)), SM3: gm.SM3(file)}.Sign(l.key)
	if err != nil {
		l.t.Fatal(err)
	}
	return string(text)
}

func (l *lab) announce(manifest string) (v exchange.TransferView, err error) {
	err = l.send.Do(context.Background(), client.Request{Method: "POST", Path: "/api/exchange/transfers", Body: map[string]string{"manifest": manifest}}, &v)
	return v, err
}

func (l *lab) content(id string, offset int64, body io.Reader, header map[string]string) (v exchange.TransferView, err error) {
	err = l.send.Do(context.Background(), client.Request{Method: "PUT", Path: fmt.Sprintf("/api/exchange/transfers/%s/content?offset=%d", id, offset), Body: body, Header: header}, &v)
	return v, err
}

// take sends a whole file and returns the transfer.
func (l *lab) take(id string, file []byte, records int64) exchange.TransferView {
	l.t.Helper()
	v, err := l.announce(l.manifest(id, file, records))
	if err == nil {
		v, err = l.content(v.ID, 0, bytes.NewReader(file), nil)
	}
	if err != nil {
		l.t.Fatal(err)
	}
	return v
}

func (l *lab) get(path string, out any) {
	l.t.Helper()
	if err := l.ops.Do(context.Background(), client.Request{Method: "GET", Path: "/api/exchange" + path}, out); err != nil {
		l.t.Fatal(err)
	}
}

// delivered waits until every target has the transfer.
func (l *lab) delivered(id string) (v exchange.TransferView) {
	l.t.Helper()
	for range 400 {
		l.get("/transfers/"+id, &v)
		done := true
		for _, d := range v.Deliveries {
			done = done && d.Status == "done"
		}
		if done {
			return v
		}
		time.Sleep(25 * time.Millisecond) // polls a service; nothing here depends on how long it takes
	}
	l.t.Fatalf("never delivered: %+v", v)
	return v
}

func (l *lab) reconcile(target string) (r exchange.Reconciliation) {
	l.t.Helper()
	l.get("/reconciliation?feed=residents&target="+target+"&day="+day, &r)
	return r
}

func (l *lab) quarantine() []exchange.HeldView {
	l.t.Helper()
	var page struct{ Items []exchange.HeldView }
	l.get("/quarantine?status=open&limit=200", &page)
	return page.Items
}

// person is a record of the province. Its numbers are fakes.
type person struct{ id, name, sex, born, income, changed string }

// names are rare ones: CJK Extensions A to H, private use, a compatibility ideograph, an emoji.
var names = []string{"王䶮", "𠮷田𬭎", "㛃·\U00030EDD", "欧阳堃喆", "張\uF9DCA", "字\uE000", "陈😀", "\U0002B740\U0002CEB0"}

func people(n int) []person {
	all := make([]person, n)
	for i := range all {
		all[i] = person{label.FakeIDCard(uint64(i)), names[i%len(names)], []string{"1", "2"}[i%2], "1990/6/15", fmt.Sprintf("%d.50", i), "2024-06-15 09:23:45"}
	}
	return all
}

var columns = recordio.NewColumns("身份证号", "姓名", "性别", "出生日期", "收入", "更新时间")

func (p person) values() []recordio.Value {
	var all []recordio.Value
	for _, s := range []string{p.id, p.name, p.sex, p.born, p.income, p.changed} {
		all = append(all, recordio.Value{Text: []byte(s), Set: s != ""})
	}
	return all
}

func file(f recordio.Format, all []person) []byte {
	w := &recordio.Writer{Format: f, Columns: columns, Root: "people", Row: "person"}
	b := w.AppendHead(nil)
	for i, p := range all {
		b = w.Append(b, p.values(), i == 0)
	}
	return w.AppendTail(b)
}

func feedOf(f recordio.Format, from, to string) string {
	if from != "" {
		from = ", encoding: " + from
	}
	return fmt.Sprintf(residents, f, from, to)
}
