package booking

import (
	_ "embed"
	"slices"
	"strings"
	"time"

	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/lease"
)

//go:embed config.go
var configSource string

// Config is the section "booking".
type Config struct {
	// Folder of the spots (*.yaml). Empty: those that come with the program, for trying it out.
	Spots string `koanf:"spots" zh:"景区文件（*.yaml）目录。留空则用程序自带的演示景区。"`
	// How many shards the spots are spread over. Each has a writer and a log of its own. It is fixed when the first slot opens.
	Shards int `koanf:"shards" zh:"分片数。各景区分布其上，每个分片各有一个写入者与日志。首个时段开放后不可更改。"`
	// Requests that wait before each writer, at most; beyond that callers are told to come later.
	Intake int `koanf:"intake" zh:"每个分片排队请求的上限，超出则请稍后再试。"`
	// Attempts of one identity in ten seconds, beyond which it is told to wait.
	Attempts int `koanf:"attempts" zh:"同一身份十秒内的尝试上限，超出则请稍候。"`
	// How long identities are kept, sealed, after the visit.
	Erase time.Duration `koanf:"erase" zh:"游览结束后，加密的证件信息保留多久即清除。"`
	// People that may wait for one sale.
	Room int `koanf:"room" zh:"一场开售的等候室人数上限。"`
	// Where bookings are paid. "sandbox" is a stand-in in this house, and takes no money; others come with a program of one's own.
	Payment string `koanf:"payment" zh:"支付渠道。sandbox 为本程序自带的模拟渠道，不收取任何款项；其他渠道由自己的程序接入。"`
	// Share, from 0 to 1, of what the sandbox reports late, twice or never, or fails at: to see how all else copes.
	Faults float64 `koanf:"faults" zh:"模拟渠道出错的比例（0 至 1）：回调迟到、重复、丢失，或请求失败。用以检验各方如何应对。"`
	// Name of this server among those that share the bookings. Empty: it has them alone.
	Name string `koanf:"name" zh:"本机在共担预约的各服务器中的名称。留空表示由本机独自承担。"`
	// The other servers with these bookings, as NAME=URL; see doc/booking-pair.en.md. This one may stand among them.
	Peers []string `koanf:"peers" zh:"共担预约的其他服务器，写作 名称=网址；见 doc/booking-pair.md。列入本机亦可。"`
	// Who decides which server writes, as NAME=URL: this server, the others, and a witness.
	Voters []string `koanf:"voters" zh:"表决由哪台服务器写入的各方（名称=网址）：本机、对方与见证机。"`
}

// Defaults is the configuration nobody changed.
var Defaults = Config{Shards: 1, Intake: 4096, Attempts: 30, Erase: 72 * time.Hour, Room: 1_000_000, Payment: sandboxed}

// Validate implements the check that package config calls.
func (c *Config) Validate() error {
	switch {
	case c.Shards < 1 || c.Shards > 256:
		return errs.New(errs.Invalid, "应为 1 至 256", "must be 1 to 256").WithField("booking.shards")
	case c.Intake < 1 || c.Intake > 1<<20:
		return errs.New(errs.Invalid, "应为 1 至 1048576", "must be 1 to 1048576").WithField("booking.intake")
	case c.Attempts < 1:
		return errs.New(errs.Invalid, "应为正整数", "must be a positive number").WithField("booking.attempts")
	case c.Room < 1:
		return errs.New(errs.Invalid, "应为正整数", "must be a positive number").WithField("booking.room")
	case c.Erase < 0:
		return errs.New(errs.Invalid, "不得为负", "must not be negative").WithField("booking.erase")
	case !(c.Faults >= 0 && c.Faults <= 1):
		return errs.New(errs.Invalid, "应为 0 至 1", "must be 0 to 1").WithField("booking.faults")
	case c.Name == "" && len(c.Peers)+len(c.Voters) > 0:
		return errs.New(errs.Invalid, "与他机共担时须命名本机", "with other servers this one needs a name").WithField("booking.name")
	case c.Name != "" && len(c.Voters) < 3:
		return errs.New(errs.Invalid, "须有三方表决：两台服务器与见证机", "three must vote: two servers and a witness").WithField("booking.voters")
	case c.Name != "" && !lease.ValidReplica(c.Name):
		return errs.New(errs.Invalid, "须为小写字母、数字、点和连字符", "must be of lower-case letters, digits, '.' and '-'").WithField("booking.name")
	}
	if err := named(c.Voters, "booking.voters"); err != nil {
		return err
	}
	if err := named(c.Peers, "booking.peers"); err != nil {
		return err
	}
	if others := slices.DeleteFunc(slices.Clone(c.Peers), func(p string) bool { return strings.HasPrefix(p, c.Name+"=") }); c.Name != "" && len(others) == 0 {
		return errs.New(errs.Invalid, "须列出共担预约的其他服务器", "must list the other servers with these bookings").WithField("booking.peers")
	}
	return nil
}

// named checks a list of NAME=URL.
func named(list []string, field string) error {
	seen := map[string]bool{}
	for _, text := range list {
		name, _, err := lease.ParseVoter(text)
		if err != nil || seen[name] {
			return errs.New(errs.Invalid, "应为 名称=http 或 https 地址，名称不重复", "must be NAME=URL, of http or https, no name twice").WithField(field)
		}
		seen[name] = true
	}
	return nil
}
