package evidence

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/gm"
	"github.com/qiongdev/qiong/kit/receipt"
	"github.com/qiongdev/qiong/service/evidence/council"
	"github.com/qiongdev/qiong/service/evidence/ledger"
	"github.com/qiongdev/qiong/service/evidence/node"
)

// A council on one machine: each agency's node is a process of its own that this house keeps running. It shows how a
// council works, and proves no more than one operator could, since one machine holds all keys.

// gather founds the council of the configuration where there is none yet, registers its nodes as children, and sets the
// configuration as if they were elsewhere.
func (x *Evidence) gather() error {
	folder, err := x.host.Folder()
	if err != nil {
		return err
	}
	names := slices.Clone(x.cfg.Council)
	slices.Sort(names)
	genesis := filepath.Join(folder, "genesis.json")
	if _, err := os.Stat(genesis); errors.Is(err, os.ErrNotExist) {
		if err := x.found(folder, names); err != nil {
			return fmt.Errorf("found the council: %w", err)
		}
	}
	text, err := os.ReadFile(genesis)
	if err != nil {
		return err
	}
	g, err := council.ParseGenesis(text)
	if err != nil {
		return err
	}
	if have := agencies(g.Members); !slices.Equal(have, names) {
		return errs.Newf(errs.Conflict, "数据目录中的理事会是 %s，不能由配置更改", "the council in the data folder is %s, which the configuration cannot change", strings.Join(have, ", ")).
			WithField("evidence.council")
	}
	x.cfg.Origin, x.cfg.Trust, x.cfg.Nodes = g.Chain, filepath.Join(folder, "trust.pem"), nil
	for _, m := range g.Members {
		x.cfg.Nodes = append(x.cfg.Nodes, m.HTTP)
		x.host.Child(m.Agency, "evidence", "node", "--home", filepath.Join(folder, m.Agency), "--genesis", genesis, "--with-parent", "--log-level", "error",
			"--snapshots", "0", "--retain", "20000") // nobody joins, and blocks are of use for a return only
	}
	return nil
}

func agencies(members []council.Member) (names []string) {
	for _, m := range members {
		names = append(names, m.Agency)
	}
	return names
}

// found makes the agencies' homes and the genesis. What an interrupted founding left is made anew; the genesis comes last.
func (x *Evidence) found(folder string, names []string) error {
	var publics []council.Public
	var keys []receipt.Key
	ports := x.cfg.Port
	for _, name := range names {
		home := filepath.Join(folder, name)
		if err := os.RemoveAll(home); err != nil {
			return err
		}
		p2p, err := address(&ports)
		if err != nil {
			return err
		}
		http, err := address(&ports)
		if err != nil {
			return err
		}
		h, err := node.NewHome(home, node.HomeOptions{Agency: name, P2P: p2p, HTTP: "http://" + http})
		if err != nil {
			return err
		}
		pub, err := gm.ParsePublicKeyPEM([]byte(h.Public().Cosigning))
		if err != nil {
			return err
		}
		publics = append(publics, h.Public())
		keys = append(keys, receipt.Key{Name: name, Origin: x.cfg.Origin, Role: receipt.Agency, Public: pub})
	}
	policy, err := x.foundingPolicy(publics, names)
	if err != nil {
		return err
	}
	state, err := policy.Marshal()
	if err != nil {
		return err
	}
	g, err := council.NewGenesis(x.cfg.Origin, x.host.Now().UTC().Truncate(time.Second), state, publics)
	if err != nil {
		return err
	}
	text, err := g.Marshal()
	if err != nil {
		return err
	}
	trust, err := receipt.NewTrust(keys)
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(folder, "trust.pem"), trust.Marshal(), 0o600); err != nil {
		return err
	}
	temp := filepath.Join(folder, "genesis.new")
	if err := os.WriteFile(temp, text, 0o600); err != nil {
		return err
	}
	return os.Rename(temp, filepath.Join(folder, "genesis.json"))
}

// foundingPolicy has every agency sign every record, unless a policy file says otherwise.
func (x *Evidence) foundingPolicy(publics []council.Public, names []string) (*ledger.Policy, error) {
	members := make([]council.Member, len(publics))
	for i, p := range publics {
		members[i] = council.Member{Public: p, Votes: true}
	}
	own := ledger.Gateway{Name: x.cfg.Name, Key: string(x.key.PublicKey().PEM())}
	if x.cfg.Policy != "" {
		return node.ReadPolicy(x.cfg.Policy, members, own)
	}
	slices.SortFunc(members, func(a, b council.Member) int { return strings.Compare(a.Agency, b.Agency) })
	return &ledger.Policy{Version: 1, Members: members, Gateways: []ledger.Gateway{own}, Needs: names}, nil
}

// address returns the next address on this machine: of the port counted up, or any that is free where it is 0. Those lie
// below the ports that outgoing connections are given, which could take them while the house is down.
func address(port *int) (string, error) {
	if *port != 0 {
		*port++
		return fmt.Sprintf("127.0.0.1:%d", *port-1), nil
	}
	for range 100 {
		at := fmt.Sprintf("127.0.0.1:%d", 20000+rand.IntN(12000))
		if l, err := net.Listen("tcp", at); err == nil {
			return at, l.Close()
		}
	}
	return "", errs.New(errs.Unavailable, "没有空闲端口", "no port is free").WithField("evidence.port")
}
