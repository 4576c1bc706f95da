package node

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/qiongdev/qiong"
	"github.com/qiongdev/qiong/kit/beijing"
	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/gm"
	"github.com/qiongdev/qiong/kit/lang"
	"github.com/qiongdev/qiong/kit/sqldb"
	"github.com/qiongdev/qiong/service/evidence/council"
	"github.com/qiongdev/qiong/service/evidence/ledger"
)

// Commands returns what an agency's operator runs, below the service's own command. open opens the ledger's database.
func Commands(open func(path string) (sqldb.DB, error)) []*qiong.Tool {
	return []*qiong.Tool{keyTool, initTool, nodeTool(open), policyTool, statusTool}
}

type say = func(zh, en string) string

func homeFlags(fs *pflag.FlagSet, say say) {
	fs.String("home", "", say("机构节点的文件夹", "folder of the agency's node"))
	fs.String("master-key", "", say("主密钥文件；留空用文件夹内的", "file of the master secret; empty: the one in the folder"))
}

// homeOf opens the home that the flags name.
func homeOf(fs *pflag.FlagSet) (*Home, error) {
	dir, err := needed(fs, "home")
	if err != nil {
		return nil, err
	}
	master, _ := fs.GetString("master-key") // declared, as all flags here are
	return OpenHome(dir, master)
}

func needed(fs *pflag.FlagSet, name string) (string, error) {
	value, _ := fs.GetString(name)
	if value == "" {
		return "", errs.Newf(errs.Invalid, "缺少 --%s", "--%s is missing", name).WithHint("加 --help 查看用法", "add --help for the usage")
	}
	return value, nil
}

var keyTool = &qiong.Tool{
	Name: "key",
	Doc:  lang.T("在本机生成机构的密钥，输出公开信息", "make an agency's keys on this machine, and print their public part"),
	Long: lang.T("私钥不离开本机。把输出的公开信息（home/public.json）交给主持创世的人。\n--print 再次输出；--rotate 另做一把联合签名密钥，待策略变更生效后启用。",
		"Private keys do not leave this machine. Give the public part (home/public.json) to whoever holds the genesis ceremony.\n--print prints it again; --rotate makes a further key for cosigning, which counts once a change of policy names it."),
	Flags: func(fs *pflag.FlagSet, say func(zh, en string) string) {
		homeFlags(fs, say)
		fs.String("agency", "", say("机构名：小写字母、数字、连字符", "the agency's name: lower-case letters, digits, hyphens"))
		fs.String("p2p", "127.0.0.1:8470", say("其他机构的节点访问它的 主机:端口", "host:port at which the other agencies' nodes reach it"))
		fs.String("http", "http://127.0.0.1:8471", say("网关访问它的地址", "URL at which gateways reach it"))
		fs.Bool("print", false, say("只输出已有的公开信息", "only print the public part that there is"))
		fs.Bool("rotate", false, say("另做一把联合签名密钥", "make a further key for cosigning"))
	},
	Run: key,
}

func key(_ context.Context, c *qiong.Console, _ []string) error {
	show, _ := c.Flags.GetBool("print")
	rotate, _ := c.Flags.GetBool("rotate")
	master, _ := c.Flags.GetString("master-key")
	home, err := func() (*Home, error) {
		if show || rotate {
			return homeOf(c.Flags)
		}
		dir, err := needed(c.Flags, "home")
		if err != nil {
			return nil, err
		}
		o := HomeOptions{MasterKey: master}
		if o.Agency, err = needed(c.Flags, "agency"); err != nil {
			return nil, err
		}
		o.P2P, _ = c.Flags.GetString("p2p")
		o.HTTP, _ = c.Flags.GetString("http")
		return NewHome(dir, o)
	}()
	if err == nil && rotate {
		_, err = home.Rotate(master)
	}
	if err != nil {
		return err
	}
	text, err := home.Public().Marshal()
	if err != nil {
		return err
	}
	_, err = c.Out.Write(text)
	return err
}

