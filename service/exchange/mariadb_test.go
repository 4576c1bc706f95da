package exchange_test

import (
	"database/sql"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/qiongdev/qiong"
	"github.com/qiongdev/qiong/house/qiongtest"
	"github.com/qiongdev/qiong/kit/auth"
	"github.com/qiongdev/qiong/kit/beijing"
	"github.com/qiongdev/qiong/kit/gm"
	"github.com/qiongdev/qiong/kit/han/gb18030"
	"github.com/qiongdev/qiong/kit/keys"
	"github.com/qiongdev/qiong/kit/recordio"
	"github.com/qiongdev/qiong/kit/table"
	mysqltable "github.com/qiongdev/qiong/kit/table/mysql"
	"github.com/qiongdev/qiong/service/exchange"
)

const cityTables = `
CREATE TABLE JM (N BIGINT AUTO_INCREMENT UNIQUE, SFZH VARBINARY(18) PRIMARY KEY, XM VARBINARY(400), XB VARBINARY(8), CSRQ DATE, SR DECIMAL(12,2), GXSJ DATETIME);
CREATE TABLE JM_GBK (N BIGINT AUTO_INCREMENT UNIQUE, SFZH VARCHAR(18) PRIMARY KEY, XM VARCHAR(50), XB VARCHAR(4), CSRQ DATE, SR DECIMAL(12,2), GXSJ DATETIME) CHARACTER SET gbk;
CREATE TABLE JM_UTF8 (SFZH VARCHAR(18) PRIMARY KEY, XM VARCHAR(50), XB VARCHAR(8), CSRQ DATE, SR DECIMAL(12,2), GXSJ DATETIME) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin`

const cityTargets = `to:
  - name: binary
    encoding: gb18030
    columns: {id: SFZH, name: XM, sex: XB, born: CSRQ, income: SR, changed: GXSJ}
    codes: {sex: {male: "男", female: "女"}}
    time: "2006-01-02 15:04:05"
    table: {connection: city, name: JM}
  - name: gbk
    encoding: gbk
    columns: {id: SFZH, name: XM, sex: XB, born: CSRQ, income: SR, changed: GXSJ}
    codes: {sex: {male: "男", female: "女"}}
    time: "2006-01-02 15:04:05"
    table: {connection: city, name: JM_GBK, charset: gbk}
`

// back is the way from a city's table to the province.
const back = `feed: back-%[1]s
version: 1
title: {zh: 回传, en: Back}
from:
  naive: beijing
  table: {connection: city, name: %[2]s, cursor: N, every: 50ms, text: %[3]s}
key: id
fields:
  - {name: id, from: SFZH, type: id-card, required: true, grade: "L3,pii=id_card"}
  - {name: name, from: XM, type: text, required: true, grade: "L3,pii=name"}
  - {name: sex, from: XB, type: code, codes: {"男": male, "女": female}, grade: L2}
  - {name: born, from: CSRQ, type: date, grade: L2}
  - {name: income, from: SR, type: decimal, grade: L3}
  - {name: changed, from: GXSJ, type: time, grade: L1}
to:
  - {name: province, encoding: utf-8, file: {folder: %[4]s, format: ndjson}}
  - name: utf8
    encoding: utf-8
    columns: {id: SFZH, name: XM, sex: XB, born: CSRQ, income: SR, changed: GXSJ}
    time: "2006-01-02 15:04:05"
    table: {connection: city, name: JM_UTF8, charset: utf8mb4}
`

// TestBothWaysWithMariaDB carries rare text from the province into a table of GB 18030 bytes and one in GBK, and from
// both of them back: what arrives is what was sent, what GBK lacks is in quarantine, and the books are equal.
func TestBothWaysWithMariaDB(t *testing.T) {
	dsn := os.Getenv("QIONG_MARIADB")
	if dsn == "" {
		t.Skip("QIONG_MARIADB is not set: scripts/with-mariadb sets it")
	}
	dsn = cityDatabase(t, dsn)
	folders := map[string]string{"JM": t.TempDir(), "JM_GBK": t.TempDir()}
	feed := feedOf(recordio.NDJSON, "", "gb18030")
	l := cityLab(t, dsn, map[string]string{
		"residents": feed[:strings.Index(feed, "to:")] + cityTargets,
		"bytes":     fmt.Sprintf(back, "bytes", "JM", "gb18030", folders["JM"]),
		"gbk":       fmt.Sprintf(back, "gbk", "JM_GBK", "gbk", folders["JM_GBK"]),
	})
	all := people(2000)
	v := l.delivered(l.take("all", file(recordio.NDJSON, all), int64(len(all))).ID)
	inGBK := map[string]person{}
	for _, p := range all {
		if _, err := gb18030.GBK.AppendEncode(nil, []byte(p.name)); err == nil {
			inGBK[p.id] = p
		}
	}
	for _, d := range v.Deliveries {
		want := int64(len(all))
		if d.Target == "gbk" {
			want = int64(len(inGBK))
		}
		if d.Delivered != want || d.Quarantined != int64(len(all))-want {
			t.Errorf("%+v, want %d", d, want)
		}
		if r := l.reconcile(d.Target); !r.Equal || !r.Read || r.Ours.Records != want || r.Ours != r.Theirs || r.Quarantined != int64(len(all))-want {
			t.Errorf("%+v", r)
		}
	}
	everyone := map[string]person{}
	for _, p := range all {
		everyone[p.id] = p
	}
	returned(t, folders["JM"], everyone)
	returned(t, folders["JM_GBK"], inGBK)
	today := beijing.Date(time.Now())
	for feed, want := range map[string]int64{"back-bytes": int64(len(all)), "back-gbk": int64(len(inGBK))} {
		var r exchange.Reconciliation
		for range 200 {
			if l.get("/reconciliation?feed="+feed+"&target=utf8&day="+today, &r); r.Pending == 0 && r.Ours.Records == want {
				break
			}
			time.Sleep(25 * time.Millisecond) // polls a service
		}
		if !r.Equal || !r.Read || r.Ours.Records != want || r.Ours != r.Theirs {
			t.Errorf("%s: %+v", feed, r)
		}
	}
}

