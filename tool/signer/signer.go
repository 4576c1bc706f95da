// Package signer keeps private keys in a process of its own and signs with them for other processes of the machine: the
// first implementation of the protocol behind which a hardware module stands, over a sealed key ring.
package signer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"path/filepath"
	"slices"

	"github.com/spf13/pflag"

	"github.com/qiongdev/qiong"
	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/gm"
	"github.com/qiongdev/qiong/kit/keys"
	"github.com/qiongdev/qiong/kit/lang"
	"github.com/qiongdev/qiong/kit/signer"
)

// Tool is the command: it runs the signer, or asks one that runs.
var Tool = &qiong.Tool{
	Name: "signer", Args: "[list | export NAME]", MaxArgs: 2,
	Doc: lang.T("签名进程：私钥独立存放，经套接字签名", "a process that holds private keys, and signs through a socket"),
	Long: lang.T("不带参数        运行签名进程，以 --keys 密钥环中的 SM2 密钥签名，直到中断\nlist            列出 --socket 处签名进程的公钥\nexport NAME     输出其中一把公钥（PEM）\n\n用 qiong keys new NAME --data DIR 新建密钥，密钥环即 DIR/keys。套接字只有属主可用；--user 与 --group 允许其他用户。\n每次签名都记入 --record 目录，每天一个文件；记不下就不签。",
		"without arguments  run the signer, with the SM2 keys of the ring --keys, until interrupted\nlist               list the public keys of the signer at --socket\nexport NAME        print one of them (PEM)\n\nqiong keys new NAME --data DIR makes a key; the ring is DIR/keys then. The socket is its owner's alone; --user and --group let others in.\nEvery signature is on record in the folder --record, a file a day; what can't be recorded is not signed."),
	Flags: func(fs *pflag.FlagSet, say func(zh, en string) string) {
		fs.String("keys", "", say("密钥环的文件夹", "folder of the key ring"))
		fs.String("master-key", "", say("主密钥文件；留空用密钥环内的", "file of the master secret; empty: the one in the ring"))
		fs.String("listen", "", say("套接字的路径", "path of the socket"))
		fs.StringSlice("only", nil, say("只用这些密钥签名（名称，逗号分隔）；默认全部", "sign with these keys alone (names, separated by commas); default all"))
		fs.UintSlice("user", nil, say("可以请求签名的用户号；默认本进程的用户", "ids of the users who may ask; default the one this runs as"))
		fs.Int("group", -1, say("套接字另给哪个用户组（组号）", "id of a group that gets the socket, too"))
		fs.Int("rate", 0, say("每把密钥每秒最多签名次数；0 为不限", "signatures a second of a key at most; 0 for any"))
		fs.String("record", "", say("签名记录的文件夹；默认密钥环内的 record", "folder of the record; default record in the ring"))
		fs.String("socket", "", say("list、export：签名进程的套接字", "list, export: socket of the signer"))
	},
	Run: run,
}

func run(ctx context.Context, c *qiong.Console, args []string) error {
	switch {
	case len(args) == 0:
		return serve(ctx, c)
	case args[0] == "list" && len(args) == 1:
		return list(ctx, c)
	case args[0] == "export" && len(args) == 2:
		return export(c, args[1])
	}
	return errs.New(errs.Invalid, "参数不对", "wrong arguments").WithHint("运行 qiong signer --help 查看用法", "run qiong signer --help for the usage")
}

func needed(fs *pflag.FlagSet, name string) (string, error) {
	value, _ := fs.GetString(name)
	if value == "" {
		return "", errs.Newf(errs.Invalid, "缺少 --%s", "--%s is missing", name).WithHint("加 --help 查看用法", "add --help for the usage")
	}
	return value, nil
}

