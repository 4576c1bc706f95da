package node

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/qiongdev/qiong"
	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/gm"
	"github.com/qiongdev/qiong/kit/lang"
	"github.com/qiongdev/qiong/service/evidence/council"
	"github.com/qiongdev/qiong/service/evidence/ledger"
)

var policyTool = &qiong.Tool{
	Name: "policy", Args: "show | propose | sign FILE | submit FILE...", MinArgs: 1, MaxArgs: -1,
	Doc: lang.T("查看或变更理事会的策略：部门、网关、须签署者、规则", "show or change the council's policy: agencies, gateways, who must sign, rules"),
	Long: lang.T("show            现行策略；--trust 写出验证回执用的公钥，含更换过的\npropose         在现行策略之上写出变更文件\nsign FILE       以本部门的密钥签署变更文件；先列出改动\nsubmit FILE...  汇总签名并提交，等到生效\n\n变更须三分之二以上的部门签署，在带来它的区块中生效。",
		"show            the policy in force; --trust writes the keys by which receipts are verified, those replaced too\npropose         write a change upon the policy in force\nsign FILE       sign a change with the agency's key, having listed what it changes\nsubmit FILE...  put the signatures together, submit, and wait until it is in force\n\nMore than two thirds of the agencies must sign; it counts from the block that brings it."),
	Flags: func(fs *pflag.FlagSet, say func(zh, en string) string) {
		homeFlags(fs, say)
		fs.String("node", "", say("节点的地址；默认为本部门的", "the node's URL; default the agency's own"))
		fs.String("trust", "", say("show：写出公钥文件", "show: write the file of keys"))
		fs.String("out", "", say("propose：变更文件", "propose: the change file"))
		fs.StringArray("add", nil, say("propose：加入部门，或给予表决权（公开信息文件）", "propose: add an agency, or give it its vote (file of its public part)"))
		fs.StringArray("follow", nil, say("propose：加入不表决的部门，或收回表决权", "propose: add an agency that does not vote, or take its vote"))
		fs.StringArray("rotate", nil, say("propose：更换部门的密钥与地址", "propose: replace an agency's keys and addresses"))
		fs.StringArray("remove", nil, say("propose：移除部门（名称）", "propose: remove an agency (name)"))
		fs.StringSlice("needs", nil, say("propose：默认须签署的部门，逗号分隔", "propose: who must sign by default, separated by commas"))
		fs.String("policy", "", say("propose：以此策略文件取代网关、须签署者、类型、规则", "propose: replace gateways, needs, types and rules by those of this policy file"))
	},
	Run: func(ctx context.Context, c *qiong.Console, args []string) error {
		verb, rest := args[0], args[1:]
		switch {
		case verb == "show" && len(rest) == 0:
			return showPolicy(ctx, c)
		case verb == "propose" && len(rest) == 0:
			return propose(ctx, c)
		case verb == "sign" && len(rest) == 1:
			return signChange(ctx, c, rest[0])
		case verb == "submit" && len(rest) > 0:
			return submitChange(ctx, c, rest)
		}
		return errs.New(errs.Invalid, "参数不对", "wrong arguments").WithHint("加 --help 查看用法", "add --help for the usage")
	},
}

// nodeOf returns the node that --node names, or the one of --home.
func nodeOf(c *qiong.Console) (*Client, error) {
	if address, _ := c.Flags.GetString("node"); address != "" {
		return NewClient(address, c.Lang), nil
	}
	if dir, _ := c.Flags.GetString("home"); dir == "" {
		return nil, errs.New(errs.Invalid, "缺少 --node 或 --home", "--node or --home is missing").WithHint("加 --help 查看用法", "add --help for the usage")
	}
	home, err := homeOf(c.Flags)
	if err != nil {
		return nil, err
	}
	return NewClient(home.Public().HTTP, c.Lang), nil
}

// inForce asks a node for its policies.
func inForce(ctx context.Context, node *Client) (*ledger.Policy, *Policies, error) {
	all, err := node.Policies(ctx)
	if err != nil {
		return nil, nil, err
	}
	now, err := ledger.ParsePolicy(all.Policy)
	return now, all, err
}

