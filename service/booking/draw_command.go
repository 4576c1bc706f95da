package booking

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strconv"

	"github.com/spf13/pflag"

	"github.com/qiongdev/qiong"
	"github.com/qiongdev/qiong/kit/beijing"
	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/lang"
	"github.com/qiongdev/qiong/kit/merkle"
	"github.com/qiongdev/qiong/service/booking/room"
)

var drawTool = &qiong.Tool{
	Name: "draw", Args: "verify RECORD LIST [PLACE...]", MinArgs: 3, MaxArgs: -1, Run: runDraw,
	Doc: lang.T("离线复核等候室的抽签", "check the draw of a waiting room, offline"),
	Long: lang.T("由下载的记录与名单重算次序，并与公布的比较；PLACE 是名单上的序号或化名，显示其抽中的位次。\n\n只读文件，不联网。记录：GET /api/booking/sales/场次/draw；名单：…/draw/list。格式见 doc/formats/draw.md。\n记录本身说明不了种子是否在开售前已经确定：用 --earlier 给出开售前下载的记录。",
		"computes the order again from the record and the list as they were downloaded, and compares it with the one published;\nPLACE is a number or an alias on the list, of which the place in the order is shown.\n\nReads files and asks no network. The record: GET /api/booking/sales/SALE/draw; the list: …/draw/list. See doc/formats/draw.en.md.\nA record alone can't say whether the seed was fixed before the sale: give one of that time with --earlier."),
	Flags: func(fs *pflag.FlagSet, say func(zh, en string) string) {
		fs.String("earlier", "", say("先前下载的记录", "file of the record as it was downloaded before"))
	},
}

func runDraw(_ context.Context, c *qiong.Console, args []string) error {
	if args[0] != "verify" {
		return errs.New(errs.Invalid, "参数不对", "wrong arguments").WithHint("运行 qiong booking draw --help 查看用法", "run qiong booking draw --help for the usage")
	}
	earlier, _ := c.Flags.GetString("earlier") // it is declared above
	v, err := verifyDraw(args[1], args[2], earlier)
	if err != nil {
		return err
	}
	for _, who := range args[3:] {
		if err := v.find(who); err != nil {
			return err
		}
	}
	if c.JSON {
		return json.NewEncoder(c.Out).Encode(v)
	}
	return v.print(c)
}

// verified is what is known of a draw that was checked, as JSON.
type verified struct {
	Sale       string        `json:"sale"`
	Opens      beijing.Time  `json:"opens"`
	Commitment string        `json:"commitment"`
	Count      uint64        `json:"count"`
	Root       merkle.Hash   `json:"root"`
	Beacon     string        `json:"beacon"` // empty: there is none
	Seed       string        `json:"seed"`
	Earlier    bool          `json:"earlier"` // it continues an earlier record
	Places     []placeInDraw `json:"places,omitempty"`

	list  []byte
	order []uint32
}

type placeInDraw struct {
	Number uint32 `json:"number"`
	Alias  string `json:"alias"`
	Place  int    `json:"place"` // from 1
}

// verifyDraw checks the draw of two files, and that of the earlier record, where there is one, with it.
func verifyDraw(record, list, earlier string) (*verified, error) {
	r, err := readRecord(record)
	if err != nil {
		return nil, err
	}
	if earlier != "" {
		before, err := readRecord(earlier)
		if err != nil {
			return nil, err
		}
		if err := r.Continues(before); err != nil {
			return nil, ofFile(record, err)
		}
	}
	text, err := os.ReadFile(list)
	if err != nil {
		return nil, unreadable(list, err)
	}
	order, err := room.VerifyDraw(r, text)
	if err != nil {
		if errs.As(err).Line > 0 { // only a list is read by lines here
			return nil, ofFile(list, err)
		}
		return nil, ofFile(record, err)
	}
	return &verified{Sale: r.Sale, Opens: beijing.At(r.Opens), Commitment: hexOf(r.Commitment[:]), Count: r.Count, Root: r.Root, Beacon: hexOf(r.Beacon),
		Seed: hexOf(r.Seed[:]), Earlier: earlier != "", list: text, order: order}, nil
}

func readRecord(file string) (r room.Record, err error) {
	f, err := os.Open(file)
	if err != nil {
		return r, unreadable(file, err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, room.MaxRecord+1))
	if err != nil {
		return r, unreadable(file, err)
	}
	if r, err = room.ParseRecord(text); err != nil {
		return r, ofFile(file, err)
	}
	return r, nil
}

func unreadable(file string, err error) error {
	var path *fs.PathError
	if errors.As(err, &path) {
		err = path.Err
	}
	return errs.Wrap(err, errs.NotFound, "文件无法读取", "the file can't be read").WithField(file)
}

// ofFile says in which file something is wrong.
func ofFile(file string, err error) error {
	e := errs.As(err)
	return errs.New(e.Kind, e.In(lang.ZH), e.In(lang.EN)).WithField(file).WithCode(e.Code)
}

// find adds the place of somebody on the list, by number or alias.
func (v *verified) find(who string) error {
	for line := range bytes.Lines(v.list) {
		number, alias, _ := bytes.Cut(bytes.TrimSuffix(line, []byte("\n")), []byte(" "))
		if string(number) != who && string(alias) != who {
			continue
		}
		n, err := strconv.ParseUint(string(number), 10, 32)
		if err != nil {
			return err // the list was verified
		}
		v.Places = append(v.Places, placeInDraw{uint32(n), string(alias), slices.Index(v.order, uint32(n)) + 1})
		return nil
	}
	return errs.New(errs.NotFound, "名单上没有此序号或化名", "no such number or alias is on the list").WithField(who).
		WithHint("开售后才来的人不参加抽签，按先后排在后面", "who came after the opening was not drawn, and stands behind, first come")
}

// print says what was found out, and what was not.
func (v *verified) print(c *qiong.Console) error {
	var b bytes.Buffer
	line := func(zh, en string, args ...any) { fmt.Fprintf(&b, c.Say(zh, en)+"\n", args...) }
	line("次序无误：由承诺的种子、名单与信标得出", "the order is right: it follows from the committed seed, the list and the beacon")
	line("  场次  %s，%s 开售，%d 人", "  sale        %s, on sale %s, %d people", v.Sale, v.Opens, v.Count)
	line("  承诺  %s", "  commitment  %s", v.Commitment)
	if v.Beacon != "" {
		line("  信标  %s", "  beacon      %s", v.Beacon)
	}
	for _, p := range v.Places {
		line("  %d 号（%s）抽中第 %d 位", "  number %d (%s) is drawn in place %d", p.Number, p.Alias, p.Place)
	}
	if v.Beacon == "" && v.Count > 0 {
		line("注意：没有信标。知道种子的人可以通过挑选名单来挑选次序。", "Mind: there is no beacon. Who knew the seed could choose an order by choosing a list.")
	}
	if !v.Earlier {
		line("注意：种子是否在开售前已经确定，要与当时公布的承诺核对；用 --earlier 给出当时的记录。",
			"Mind: whether the seed was fixed before the sale shows in the commitment of that time: compare it, or give that record with --earlier.")
	}
	_, err := c.Out.Write(b.Bytes())
	return err
}
