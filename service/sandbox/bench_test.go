package sandbox

import (
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/qiongdev/qiong/kit/sqldb/sqldbtest"
)

func BenchmarkDo(b *testing.B) {
	w := build(b, sqldbtest.SQLite(b))
	c := w.client("market")
	var n atomic.Int64
	b.SetParallelism(16)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := c.Do(b.Context(), "registrations", request(fmt.Sprint("r", n.Add(1)), "")); err != nil {
				b.Fatal(err)
			}
		}
	})
}