func serve(ctx context.Context, c *qiong.Console) error {
	dir, err := needed(c.Flags, "keys")
	if err != nil {
		return err
	}
	path, err := needed(c.Flags, "listen")
	if err != nil {
		return err
	}
	held, err := held(c.Flags, dir)
	if err != nil {
		return err
	}
	folder, _ := c.Flags.GetString("record") // declared above, as all flags here are
	if folder == "" {
		folder = filepath.Join(dir, "record")
	}
	record, err := openRecord(folder)
	if err != nil {
		return err
	}
	defer record.close()
	users, _ := c.Flags.GetUintSlice("user")
	group, _ := c.Flags.GetInt("group")
	rate, _ := c.Flags.GetInt("rate")
	o := signer.Options{Keys: held, Rate: rate, Record: record.add, Log: slog.New(slog.NewTextHandler(c.Err, nil))}
	for _, u := range users {
		if uint64(u) > math.MaxUint32 {
			return errs.New(errs.Invalid, "用户号过大", "no user has an id that large").WithField("--user")
		}
		o.Users = append(o.Users, uint32(u))
	}
	if int64(group) >= math.MaxUint32 { // the last stands for none
		return errs.New(errs.Invalid, "用户组号过大", "no group has an id that large").WithField("--group")
	}
	s, err := signer.NewServer(o)
	if err != nil {
		return err
	}
	l, err := signer.Listen(path, group)
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintf(c.Out, c.Say("签名进程在 %s，%d 把密钥\n", "signer at %s with %d keys\n"), path, len(held)); err != nil {
		return errors.Join(err, l.Close())
	}
	stop := record.keep(ctx, o.Log)
	defer stop()
	return s.Serve(ctx, l)
}

// held returns the private keys of the ring that are to be served.
func held(fs *pflag.FlagSet, dir string) (all []signer.Key, err error) {
	master, _ := fs.GetString("master-key")
	ring, err := keys.Open(dir, keys.Options{MasterFile: master, ReadOnly: true})
	if err != nil {
		return nil, err
	}
	only, _ := fs.GetStringSlice("only")
	for _, name := range ring.Names() {
		key, err := ring.Signer(name)
		if errs.Is(err, errs.Conflict) || len(only) > 0 && !slices.Contains(only, name) {
			continue // a secret, or a public key; or one that is not to be served
		}
		if err != nil {
			return nil, err
		}
		all = append(all, signer.Key{Name: name, Signer: key})
	}
	for _, name := range only {
		if !slices.ContainsFunc(all, func(k signer.Key) bool { return k.Name == name }) {
			return nil, errs.Newf(errs.NotFound, "密钥环中没有私钥 %s", "the ring has no private key %s", name).WithField("--only")
		}
	}
	if len(all) == 0 {
		return nil, errs.New(errs.NotFound, "密钥环中没有 SM2 私钥", "the ring has no SM2 private key").WithField("--keys").
			WithHint("用 qiong keys new NAME 新建", "make one with qiong keys new NAME")
	}
	return all, nil
}

// listed is a public key as it is listed.
type listed struct {
	Name  string `json:"name"`
	KeyID string `json:"keyId"`
}

func asked(c *qiong.Console) (*signer.Client, error) {
	socket, err := needed(c.Flags, "socket")
	if err != nil {
		return nil, err
	}
	return signer.NewClient(socket, signer.ClientOptions{}), nil
}

func list(ctx context.Context, c *qiong.Console) error {
	client, err := asked(c)
	if err != nil {
		return err
	}
	defer client.Close()
	all, err := client.Keys(ctx)
	if err != nil {
		return err
	}
	for _, k := range all {
		v := listed{k.Name, gm.KeyID(k.Key)}
		if c.JSON {
			err = json.NewEncoder(c.Out).Encode(v)
		} else {
			_, err = fmt.Fprintf(c.Out, "%s\t%s\n", v.KeyID, v.Name)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func export(c *qiong.Console, name string) error {
	client, err := asked(c)
	if err != nil {
		return err
	}
	defer client.Close()
	pub, err := client.Find(name)
	if err != nil {
		return err
	}
	_, err = c.Out.Write(pub.PEM())
	return err
}
