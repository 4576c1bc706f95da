package evidence

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/qiongdev/qiong"
	"github.com/qiongdev/qiong/kit/beijing"
	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/folder"
	"github.com/qiongdev/qiong/kit/gm"
	"github.com/qiongdev/qiong/kit/lang"
	"github.com/qiongdev/qiong/kit/receipt"
	"github.com/qiongdev/qiong/kit/tlog"
)

var monitorTool = &qiong.Tool{
	Name: "monitor", Args: "URL", MinArgs: 1, MaxArgs: 1, Run: runMonitor,
	Doc: lang.T("跟随并核查另一系统的日志：签名、延续性、条目；缩短、分叉或被改写时以错误码退出",
		"follow and check the log of another house: signatures, continuity, entries; it fails where that shrank, forked or was rewritten"),
	Flags: func(f *pflag.FlagSet, say func(zh, en string) string) {
		f.String("trust", "trust.pem", say("所信任的公钥文件", "the file of keys that are believed"))
		f.String("origin", "", say("日志名称；公钥文件只有一本日志时可省略", "the log's name; may be left out where the keys are of one log"))
		f.String("state", "monitor.state", say("记住所见的文件", "the file that remembers what was seen"))
		f.Bool("once", false, say("核查到最新即结束", "end when all that is new was checked"))
		f.Duration("every", 10*time.Second, say("多久看一次", "how often it looks"))
	},
}

// monitor follows a log that others serve.
type monitor struct {
	c      *qiong.Console
	mirror *tlog.Mirror
	state  string
	once   bool
	every  time.Duration
	saw    bool
}

func runMonitor(ctx context.Context, c *qiong.Console, args []string) error {
	m, err := newMonitor(c, args[0])
	if err != nil {
		return err
	}
	for {
		err := m.look(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil && (m.once || !passing(err)):
			return m.found(err)
		case err != nil:
			fmt.Fprintln(c.Err, errs.As(err).In(c.Lang))
		case m.once:
			return m.sum()
		}
		if wait(ctx, m.every); ctx.Err() != nil {
			return nil
		}
	}
}

func newMonitor(c *qiong.Console, address string) (*monitor, error) {
	m := &monitor{c: c}
	m.state, _ = c.Flags.GetString("state")
	m.once, _ = c.Flags.GetBool("once")
	m.every, _ = c.Flags.GetDuration("every")
	if m.every < time.Second {
		return nil, errs.New(errs.Invalid, "至少 1 秒", "must be at least a second").WithField("--every")
	}
	path, _ := c.Flags.GetString("trust")
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, errs.Wrap(err, errs.Invalid, "读不到公钥文件", "the file of keys cannot be read").WithField("--trust").
			WithHint("取得 URL/evidence/trust.pem，并与各单位公布的指纹核对", "fetch URL/evidence/trust.pem, and compare the fingerprints with those that the agencies publish")
	}
	trust, err := receipt.ParseTrust(text)
	if err != nil {
		return nil, err
	}
	origin, err := originOf(c, trust)
	if err != nil {
		return nil, err
	}
	if u, err := url.Parse(address); err == nil && strings.Trim(u.Path, "/") == "" {
		address = strings.TrimSuffix(address, "/") + "/evidence/log" // that of a house
	}
	client, err := tlog.NewClient(address, nil)
	if err != nil {
		return nil, err
	}
	seen, err := m.recall()
	m.mirror = tlog.NewMirror(client, trust, origin, seen)
	return m, err
}

// originOf returns the log to follow, and shows whose keys are believed.
func originOf(c *qiong.Console, trust *receipt.Trust) (string, error) {
	origin, _ := c.Flags.GetString("origin")
	for _, k := range trust.Keys() {
		if origin == "" {
			origin = k.Origin
		} else if asked, _ := c.Flags.GetString("origin"); asked == "" && k.Origin != origin {
			return "", errs.New(errs.Invalid, "公钥文件中有多本日志，须指明一本", "the keys are of several logs; name one").WithField("--origin")
		}
	}
	for _, k := range trust.Keys() {
		if k.Origin == origin && !c.JSON {
			fmt.Fprintf(c.Out, "%s %s %s\n", k.Role, k.Name, gm.KeyID(k.Public))
		}
	}
	return origin, nil
}