// cityDatabase makes a city's database, gone after the test, and returns its DSN.
func cityDatabase(t *testing.T, server string) string {
	t.Helper()
	cfg, err := mysql.ParseDSN(server)
	if err != nil {
		t.Fatal(err)
	}
	name := fmt.Sprintf("city_%d", time.Now().UnixNano())
	run := func(database, statements string) {
		c := cfg.Clone()
		c.DBName, c.MultiStatements = database, true
		connector, err := mysql.NewConnector(c)
		if err != nil {
			t.Fatal(err)
		}
		db := sql.OpenDB(connector)
		defer db.Close()
		if _, err := db.Exec(statements); err != nil {
			t.Fatal(err)
		}
	}
	run("", "CREATE DATABASE "+name)
	t.Cleanup(func() { run("", "DROP DATABASE "+name) })
	run(name, cityTables)
	cfg.DBName = name
	return cfg.FormatDSN()
}

// cityLab is a lab with several feeds whose connection is a real database.
func cityLab(t *testing.T, dsn string, feeds map[string]string) *lab {
	t.Helper()
	l := &lab{t: t, data: filepath.Join(t.TempDir(), "data")}
	folder := t.TempDir()
	for name, text := range feeds {
		if err := os.WriteFile(filepath.Join(folder, name+".yaml"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
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
	if err := os.WriteFile(config, fmt.Appendf(nil, "exchange: {connections: {city: {driver: mysql, dsn: %q}}}\n", dsn), 0o600); err != nil {
		t.Fatal(err)
	}
	l.opt = qiongtest.Options{Data: l.data, File: config, Services: []*qiong.Service{exchange.New(map[string]table.Opener{"mysql": mysqltable.Open})},
		Set: map[string]string{"exchange.feeds": folder, "exchange.pause": "50ms"}}
	l.house = qiongtest.Start(t, l.opt)
	l.ops, l.send = l.house.As("ops", auth.Operator), l.house.As("province", auth.Agency)
	return l
}

// returned waits until a folder has every person, as the province had written them.
func returned(t *testing.T, folder string, want map[string]person) {
	t.Helper()
	got := map[string]person{}
	for deadline := time.Now().Add(30 * time.Second); len(got) < len(want) && time.Now().Before(deadline); {
		time.Sleep(50 * time.Millisecond) // polls a folder
		oks, err := filepath.Glob(filepath.Join(folder, "*.ok"))
		if err != nil {
			t.Fatal(err)
		}
		for _, ok := range oks {
			data, err := os.ReadFile(strings.TrimSuffix(ok, ".ok"))
			if err != nil {
				t.Fatal(err)
			}
			for line := range strings.Lines(string(data)) {
				var r struct {
					ID, Name, Sex, Born, Changed string
					Income                       json.Number
				}
				if err := json.Unmarshal([]byte(line), &r); err != nil {
					t.Fatal(err)
				}
				sex := map[string]string{"male": "1", "female": "2"}[r.Sex]
				got[r.ID] = person{r.ID, r.Name, sex, strings.Replace(strings.Replace(r.Born, "-0", "/", 1), "-", "/", 1), r.Income.String(), strings.NewReplacer("T", " ", ".000+08:00", "").Replace(r.Changed)}
			}
		}
	}
	if len(got) != len(want) {
		t.Errorf("%d of %d came back", len(got), len(want))
	}
	for id, p := range want {
		if got[id] != p {
			t.Fatalf("%+v came back as %+v", p, got[id])
		}
	}
}
