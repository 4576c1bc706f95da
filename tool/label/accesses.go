package label

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"

	"github.com/qiongdev/qiong"
	"github.com/qiongdev/qiong/kit/client"
)

// accesses prints who asked a running house for graded data, a line an access.
func accesses(ctx context.Context, c *qiong.Console, who string) error {
	house, cursor := client.FromFlags(c.Flags, c.Lang), ""
	for {
		var page struct {
			Items []json.RawMessage
			Next  string
		}
		query := url.Values{"limit": {"200"}, "cursor": {cursor}, "who": {who}}
		if err := house.Do(ctx, client.Request{Method: "GET", Path: "/api/house/accesses?" + query.Encode()}, &page); err != nil {
			return err
		}
		for _, item := range page.Items {
			line := string(item)
			if !c.JSON {
				var a struct{ At, Who, Decision, Grade, Clearance, Route string }
				if err := json.Unmarshal(item, &a); err != nil {
					return err
				}
				line = fmt.Sprintf("%s\t%s\t%s\t%s\t%s\t%s", a.At, a.Who, a.Decision, a.Grade, a.Clearance, a.Route)
			}
			if _, err := fmt.Fprintln(c.Out, line); err != nil {
				return err
			}
		}
		if cursor = page.Next; cursor == "" {
			return nil
		}
	}
}
