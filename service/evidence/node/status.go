package node

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"text/tabwriter"
	"time"

	"github.com/qiongdev/qiong"
	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/lang"
)

var statusTool = &qiong.Tool{
	Name: "status", Args: "URL...", MinArgs: 1, MaxArgs: -1,
	Doc: lang.T("各部门节点的状况：高度、轮到谁、签署到哪里、时钟差", "how the agencies' nodes are: height, whose turn, cosigned size, clocks"),
	Run: showStatus,
}

// asked is what came of asking a node.
type asked struct {
	URL string `json:"url"`
	*Status
	Problem string `json:"problem,omitempty"`
	err     error
}

func showStatus(ctx context.Context, c *qiong.Console, urls []string) error {
	all := make([]asked, len(urls))
	var wait sync.WaitGroup
	for i, url := range urls {
		wait.Go(func() {
			s, err := NewClient(url, c.Lang).Status(ctx)
			all[i] = asked{URL: url, Status: s, err: err}
			if err != nil {
				all[i].Status, all[i].Problem = nil, errs.As(err).In(c.Lang)
			}
		})
	}
	wait.Wait()
	if err := printStatus(c, all); err != nil {
		return err
	}
	for _, a := range all {
		if a.err != nil {
			return errs.New(errs.KindOf(a.err), "有节点未能应答", "a node did not answer")
		}
	}
	return nil
}

func printStatus(c *qiong.Console, all []asked) error {
	if c.JSON {
		enc := json.NewEncoder(c.Out)
		for _, a := range all {
			if err := enc.Encode(a); err != nil {
				return err
			}
		}
		return nil
	}
	w := tabwriter.NewWriter(c.Out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, c.Say("部门\t状态\t高度\t轮到\t记录\t已签署\t策略\t时钟差", "AGENCY\tSTATE\tHEIGHT\tTURN\tRECORDS\tCOSIGNED\tPOLICY\tCLOCK"))
	for _, a := range all {
		if a.Status == nil {
			fmt.Fprintf(w, "%s\t%s\n", a.URL, a.Problem)
			continue
		}
		fmt.Fprintf(w, "%s\t%s\t%d\t%s\t%d\t%d\t%d\t%s\n", a.Agency, a.state(c), a.Height, a.Turn, a.Size, a.CosignedSize, a.Status.Policy, clockOf(a.Agency, all))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	for _, a := range all {
		if a.Status != nil && a.Waits != nil {
			fmt.Fprintf(c.Out, c.Say("%s 的联合签名在等待：%s\n", "%s waits to cosign: %s\n"), a.Agency, a.Waits.In(c.Lang))
		}
	}
	return nil
}

func (s *Status) state(c *qiong.Console) string {
	switch {
	case !s.Running:
		return c.Say("启动中", "starting")
	case s.CatchingUp:
		return c.Say("追赶中", "catching up")
	}
	return c.Say("运行", "running")
}

// clockOf returns by how much an agency's clock is ahead as the others see it: the median, since one of them may be the
// one that is off.
func clockOf(agency string, all []asked) string {
	var seen []int64
	for _, a := range all {
		if a.Status == nil {
			continue
		}
		for _, p := range a.Peers {
			if p.Agency == agency && p.Seen != 0 {
				seen = append(seen, p.AheadMS)
			}
		}
	}
	if len(seen) == 0 {
		return "-"
	}
	slices.Sort(seen)
	return (time.Duration(seen[len(seen)/2]) * time.Millisecond).String()
}