func showPolicy(ctx context.Context, c *qiong.Console) error {
	node, err := nodeOf(c)
	if err != nil {
		return err
	}
	now, all, err := inForce(ctx, node)
	if err != nil {
		return err
	}
	if file, _ := c.Flags.GetString("trust"); file != "" {
		status, err := node.Status(ctx)
		if err != nil {
			return err
		}
		trust, err := trustOver(status.Chain, all.History)
		if err != nil {
			return err
		}
		if err := replaceFile(file, trust.Marshal()); err != nil {
			return err
		}
	}
	if c.JSON {
		_, err := fmt.Fprintf(c.Out, "%s\n", all.Policy)
		return err
	}
	last := all.History[len(all.History)-1]
	fmt.Fprintf(c.Out, c.Say("第 %d 版，自区块 %d（%s）起\n", "version %d since block %d (%s)\n"), now.Version, last.Height, last.At)
	for _, m := range now.Members {
		vote := c.Say("表决", "votes")
		if !m.Votes {
			vote = c.Say("不表决", "follows")
		}
		fmt.Fprintf(c.Out, "%s\t%s\t%s\t%s\t%s\n", c.Say("部门", "agency"), m.Agency, vote, keyID(m.Cosigning), m.HTTP)
	}
	for _, g := range now.Gateways {
		fmt.Fprintf(c.Out, "%s\t%s\t%s\n", c.Say("网关", "gateway"), g.Name, keyID(g.Key))
	}
	fmt.Fprintf(c.Out, "%s\t%s\n", c.Say("须签署", "needs"), strings.Join(now.Needs, ","))
	for _, t := range now.Types {
		fmt.Fprintf(c.Out, "%s\t%s\t%s\n", c.Say("类型", "type"), t.Type, strings.Join(t.Needs, ","))
	}
	for _, r := range now.Rules {
		fmt.Fprintf(c.Out, "%s\t%s/%d\t%s\n", c.Say("规则", "rule"), r.Name, r.Version, r.For)
	}
	return nil
}

func propose(ctx context.Context, c *qiong.Console) error {
	out, err := needed(c.Flags, "out")
	if err != nil {
		return err
	}
	node, err := nodeOf(c)
	if err != nil {
		return err
	}
	now, _, err := inForce(ctx, node)
	if err != nil {
		return err
	}
	status, err := node.Status(ctx)
	if err != nil {
		return err
	}
	next, err := proposed(c.Flags, now)
	if err != nil {
		return err
	}
	if err := follows(now, next); err != nil {
		return err
	}
	changes := differences(now, next)
	if len(changes) == 0 {
		return badChange("没有任何改动", "nothing would change").WithHint("加 --help 查看可改之处", "add --help for what can be changed")
	}
	body, err := next.Marshal()
	if err != nil {
		return err
	}
	text, err := (&Change{Form: changeForm, Chain: status.Chain, Policy: body, Signatures: map[string][]byte{}}).marshal()
	if err != nil {
		return err
	}
	if err := createFile(out, text); err != nil {
		return err
	}
	return tell(c, next, changes)
}

func tell(c *qiong.Console, next *ledger.Policy, changes []lang.Text) error {
	fmt.Fprintf(c.Out, c.Say("策略第 %d 版\n", "policy version %d\n"), next.Version)
	for _, text := range changes {
		if _, err := fmt.Fprintf(c.Out, "  %s\n", text.In(c.Lang)); err != nil {
			return err
		}
	}
	return nil
}

// proposed returns the policy in force with what the flags change.
func proposed(fs *pflag.FlagSet, now *ledger.Policy) (*ledger.Policy, error) {
	next := *now
	next.Version++
	next.Members = slices.Clone(now.Members)
	for _, how := range []struct {
		flag         string
		votes, known bool // whether it votes then; whether it must be a member before
	}{{"add", true, false}, {"follow", false, false}, {"rotate", true, true}} {
		files, _ := fs.GetStringArray(how.flag)
		publics, err := readPublics(files)
		if err != nil {
			return nil, err
		}
		for _, p := range publics {
			old := member(&next, p.Agency)
			switch {
			case old == nil && how.known:
				return nil, badChange(p.Agency+" 不是成员", p.Agency+" is no member").WithField(how.flag)
			case old == nil:
				next.Members = append(next.Members, council.Member{Public: p, Votes: how.votes})
			default:
				old.Public, old.Votes = p, how.votes && (!how.known || old.Votes)
			}
		}
	}
	gone, _ := fs.GetStringArray("remove")
	for _, name := range gone {
		if member(&next, name) == nil {
			return nil, badChange("不是成员", "is no member").WithField("remove")
		}
		next.Members = slices.DeleteFunc(next.Members, func(m council.Member) bool { return m.Agency == name })
	}
	sortMembers(next.Members)
	if file, _ := fs.GetString("policy"); file != "" {
		p, err := readPolicy(file, next.Members)
		if err != nil {
			return nil, err
		}
		p.Version = next.Version
		next = *p
	}
	if needs, _ := fs.GetStringSlice("needs"); len(needs) > 0 {
		next.Needs = slices.Sorted(slices.Values(needs))
	}
	_, err := next.Marshal()
	return &next, err
}

