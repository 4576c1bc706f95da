// Exchange measures the intake of a file by the real program: split, decoded from GB 18030, every field checked, sealed
// and committed to SQLite, beside a hand-written importer that does the same work with common libraries; then the memory
// that a file of several gigabytes takes. It is run in the folder bench after make build: go run ./exchange
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/qiongdev/qiong/bench/internal/measure"
	"github.com/qiongdev/qiong/bench/internal/proc"
	"github.com/qiongdev/qiong/bench/internal/program"
	"github.com/qiongdev/qiong/bench/internal/report"
	"github.com/qiongdev/qiong/kit/client"
	"github.com/qiongdev/qiong/kit/gm"
	"github.com/qiongdev/qiong/kit/keys"
	"github.com/qiongdev/qiong/service/exchange"
)

const (
	qiongName  = "Qiong"
	doneName   = "Qiong, until the target has all"
	handName   = "hand-written importer"
	loadName   = "a CSV file in GB 18030"
	day        = "2026-11-20"
	feedSource = `feed: residents
version: 1
title: {zh: 常住人口, en: Residents}
from: {partner: province, format: csv, encoding: gb18030, naive: beijing}
key: id
fields:
  - {name: id, from: 身份证号, type: id-card, required: true, grade: "L3,pii=id_card"}
  - {name: name, from: 姓名, type: text, required: true, max: 50, grade: "L3,pii=name"}
  - {name: sex, from: 性别, type: code, codes: {"1": male, "2": female}, grade: L2}
  - {name: born, from: 出生日期, type: date, grade: L2}
  - {name: address, from: 住址, type: text, max: 200, grade: L3}
  - {name: income, from: 收入, type: decimal, grade: L3}
  - {name: changed, from: 更新时间, type: time, grade: L1}
to:
  - {name: city, encoding: utf-8, %s}
`
)

func main() {
	log.SetFlags(0)
	rounds := flag.Int("rounds", 3, "rounds of each system")
	records := flag.Int64("records", 400_000, "records of a round")
	size := flag.Int64("size", 5<<30, "bytes of the large file; 0 for none")
	json := flag.String("json", "", "also write the results as JSON to this `file`")
	flag.Parse()
	if err := run(context.Background(), *rounds, *records, *size, *json); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, rounds int, records, size int64, json string) error {
	rep := report.New("Data exchange",
		fmt.Sprintf("%d records a file, in GB 18030 CSV, %d bytes each on average; SQLite, synchronous=FULL, 1,000 records a commit on both sides; interleaved; medians.", records, bytesOf(records)/records),
		"Qiong verifies the manifest's digest, checks every field, seals the records (SM4-GCM) and keeps a row a chunk; the clock runs from the announcement to the "+
			"acceptance, or until all of it stands in files for the target. The importer decodes with x/text, splits with encoding/csv, makes the same checks and writes a row a record.")
	for range rounds {
		for _, one := range []struct {
			name string
			run  func(context.Context, int64) (measure.Sample, error)
		}{{qiongName, intake(false)}, {handName, importer}, {doneName, intake(true)}} {
			s, err := one.run(ctx, records)
			if err != nil {
				return fmt.Errorf("%s: %w", one.name, err)
			}
			s.System, s.Load = one.name, loadName
			rep.Add(s)
		}
	}
	rep.Judge(report.Goal{Load: loadName, System: qiongName, Peer: handName, Figure: "rate"})
	rep.Judge(report.Goal{Load: loadName, System: doneName, Peer: handName, Figure: "rate"})
	if size > 0 {
		note, err := large(ctx, size)
		if err != nil {
			return err
		}
		rep.Notes = append(rep.Notes, note)
	}
	return rep.Write(os.Stdout, json)
}

// house is a running program with one feed.
type house struct {
	*program.Program
	agency, operator *client.Client
	key              *gm.PrivateKey
}

// start runs a house, or one service of it, whose target is a folder where it delivers, or an interface that nobody serves.
func start(ctx context.Context, command string, delivers bool) (*house, error) {
	dir, err := os.MkdirTemp("", "qiong-bench-")
	if err != nil {
		return nil, err
	}
	target := `push: {url: "http://127.0.0.1:9/", format: ndjson}`
	if delivers {
		target = "file: {folder: " + filepath.Join(dir, "out") + ", format: ndjson}"
	}
	for _, sub := range []string{"feeds", "out"} {
		if err := os.Mkdir(filepath.Join(dir, sub), 0o700); err != nil {
			return nil, err
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "feeds", "residents.yaml"), fmt.Appendf(nil, feedSource, target), 0o600); err != nil {
		return nil, err
	}
	h := &house{}
	if h.key, err = gm.GenerateKey(); err != nil {
		return nil, err
	}
	ring, err := keys.Open(filepath.Join(dir, "data", "keys"), keys.Options{CreateMaster: true})
	if err != nil {
		return nil, err
	}
	if err := ring.Trust("exchange.province", h.key.PublicKey()); err != nil {
		return nil, err
	}
	if h.Program, err = program.StartIn(ctx, dir, command, "--exchange.feeds", filepath.Join(dir, "feeds")); err != nil {
		return nil, err
	}
	if h.agency, err = h.As(ctx, "agency"); err == nil {
		h.operator, err = h.As(ctx, "operator")
	}
	return h, err
}