var initTool = &qiong.Tool{
	Name: "init", Args: "PUBLIC.json...", MinArgs: 1, MaxArgs: -1,
	Doc: lang.T("由各机构的公开信息制作创世文件", "make the genesis from the agencies' public parts"),
	Long: lang.T("写出 genesis.json 与 trust.pem（验证凭据用的公钥），并输出指纹。各机构通过另一渠道核对指纹后才启动节点。\n以同样的输入和 --time，每个机构都能自己算出同一文件。",
		"Writes genesis.json and trust.pem (the keys by which receipts are verified), and prints the fingerprint. Each agency compares it over another channel before it starts its node.\nWith the same input and --time every agency computes the same file itself."),
	Flags: func(fs *pflag.FlagSet, say func(zh, en string) string) {
		fs.String("chain", "", say("联盟的名称，也是日志的名称：小写字母、数字、连字符", "name of the council and of its log: lower-case letters, digits, hyphens"))
		fs.String("policy", "", say("策略文件（YAML）", "policy file (YAML)"))
		fs.StringArray("gateway", nil, say("没有策略文件时的网关：名称=公钥文件，可重复", "a gateway where there is no policy file: NAME=KEY.pem; may be repeated"))
		fs.String("out", "", say("写到哪个文件夹", "folder to write to"))
		fs.String("time", "", say("创世时间，如 2026-11-22T20:00:00.000+08:00；默认现在", "time of the genesis, such as 2026-11-22T20:00:00.000+08:00; default now"))
	},
	Run: initialize,
}

func initialize(_ context.Context, c *qiong.Console, args []string) error {
	chain, err := needed(c.Flags, "chain")
	if err != nil {
		return err
	}
	out, err := needed(c.Flags, "out")
	if err != nil {
		return err
	}
	at := time.Now().UTC().Truncate(time.Second)
	if text, _ := c.Flags.GetString("time"); text != "" {
		if at, err = beijing.Parse(text); err != nil {
			return errs.As(err).WithField("time")
		}
	}
	publics, err := readPublics(args)
	if err != nil {
		return err
	}
	policy, err := foundingPolicy(c.Flags, publics)
	if err != nil {
		return err
	}
	state, err := policy.Marshal()
	if err != nil {
		return err
	}
	g, err := council.NewGenesis(chain, at, state, publics)
	if err != nil {
		return err
	}
	return writeGenesis(c, out, g)
}

func writeGenesis(c *qiong.Console, out string, g *council.Genesis) error {
	data, err := g.Marshal()
	if err != nil {
		return err
	}
	trust, err := trustOver(g.Chain, []PolicyAt{{Policy: g.State}})
	if err != nil {
		return err
	}
	if err := os.MkdirAll(out, 0o700); err != nil {
		return unwritable(err)
	}
	if err := createFile(filepath.Join(out, genesisFile), data); err != nil {
		return err
	}
	if err := createFile(filepath.Join(out, "trust.pem"), trust.Marshal()); err != nil {
		return err
	}
	fingerprint, err := g.Fingerprint()
	if err != nil {
		return err
	}
	for _, k := range trust.Keys() {
		fmt.Fprintf(c.Out, "%s\t%s\n", gm.KeyID(k.Public), k.Name)
	}
	_, err = fmt.Fprintf(c.Out, c.Say("创世指纹 %s\n请各机构通过另一渠道核对后再启动节点。\n", "genesis %s\nCompare it over another channel before any node starts.\n"), fingerprint)
	return err
}

func readPublics(files []string) ([]council.Public, error) {
	publics := make([]council.Public, 0, len(files))
	for _, file := range files {
		data, err := readFile(file)
		if err != nil {
			return nil, err
		}
		p, err := council.ParsePublic(data)
		if err != nil {
			return nil, inFile(file, err)
		}
		publics = append(publics, p)
	}
	return publics, nil
}

// inFile puts the file's name before an error's field.
func inFile(file string, err error) error {
	e := *errs.As(err)
	e.Field = strings.TrimSpace(file + " " + e.Field)
	return &e
}

