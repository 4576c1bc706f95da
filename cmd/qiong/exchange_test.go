package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/qiongdev/qiong/kit/client"
	"github.com/qiongdev/qiong/kit/gm"
	"github.com/qiongdev/qiong/kit/han/gb18030"
	"github.com/qiongdev/qiong/kit/keys"
	"github.com/qiongdev/qiong/kit/label"
	"github.com/qiongdev/qiong/service/exchange"
)

const killedFeed = `feed: residents
version: 1
title: {zh: 常住人口, en: Residents}
from: {partner: province, format: ndjson}
key: id
fields:
  - {name: id, type: id-card, required: true, grade: "L3,pii=id_card"}
  - {name: name, type: text, grade: "L3,pii=name"}
to:
  - {name: city, file: {folder: %s, format: csv}}
`

// TestKillExchange kills the real program at random moments while a file is sent and handed on, and finds on the other
// side every record once, and in quarantine every bad one.
func TestKillExchange(t *testing.T) {
	t.Parallel()
	folder, feeds, data := t.TempDir(), t.TempDir(), filepath.Join(t.TempDir(), "data")
	if err := os.WriteFile(filepath.Join(feeds, "residents.yaml"), fmt.Appendf(nil, killedFeed, folder), 0o600); err != nil {
		t.Fatal(err)
	}
	key, err := gm.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	ring, err := keys.Open(filepath.Join(data, "keys"), keys.Options{CreateMaster: true})
	if err == nil {
		err = ring.Trust("exchange.province", key.PublicKey())
	}
	if err != nil {
		t.Fatal(err)
	}
	p := newProgram(t, data, build(t, "build"), "up", "--exchange.feeds="+feeds, "--exchange.pause=100ms", "--exchange.quarantine=1000000")
	p.start()
	_, operator := p.tokens()

	n, r := kills(t), rand.New(rand.NewPCG(2, 0))
	file, good, bad := records(40_000 + 4_000*n)
	manifest, err := exchange.Manifest{Feed: "residents", ID: "killed", Day: "2026-11-20", Records: int64(len(good) + bad), Bytes: int64(len(file)), SM3: gm.SM3(file)}.Sign(key)
	if err != nil {
		t.Fatal(err)
	}
	killer, met := make(chan struct{}), atomic.Int64{}
	go func() {
		defer close(killer)
		for range n {
			<-time.After(time.Duration(20+r.IntN(280)) * time.Millisecond) // the moment is the test
			p.kill()
			if t.Failed() {
				return
			}
			met.Add(1)
			p.start()
		}
	}()
	v := sendThrough(t, operator, string(manifest), file, len(file)/(n*110)+1)
	inFile := met.Load()
	<-killer
	if v.Status != "accepted" || v.Records != int64(len(good)) || v.Quarantined != int64(bad) {
		t.Fatalf("%+v", v)
	}
	for deadline := time.Now().Add(time.Minute); ; {
		if err := operator.Do(context.Background(), client.Request{Method: "GET", Path: "/api/exchange/transfers/" + v.ID}, &v); err != nil {
			t.Fatal(err)
		}
		if v.Deliveries[0].Status == "done" {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("never handed on: %+v", v)
		}
		<-time.After(50 * time.Millisecond)
	}
	arrived(t, folder, good)
	if inFile == 0 {
		t.Error("no kill met the file on its way")
	}
	t.Logf("%d kills, %d of them before the file had come whole", n, inFile)
	if log := p.said(); strings.Contains(log, "panic") {
		t.Errorf("the house logged:\n%s", log)
	}
}

// records returns a file of n records, the good ones by id, and how many are bad.
func records(n int) (file []byte, good map[string]string, bad int) {
	var b bytes.Buffer
	good = map[string]string{}
	for i := range n {
		id, name := label.FakeIDCard(uint64(i)), fmt.Sprintf("王䶮𠮷%d", i)
		if i%1000 == 7 {
			bad++
			fmt.Fprintf(&b, `{"id":"%s","name":"没有校验位"}`+"\n", id[:17])
			continue
		}
		good[id] = name
		fmt.Fprintf(&b, `{"id":"%s","name":"%s"}`+"\n", id, name)
	}
	return b.Bytes(), good, bad
}

// sendThrough sends a file to a house that is killed now and then, as a sender does: it asks where to go on. Step is how
// many bytes it sends in a millisecond.
func sendThrough(t *testing.T, c *client.Client, manifest string, file []byte, step int) (v exchange.TransferView) {
	t.Helper()
	for deadline := time.Now().Add(5 * time.Minute); time.Now().Before(deadline); {
		err := c.Do(context.Background(), client.Request{Method: "POST", Path: "/api/exchange/transfers", Body: map[string]string{"manifest": manifest}}, &v)
		if err == nil && v.Status != "receiving" {
			return v
		}
		if err == nil {
			// As slow as a line to the province: so that kills meet it at work.
			body := &slow{bytes.NewReader(file[v.Offset:]), step}
			err = c.Do(context.Background(), client.Request{Method: "PUT", Path: fmt.Sprintf("/api/exchange/transfers/%s/content?offset=%d", v.ID, v.Offset), Body: body, Timeout: -1}, &v)
		}
		if err != nil {
			<-time.After(20 * time.Millisecond)
		}
	}
	t.Fatal("the file never came through")
	return v
}

// slow reads a little at a time.
type slow struct {
	r    *bytes.Reader
	step int
}

// Read implements io.Reader.
func (s *slow) Read(b []byte) (int, error) {
	<-time.After(time.Millisecond)
	return s.r.Read(b[:min(len(b), s.step)])
}

// arrived reads the files in the target's folder: whole by their digests, with every record once.
func arrived(t *testing.T, folder string, want map[string]string) {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(folder, "*.csv"))
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, name := range names {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if ok, err := os.ReadFile(name + ".ok"); err != nil || string(ok) != fmt.Sprintf("%x  %s\n", gm.SM3(data), filepath.Base(name)) {
			t.Fatalf("%s: %q, %v", name, ok, err)
		}
		text, err := gb18030.V2022.AppendDecode(nil, data)
		if err != nil {
			t.Fatal(err)
		}
		for i, line := range strings.Split(strings.TrimSuffix(string(text), "\n"), "\n") {
			id, rest, _ := strings.Cut(line, ",")
			if i == 0 {
				continue
			}
			if _, twice := got[id]; twice {
				t.Errorf("%s arrived twice", id)
			}
			got[id] = rest
		}
	}
	if len(got) != len(want) {
		t.Errorf("%d of %d records arrived", len(got), len(want))
	}
	for id, name := range want {
		if got[id] != name {
			t.Fatal(errors.New("a record is missing or another"))
		}
	}
}
