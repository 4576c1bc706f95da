package booking

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"

	"github.com/qiongdev/qiong"
	"github.com/qiongdev/qiong/kit/beijing"
	"github.com/qiongdev/qiong/kit/client"
	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/folder"
	"github.com/qiongdev/qiong/service/booking/ticket"
)

// Synced is what came of a gate's exchange with its house.
type Synced struct {
	Cursor  uint32       `json:"cursor"`
	Taken   int          `json:"taken"`
	Late    int          `json:"late,omitempty"`
	Doubles []DoubleView `json:"doubles"`
	Keys    bool         `json:"keysChanged"`
	Revoked uint64       `json:"revocations"`
}

// syncGate brings a gate and its house together. The journal goes first: it is what can't be fetched again.
func syncGate(ctx context.Context, c *qiong.Console, f gateFlags) error {
	if f.revoked != "" && f.spot == 0 {
		return missing("--spot")
	}
	house := client.FromFlags(c.Flags, c.Lang)
	s := Synced{Doubles: []DoubleView{}}
	if err := upload(ctx, house, f.journal, &s); err != nil {
		return err
	}
	var err error
	if f.keys != "" {
		if s.Keys, err = fetchKeys(ctx, house, f.keys); err != nil {
			return err
		}
	}
	if f.revoked != "" {
		if s.Revoked, err = fetchRevocations(ctx, house, f.revoked, f.spot); err != nil {
			return err
		}
	}
	if c.JSON {
		return json.NewEncoder(c.Out).Encode(s)
	}
	return s.tell(c, f)
}

func (s *Synced) tell(c *qiong.Console, f gateFlags) error {
	out := &bytes.Buffer{}
	fmt.Fprintf(out, c.Say("日志：新上传 %d 条，已到第 %d 条\n", "journal: %d entries uploaded, up to %d\n"), s.Taken, s.Cursor)
	if s.Late > 0 {
		fmt.Fprintf(out, c.Say("其中 %d 条的预约已归档，未计入\n", "%d of them are of bookings that are archived, and do not count\n"), s.Late)
	}
	for _, d := range s.Doubles {
		fmt.Fprintf(out, c.Say("不应入园：预约 %s，%s，%d 人中多出 %d 人（%s）\n", "should not have entered: booking %s, %s, of %d people %d too many (%s)\n"),
			d.Booking, beijing.Format(beijing.FromMilli(int64(d.At))), d.People, d.Over, d.Reason)
	}
	if s.Keys {
		fmt.Fprintln(out, c.Say("公钥已更新", "the keys have changed"))
	}
	if f.revoked != "" {
		fmt.Fprintf(out, c.Say("吊销名单：%d 个预约\n", "revocations: %d bookings\n"), s.Revoked)
	}
	_, err := out.WriteTo(c.Out)
	return err
}

// uploadPiece is how many entries are sent at a time.
const uploadPiece = 20_000

// upload sends what the house has not. A gate may write to the journal at the same time: what isn't whole yet goes the next
// time.
func upload(ctx context.Context, house *client.Client, path string, s *Synced) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return errs.Wrap(err, errs.NotFound, "文件无法读取", "the file can't be read").WithField("--journal")
	}
	if len(data) < ticket.HeadSize {
		return errs.New(errs.Invalid, "不是闸机日志", "not a gate's journal").WithCode("ticket.journal").WithField("--journal")
	}
	head, records := data[:ticket.HeadSize], data[ticket.HeadSize:]
	records = records[:len(records)-len(records)%ticket.EntrySize]
	send := func(piece []byte) (v JournalAnswer, err error) {
		err = house.Do(ctx, client.Request{Method: "POST", Path: gateBase + "/journal", Body: io.MultiReader(bytes.NewReader(head), bytes.NewReader(piece)),
			Header: map[string]string{"Content-Type": octets}}, &v)
		return v, err
	}
	at, err := send(nil)
	for err == nil {
		s.Cursor = at.Cursor
		if err := same(at, records); err != nil {
			return err
		}
		rest := records[int(at.Cursor)*ticket.EntrySize:]
		if len(rest) == 0 {
			return nil
		}
		if at, err = send(rest[:min(len(rest), uploadPiece*ticket.EntrySize)]); err == nil {
			s.Taken, s.Late, s.Doubles = s.Taken+at.Taken, s.Late+at.Late, append(s.Doubles, at.Doubles...)
			if at.Cursor == s.Cursor {
				return errs.New(errs.Internal, "服务没有收下日志", "the house does not take the journal in")
			}
		}
	}
	if e := errs.As(err); e != nil && e.Code == "ticket.journal" {
		e.WithField("--journal").WithHint("保留此文件备查，并另起一个日志", "keep this file for inquiry, and begin a new journal")
	}
	return err
}

