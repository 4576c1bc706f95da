package booking

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/qiongdev/qiong"
	"github.com/qiongdev/qiong/kit/beijing"
	"github.com/qiongdev/qiong/kit/client"
	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/lang"
)

var gateTool = &qiong.Tool{
	Name: "gate", Args: "[sync]", MaxArgs: 1, Run: runGate,
	Doc: lang.T("离线闸机：逐行读取扫码枪输入，断网也能验码", "a gate without a network: checks the codes that a scanner types, line by line"),
	Long: lang.T("gate       从标准输入逐行读码，逐行答复；“2 码”只放行两人。先写入日志并落盘，再放行\ngate sync  上传日志，取回公钥与吊销名单；运行中的闸机随即采用\n\n日志只归一台闸机；丢失或损坏后另起一个，切勿从备份恢复。",
		"gate       reads codes from standard input and answers each; \"2 CODE\" lets two people in. The journal is on the disk first\ngate sync  uploads the journal, and fetches keys and revocations, which a running gate takes over at once\n\nA journal belongs to one gate. Where it is lost or damaged begin a new one; never restore it from a backup."),
	Flags: func(fs *pflag.FlagSet, say func(zh, en string) string) {
		fs.Uint16("spot", 0, say("景区编号（景区文件中的 code）", "code of the spot (in its file)"))
		fs.String("keys", "", say("公钥文件（PEM）", "file of public keys (PEM)"))
		fs.String("journal", "", say("闸机日志；没有则新建", "journal of the gate; made where there is none"))
		fs.String("revocations", "", say("吊销名单文件", "file of revocations"))
		fs.Uint32("gate", 0, say("闸机编号；缺省沿用日志中的，新日志为 1", "number of the gate; default the journal's, and 1 for a new one"))
		fs.Duration("grace", 10*time.Minute, say("早到、晚到的宽限", "how much too early or late is still let in"))
		client.Flags(fs, say)
	},
}

func runGate(ctx context.Context, c *qiong.Console, args []string) error {
	f := gateFlagsOf(c.Flags)
	switch {
	case len(args) == 1 && args[0] != "sync":
		return errs.New(errs.Invalid, "参数不对", "wrong arguments").WithHint("运行 qiong booking gate --help 查看用法", "run qiong booking gate --help for the usage")
	case f.journal == "":
		return missing("--journal")
	case len(args) == 1:
		return syncGate(ctx, c, f)
	case f.spot == 0:
		return missing("--spot")
	case f.keys == "":
		return missing("--keys")
	case f.grace < 0:
		return errs.New(errs.Invalid, "不得为负", "must not be negative").WithField("--grace")
	}
	warn := func(err error) {
		fmt.Fprintf(c.Err, "%s%s\n", c.Say("注意：", "warning: "), errs.As(err).In(c.Lang))
	}
	d, err := openDevice(deviceConfig{spot: f.spot, id: f.gate, journal: f.journal, keys: f.keys, revoked: f.revoked, grace: f.grace, now: time.Now(), warn: warn})
	if err != nil {
		return err
	}
	return errors.Join(serveGate(ctx, c, d, time.Now), d.close())
}

func missing(flag string) error {
	return errs.New(errs.Invalid, "须给出", "must be given").WithField(flag)
}

type gateFlags struct {
	spot                   uint16
	gate                   uint32
	keys, journal, revoked string
	grace                  time.Duration
}

func gateFlagsOf(fs *pflag.FlagSet) (f gateFlags) {
	f.spot, _ = fs.GetUint16("spot") // all are declared above
	f.gate, _ = fs.GetUint32("gate")
	f.keys, _ = fs.GetString("keys")
	f.journal, _ = fs.GetString("journal")
	f.revoked, _ = fs.GetString("revocations")
	f.grace, _ = fs.GetDuration("grace")
	return f
}

// serveGate answers codes until their end, or that of ctx.
func serveGate(ctx context.Context, c *qiong.Console, d *device, now func() time.Time) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	lines, ended := make(chan string), make(chan error, 1)
	go func() { ended <- readLines(ctx, c.In, lines) }() // it may stay in Read: only the process's end ends that
	for {
		select {
		case line := <-lines:
			if err := answerLine(c, d, line, now()); err != nil {
				return err
			}
		case err := <-ended:
			return err
		case <-ctx.Done():
			return nil
		}
	}
}

// maxLine is how long a line may be; of a longer one the rest is passed over.
const maxLine = 1024

// readLines sends each line that holds something.
func readLines(ctx context.Context, in io.Reader, lines chan<- string) error {
	r := bufio.NewReaderSize(in, maxLine)
	for {
		part, more, err := r.ReadLine()
		line := string(part)
		for more && err == nil {
			line = "..." // no code
			_, more, err = r.ReadLine()
		}
		if strings.TrimSpace(line) != "" {
			select {
			case lines <- line:
			case <-ctx.Done():
				return nil
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// gateAnswer is what a gate says of a line, as JSON.
type gateAnswer struct {
	Passage
	At beijing.Time `json:"at"`
}

func answerLine(c *qiong.Console, d *device, line string, now time.Time) error {
	people, code := peopleOf(line)
	decision, err := d.enter(code, people, now)
	if err != nil {
		return err
	}
	p := passage(decision.Ticket, reasonOf(decision.Reason), c.Lang)
	p.count(decision.People, decision.Left)
	if c.JSON {
		return json.NewEncoder(c.Out).Encode(gateAnswer{p, beijing.At(now)})
	}
	_, err = fmt.Fprintln(c.Out, colored(c, p))
	return err
}

// peopleOf reads "2 CODE". A code begins with a letter.
func peopleOf(line string) (people int, code string) {
	line = strings.TrimSpace(line) // what scanners add; no code begins or ends with it
	number, rest, ok := strings.Cut(line, " ")
	if n, err := strconv.ParseUint(number, 10, 16); ok && err == nil && n > 0 {
		return int(n), rest
	}
	return 0, line
}

// colored writes what the person at the gate sees: green or red, and a mark for those who can't tell them apart.
func colored(c *qiong.Console, p Passage) string {
	mark, color, words := "✗", "31", p.Text
	if p.Admitted {
		mark, color = "✓", "32"
		words = fmt.Sprintf(c.Say("%s：%d 人，同行 %d 人，余 %d 人", "%s: %d people, of a party of %d, %d left"), p.Text, p.People, p.Party, p.Left)
		for _, look := range p.Look {
			words += c.Say("；", "; ") + lookWords[look].In(c.Lang)
		}
	} else if p.Left > 0 {
		words += fmt.Sprintf(c.Say("（余 %d 人）", " (%d left)"), p.Left)
	}
	if !c.Color {
		return mark + " " + words
	}
	return "\x1b[1;" + color + "m" + mark + " " + words + "\x1b[0m"
}

var lookWords = map[string]lang.Text{
	"real-name": lang.T("请核对证件", "compare the document"),
	"elderly":   lang.T("老年人", "an elderly person"),
	"child":     lang.T("有儿童", "with children"),
	"disabled":  lang.T("残障人士", "a person with a disability"),
}
