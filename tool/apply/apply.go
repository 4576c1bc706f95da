// Package apply submits an application to a running house and follows it to its end.
package apply

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/qiongdev/qiong"
	"github.com/qiongdev/qiong/kit/client"
	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/lang"
)

// Tool is the command.
var Tool = &qiong.Tool{
	Name: "apply", Args: "FILE", MinArgs: 1, MaxArgs: 1,
	Doc: lang.T("提交申请（JSON 文件，- 为标准输入）并跟踪到办结", "submit an application (JSON file, - for standard input) and follow it to its end"),
	Flags: func(fs *pflag.FlagSet, say func(zh, en string) string) {
		client.Flags(fs, say)
		fs.String("key", "", say("幂等键；同一键重复提交只算一次", "idempotency key: the same key is one submission however often it is sent"))
		fs.Bool("no-wait", false, say("提交后即返回，不等办结", "return once it is submitted"))
	},
	Run: run,
}

func run(ctx context.Context, c *qiong.Console, args []string) error {
	data, err := Read(args[0], c.In)
	if err != nil {
		return err
	}
	house := client.FromFlags(c.Flags, c.Lang)
	key, _ := c.Flags.GetString("key")
	if key == "" {
		key = rand.Text()
	}
	made, err := Submit(ctx, house, data, key)
	if err != nil {
		return err
	}
	if skip, _ := c.Flags.GetBool("no-wait"); skip {
		return Print(c, made)
	}
	board := NewBoard(c)
	last, err := Follow(ctx, house, made.ID, board.Show)
	if err != nil {
		return err
	}
	if err := Print(c, last); err != nil {
		return err
	}
	if last.Status != "decided" {
		return errs.Newf(errs.Conflict, "办件未获办结：%s", "the case was not decided: %s", last.StatusText)
	}
	return nil
}

// Case is a case as the house shows it.
type Case struct {
	ID         string `json:"id"`
	Matter     string `json:"matter"`
	Status     string `json:"status"`
	StatusText string `json:"statusText"`
	Subject    string `json:"subject"`
	Reason     string `json:"reason,omitempty"`
	Created    string `json:"created"`
	Submitted  string `json:"submitted,omitempty"`
	Decided    string `json:"decided,omitempty"`
	Steps      []Step `json:"steps,omitempty"`
}

// Step is a step of a case.
type Step struct {
	Name       string          `json:"name"`
	Title      string          `json:"title"`
	Agency     string          `json:"agency"`
	AgencyName string          `json:"agencyName"`
	Status     string          `json:"status"`
	StatusText string          `json:"statusText"`
	Parked     bool            `json:"parked,omitempty"`
	Reason     string          `json:"reason,omitempty"`
	Calls      int             `json:"calls,omitempty"`
	Began      string          `json:"began,omitempty"`
	Ended      string          `json:"ended,omitempty"`
	Issued     json.RawMessage `json:"issued,omitempty"`
}

// Took returns how long the step took; 0 where it has not ended.
func (s Step) Took() time.Duration { return between(s.Began, s.Ended) }

// Took returns the time from submission to decision; 0 where it is not decided.
func (c *Case) Took() time.Duration { return between(c.Submitted, c.Decided) }

func between(from, to string) time.Duration {
	a, err := time.Parse(time.RFC3339Nano, from)
	if err != nil {
		return 0
	}
	b, err := time.Parse(time.RFC3339Nano, to)
	if err != nil {
		return 0
	}
	return b.Sub(a)
}

// Read returns an application {"matter": …, "form": …} as the body that submits it.
func Read(path string, stdin io.Reader) ([]byte, error) {
	var data []byte
	var err error
	if path == "-" {
		data, err = io.ReadAll(io.LimitReader(stdin, 2<<20))
	} else {
		data, err = os.ReadFile(path)
	}
	if err != nil {
		return nil, errs.Wrap(err, errs.NotFound, "文件无法读取", "the file can't be read").WithField(path)
	}
	return WithSubmit(data)
}

// WithSubmit adds "submit": true to an application, and leaves every other byte as it is, so that what the house
// says of a byte offset holds.
func WithSubmit(data []byte) ([]byte, error) {
	trimmed := bytes.TrimRight(data, " \t\r\n")
	body, ok := bytes.CutSuffix(trimmed, []byte("}"))
	if !ok {
		return trimmed, nil // the house says what is wrong with it
	}
	return append(bytes.Clone(body), `,"submit":true}`...), nil
}

// Submit sends an application.
func Submit(ctx context.Context, house *client.Client, body []byte, key string) (*Case, error) {
	var made Case
	err := house.Do(ctx, client.Request{Method: "POST", Path: "/api/approval/cases", Body: bytes.NewReader(body),
		Header: map[string]string{"Idempotency-Key": key}}, &made)
	if err != nil {
		return nil, err
	}
	return &made, nil
}

// Follow calls show with each change of a case until it has ended, and returns it as it ended. It comes back where the
// connection is lost.
func Follow(ctx context.Context, house *client.Client, id string, show func(*Case)) (*Case, error) {
	path := "/api/approval/cases/" + url.PathEscape(id) + "/events"
	last, seen := (*Case)(nil), ""
	for wait := 100 * time.Millisecond; ; wait = min(2*wait, 5*time.Second) {
		resp, err := house.Send(ctx, client.Request{Method: "GET", Path: path, Timeout: -1, Header: map[string]string{"Last-Event-ID": seen}})
		switch {
		case err == nil:
			err = events(resp.Body, func(eventID string, data []byte) error {
				var c Case
				if err := json.Unmarshal(data, &c); err != nil {
					return fmt.Errorf("event: %w", err)
				}
				last, seen, wait = &c, eventID, 100*time.Millisecond
				show(&c)
				return nil
			})
			resp.Body.Close()
			if last != nil && last.Status != "draft" && last.Status != "processing" {
				return last, nil
			}
			if err != nil && ctx.Err() == nil && errs.Is(err, errs.Internal) && last == nil {
				return nil, err
			}
		case !errs.Is(err, errs.Unavailable):
			return nil, err
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// events reads server-sent events until they end.
func events(r io.Reader, each func(id string, data []byte) error) error {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 4<<20)
	var id, name string
	var data []byte
	for lines.Scan() {
		line := lines.Text()
		field, value, _ := strings.Cut(line, ":")
		value = strings.TrimPrefix(value, " ")
		switch {
		case line == "":
			if len(data) > 0 && name == "case" {
				if err := each(id, data); err != nil {
					return err
				}
			}
			name, data = "", nil
		case field == "id":
			id = value
		case field == "event":
			name = value
		case field == "data":
			data = append(data, value...)
		}
	}
	return lines.Err()
}

// Print writes a case: as JSON for a program, and what each agency issued for a person.
func Print(c *qiong.Console, k *Case) error {
	if c.JSON {
		enc := json.NewEncoder(c.Out)
		enc.SetEscapeHTML(false)
		enc.SetIndent("", "  ")
		return enc.Encode(k)
	}
	took := ""
	if d := k.Took(); d > 0 {
		took = fmt.Sprintf(c.Say("，用时 %.2f 秒", ", took %.2f s"), d.Seconds())
	}
	_, err := fmt.Fprintf(c.Out, "%s %s %s%s\n", k.ID, k.Subject, k.StatusText, took)
	for _, s := range k.Steps {
		if err == nil && len(s.Issued) > 0 {
			_, err = fmt.Fprintf(c.Out, "  %s: %s\n", s.Title, s.Issued)
		}
	}
	return err
}