// send announces and sends what r reads.
func (h *house) send(ctx context.Context, id string, records int64, open func() io.Reader) (v exchange.TransferView, err error) {
	digest := gm.NewSM3()
	size, err := io.Copy(digest, open())
	if err != nil {
		return v, err
	}
	m := exchange.Manifest{Feed: "residents", ID: id, Day: day, Records: records, Bytes: size}
	digest.Sum(m.SM3[:0])
	signed, err := m.Sign(h.key)
	if err != nil {
		return v, err
	}
	if err := h.agency.Do(ctx, client.Request{Method: "POST", Path: "/api/exchange/transfers", Body: map[string]string{"manifest": string(signed)}}, &v); err != nil {
		return v, err
	}
	uploader := *h.agency
	uploader.HTTP = nil
	err = uploader.Do(ctx, client.Request{Method: "PUT", Path: "/api/exchange/transfers/" + v.ID + "/content", Body: open(), Timeout: -1}, &v)
	if err == nil && (v.Status != "accepted" || v.Records != records) {
		err = fmt.Errorf("%+v", v)
	}
	return v, err
}

// intake measures one file; delivered says whether until the target has it.
func intake(delivered bool) func(context.Context, int64) (measure.Sample, error) {
	return func(ctx context.Context, records int64) (s measure.Sample, err error) {
		h, err := start(ctx, "up", delivered)
		if err != nil {
			return s, err
		}
		defer func() { err = join(err, h.Stop()) }()
		file, err := io.ReadAll(newFile(records))
		if err != nil {
			return s, err
		}
		meter := measure.Meter{"server": func() time.Duration { return proc.Tree(h.PID) }}
		usage, began := meter.Begin(), time.Now()
		v, err := h.send(ctx, "round", records, func() io.Reader { return strings.NewReader(string(file)) })
		if err != nil {
			return s, err
		}
		for delivered {
			if err := h.operator.Do(ctx, client.Request{Method: "GET", Path: "/api/exchange/transfers/" + v.ID}, &v); err != nil {
				return s, err
			}
			if v.Deliveries[0].Status == "done" {
				break
			}
			time.Sleep(5 * time.Millisecond)
		}
		s = measure.Sample{Ops: records, Seconds: time.Since(began).Seconds(), CPU: map[string]float64{}}
		usage.End(&s)
		return s, nil
	}
}

func join(err, other error) error {
	if err != nil {
		return err
	}
	return other
}

// large sends a file of about size bytes, and returns what memory it took.
func large(ctx context.Context, size int64) (string, error) {
	h, err := start(ctx, "exchange", false)
	if err != nil {
		return "", err
	}
	defer h.Stop() //nolint:errcheck // it has been measured
	records := size / (bytesOf(10_000) / 10_000)
	before, err := memory(h.PID)
	if err != nil {
		return "", err
	}
	stop, peak := make(chan struct{}), make(chan int64)
	go func() {
		var highest int64
		for {
			if now, err := memory(h.PID); err == nil {
				highest = max(highest, now)
			}
			select {
			case <-stop:
				peak <- highest
				return
			case <-time.After(50 * time.Millisecond):
			}
		}
	}()
	began := time.Now()
	_, err = h.send(ctx, "large", records, func() io.Reader { return newFile(records) })
	close(stop)
	highest := <-peak
	if err != nil {
		return "", err
	}
	took := time.Since(began)
	return fmt.Sprintf("A file of %.1f GB (%d records) was accepted in %.0f s; private memory of the process (qiong exchange, anonymous, sampled every 50 ms) %d MiB before, %d MiB at its highest.",
		float64(bytesOf(records))/1e9, records, took.Seconds(), before>>20, highest>>20), nil
}

// memory returns the anonymous memory of a process in bytes.
func memory(pid int) (int64, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(data)) {
		if value, ok := strings.CutPrefix(line, "RssAnon:"); ok {
			kb, err := strconv.ParseInt(strings.Fields(value)[0], 10, 64)
			return kb << 10, err
		}
	}
	return 0, fmt.Errorf("process %d shows no RssAnon", pid)
}
