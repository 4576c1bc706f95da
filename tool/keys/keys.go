// Package keys shows and trusts public keys in the ring of a house: what two systems exchange before they believe each
// other's signatures.
package keys

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/pflag"

	"github.com/qiongdev/qiong"
	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/gm"
	"github.com/qiongdev/qiong/kit/keys"
	"github.com/qiongdev/qiong/kit/lang"
)

// Tool is the command. Its first argument says what to do.
var Tool = &qiong.Tool{
	Name: "keys", Args: "list | new NAME | export NAME | trust NAME FILE", MinArgs: 1, MaxArgs: 3,
	Doc: lang.T("新建密钥，查看、导出、信任公钥（SM2）", "make keys; list, export and trust public keys (SM2)"),
	Long: lang.T("list            列出密钥环中的公钥\nnew NAME        新建密钥（已有则不变），输出其公钥；没有密钥环时一并新建\nexport NAME     输出公钥（PEM），交给对方系统\ntrust NAME FILE 信任对方系统的公钥（PEM，- 为标准输入）；服务重启后生效\n\n直接读写数据目录中的密钥环。",
		"list            list the public keys of the ring\nnew NAME        make a key, where there is none of that name, and print its public key; also the ring itself\nexport NAME     print a public key (PEM), for the other system\ntrust NAME FILE trust another system's public key (PEM, - for standard input); a running house needs a restart\n\nReads and writes the key ring of the data folder itself."),
	Flags: func(fs *pflag.FlagSet, say func(zh, en string) string) {
		fs.String("data", "./qiong-data", say("数据目录", "data folder"))
		fs.String("master-key", "", say("主密钥文件；留空用数据目录内的", "file of the master secret; empty: the one in the data folder"))
	},
	Run: run,
}

func run(_ context.Context, c *qiong.Console, args []string) error {
	data, _ := c.Flags.GetString("data") // both are declared above
	master, _ := c.Flags.GetString("master-key")
	verb, rest := args[0], args[1:]
	ring, err := keys.Open(filepath.Join(data, "keys"), keys.Options{MasterFile: master, ReadOnly: verb != "trust" && verb != "new", CreateMaster: verb == "new"})
	if err != nil {
		return err
	}
	switch {
	case verb == "list" && len(rest) == 0:
		return list(c, ring)
	case verb == "new" && len(rest) == 1:
		if _, err := ring.Signer(rest[0]); err != nil {
			return err
		}
		return export(c, ring, rest[0])
	case verb == "export" && len(rest) == 1:
		return export(c, ring, rest[0])
	case verb == "trust" && len(rest) == 2:
		return trust(c, ring, rest[0], rest[1])
	}
	return errs.New(errs.Invalid, "参数不对", "wrong arguments").WithHint("运行 qiong keys --help 查看用法", "run qiong keys --help for the usage")
}

// listed is a public key as it is listed.
type listed struct {
	Name  string `json:"name"`
	KeyID string `json:"keyId"`
}

func list(c *qiong.Console, ring *keys.Ring) error {
	for _, name := range ring.Names() {
		pub, err := ring.Public(name)
		if err != nil {
			continue // a secret, which has no public part
		}
		k := listed{name, gm.KeyID(pub)}
		if c.JSON {
			err = json.NewEncoder(c.Out).Encode(k)
		} else {
			_, err = fmt.Fprintf(c.Out, "%s\t%s\n", k.KeyID, k.Name)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func export(c *qiong.Console, ring *keys.Ring, name string) error {
	pub, err := ring.Public(name)
	if err != nil {
		return err
	}
	_, err = c.Out.Write(pub.PEM())
	return err
}

func trust(c *qiong.Console, ring *keys.Ring, name, path string) error {
	var pem []byte
	var err error
	if path == "-" {
		pem, err = io.ReadAll(io.LimitReader(c.In, 1<<16))
	} else {
		pem, err = os.ReadFile(path)
	}
	if err != nil {
		return errs.Wrap(err, errs.NotFound, "文件无法读取", "the file can't be read").WithField(path)
	}
	pub, err := gm.ParsePublicKeyPEM(pem)
	if err != nil {
		return err
	}
	if err := ring.Trust(name, pub); err != nil {
		return err
	}
	_, err = fmt.Fprintf(c.Out, c.Say("已信任 %s（%s）；运行中的服务重启后生效\n", "trusted %s (%s); a running house needs a restart\n"), name, gm.KeyID(pub))
	return err
}
