package exchange

import (
	_ "embed"
	"time"

	"github.com/qiongdev/qiong/kit/errs"
)

//go:embed config.go
var configSource string

// Config is the section "exchange".
type Config struct {
	// Folder of the feeds (*.yaml). Empty: nothing is exchanged.
	Feeds string `koanf:"feeds" zh:"数据流文件（*.yaml）目录。留空则不交换任何数据。"`
	// Databases of other systems that feeds name as connections.
	Connections map[string]Connection `koanf:"connections" zh:"数据流所用的外部数据库连接。"`
	// Chunks waiting for a target at which no further file of the feed is taken in.
	Backlog int `koanf:"backlog" zh:"某一目标待送的数据块达到此数时，该数据流暂不接收新文件。"`
	// Records of one transfer that may go to quarantine; beyond that it is refused whole.
	Quarantine int `koanf:"quarantine" zh:"一次传输最多可隔离的记录数，超过则整批拒收。"`
	// How long accepted records are kept after every target has them; reconciliation reaches back so far.
	Retention time.Duration `koanf:"retention" zh:"各目标均已送达后，记录的保留时间；对账可追溯到此。"`
	// Longest pause between two attempts to deliver.
	Pause time.Duration `koanf:"pause" zh:"两次投递之间的最长间隔。"`
}

// Connection is a database of another system.
type Connection struct {
	// mysql (MySQL, MariaDB) or postgres.
	Driver string `koanf:"driver" zh:"mysql（含 MariaDB）或 postgres。"`
	// Its address, such as user:password@tcp(10.0.0.8:3306)/city for mysql, postgres://user:password@10.0.0.8/city.
	DSN string `koanf:"dsn" secret:"true" zh:"连接地址，如 user:password@tcp(10.0.0.8:3306)/city 或 postgres://user:password@10.0.0.8/city。"`
}

// Defaults is the configuration nobody changed.
var Defaults = Config{Backlog: 20_000, Quarantine: 10_000, Retention: 30 * 24 * time.Hour, Pause: 5 * time.Minute}

// Validate implements the check that package config calls.
func (c *Config) Validate() error {
	for name, limit := range map[string]int{"backlog": c.Backlog, "quarantine": c.Quarantine} {
		if limit < 1 {
			return errs.New(errs.Invalid, "应为正整数", "must be a positive number").WithField("exchange." + name)
		}
	}
	for name, limit := range map[string]time.Duration{"retention": c.Retention, "pause": c.Pause} {
		if limit <= 0 {
			return errs.New(errs.Invalid, "应为正的时长", "must be a positive duration").WithField("exchange." + name)
		}
	}
	return nil
}