// foundingPolicy returns the first policy: of the policy file, or with the gateways of the flags and all agencies needed.
func foundingPolicy(fs *pflag.FlagSet, publics []council.Public) (*ledger.Policy, error) {
	members := make([]council.Member, len(publics))
	for i, p := range publics {
		members[i] = council.Member{Public: p, Votes: true}
	}
	sortMembers(members)
	file, _ := fs.GetString("policy")
	gateways, _ := fs.GetStringArray("gateway")
	if file != "" && len(gateways) > 0 {
		return nil, errs.New(errs.Invalid, "--policy 与 --gateway 只能用其一", "use either --policy or --gateway")
	}
	if file != "" {
		return readPolicy(file, members)
	}
	p := &ledger.Policy{Version: 1, Members: members, Needs: voters(members)}
	for _, g := range gateways {
		name, file, _ := strings.Cut(g, "=")
		data, err := readFile(file)
		if err != nil {
			return nil, err
		}
		pub, err := gm.ParsePublicKeyPEM(data)
		if err != nil {
			return nil, inFile(file, err)
		}
		p.Gateways = append(p.Gateways, ledger.Gateway{Name: name, Key: string(pub.PEM())})
	}
	slices.SortFunc(p.Gateways, func(a, b ledger.Gateway) int { return strings.Compare(a.Name, b.Name) })
	return p, nil
}

func sortMembers(members []council.Member) {
	slices.SortFunc(members, func(a, b council.Member) int { return strings.Compare(a.Agency, b.Agency) })
}

// The defaults of a node: blocks of a day where one comes each second, and a snapshot now and then for who joins.
const (
	defaultRetain    = 86400
	defaultSnapshots = 1000
)

func nodeTool(open func(path string) (sqldb.DB, error)) *qiong.Tool {
	return &qiong.Tool{
		Name: "node",
		Doc:  lang.T("运行机构的节点", "run an agency's node"),
		Long: lang.T("第一次启动须给出 --genesis。默认只在本机监听；--beyond 允许监听其他地址，请放在防火墙之后。",
			"The first start needs --genesis. It listens on this machine only; --beyond allows other addresses: keep those behind a firewall."),
		Flags: func(fs *pflag.FlagSet, say func(zh, en string) string) {
			homeFlags(fs, say)
			fs.String("genesis", "", say("创世文件，第一次启动时给出", "the genesis, for the first start"))
			fs.String("listen", "", say("HTTP 监听的 IP:端口；默认 127.0.0.1 与公开信息中的端口", "IP:port of HTTP; default 127.0.0.1 and the port of the public part"))
			fs.String("p2p", "", say("节点间监听的 IP:端口；默认同上", "IP:port for the other nodes; default as above"))
			fs.Bool("beyond", false, say("允许本机以外访问", "allow to be reached from beyond this machine"))
			fs.Int64("retain", defaultRetain, say("保留多少区块；0 为全部", "how many blocks to keep; 0 for all"))
			fs.Int64("snapshots", defaultSnapshots, say("每多少区块做一次快照；0 为不做", "blocks between snapshots; 0 for none"))
			fs.Bool("sync", false, say("账本为空时从其他机构的快照开始", "begin with another agency's snapshot where the ledger is empty"))
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
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	if with, _ := c.Flags.GetBool("with-parent"); with {
		go func() {
			_, _ = io.Copy(io.Discard, c.In) // however it ends, the parent is gone
			stop()
		}()
	}
	lean()
	return Run(ctx, cfg)
}

// lean has a node, of which several may share a machine with a house, collect garbage early. GOGC and GOMEMLIMIT go before.
func lean() {
	if os.Getenv("GOGC") == "" && os.Getenv("GOMEMLIMIT") == "" {
		debug.SetGCPercent(50)
	}
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
	if cfg.Retain < 0 || cfg.Snapshots < 0 {
		return cfg, errs.New(errs.Invalid, "--retain 与 --snapshots 不得为负", "--retain and --snapshots must not be negative")
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
