package config_test

import (
	"fmt"
	"os"
	"time"

	"github.com/qiongdev/qiong/kit/config"
	"github.com/qiongdev/qiong/kit/lang"
)

// The source of the struct's file is embedded in a real program.
const shopSource = `package shop

type Shop struct {
	// How long the door stays open.
	Open time.Duration
	// Secret of the safe.
	Safe string
}`

type Shop struct {
	Open time.Duration `koanf:"open" zh:"开门时长。"`
	Safe string        `koanf:"safe" zh:"保险柜密码。" secret:"true"`
}

func Example() {
	sections := []config.Section{{Name: "shop", Defaults: &Shop{Open: 8 * time.Hour}, Source: shopSource}}
	cfg, err := config.Load(sections, config.Options{Env: []string{"QIONG_SHOP_SAFE=1234"}})
	if err != nil {
		fmt.Println(err)
		return
	}
	shop := config.Of[Shop](cfg, "shop")
	fmt.Println(shop.Open, shop.Safe, cfg.Source("shop.safe"))
	if err := config.Print(os.Stdout, sections, lang.EN); err != nil {
		fmt.Println(err)
	}
	_, err = config.Load(sections, config.Options{Env: []string{"QIONG_SHOP_OPNE=1h"}})
	fmt.Println(err)
	// Output:
	// 8h0m0s 1234 env QIONG_SHOP_SAFE
	// shop:
	//   # How long the door stays open.
	//   open: 8h
	//   # Secret of the safe.
	//   safe: ""
	// QIONG_SHOP_OPNE: the environment variable names no configuration key
}
