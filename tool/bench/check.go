package bench

import (
	"context"

	"github.com/qiongdev/qiong/kit/client"
	"github.com/qiongdev/qiong/tool/bench/agent"
	"github.com/qiongdev/qiong/tool/bench/ledger"
)

// check compares what was acknowledged with the target's ledger.
func (s *session) check(ctx context.Context) error {
	if s.o.check == "" {
		return nil
	}
	c := &client.Client{URL: s.base(), Token: s.o.checkToken, Lang: s.c.Lang}
	if c.Token == "" {
		c.Token = s.definition.Variables["token"]
	}
	r, err := ledger.Check(ctx, c, agent.Acknowledged(s.answers))
	if err != nil {
		return err
	}
	s.result.Check = r
	return nil
}
