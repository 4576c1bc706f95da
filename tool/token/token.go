// Package token hands out, lists and revokes the tokens of a running house.
package token

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"

	"github.com/spf13/pflag"

	"github.com/qiongdev/qiong"
	"github.com/qiongdev/qiong/kit/client"
	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/lang"
)

// Tool is the command. Its first argument says what to do.
var Tool = &qiong.Tool{
	Name: "token", Args: "redeem SECRET | create ID NAME ROLE... | link ID NAME ROLE... | list | revoke ID", MinArgs: 1, MaxArgs: -1,
	Doc: lang.T("签发、换取、列出、吊销令牌", "issue, redeem, list and revoke tokens"),
	Long: lang.T("redeem  用一次性令牌换取普通令牌（首次启动后先做这一步）\ncreate  为某人签发令牌；角色：applicant official agency operator security auditor\nlink    签发一次性登录链接，用来打开页面\nlist    列出令牌（不含密文）\nrevoke  吊销令牌\n\n除 redeem 外需要安全管理员的令牌（QIONG_TOKEN）。",
		"redeem  exchange a one-time token for an ordinary one (the first thing after the first start)\ncreate  issue a token; roles: applicant official agency operator security auditor\nlink    issue a link that opens the pages signed in, once\nlist    list tokens, without their secrets\nrevoke  revoke a token\n\nAll but redeem need the token of a security administrator (QIONG_TOKEN)."),
	Flags: func(fs *pflag.FlagSet, say func(zh, en string) string) {
		client.Flags(fs, say)
		fs.Int("days", 90, say("有效天数", "days it lives"))
		fs.String("note", "", say("用途", "what it is for"))
	},
	Run: run,
}

func run(ctx context.Context, c *qiong.Console, args []string) error {
	house := client.FromFlags(c.Flags, c.Lang)
	verb, rest := args[0], args[1:]
	switch {
	case verb == "redeem" && len(rest) == 1:
		return secret(ctx, c, house, "/api/house/redeem", map[string]any{"token": rest[0]})
	case verb == "create" && len(rest) >= 3:
		days, _ := c.Flags.GetInt("days")
		return secret(ctx, c, house, "/api/house/tokens", about(c, rest, map[string]any{"days": days}))
	case verb == "link" && len(rest) >= 3:
		return secret(ctx, c, house, "/api/house/tokens", about(c, rest, map[string]any{"oneTime": true}))
	case verb == "list" && len(rest) == 0:
		return list(ctx, c, house)
	case verb == "revoke" && len(rest) == 1:
		return house.Do(ctx, client.Request{Method: "DELETE", Path: "/api/house/tokens/" + url.PathEscape(rest[0])}, nil)
	}
	return errs.New(errs.Invalid, "参数不对", "wrong arguments").WithHint("运行 qiong token --help 查看用法", "run qiong token --help for the usage")
}

func about(c *qiong.Console, args []string, more map[string]any) map[string]any {
	more["id"], more["name"], more["roles"] = args[0], args[1], args[2:]
	if note, _ := c.Flags.GetString("note"); note != "" {
		more["note"] = note
	}
	return more
}

func secret(ctx context.Context, c *qiong.Console, house *client.Client, path string, body any) error {
	var answer struct {
		Token string `json:"token"`
		Link  string `json:"link,omitempty"`
	}
	if err := house.Do(ctx, client.Request{Method: "POST", Path: path, Body: body}, &answer); err != nil {
		return err
	}
	switch {
	case c.JSON:
		return json.NewEncoder(c.Out).Encode(answer)
	case answer.Link != "":
		_, err := fmt.Fprintln(c.Out, answer.Link)
		return err
	}
	_, err := fmt.Fprintf(c.Out, "export QIONG_TOKEN=%s\n", answer.Token)
	return err
}

func list(ctx context.Context, c *qiong.Console, house *client.Client) error {
	cursor := ""
	for {
		var page struct {
			Items []struct {
				ID        string `json:"id"`
				Principal struct {
					ID, Name string
					Roles    []string
				} `json:"principal"`
				OneTime          bool `json:"oneTime"`
				Created, Expires string
				Note             string
			}
			Next string
		}
		if err := house.Do(ctx, client.Request{Method: "GET", Path: "/api/house/tokens?limit=200&cursor=" + url.QueryEscape(cursor)}, &page); err != nil {
			return err
		}
		for _, t := range page.Items {
			var err error
			if c.JSON {
				err = json.NewEncoder(c.Out).Encode(t)
			} else {
				_, err = fmt.Fprintf(c.Out, "%s\t%s\t%s\t%v\t%s\t%s\n", t.ID, t.Principal.ID, t.Principal.Name, t.Principal.Roles, t.Expires, t.Note)
			}
			if err != nil {
				return err
			}
		}
		if cursor = page.Next; cursor == "" {
			return nil
		}
	}
}
