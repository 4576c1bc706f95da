package node

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/qiongdev/qiong"
	"github.com/qiongdev/qiong/kit/beijing"
	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/gm"
	"github.com/qiongdev/qiong/kit/lang"
	"github.com/qiongdev/qiong/service/evidence/council"
	"github.com/qiongdev/qiong/service/evidence/ledger"
)

var initTool = &qiong.Tool{
	Name: "init", Args: "PUBLIC.json...", MinArgs: 1, MaxArgs: -1,
	Doc: lang.T("由各部门的公开信息制作创世文件", "make the genesis from the agencies' public parts"),
	Long: lang.T("写出 genesis.json 与 trust.pem（验证回执用的公钥），并输出指纹。各部门通过另一渠道核对指纹后才启动节点。\n以同样的输入和 --time，每个部门都能自己算出同一文件。",
		"Writes genesis.json and trust.pem (the keys by which receipts are verified), and prints the fingerprint. Each agency compares it over another channel before it starts its node.\nWith the same input and --time every agency computes the same file itself."),
	Flags: func(fs *pflag.FlagSet, say func(zh, en string) string) {
		fs.String("chain", "", say("理事会的名称，也是日志的名称：小写字母、数字、连字符", "name of the council and of its log: lower-case letters, digits, hyphens"))
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
	_, err = fmt.Fprintf(c.Out, c.Say("创世指纹 %s\n请各部门通过另一渠道核对后再启动节点。\n", "genesis %s\nCompare it over another channel before any node starts.\n"), fingerprint)
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
