package rule_test

import (
	"fmt"

	"github.com/qiongdev/qiong/kit/lang"
	"github.com/qiongdev/qiong/kit/rule"
)

// A returned order may not bring in more than it cost.
func Example() {
	order := &rule.Schema{Type: "trade.order/1", Facts: map[string]rule.Kind{"order": rule.Key, "amount": rule.Int}}
	returned := &rule.Schema{Type: "trade.return/1", Facts: map[string]rule.Kind{"order": rule.Key, "amount": rule.Int}}
	compiled, err := rule.Compile(&rule.Rule{
		Name: "return-voucher", Version: 1, For: returned.Type,
		Lookups: map[string]rule.Lookup{"order": {Type: order.Type, By: "order"}},
		Clauses: []rule.Clause{
			{Name: "order-exists", Title: lang.T("订单存在", "the order exists"), Holds: "order != null"},
			{Name: "amount-within-order", Title: lang.T("不超过订单金额", "no more than was ordered"), Holds: "facts.amount <= order.amount"},
		},
	}, map[string]*rule.Schema{order.Type: order, returned.Type: returned})
	if err != nil {
		fmt.Println(err)
		return
	}
	facts, err := returned.Parse([]byte(`{"order": "/////////////////////////////////////////wA=", "amount": 39901}`))
	if err != nil {
		fmt.Println(err)
		return
	}
	bought, err := order.Parse([]byte(`{"order": "/////////////////////////////////////////wA=", "amount": 39900}`))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(compiled.Evaluate(facts, nil))
	fmt.Println(compiled.Evaluate(facts, map[string]*rule.Facts{"order": bought}))
	// Output:
	// {return-voucher 1 failed order-exists} <nil>
	// {return-voucher 1 failed amount-within-order} <nil>
}
