package saga_test

import (
	"fmt"

	"github.com/qiongdev/qiong/kit/lang"
	"github.com/qiongdev/qiong/kit/saga"
)

func Example() {
	trip := &saga.Definition{Name: "trip", Version: 1, Title: lang.T("旅行", "Trip"), Stages: []saga.Stage{
		{{Name: "room", Title: lang.T("订房", "Room"), Participant: "hotel", Undo: true}},
		{{Name: "ticket", Title: lang.T("出票", "Ticket"), Participant: "railway", Pivot: true}},
		{{Name: "mail", Title: lang.T("邮件", "Mail"), Participant: "post"}, {Name: "bill", Title: lang.T("账单", "Bill"), Participant: "bank"}},
	}}
	fmt.Println(trip.Check())
	fmt.Print(saga.Mermaid(trip, nil, lang.EN))
	// Output:
	// <nil>
	// flowchart LR
	//   begin((start))
	//   s1["Room<br/>hotel"]
	//   begin --> s1
	//   s2{{"Ticket<br/>railway"}}
	//   s1 --> s2
	//   s3["Mail<br/>post"]
	//   s4["Bill<br/>bank"]
	//   s2 --> s3 & s4
	//   s3 & s4 --> finish((end))
}
