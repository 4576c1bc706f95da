package node

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/url"

	"github.com/spf13/pflag"

	"github.com/qiongdev/qiong"
	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/lang"
	"github.com/qiongdev/qiong/kit/lean"
	"github.com/qiongdev/qiong/kit/sqldb"
	"github.com/qiongdev/qiong/service/evidence/ledger"
)

// The defaults of a node: blocks of a day where one comes each second, but no more than hold four million records or so,
// and a snapshot now and then for who joins.
const (
	defaultRetain    = 86400
	defaultBytes     = 1 << 30
	defaultSnapshots = 100
)

func nodeTool(open func(path string) (sqldb.DB, error)) *qiong.Tool {
	return &qiong.Tool{
		Name: "node",
		Doc:  lang.T("运行部门的节点", "run an agency's node"),
		Long: lang.T("第一次启动须给出 --genesis。默认只在本机监听；--beyond 允许监听其他地址，请放在防火墙之后。",
			"The first start needs --genesis. It listens on this machine only; --beyond allows other addresses: keep those behind a firewall."),
		Flags: func(fs *pflag.FlagSet, say func(zh, en string) string) {
			homeFlags(fs, say)
			fs.String("genesis", "", say("创世文件，第一次启动时给出", "the genesis, for the first start"))
			fs.String("listen", "", say("HTTP 监听的 IP:端口；默认 127.0.0.1 与公开信息中的端口", "IP:port of HTTP; default 127.0.0.1 and the port of the public part"))
			fs.String("p2p", "", say("节点间监听的 IP:端口；默认同上", "IP:port for the other nodes; default as above"))
			fs.Bool("beyond", false, say("允许本机以外访问", "allow to be reached from beyond this machine"))
			fs.Int64("retain", defaultRetain, say("保留多少区块；0 为全部", "how many blocks to keep; 0 for all"))
			fs.Int64("retain-bytes", defaultBytes, say("所保留区块压缩前的总字节数上限；0 为不限", "how many bytes of blocks to keep at most, before compression; 0 for any"))
			fs.Int64("snapshots", defaultSnapshots, say("每多少区块做一次快照；0 为不做", "blocks between snapshots; 0 for none"))
			fs.Bool("sync", false, say("账本为空时从其他部门的快照开始", "begin with another agency's snapshot where the ledger is empty"))
			fs.String("sync-policy", "", say("快照所信任的现任成员（policy show --json 的输出）；默认创世成员", "present members whom that believes (what policy show --json prints); default those of the genesis"))
			fs.Bool("with-parent", false, say("标准输入关闭时结束", "end when standard input is closed"))
			fs.String("log-level", "info", say("日志级别：debug、info、warn、error", "log level: debug, info, warn, error"))
		},
		Run: func(ctx context.Context, c *qiong.Console, _ []string) error { return runNode(ctx, c, open) },
	}
}

func runNode(ctx context.Context, c *qiong.Console, open func(path string) (sqldb.DB, error)) error {
	cfg, err := nodeConfig(c)
	if err != nil {
		return err
	}
	cfg.Open = open
	cfg.Serving = func(url string) {
		fmt.Fprintf(c.Out, c.Say("%s 的节点 %s\n", "node of %s at %s\n"), cfg.Home.Agency(), url)
		if err := lean.Started(); err != nil {
			cfg.Log.Warn("the program's pages could not be let go", "err", err)
		}
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	if with, _ := c.Flags.GetBool("with-parent"); with {
		go func() {
			_, _ = io.Copy(io.Discard, c.In) // however it ends, the parent is gone
			stop()
		}()
	}
	lean.Collect(50) // several nodes may share a machine with a house
	return Run(ctx, cfg)
}

func nodeConfig(c *qiong.Console) (cfg Config, err error) {
	if cfg.Home, err = homeOf(c.Flags); err != nil {
		return cfg, err
	}
	var genesis []byte
	file, _ := c.Flags.GetString("genesis")
	if file != "" {
		if genesis, err = readFile(file); err != nil {
			return cfg, err
		}
	}
	if cfg.Genesis, err = cfg.Home.Found(genesis); err != nil {
		return cfg, inFile(file, err)
	}
	cfg.Listen, _ = c.Flags.GetString("listen")
	cfg.P2P, _ = c.Flags.GetString("p2p")
	if cfg.Listen == "" {
		cfg.Listen = localHTTP(cfg.Home.Public().HTTP)
	}
	if cfg.P2P == "" {
		cfg.P2P = local(cfg.Home.Public().P2P)
	}
	cfg.Beyond, _ = c.Flags.GetBool("beyond")
	cfg.Retain, _ = c.Flags.GetInt64("retain")
	cfg.Bytes, _ = c.Flags.GetInt64("retain-bytes")
	cfg.Snapshots, _ = c.Flags.GetInt64("snapshots")
	cfg.Sync, _ = c.Flags.GetBool("sync")
	if file, _ := c.Flags.GetString("sync-policy"); file != "" {
		data, err := readFile(file)
		if err != nil {
			return cfg, err
		}
		p, err := ledger.ParsePolicy(data)
		if err != nil {
			return cfg, inFile(file, err)
		}
		cfg.Members = p.Members
	}
	if cfg.Retain < 0 || cfg.Bytes < 0 || cfg.Snapshots < 0 {
		return cfg, errs.New(errs.Invalid, "--retain、--retain-bytes 与 --snapshots 不得为负", "--retain, --retain-bytes and --snapshots must not be negative")
	}
	text, _ := c.Flags.GetString("log-level")
	var level slog.Level
	if err := level.UnmarshalText([]byte(text)); err != nil {
		return cfg, errs.New(errs.Invalid, "应为 debug、info、warn 或 error", "must be debug, info, warn or error").WithField("log-level")
	}
	cfg.Log = slog.New(slog.NewTextHandler(c.Err, &slog.HandlerOptions{Level: level}))
	return cfg, nil
}

// local returns where this machine alone reaches the port of an address that others use.
func local(address string) string {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return address // listening will say so
	}
	if ip := net.ParseIP(host); ip != nil && ip.IsLoopback() {
		return address
	}
	return net.JoinHostPort("127.0.0.1", port)
}

func localHTTP(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return address // it was parsed before
	}
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	return local(net.JoinHostPort(u.Hostname(), port))
}
