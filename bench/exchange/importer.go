package main

import (
	"context"
	"database/sql"
	"encoding/csv"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/text/encoding/simplifiedchinese"
	_ "modernc.org/sqlite" // the driver that Qiong has, too

	"github.com/qiongdev/qiong/bench/internal/measure"
	"github.com/qiongdev/qiong/bench/internal/proc"
	"github.com/qiongdev/qiong/kit/label"
)

// importer is what one writes by hand for the same task: x/text, encoding/csv, the same checks, 1,000 rows a
// transaction. It runs in this process.
func importer(ctx context.Context, records int64) (s measure.Sample, err error) {
	dir, err := os.MkdirTemp("", "qiong-bench-")
	if err != nil {
		return s, err
	}
	defer os.RemoveAll(dir)
	db, err := sql.Open("sqlite", "file:"+filepath.Join(dir, "import.db")+"?_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)")
	if err != nil {
		return s, err
	}
	defer db.Close()
	if _, err := db.ExecContext(ctx, "CREATE TABLE residents (id TEXT, name TEXT, sex TEXT, born TEXT, address TEXT, income TEXT, changed TEXT)"); err != nil {
		return s, err
	}
	file, err := io.ReadAll(newFile(records))
	if err != nil {
		return s, err
	}
	meter := measure.Meter{"server": proc.Self}
	usage, began := meter.Begin(), time.Now()
	r := csv.NewReader(simplifiedchinese.GB18030.NewDecoder().Reader(strings.NewReader(string(file))))
	r.ReuseRecord = true
	if _, err := r.Read(); err != nil {
		return s, err
	}
	var n int64
	for done := false; !done; {
		tx, err := db.BeginTx(ctx, nil)
		if err != nil {
			return s, err
		}
		insert, err := tx.PrepareContext(ctx, "INSERT INTO residents VALUES (?, ?, ?, ?, ?, ?, ?)")
		if err != nil {
			return s, err
		}
		for range 1000 {
			row, err := r.Read()
			if errors.Is(err, io.EOF) {
				done = true
				break
			}
			if err == nil {
				err = checkRow(row)
			}
			if err != nil {
				return s, err
			}
			if _, err := insert.ExecContext(ctx, row[0], row[1], row[2], row[3], row[4], row[5], row[6]); err != nil {
				return s, err
			}
			n++
		}
		if err := tx.Commit(); err != nil {
			return s, err
		}
	}
	if n != records {
		return s, errors.New("records are missing")
	}
	s = measure.Sample{Ops: records, Seconds: time.Since(began).Seconds(), CPU: map[string]float64{}}
	usage.End(&s)
	return s, nil
}

func checkRow(row []string) error {
	if err := label.IDCard(row[0]); err != nil {
		return err
	}
	if utf8.RuneCountInString(row[1]) > 50 || utf8.RuneCountInString(row[4]) > 200 || strings.ContainsFunc(row[1]+row[4], func(r rune) bool { return r < 0x20 }) {
		return errors.New("text")
	}
	sex, ok := map[string]string{"1": "male", "2": "female"}[row[2]]
	if !ok {
		return errors.New("sex")
	}
	row[2] = sex
	if _, err := time.Parse(time.DateOnly, row[3]); err != nil {
		return err
	}
	if _, err := strconv.ParseFloat(row[5], 64); err != nil {
		return err
	}
	t, err := time.ParseInLocation(time.DateTime, row[6], time.FixedZone("", 8*3600))
	row[6] = t.Format(time.RFC3339)
	return err
}