// same reports whether the house has the journal that this file holds, up to where it has it.
func same(at JournalAnswer, records []byte) error {
	end := int(at.Cursor) * ticket.EntrySize
	if end <= len(records) && (end == 0 || hex.EncodeToString(records[end-8:end]) == at.Check) {
		return nil
	}
	return errs.New(errs.Conflict, "此日志与已上传的不一致，像是从备份恢复的", "this journal is another than what was uploaded, as after a restore from a backup").
		WithCode("booking.journal").WithField("--journal").WithHint("保留此文件备查，并另起一个日志", "keep this file for inquiry, and begin a new journal")
}

// fetch reads an answer that is no JSON.
func fetch(ctx context.Context, house *client.Client, path string) ([]byte, error) {
	resp, err := house.Send(ctx, client.Request{Method: "GET", Path: path})
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	return io.ReadAll(io.LimitReader(resp.Body, maxJournal))
}

// fetchKeys reports whether they are others than in the file.
func fetchKeys(ctx context.Context, house *client.Client, path string) (bool, error) {
	data, err := fetch(ctx, house, gateBase+"/keys")
	if err != nil {
		return false, err
	}
	if _, err := parseKeys(data); err != nil {
		return false, err
	}
	if old, err := os.ReadFile(path); err == nil && bytes.Equal(old, data) {
		return false, nil
	}
	return true, replaceFile(path, data)
}

// maxLists is how many lists the file of revocations may hold before they are fetched anew as few.
const maxLists = 64

// fetchRevocations adds the lists of what was given up since those in the file, and returns how many bookings they have.
func fetchRevocations(ctx context.Context, house *client.Client, path string, spot uint16) (uint64, error) {
	file, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return 0, errs.Wrap(err, errs.Internal, "文件无法读取", "the file can't be read").WithField("--revocations")
	}
	lists, err := splitLists(file)
	if err != nil || len(lists) > maxLists || !ofSpot(lists, spot) {
		lists = nil
	}
	since, added := upTo(lists), false
	for {
		list, err := fetch(ctx, house, gateBase+"/revocations?spot="+strconv.Itoa(int(spot))+"&since="+strconv.FormatUint(since, 10))
		if err != nil && errs.As(err).Code == "booking.revocations" && since > 0 {
			lists, since = nil, 0
			continue
		}
		if err != nil {
			return since, err
		}
		got, err := splitLists(list)
		if err != nil || len(got) != 1 {
			return since, errs.New(errs.Invalid, "服务返回的吊销名单无效", "the house's list of revocations is not valid").WithCode("ticket.revocations")
		}
		if upTo(got) == since { // the end
			if len(lists) == 0 {
				lists, added = got, true
			}
			break
		}
		lists, since, added = append(lists, list), upTo(got), true
	}
	if !added {
		return since, nil
	}
	return since, replaceFile(path, bytes.Join(lists, nil))
}

// upTo returns how many revocations there are with the last of lists.
func upTo(lists [][]byte) uint64 {
	if len(lists) == 0 {
		return 0
	}
	last := lists[len(lists)-1]
	return binary.BigEndian.Uint64(last[listSince:]) + uint64(binary.BigEndian.Uint32(last[listCount:]))
}

func ofSpot(lists [][]byte, spot uint16) bool {
	for _, l := range lists {
		if binary.BigEndian.Uint16(l[listSpot:]) != spot {
			return false
		}
	}
	return true
}

// replaceFile puts data in the place of a file, whole or not at all.
func replaceFile(path string, data []byte) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), ".*.tmp")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, f.Close(), os.Remove(f.Name()))
		}
	}()
	if _, err = f.Write(data); err != nil {
		return err
	}
	if err = f.Sync(); err != nil {
		return err
	}
	if err = os.Rename(f.Name(), path); err != nil {
		return err
	}
	return errors.Join(f.Close(), folder.Sync(filepath.Dir(path)))
}
