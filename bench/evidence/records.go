package main

import (
	"encoding/base64"
	"fmt"
	"time"

	"github.com/qiongdev/qiong/kit/beijing"
	"github.com/qiongdev/qiong/kit/gm"
)

// kind is what records are about.
type kind int

const (
	plain    kind = iota // a commitment alone
	orders               // with facts
	vouchers             // returns of the orders with the same number and prefix, each judged by the rule
	both                 // by turns a voucher, and an order that nothing is returned of
)

// records are numbered from 0. Those of one prefix and kind are the same whenever they are made.
type records struct {
	prefix string
	kind   kind
}

var letters = map[kind]string{plain: "p", orders: "o", vouchers: "r", both: "b"}

func (r records) id(i int) string { return fmt.Sprintf("%s-%s-%09d", r.prefix, letters[r.kind], i) }

// began is when all orders were made.
var began = time.Now().Add(-time.Hour)

// body is a request with n records from the i-th on.
func (r records) body(i, n int) []byte {
	b := make([]byte, 0, 64+n*260)
	b = append(b, `{"records":[`...)
	for j := i; j < i+n; j++ {
		if j > i {
			b = append(b, ',')
		}
		b = r.append(b, j)
	}
	return append(b, "]}"...)
}

func (r records) append(b []byte, i int) []byte {
	id := r.id(i)
	if r.kind == both {
		r.kind = vouchers
		if i%2 == 0 {
			r = records{r.prefix + " unreturned", orders}
		}
	}
	commitment := gm.SM3([]byte("an original of "), []byte(id))
	typ := map[kind]string{plain: "trade.note/1", orders: "trade.order/1", vouchers: "trade.return/1"}[r.kind]
	b = fmt.Appendf(b, `{"id":"%s","type":"%s","commitment":"%s"`, id, typ, base64.StdEncoding.EncodeToString(commitment[:]))
	if r.kind != plain {
		key := gm.HMAC([]byte("of the producer alone"), fmt.Appendf(nil, "%s %d", r.prefix, i))
		order := base64.StdEncoding.EncodeToString(key[:])
		if r.kind == orders {
			b = fmt.Appendf(b, `,"facts":{"order":"%s","amount":19900,"at":"%s"}`, order, beijing.At(began))
		} else {
			b = fmt.Appendf(b, `,"facts":{"order":"%s","amount":9900,"at":"%s","reason":"QUALITY"}`, order, beijing.At(began.Add(time.Minute)))
		}
	}
	return append(b, '}')
}
