// Package agencies founds and runs a council on this machine by the program's own commands, as each agency would on its
// own server. It shows and measures how a council works; one machine holds all keys, so it proves no more than one
// operator could.
package agencies

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Plan says what council to found. All fields must be set.
type Plan struct {
	Program string   // path of qiong
	Data    string   // data folder of the house that sends records; the council is in its folder council
	Chain   string   // name of the council and of its log
	Names   []string // of the agencies
	Policy  []byte   // policy file (YAML) without gateways: the house becomes the one there is
}

// Council is a council whose nodes are processes of this machine.
type Council struct {
	plan  Plan
	Nodes []*Node // sorted by name
}

// key is the name under which a house's ring holds the key for its records.
const key = "evidence.signing"

// Found makes the keys of the house and of every agency, and the genesis. No node runs yet.
func Found(ctx context.Context, p Plan) (*Council, error) {
	c := &Council{plan: p}
	if err := os.MkdirAll(c.folder(), 0o700); err != nil {
		return nil, err
	}
	pub, err := c.command(ctx, "keys", "new", key, "--data", p.Data)
	if err != nil {
		return nil, err
	}
	policy := append(slices.Clone(p.Policy), "\ngateways:\n  - {name: house, key: house.pem}\n"...)
	if err := errors.Join(os.WriteFile(c.path("house.pem"), pub, 0o600), os.WriteFile(c.path("policy.yaml"), policy, 0o600)); err != nil {
		return nil, err
	}
	ports, err := free(2 * len(p.Names))
	if err != nil {
		return nil, err
	}
	init := []string{"evidence", "init", "--chain", p.Chain, "--policy", c.path("policy.yaml"), "--out", c.folder()}
	for i, name := range slices.Sorted(slices.Values(p.Names)) {
		n := &Node{Name: name, URL: "http://" + ports[2*i+1], Home: c.path(name), program: p.Program, genesis: c.path("genesis.json")}
		if _, err := c.command(ctx, "evidence", "key", "--home", n.Home, "--agency", name, "--p2p", ports[2*i], "--http", n.URL); err != nil {
			return nil, err
		}
		c.Nodes = append(c.Nodes, n)
		init = append(init, filepath.Join(n.Home, "public.json"))
	}
	_, err = c.command(ctx, init...)
	return c, err
}

func (c *Council) folder() string          { return filepath.Join(c.plan.Data, "council") }
func (c *Council) path(name string) string { return filepath.Join(c.folder(), name) }

// command runs the program to its end and returns what it prints.
func (c *Council) command(ctx context.Context, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, c.plan.Program, args...)
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		err = fmt.Errorf("qiong %s: %w: %s", strings.Join(args[:2], " "), err, strings.TrimSpace(said.String()))
	}
	return out, err
}

// Settings are what a house must be told to have its records ordered by this council.
func (c *Council) Settings() map[string]string {
	urls := make([]string, len(c.Nodes))
	for i, n := range c.Nodes {
		urls[i] = n.URL
	}
	return map[string]string{"evidence.origin": c.plan.Chain, "evidence.trust": c.path("trust.pem"), "evidence.nodes": strings.Join(urls, ",")}
}

// Node returns the node of an agency; nil where there is none of the name.
func (c *Council) Node(name string) *Node {
	for _, n := range c.Nodes {
		if n.Name == name {
			return n
		}
	}
	return nil
}

// Start starts every node.
func (c *Council) Start() error {
	for _, n := range c.Nodes {
		if err := n.Start(); err != nil {
			return errors.Join(err, c.Stop())
		}
	}
	return nil
}

// Ready waits until every node takes part.
func (c *Council) Ready(ctx context.Context) error {
	for _, n := range c.Nodes {
		for !n.ready(ctx) {
			select {
			case <-ctx.Done():
				return fmt.Errorf("the node of %s: %w", n.Name, ctx.Err())
			case <-time.After(50 * time.Millisecond):
			}
		}
	}
	return nil
}

// Stop ends every node that runs.
func (c *Council) Stop() error {
	var all []error
	for _, n := range c.Nodes {
		all = append(all, n.Stop())
	}
	return errors.Join(all...)
}

// free returns addresses of this machine on which nobody listens.
func free(n int) ([]string, error) {
	all := make([]string, n)
	for i := range all {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer l.Close() // held until all are known, so that they differ
		all[i] = l.Addr().String()
	}
	return all, nil
}
