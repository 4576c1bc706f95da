package evidence

import (
	_ "embed"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/receipt"
)

//go:embed config.go
var configSource string

// Config is the section "evidence".
type Config struct {
	// The log's name, which stands in every receipt; cannot be changed later. With a council, the council's.
	Origin string `koanf:"origin" zh:"日志名称，写在每张回执里，以后不能更改。有理事会时为理事会的名称。"`
	// Under what name this house signs.
	Name string `koanf:"name" zh:"本系统签名所用的名称。"`
	// Addresses of the agencies' nodes. Empty: this house orders alone (log mode).
	Nodes []string `koanf:"nodes" zh:"各部门节点的地址。留空则由本系统单独排序（日志模式）。"`
	// File with the public keys of the log's agencies, trust.pem, from the council's founding; in log mode, with those of
	// witnesses. It is read again when it changes.
	Trust string `koanf:"trust" zh:"本日志各部门的公钥文件 trust.pem，理事会成立时产生；日志模式下列出见证者的公钥。文件改动后自动重读。"`
	// Agencies of a council on this machine, each a process of its own, to show and to test how a council works; four or
	// more. One machine holds all their keys, so it proves no more than one operator could. Cannot be changed later.
	Council []string `koanf:"council" zh:"在本机组成理事会的部门，各为一个进程，用于演示和测试，至少四个。一台机器握有全部密钥，证明力不超过单一运营者。以后不能更改。"`
	// First port of that council's nodes, two each. 0: any that are free when it is founded.
	Port int `koanf:"port" zh:"本机理事会各节点的起始端口，每个节点两个；0 为成立时任选空闲端口。"`
	// Policy file of that council: types of records, who must sign them, rules. Empty: every agency signs every record.
	Policy string `koanf:"policy" zh:"本机理事会的策略文件：记录类型、应签部门、规则。留空则每条记录由全部部门签署。"`
	// How long records are gathered before they are ordered together, with a council.
	Gather time.Duration `koanf:"gather" zh:"有理事会时，记录攒多久一起排序。"`
	// Records waiting to be ordered at which no more are taken from other systems.
	Backlog int `koanf:"backlog" zh:"待排序的记录达到此数时，暂不接收其他系统的记录。"`
	// How long the originals of acts are kept for their holders; then they are erased. 0: until they are erased by hand.
	Originals time.Duration `koanf:"originals" zh:"办理事项的原文为当事人保存多久，到期清除；0 为不自动清除。"`
	// Where the newest checkpoint is anchored outward: file:PATH, an http(s) URL, house+URL of another house that witnesses,
	// chain+URL of a main chain, chain:NAME of an adapter in the program.
	Publish []string `koanf:"publish" zh:"最新检查点对外锚定到何处：file:路径、http(s) 地址、house+另一系统的地址（由其见证）、chain+主链接口地址、chain:程序内适配器的名称。"`
	// How often it is anchored.
	PublishEvery time.Duration `koanf:"publish-every" zh:"多久对外锚定一次。"`
	// File with the public keys of other houses' logs, which this house witnesses. Empty: none.
	Witness string `koanf:"witness" zh:"由本系统见证的其他日志的公钥文件；留空则不见证。"`
}

// Defaults is the configuration nobody changed.
var Defaults = Config{Origin: "qiong-local", Name: "house", Gather: 100 * time.Millisecond, Backlog: 200_000, PublishEvery: time.Minute}

// Validate implements the check that package config calls.
func (c *Config) Validate() error {
	bad := func(field, zh, en string) error {
		return errs.New(errs.Invalid, zh, en).WithField("evidence." + field)
	}
	if err := receipt.CheckOrigin(c.Origin); err != nil {
		return bad("origin", "须为 1 至 200 个可见 ASCII 字符，不含 +", "must be 1 to 200 visible ASCII characters without '+'")
	}
	if err := receipt.CheckName(c.Name); err != nil {
		return bad("name", "须为小写字母、数字、点、斜线和连字符", "must be of lower-case letters, digits, '.', '/' and '-'")
	}
	for _, n := range c.Nodes {
		if u, err := url.Parse(n); err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
			return bad("nodes", "须为 http 或 https 地址", "must be http or https addresses")
		}
	}
	for i, n := range c.Council {
		if receipt.CheckName(n) != nil || slices.Contains(c.Council[:i], n) || strings.ContainsAny(n, "./") {
			return bad("council", "部门名称须为小写字母、数字和连字符，且不重复", "agencies are of lower-case letters, digits and '-', none twice")
		}
	}
	switch {
	case len(c.Council) > 0 && len(c.Nodes) > 0:
		return bad("council", "council 与 nodes 只能设其一", "set either council or nodes")
	case len(c.Council) > 0 && len(c.Council) < 4:
		return bad("council", "理事会至少四个部门，才能有一个缺席", "a council has at least four agencies, so that one may be away")
	case c.Port < 0 || c.Port > 65000:
		return bad("port", "应为 0 至 65000", "must be from 0 to 65000")
	case len(c.Nodes) > 0 && c.Trust == "":
		return bad("trust", "有理事会时须给出各部门的公钥文件", "a council's public keys are needed")
	case c.Gather <= 0 || c.Gather > 5*time.Second:
		return bad("gather", "应在 5 秒以内", "must be at most 5 seconds")
	case c.Backlog < 1:
		return bad("backlog", "应为正整数", "must be a positive number")
	case c.PublishEvery < time.Second:
		return bad("publish-every", "至少 1 秒", "must be at least a second")
	case c.Originals < 0:
		return bad("originals", "不能为负", "must not be negative")
	}
	return nil
}
