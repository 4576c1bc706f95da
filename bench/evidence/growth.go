package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net/http"
	"time"

	"github.com/qiongdev/qiong/bench/internal/measure"
	"github.com/qiongdev/qiong/kit/receipt"
)

// receipts measures what a receipt of a council weighs, and how long it takes to verify it.
func receipts(ctx context.Context, b *bench) (err error) {
	s, err := b.startCouncil(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	const n = 20_000
	r := records{"weigh", orders}
	if _, err := s.flood(ctx, r, n, 2); err != nil {
		return err
	}
	if _, err := s.last(ctx, r, n); err != nil {
		return err
	}
	_, text, err := s.do(ctx, http.MethodGet, "/evidence/trust.pem", nil)
	if err != nil {
		return err
	}
	trust, err := receipt.ParseTrust(text)
	if err != nil {
		return err
	}
	most, path := 0, 0
	verified := measure.Histogram()
	for i := 0; i < n; i += 20 {
		v, err := s.get(ctx, r.id(i))
		if err != nil {
			return err
		}
		begun := time.Now()
		one, err := receipt.Parse([]byte(v.Receipt))
		if err != nil {
			return err
		}
		if _, err := receipt.Verify(one, trust, nil); err != nil {
			return err
		}
		_ = verified.RecordValue(time.Since(begun).Microseconds()) // within two minutes
		if len(v.Receipt) > most {
			most, path = len(v.Receipt), len(one.Path)
		}
	}
	const levels = 24 // of ten million records
	grown := most + (levels-path)*45 + 3
	fmt.Printf("A receipt with three cosignatures or more at %d records: at most %d bytes with %d hashes, so %d bytes at ten million; read and verified in p50 %.2f ms, p99 %.2f ms.\n\n",
		n, most, path, grown, 1000*quantile(verified, 50), 1000*quantile(verified, 99))
	b.atMost("receipt at ten million records", float64(grown), 2048, "bytes")
	b.atMost("reading and verifying a receipt, p50", 1000*quantile(verified, 50), 1, "ms")
	return nil
}

// disk measures what orders and vouchers take in an agency's home.
func disk(ctx context.Context, b *bench) error { return b.grow(ctx, b.disk, "") }

// soak does so for many records, to see whether memory is flat.
func soak(ctx context.Context, b *bench) error { return b.grow(ctx, b.soak, "soak, ") }

// grow sends n records, half orders and half their vouchers, in ten parts; of each it takes down memory and disk. Memory
// is the median over the part, for what a process has at one moment depends on when garbage was collected last.
func (b *bench) grow(ctx context.Context, n int, title string) (err error) {
	s, err := b.startCouncil(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	fmt.Printf("As the log grows, orders and vouchers by turns; PSS and anonymous memory of each process, the median of each tenth, MiB:\n\n| records | records/s | PSS/anonymous | house, GB | a validator, GB | of that ledger |\n|--:|--:|---|--:|--:|--:|\n")
	const steps = 10
	home := s.council.Nodes[0].Home
	empty := size(home)
	first, worst := map[string]float64{}, 0.0
	for i := range steps {
		begun, median := time.Now(), s.medianMemory(ctx)
		for _, k := range []kind{orders, vouchers} {
			r := records{fmt.Sprintf("grow-%d", i), k}
			if _, err := s.flood(ctx, r, n/steps/2, 2); err != nil {
				return err
			}
			if _, err := s.last(ctx, r, n/steps/2); err != nil {
				return err
			}
		}
		memory, pss := median()
		fmt.Printf("| %d | %.0f | %s | %.3f | %.3f | %.3f |\n", (i+1)*(n/steps), float64(n/steps)/time.Since(begun).Seconds(), memory,
			gigabytes(size(s.dir+"/data/db")), gigabytes(size(home)), gigabytes(sizeOf(home, "ledger.db")))
		log.Printf("%d records; load average %s", (i+1)*(n/steps), loadAverage())
		if i+1 == steps/5 {
			first = pss
		}
		for name, now := range pss {
			if first[name] > 0 {
				worst = max(worst, now/first[name])
			}
		}
	}
	fmt.Println()
	b.atMost(title+"disk of a validator for a million records", gigabytes(size(home)-empty)/float64(n)*1e6, 0.35, "GB")
	b.atMost(title+"most PSS of a process by what it was in the second tenth", worst, 1.25, "×")
	return nil
}

func gigabytes(n int64) float64 { return float64(n) / 1e9 }
