package house_test

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/qiongdev/qiong"
	"github.com/qiongdev/qiong/house"
	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/lang"
)

// failing is a tool that ends with err.
func failing(err error) []*qiong.Tool {
	return []*qiong.Tool{{Name: "fail", Doc: lang.T("失败", "fail"), Run: func(context.Context, *qiong.Console, []string) error { return err }}}
}

// run runs one command line and returns the exit status and what was written.
func run(tools []*qiong.Tool, env []string, args ...string) (code int, out, problem string) {
	var stdout, stderr bytes.Buffer
	console := &qiong.Console{In: strings.NewReader(""), Out: &stdout, Err: &stderr}
	code = house.Execute(context.Background(), nil, tools, console, args, env)
	return code, stdout.String(), stderr.String()
}

func TestExitStatusTellsTheKind(t *testing.T) {
	wrapped := errs.Wrap(errors.New("disk says no"), errs.Full, "空间不足", "no room")
	for _, tt := range []struct {
		err  error
		code int
		en   string
	}{
		{nil, 0, ""},
		{errors.New("nobody classified this"), 1, "error: nobody classified this\n"},
		{errs.New(errs.Invalid, "有误", "wrong").WithField("a.b").WithOffset(7), 2, "error: a.b: wrong (byte 7)\n"},
		{errs.New(errs.Unauthenticated, "未登录", "sign in"), 3, "error: sign in\n"},
		{errs.New(errs.Forbidden, "不允许", "no"), 3, "error: no\n"},
		{errs.New(errs.NotFound, "没有", "none"), 4, "error: none\n"},
		{errs.New(errs.Conflict, "冲突", "taken").WithHint("换一个", "choose another"), 5, "error: taken\nhint: choose another\n"},
		{errs.New(errs.TooMany, "太多", "later"), 6, "error: later\n"},
		{errs.New(errs.Unavailable, "不可用", "away"), 6, "error: away\n"},
		{wrapped, 7, "error: no room\n  cause: disk says no\n"},
		{context.Canceled, 130, ""},
	} {
		if code, _, problem := run(failing(tt.err), nil, "fail", "--lang", "en"); code != tt.code || problem != tt.en {
			t.Errorf("%v: exit %d, %q; want %d, %q", tt.err, code, problem, tt.code, tt.en)
		}
	}
}

func TestLanguage(t *testing.T) {
	tools := failing(errs.New(errs.Invalid, "有误", "wrong"))
	for _, tt := range []struct {
		what string
		env  []string
		args []string
		want string
	}{
		{"nothing said", nil, []string{"fail"}, "错误: 有误\n"},
		{"locale", []string{"LANG=en_US.UTF-8"}, []string{"fail"}, "error: wrong\n"},
		{"variable before locale", []string{"LANG=en_US.UTF-8", "QIONG_LANG=zh"}, []string{"fail"}, "错误: 有误\n"},
		{"flag before variable", []string{"QIONG_LANG=zh"}, []string{"fail", "--lang=en"}, "error: wrong\n"},
		{"flag before the command", []string{"QIONG_LANG=zh"}, []string{"--lang", "en", "fail"}, "error: wrong\n"},
	} {
		if _, _, got := run(tools, tt.env, tt.args...); got != tt.want {
			t.Errorf("%s: %q; want %q", tt.what, got, tt.want)
		}
	}
}

func TestProblemsForPrograms(t *testing.T) {
	code, _, problem := run(failing(errs.New(errs.Conflict, "冲突", "taken").WithCode("name.taken")), nil, "fail", "--json", "--lang", "en")
	if code != 5 || !strings.Contains(problem, `"code": "name.taken"`) || !strings.Contains(problem, `"status": 409`) {
		t.Errorf("exit %d: %s", code, problem)
	}
}

func TestBadCommandLines(t *testing.T) {
	for _, args := range [][]string{{"nonsense"}, {"fail", "--nonsense"}, {"fail", "argument"}, {"up", "argument"}, {"config", "nonsense"},
		{"version", "argument"}, {"completion", "nonsense"}, {"completion"}, {"up", "--house.listen"}, {"up", "--house.connections", "x"}} {
		for _, l := range []lang.Lang{lang.ZH, lang.EN} {
			code, _, problem := run(failing(nil), nil, append(args, "--lang", string(l))...)
			if code != 2 || problem == "" {
				t.Errorf("%v: exit %d, %q; want 2 and a reason", args, code, problem)
			}
			if strings.Contains(problem, "unknown command") {
				t.Errorf("%v: the library speaks: %q", args, problem)
			}
		}
	}
}
