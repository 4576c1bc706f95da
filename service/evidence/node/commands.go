package node

import (
	"context"

	"github.com/spf13/pflag"

	"github.com/qiongdev/qiong"
	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/lang"
	"github.com/qiongdev/qiong/kit/sqldb"
)

// Commands returns what an agency's operator runs, below the service's own command. open opens the ledger's database.
func Commands(open func(path string) (sqldb.DB, error)) []*qiong.Tool {
	return []*qiong.Tool{keyTool, initTool, nodeTool(open), policyTool, statusTool}
}

type say = func(zh, en string) string

func homeFlags(fs *pflag.FlagSet, say say) {
	fs.String("home", "", say("部门节点的文件夹", "folder of the agency's node"))
	fs.String("master-key", "", say("主密钥文件；留空用文件夹内的", "file of the master secret; empty: the one in the folder"))
	fs.String("signer", "", say("持有联合签名密钥的签名进程的套接字；留空用制作密钥时的", "socket of the signer that has the key for cosigning; empty: the one that the key was made with"))
}

// homeOf opens the home that the flags name.
func homeOf(fs *pflag.FlagSet) (*Home, error) {
	dir, err := needed(fs, "home")
	if err != nil {
		return nil, err
	}
	master, _ := fs.GetString("master-key") // declared, as all flags here are
	socket, _ := fs.GetString("signer")
	return openHome(dir, master, socket)
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
	Doc:  lang.T("在本机生成部门的密钥，输出公开信息", "make an agency's keys on this machine, and print their public part"),
	Long: lang.T("私钥不离开本机。把输出的公开信息（home/public.json）交给主持创世的人。\n--print 再次输出；--rotate 另做一把联合签名密钥，待策略变更生效后启用。\n--signer 用签名进程（qiong signer，或硬件密码模块的进程）中的 --signer-key 联合签名，私钥不在文件夹中。",
		"Private keys do not leave this machine. Give the public part (home/public.json) to whoever holds the genesis ceremony.\n--print prints it again; --rotate makes a further key for cosigning, which counts once a change of policy names it.\n--signer has it cosign with --signer-key of a signer (qiong signer, or the process of a hardware module): the private key is not in the folder then."),
	Flags: func(fs *pflag.FlagSet, say func(zh, en string) string) {
		homeFlags(fs, say)
		fs.String("agency", "", say("部门名：小写字母、数字、连字符", "the agency's name: lower-case letters, digits, hyphens"))
		fs.String("p2p", "127.0.0.1:8470", say("其他部门的节点访问它的 主机:端口", "host:port at which the other agencies' nodes reach it"))
		fs.String("http", "http://127.0.0.1:8471", say("网关访问它的地址", "URL at which gateways reach it"))
		fs.Bool("print", false, say("只输出已有的公开信息", "only print the public part that there is"))
		fs.Bool("rotate", false, say("另做一把联合签名密钥", "make a further key for cosigning"))
		fs.String("signer-key", "", say("签名进程中密钥的名称；默认 cosigning", "the key's name at the signer; default cosigning"))
	},
	Run: key,
}

func key(_ context.Context, c *qiong.Console, _ []string) error {
	show, _ := c.Flags.GetBool("print")
	rotate, _ := c.Flags.GetBool("rotate")
	master, _ := c.Flags.GetString("master-key")
	socket, _ := c.Flags.GetString("signer")
	there, _ := c.Flags.GetString("signer-key")
	if there != "" && socket == "" {
		return errs.New(errs.Invalid, "--signer-key 须与 --signer 同用", "--signer-key goes with --signer").WithField("--signer")
	}
	if there == "" {
		there = cosigning
	}
	home, err := func() (*Home, error) {
		if show || rotate {
			return homeOf(c.Flags)
		}
		dir, err := needed(c.Flags, "home")
		if err != nil {
			return nil, err
		}
		o := HomeOptions{MasterKey: master, Signer: socket, SignerKey: there}
		if o.Agency, err = needed(c.Flags, "agency"); err != nil {
			return nil, err
		}
		o.P2P, _ = c.Flags.GetString("p2p")
		o.HTTP, _ = c.Flags.GetString("http")
		return NewHome(dir, o)
	}()
	if err == nil && rotate {
		_, err = home.rotate(master, socket, there)
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
