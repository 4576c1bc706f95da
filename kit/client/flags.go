package client

import (
	"os"

	"github.com/spf13/pflag"

	"github.com/qiongdev/qiong/kit/lang"
)

// Flags adds --url and --token, whose defaults are QIONG_URL and QIONG_TOKEN. The token of the environment is not shown
// in help.
func Flags(fs *pflag.FlagSet, say func(zh, en string) string) {
	address := os.Getenv("QIONG_URL")
	if address == "" {
		address = "http://127.0.0.1:8460"
	}
	fs.String("url", address, say("服务地址（QIONG_URL）", "address of the house (QIONG_URL)"))
	fs.String("token", "", say("令牌，最好用环境变量 QIONG_TOKEN 给出", "token; better given in QIONG_TOKEN"))
}

// FromFlags returns the client that the flags describe.
func FromFlags(fs *pflag.FlagSet, l lang.Lang) *Client {
	address, _ := fs.GetString("url") // both were added by Flags
	token, _ := fs.GetString("token")
	if token == "" {
		token = os.Getenv("QIONG_TOKEN")
	}
	return &Client{URL: address, Token: token, Lang: l}
}
