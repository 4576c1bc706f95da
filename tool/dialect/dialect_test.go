package dialect_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"github.com/qiongdev/qiong"
	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/lang"
	"github.com/qiongdev/qiong/tool/dialect"
)

// console returns a console whose input and output are given.
func console(t *testing.T, in io.Reader, out, errors io.Writer, flags ...string) *qiong.Console {
	t.Helper()
	c := &qiong.Console{In: in, Out: out, Err: errors, Lang: lang.EN, Flags: pflag.NewFlagSet("dialect", pflag.ContinueOnError)}
	dialect.Tool.Flags(c.Flags, c.Say)
	if err := c.Flags.Parse(flags); err != nil {
		t.Fatal(err)
	}
	return c
}

// A log that is followed is answered line by line, not when it ends.
func TestFollows(t *testing.T) {
	in, log := io.Pipe()
	records, out := io.Pipe()
	ended := make(chan error)
	go func() {
		err := dialect.Tool.Run(context.Background(), console(t, in, out, io.Discard), []string{"parse", "-"})
		out.Close()
		ended <- err
	}()
	lines := bufio.NewScanner(records)
	for i := range 3 {
		if _, err := fmt.Fprintf(log, "用户埋单 order=%d\n", i); err != nil {
			t.Fatal(err)
		}
		var r struct {
			Line   int
			Fields map[string]string
		}
		if !lines.Scan() || json.Unmarshal(lines.Bytes(), &r) != nil || r.Line != i+1 || r.Fields["order"] != fmt.Sprint(i) {
			t.Fatalf("line %d: %s", i+1, lines.Text())
		}
	}
	log.Close()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestFindingsAreCountedBeyondThoseListed(t *testing.T) {
	var out, said bytes.Buffer
	log := strings.Repeat("event=摸虾\n", 5)
	err := dialect.Tool.Run(context.Background(), console(t, strings.NewReader(log), &out, &said, "--strict", "--max", "2"), []string{"parse", "-"})
	if !errs.Is(err, errs.Conflict) || !strings.Contains(err.Error(), "5 findings") {
		t.Errorf("%v", err)
	}
	if strings.Count(said.String(), "\n") != 2 || strings.Count(out.String(), "\n") != 5 {
		t.Errorf("%s%s", said.String(), out.String())
	}
}

func TestCanceled(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	var out bytes.Buffer
	err := dialect.Tool.Run(ctx, console(t, strings.NewReader("a=1\n"), &out, io.Discard), []string{"parse", "-"})
	if !errs.Is(err, errs.Canceled) || out.Len() > 0 {
		t.Errorf("%v, %s", err, out.String())
	}
}
