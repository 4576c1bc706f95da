package sloglabel_test

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/qiongdev/qiong/kit/label"
	"github.com/qiongdev/qiong/kit/label/sloglabel"
)

const id = "11010519491231002X"

type person struct {
	Name string `json:"name" grade:"L2,pii=name"`
	Card string `json:"card" grade:"L3,pii=id_card"`
	ID   int    `json:"id" grade:"L1"`
}

type ungraded struct{ Name string }

type valuer struct{}

func (valuer) LogValue() slog.Value { return slog.StringValue(id) }

func lines(t *testing.T, c label.Grade, log func(l *slog.Logger)) string {
	t.Helper()
	var out bytes.Buffer
	next := slog.NewTextHandler(&out, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}})
	log(slog.New(sloglabel.New(next, sloglabel.Options{Clearance: c})))
	return out.String()
}

func TestNothingGetsIntoTheLog(t *testing.T) {
	out := lines(t, label.Ungraded, func(l *slog.Logger) {
		l = l.With("with", id).WithGroup("g")
		l.Info("of "+id, "plain", id, id, "key", "number", int64(13800000000), "group", slog.GroupValue(slog.String("in", id)),
			"err", errors.New("no "+id), "person", person{"王小明", id, 7}, "pointer", &person{Card: id}, "ungraded", ungraded{"王小明"},
			"list", []string{id}, "map", map[string]any{"x": id}, "valuer", valuer{}, "bytes", []byte(id), "any", []any{id, ungraded{"王小明"}},
			"dur", time.Second, "small", 42, "nil", nil)
	})
	if strings.Contains(out, id) || strings.Contains(out, "13800000000") || strings.Contains(out, "小明") {
		t.Errorf("logged: %s", out)
	}
	for _, want := range []string{`"of 110***********002X"`, "with=110***********002X", "g.number=138****0000", "g.small=42", "g.dur=1s",
		`\"name\":\"王**\"`, `\"id\":7`, "g.ungraded=(sloglabel_test.ungraded)", `[\"110***********002X\"]`, "g.nil=<nil>"} {
		if !strings.Contains(out, want) {
			t.Errorf("%s is not in %s", want, out)
		}
	}
}

func TestTheLogsOwnClearance(t *testing.T) {
	out := lines(t, label.L2, func(l *slog.Logger) { l.Info("x", "person", person{"王小明", id, 7}) })
	if !strings.Contains(out, "王小明") || strings.Contains(out, id) {
		t.Errorf("logged: %s", out)
	}
}

func TestJoinedErrorsSayWhatTheyAre(t *testing.T) {
	got := lines(t, label.L2, func(l *slog.Logger) {
		l.Error("failed", "err", errors.Join(errors.New("the disk is full"), errors.New("the folder is locked")))
	})
	if !strings.Contains(got, "the disk is full") || !strings.Contains(got, "the folder is locked") {
		t.Errorf("%s", got)
	}
}
