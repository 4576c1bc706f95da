package approval

import (
	_ "embed"
	"net/url"
	"time"

	"github.com/qiongdev/qiong/kit/errs"
)

//go:embed config.go
var configSource string

// Config is the section "approval".
type Config struct {
	// Folder of the matters (*.yaml). Empty: those that come with the program.
	Matters string `koanf:"matters" zh:"事项文件（*.yaml）目录。留空则用程序自带的事项。"`
	// Where each agency is reached. An agency that is not listed is looked for in this house's own sandbox.
	Agencies map[string]AgencyConfig `koanf:"agencies" zh:"各部门接口的地址。未列出的部门由本程序的沙箱代答。"`
	// Cases under way at which further submissions are refused until some end.
	Backlog int `koanf:"backlog" zh:"在办数量达到此数时，暂不受理新的提交。"`
	// Cases worked on at the same time; the others wait their turn.
	Active int `koanf:"active" zh:"同时办理的数量，其余排队。"`
	// Open connections to each agency.
	Connections int `koanf:"connections" zh:"到每个部门的最大连接数。"`
	// How long drafts are kept.
	Drafts time.Duration `koanf:"drafts" zh:"草稿自创建起保留的时间。"`
}

// AgencyConfig says where an agency is.
type AgencyConfig struct {
	// Base URL of its interface.
	URL string `koanf:"url" zh:"接口基址。"`
	// PEM file with its SM2 public key.
	Key string `koanf:"key" zh:"该部门 SM2 公钥（PEM 文件）。"`
}

// Defaults is the configuration nobody changed.
var Defaults = Config{Backlog: 200_000, Active: 1024, Connections: 128, Drafts: 90 * 24 * time.Hour}

// Validate implements the check that package config calls.
func (c *Config) Validate() error {
	for name, limit := range map[string]int{"backlog": c.Backlog, "active": c.Active, "connections": c.Connections} {
		if limit < 1 {
			return errs.New(errs.Invalid, "应为正整数", "must be a positive number").WithField("approval." + name)
		}
	}
	for name, a := range c.Agencies {
		u, err := url.Parse(a.URL)
		if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
			return errs.New(errs.Invalid, "应为 http 或 https 地址", "must be an http or https URL").WithField("approval.agencies." + name + ".url")
		}
		if a.Key == "" {
			return errs.New(errs.Invalid, "须指定部门公钥文件", "the agency's public key file is needed").WithField("approval.agencies." + name + ".key")
		}
	}
	if c.Drafts <= 0 {
		return errs.New(errs.Invalid, "应为正的时长", "must be a positive duration").WithField("approval.drafts")
	}
	return nil
}
