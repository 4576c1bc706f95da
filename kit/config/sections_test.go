package config_test

import (
	_ "embed"
	"time"

	"github.com/qiongdev/qiong/kit/config"
	"github.com/qiongdev/qiong/kit/errs"
)

//go:embed sections_test.go
var source string

// server is a section as a service would declare it.
type server struct {
	// The address to listen on.
	Listen string `koanf:"listen" zh:"监听地址"`
	// How long a request may take.
	Timeout time.Duration `koanf:"timeout" zh:"请求时限"`
	MaxBody config.Bytes  `koanf:"max-body" zh:"请求体上限"` // The largest request body.
	// Names that the certificate carries.
	Hosts []string `koanf:"hosts" zh:"主机名"`
	// The key that seals what is stored.
	Key   string  `koanf:"key" zh:"封存密钥" secret:"true"`
	Debug bool    `koanf:"debug" zh:"调试"`
	Share float64 `koanf:"share" zh:"份额"`
	// Limits of one caller.
	Limit  limit  `koanf:"limit" zh:"限额"`
	Hidden string `koanf:"-"`
}

type limit struct {
	// Requests a second.
	Rate  uint16 `koanf:"rate" zh:"每秒请求数"`
	Burst int    `koanf:"burst" zh:"突发数"`
}

// Validate implements the optional check.
func (s *server) Validate() error {
	if s.Limit.Burst < 0 {
		return errs.New(errs.Invalid, "不得为负", "must not be negative").WithField("limit.burst")
	}
	return nil
}

type agencies struct {
	// The agencies' systems by name.
	Of map[string]agency `koanf:"of" zh:"各部门系统"`
}

type agency struct {
	// Where it answers.
	URL     string        `koanf:"url" zh:"地址"`
	Secret  string        `koanf:"secret" zh:"口令" secret:"true"`
	Timeout time.Duration `koanf:"timeout" zh:"时限"`
	Retry   struct {
		Times int `koanf:"times" zh:"次数"`
	} `koanf:"retry" zh:"重试"`
}

func sections() []config.Section {
	return []config.Section{
		{Name: "server", Source: source, Defaults: &server{
			Listen: "127.0.0.1:8460", Timeout: 90 * time.Minute, MaxBody: 8 << 20, Hosts: []string{"a.test", "yes", "1"}, Share: 0.5,
			Limit: limit{Rate: 100, Burst: 200},
		}},
		{Name: "agencies", Source: source, Defaults: &agencies{Of: map[string]agency{
			"tax": {URL: "http://127.0.0.1:1", Timeout: time.Second},
		}}},
	}
}
