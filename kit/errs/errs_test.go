package errs

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/qiongdev/qiong/kit/lang"
)

func TestEveryKindIsMapped(t *testing.T) {
	seen := map[string]bool{}
	for k := Internal; k <= Full; k++ {
		if k.String() == "" || k.HTTP() < 400 || k.Exit() == 0 || k.GRPC() == 0 {
			t.Errorf("kind %d is not fully mapped: %q %d %d %d", k, k, k.HTTP(), k.GRPC(), k.Exit())
		}
		if seen[k.String()] {
			t.Errorf("two kinds are called %q", k)
		}
		seen[k.String()] = true
		if back := FromHTTP(k.HTTP()); back != k {
			t.Errorf("FromHTTP(%d) = %s, want %s", k.HTTP(), back, k)
		}
	}
	if Kind(200).HTTP() != 500 {
		t.Error("an unknown kind must read as internal")
	}
}

func TestKindOf(t *testing.T) {
	e := New(NotFound, "没有", "none")
	for _, c := range []struct {
		err  error
		want Kind
	}{
		{e, NotFound},
		{fmt.Errorf("load: %w", e), NotFound},
		{errors.New("x"), Internal},
		{fmt.Errorf("x: %w", context.Canceled), Canceled},
		{context.DeadlineExceeded, Timeout},
	} {
		if got := KindOf(c.err); got != c.want {
			t.Errorf("KindOf(%v) = %s, want %s", c.err, got, c.want)
		}
	}
	if Is(nil, Internal) {
		t.Error("nil is of no kind")
	}
}

func TestWords(t *testing.T) {
	e := New(Invalid, "校验码不符", "the check digit is wrong").WithField("legal.id").WithOffset(41).WithLine(3)
	e.Err = errors.New("secret detail")
	if got, want := e.In(lang.ZH), "第 3 行: legal.id: 校验码不符（第 41 字节）"; got != want {
		t.Errorf("In(ZH) = %q, want %q", got, want)
	}
	if got := e.In(lang.EN); strings.Contains(got, "secret") || got != "line 3: legal.id: the check digit is wrong (byte 41)" {
		t.Errorf("In(EN) = %q", got)
	}
	if !strings.Contains(e.Error(), "secret detail") {
		t.Error("the log needs the cause")
	}
	if got := As(errors.New("pq: password")).In(lang.EN); strings.Contains(got, "password") {
		t.Errorf("As leaks the cause: %q", got)
	}
}
