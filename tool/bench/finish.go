package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"os"

	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/tool/bench/report"
	"github.com/qiongdev/qiong/tool/bench/result"
)

// finish tells what the run came to, writes the files that were asked for, and turns the verdict into an exit status.
func (s *session) finish() error {
	if s.o.against != "" {
		data, err := os.ReadFile(s.o.against)
		if err != nil {
			return errs.Wrap(err, errs.NotFound, "文件无法读取", "the file can't be read").WithField("--against")
		}
		earlier, err := result.Parse(data)
		if err != nil {
			return err
		}
		s.result.Against = s.result.Compare(earlier)
	}
	if err := s.tell(s.result); err != nil {
		return err
	}
	if s.o.out != "" {
		data, err := json.MarshalIndent(s.result, "", " ")
		if err != nil {
			return err
		}
		if err := write(s.o.out, "--out", append(data, '\n')); err != nil {
			return err
		}
	}
	if s.o.report != "" {
		var page bytes.Buffer
		if err := report.Write(&page, s.result, s.c.Lang); err != nil {
			return err
		}
		if err := write(s.o.report, "--report", page.Bytes()); err != nil {
			return err
		}
	}
	return verdict(s.result)
}

func write(name, flag string, data []byte) error {
	if err := os.WriteFile(name, data, 0o644); err != nil {
		return errs.Wrap(err, errs.Invalid, "文件无法写入", "the file can't be written").WithField(flag)
	}
	return nil
}

// verdict turns what the result says into the exit status.
func verdict(r *result.Result) error {
	switch {
	case r.Verdict.Outcome == result.Missed && r.Check != nil && !r.Check.Clean():
		return errs.New(errs.Conflict, "账本核对不符", "the check of the ledger failed")
	case !r.Complete:
		return context.Canceled
	case r.Verdict.Outcome == result.Refused:
		return errs.New(errs.Unavailable, "压测端自身是瓶颈，拒绝下结论", "the generator itself was the bottleneck: no verdict is given").
			WithHint("降低速率或连接数，换更快的机器，或以 --agents 用多台压测", "lower the rate or the connections, use a faster machine, or several, with --agents")
	case r.Verdict.Outcome == result.Missed:
		return errs.New(errs.Conflict, "未达阈值", "a threshold was missed")
	}
	return nil
}