// recall reads what was seen before; nothing where there is no such file yet.
func (m *monitor) recall() (tlog.Seen, error) {
	text, err := os.ReadFile(m.state)
	if errors.Is(err, fs.ErrNotExist) {
		return tlog.Seen{}, nil
	}
	if err != nil {
		return tlog.Seen{}, err
	}
	return tlog.ParseSeen(text)
}

// remember puts what was seen into the file, whole and on the disk, or leaves the former one.
func remember(path string, data []byte) error {
	return folder.Place(path, func(w io.Writer) error {
		_, err := w.Write(data)
		return err
	})
}

// look checks all that is new.
func (m *monitor) look(ctx context.Context) error {
	for {
		step, err := m.mirror.Next(ctx, 0)
		if err != nil || step == nil {
			return err
		}
		text, err := step.Seen.Marshal()
		if err != nil {
			return err
		}
		if err := remember(m.state, text); err != nil {
			return err
		}
		if err := m.tell(step); err != nil {
			return err
		}
		m.saw = true
	}
}

// sighting is what a step is told as.
type sighting struct {
	From    uint64       `json:"from"`
	Size    uint64       `json:"size"`
	Root    string       `json:"root"`
	Records int          `json:"records"`
	Signed  []string     `json:"signed"`
	By      beijing.Time `json:"by"`
	Notable []string     `json:"notable,omitempty"` // records that the log itself has made: policies, equivocations
}

func (m *monitor) tell(step *tlog.Step) error {
	note := step.Seen.Note()
	s := sighting{From: step.From, Size: note.Checkpoint.Size, Root: note.Checkpoint.Root.String(), Records: len(step.Entries)}
	for _, sig := range note.Signatures {
		s.Signed, s.By = append(s.Signed, sig.Name), max(s.By, beijing.Time(sig.Time*1000))
	}
	for _, data := range step.Entries {
		r, err := receipt.ParseRecord(data)
		if err != nil {
			return errs.Wrap(err, errs.Invalid, "日志中有不是记录的条目", "an entry of the log is no record").WithCode(tlog.CodeStrange)
		}
		if strings.HasPrefix(r.Type, "evidence.") {
			s.Notable = append(s.Notable, r.Type+" "+r.ID)
		}
	}
	if m.c.JSON {
		return json.NewEncoder(m.c.Out).Encode(s)
	}
	_, err := fmt.Fprintf(m.c.Out, m.c.Say("新增 %d 条，共 %d 条，根 %s，%s 签署于 %s\n", "%d new, %d in all, root %s, signed by %s at %s\n"),
		s.Records, s.Size, s.Root, strings.Join(s.Signed, ","), s.By)
	for _, n := range s.Notable {
		fmt.Fprintln(m.c.Out, "  "+n)
	}
	return err
}

func (m *monitor) sum() error {
	seen := m.mirror.Seen()
	if m.c.JSON || seen.Note() == nil && !m.saw {
		return nil
	}
	_, err := fmt.Fprintf(m.c.Out, m.c.Say("已核查 %d 条，无缩短、分叉或改写\n", "%d records checked: not shrunk, not forked, not rewritten\n"), seen.Size())
	return err
}

// found says what the log has done, by its code, and keeps the two notes that prove it where there are two.
func (m *monitor) found(err error) error {
	e := *errs.As(err)
	if e.Code != "" {
		e.Msg = lang.T(e.Code+"："+e.Msg.ZH, e.Code+": "+e.Msg.EN)
	}
	var c *tlog.Contradiction
	if !errors.As(err, &c) {
		return &e
	}
	var proof bytes.Buffer
	for _, n := range []*receipt.Note{c.Known, c.Shown} {
		text, err := n.Marshal()
		if err != nil {
			return err
		}
		proof.Write(append(text, '\n'))
	}
	path := m.state + ".contradiction"
	if err := remember(path, proof.Bytes()); err != nil {
		return err
	}
	return (&e).WithHint("两份互相矛盾的已签署检查点保存在 "+path, "the two signed checkpoints that contradict each other are kept in "+path)
}

// passing reports whether err may have gone by the next time.
func passing(err error) bool {
	return slices.Contains([]errs.Kind{errs.Unavailable, errs.Timeout, errs.TooMany, errs.NotFound}, errs.KindOf(err))
}
