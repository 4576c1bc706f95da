package witness

import (
	_ "embed"
	"path"
	"slices"
	"strings"

	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/lease"
)

//go:embed config.go
var configSource string

// Config is the section "witness".
type Config struct {
	// Under what name this house votes, and takes leases for its services; each machine has its own.
	Name string `koanf:"name" zh:"本系统投票、持有租约所用的名称，每台机器各不相同。"`
	// Replicas that may take leases here; their public keys stand in the key ring as lease.NAME (qiong keys trust). Empty:
	// nobody may.
	Replicas []string `koanf:"replicas" zh:"可在此取得租约的副本名称；其公钥以 lease.名称 存于密钥环（qiong keys trust）。留空则无人可取。"`
	// Leases that they may take; a * stands for any part of a name between slashes.
	Leases []string `koanf:"leases" zh:"可取得的租约；* 代表名称中两斜线之间的任意内容。"`
	// How many leases are kept at most.
	Limit int `koanf:"limit" zh:"租约数上限。"`
}

// Defaults is the configuration nobody changed.
var Defaults = Config{Name: "witness", Leases: []string{"*", "*/*"}, Limit: 1000}

// Validate implements the check that package config calls.
func (c *Config) Validate() error {
	bad := func(field, zh, en string) error {
		return errs.New(errs.Invalid, zh, en).WithField("witness." + field)
	}
	if !lease.ValidReplica(c.Name) {
		return bad("name", "须为小写字母、数字、点和连字符", "must be of lower-case letters, digits, '.' and '-'")
	}
	for i, r := range c.Replicas {
		if !lease.ValidReplica(r) || slices.Contains(c.Replicas[:i], r) {
			return bad("replicas", "须为小写字母、数字、点和连字符，且不重复", "are of lower-case letters, digits, '.' and '-', none twice")
		}
	}
	for _, l := range c.Leases {
		if _, err := path.Match(l, ""); err != nil || !lease.ValidName(strings.ReplaceAll(l, "*", "x")) {
			return bad("leases", "不是合法的租约名", "must be names of leases")
		}
	}
	if c.Limit < 1 || c.Limit > 100_000 {
		return bad("limit", "应为 1 至 100000", "must be from 1 to 100000")
	}
	return nil
}

// allows reports whether replicas may take a lease of that name.
func (c *Config) allows(_, name string) bool {
	return slices.ContainsFunc(c.Leases, func(pattern string) bool {
		ok, _ := path.Match(pattern, name) // Validate has read it
		return ok
	})
}
