package sandbox

import (
	"math"

	"github.com/qiongdev/qiong/kit/config"
	"github.com/qiongdev/qiong/kit/errs"
)

// Config is the section "sandbox" of the configuration.
type Config struct {
	// A YAML file that says how the agencies behave; what it leaves out is as built in. Empty: all of it.
	Scenario string `koanf:"scenario" zh:"描述各部门行为的 YAML 文件；未写到的用内置场景，留空则全用内置场景"`
	// The same seed gives the same latencies, numbers and faults.
	Seed uint64 `koanf:"seed" zh:"随机种子；种子相同，时延、编号和故障就相同"`
	// Factor on every latency; 0 answers without waiting.
	Speed float64 `koanf:"speed" zh:"时延倍率；0 表示不等待"`
	// How often a callback is sent before the agency gives up; the caller can still ask.
	CallbackAttempts int `koanf:"callback-attempts" zh:"回调最多发送次数；之后仍可查询"`
	// Requests served at a time; one too many is answered 429.
	MaxConcurrent int `koanf:"max-concurrent" zh:"同时处理的请求数上限；超出时答复 429"`
	// The largest request body.
	MaxBody config.Bytes `koanf:"max-body" zh:"请求体上限"`
}

// DefaultConfig returns the defaults: the built-in scenario at its natural speed.
func DefaultConfig() Config {
	return Config{Seed: 1, Speed: 1, CallbackAttempts: 10, MaxConcurrent: 4096, MaxBody: 1 << 20}
}

// Validate refuses what no sandbox can run with.
func (c *Config) Validate() error {
	bad := func(field, zh, en string) error { return errs.New(errs.Invalid, zh, en).WithField(field) }
	switch {
	case math.IsNaN(c.Speed) || c.Speed < 0 || c.Speed > 1000:
		return bad("speed", "应在 0 到 1000 之间", "must lie between 0 and 1000")
	case c.CallbackAttempts < 1 || c.CallbackAttempts > 1000:
		return bad("callback-attempts", "应在 1 到 1000 之间", "must lie between 1 and 1000")
	case c.MaxConcurrent < 1:
		return bad("max-concurrent", "应大于 0", "must be above 0")
	case c.MaxBody < 1<<10 || c.MaxBody > 64<<20:
		return bad("max-body", "应在 1KiB 到 64MiB 之间", "must lie between 1KiB and 64MiB")
	}
	return nil
}