func readChange(file string) (*Change, *ledger.Policy, error) {
	data, err := readFile(file)
	if err != nil {
		return nil, nil, err
	}
	change, next, err := parseChange(data)
	if err != nil {
		return nil, nil, inFile(file, err)
	}
	return change, next, nil
}

// signChange signs after showing what is signed, against the policy that the agency's own node has in force.
func signChange(ctx context.Context, c *qiong.Console, file string) error {
	home, err := homeOf(c.Flags)
	if err != nil {
		return err
	}
	change, next, err := readChange(file)
	if err != nil {
		return err
	}
	node, err := nodeOf(c)
	if err != nil {
		return err
	}
	now, _, err := inForce(ctx, node)
	if err != nil {
		return err
	}
	status, err := node.Status(ctx)
	if err != nil {
		return err
	}
	if status.Chain != change.Chain {
		return badChange("变更文件属于另一个理事会", "the change is another council's")
	}
	if err := follows(now, next); err != nil {
		return err
	}
	self := member(now, home.Agency())
	if self == nil || !self.Votes {
		return badChange("本部门没有表决权，不能签署", "this agency does not vote, so it does not sign")
	}
	pub, err := gm.ParsePublicKeyPEM([]byte(self.Cosigning))
	if err != nil {
		return err
	}
	key, err := home.Signer(pub)
	if err != nil {
		return err
	}
	if change.Signatures[home.Agency()], err = ledger.SignPolicy(next, key); err != nil {
		return err
	}
	text, err := change.marshal()
	if err != nil {
		return err
	}
	if err := tell(c, next, differences(now, next)); err != nil {
		return err
	}
	if err := replaceFile(file, text); err != nil {
		return err
	}
	missing, need := change.unsigned(now)
	if need == 0 {
		_, err = fmt.Fprintln(c.Out, c.Say("已签署，可以提交", "signed; it can be submitted"))
		return err
	}
	_, err = fmt.Fprintf(c.Out, c.Say("已签署，还需 %d 个：%s\n", "signed; %d more needed of %s\n"), need, strings.Join(missing, ", "))
	return err
}

func submitChange(ctx context.Context, c *qiong.Console, files []string) error {
	node, err := nodeOf(c)
	if err != nil {
		return err
	}
	change, next, err := readChange(files[0])
	if err != nil {
		return err
	}
	for _, file := range files[1:] {
		other, _, err := readChange(file)
		if err != nil {
			return err
		}
		if err := change.merge(other); err != nil {
			return inFile(file, err)
		}
	}
	now, all, err := inForce(ctx, node)
	if err != nil {
		return err
	}
	if !sameJSON(all.Policy, change.Policy) {
		if err := follows(now, next); err != nil {
			return err
		}
		if missing, need := change.unsigned(now); need > 0 {
			return badChange(fmt.Sprintf("还缺 %d 个签名", need), fmt.Sprintf("%d more signatures are needed", need)).WithField("signatures").
				WithHint("尚未签署："+strings.Join(missing, ", "), "not signed yet: "+strings.Join(missing, ", "))
		}
		if err := order(ctx, node, change, next); err != nil {
			return err
		}
	}
	if c.JSON {
		return json.NewEncoder(c.Out).Encode(map[string]uint64{"version": next.Version})
	}
	_, err = fmt.Fprintf(c.Out, c.Say("策略第 %d 版已生效\n", "policy version %d is in force\n"), next.Version)
	return err
}

// order submits a change until it is in force.
func order(ctx context.Context, node *Client, change *Change, next *ledger.Policy) error {
	tx, err := ledger.NewPolicyChange(next, change.Signatures)
	if err != nil {
		return err
	}
	ctx, stop := context.WithTimeout(ctx, 30*time.Second)
	defer stop()
	for tick := time.Tick(300 * time.Millisecond); ; {
		submitErr := node.Submit(ctx, tx)
		all, err := node.Policies(ctx)
		if err == nil && sameJSON(all.Policy, change.Policy) {
			return nil
		}
		if submitErr != nil && errs.KindOf(submitErr) != errs.Unavailable && errs.KindOf(submitErr) != errs.TooMany && ctx.Err() == nil {
			if now, _, err := inForce(ctx, node); err != nil || now.Version < next.Version { // it may have come into force in between
				return submitErr
			}
		}
		select {
		case <-ctx.Done():
			return errs.New(errs.Timeout, "理事会尚未定序该变更", "the council has not ordered the change yet").
				WithHint("以 qiong evidence status 查看是否有三分之二以上的部门在运行；可再次提交", "see by qiong evidence status whether more than two thirds of the agencies run; it may be submitted again")
		case <-tick:
		}
	}
}
