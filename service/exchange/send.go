package exchange

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/qiongdev/qiong"
	"github.com/qiongdev/qiong/kit/beijing"
	"github.com/qiongdev/qiong/kit/client"
	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/gm"
	"github.com/qiongdev/qiong/kit/keys"
	"github.com/qiongdev/qiong/kit/recordio"
)

func sendFlags(fs *pflag.FlagSet, say func(zh, en string) string) {
	client.Flags(fs, say)
	fs.String("data", "./qiong-data", say("密钥所在的数据目录", "data folder with the key"))
	fs.String("master-key", "", say("主密钥文件；留空用数据目录内的", "file of the master secret; empty: the one in the data folder"))
	fs.String("key", "exchange", say("签名密钥在密钥环中的名称", "name of the signing key in the ring"))
	fs.String("id", "", say("清单 id；留空用文件名", "the manifest's id; the file's name where empty"))
	fs.String("day", "", say("业务日期；留空为今天", "business day; today where empty"))
	fs.String("format", "", say("ndjson、json、csv 或 xml；留空按扩展名", "ndjson, json, csv or xml; by the file's extension where empty"))
	fs.String("row", "row", say("XML 中一条记录的元素名", "name of a record's element in XML"))
	fs.Bool("wide", false, say("文件为 GB18030、GBK 或 GB2312", "the file is GB 18030, GBK or GB 2312"))
}

// maxSends is how often in a row a send may end without a byte's progress.
const maxSends = 10

func send(ctx context.Context, c *qiong.Console, args []string) error {
	f, err := os.Open(args[1])
	if err != nil {
		return errs.Wrap(err, errs.NotFound, "文件无法读取", "the file can't be read").WithField(args[1])
	}
	defer f.Close()
	m, err := describe(c, args[0], f)
	if err != nil {
		return err
	}
	signed, err := signManifest(c, m)
	if err != nil {
		return err
	}
	s := &sender{c: c, house: client.FromFlags(c.Flags, c.Lang), file: f, size: m.Bytes}
	if err := s.house.Do(ctx, client.Request{Method: "POST", Path: base + "/transfers", Body: map[string]string{"manifest": string(signed)}}, &s.at); err != nil {
		return err
	}
	if err := s.all(ctx); err != nil {
		return err
	}
	if c.JSON {
		return json.NewEncoder(c.Out).Encode(s.at)
	}
	_, err = fmt.Fprintf(c.Out, c.Say("传输 %s 已接收：%d 条，隔离 %d 条\n", "transfer %s accepted: %d records, %d in quarantine\n"), s.at.ID, s.at.Records, s.at.Quarantined)
	return err
}

// describe reads a file through for its manifest.
func describe(c *qiong.Console, feed string, f *os.File) (Manifest, error) {
	flag := func(name string) string { v, _ := c.Flags.GetString(name); return v } // declared by sendFlags
	wide, _ := c.Flags.GetBool("wide")
	m := Manifest{Feed: feed, ID: flag("id"), Day: flag("day")}
	if m.ID == "" {
		m.ID = filepath.Base(f.Name())
	}
	if m.Day == "" {
		m.Day = beijing.Date(time.Now())
	}
	format := recordio.Format(flag("format"))
	if format == "" {
		format = recordio.Format(strings.TrimPrefix(filepath.Ext(f.Name()), "."))
	}
	if !format.Known() {
		return m, errs.New(errs.Invalid, "请以 --format 指明文件格式", "say the file's format by --format").WithField("format")
	}
	digest := gm.NewSM3()
	s := recordio.NewSplitter(f, format, recordio.Options{Row: flag("row"), Wide: wide, Passed: func(b []byte) { digest.Write(b) }}, recordio.State{})
	for {
		_, err := s.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return m, err
		}
		m.Records++
	}
	m.Bytes = s.State().Offset
	digest.Sum(m.SM3[:0])
	return m, nil
}

func signManifest(c *qiong.Console, m Manifest) ([]byte, error) {
	data, _ := c.Flags.GetString("data") // all declared by sendFlags
	master, _ := c.Flags.GetString("master-key")
	name, _ := c.Flags.GetString("key")
	ring, err := keys.Open(filepath.Join(data, "keys"), keys.Options{MasterFile: master, ReadOnly: true})
	if err != nil {
		return nil, err
	}
	key, err := ring.Signer(name)
	if err != nil {
		return nil, err
	}
	return m.Sign(key)
}

// sender sends a file, from wherever the house stands.
type sender struct {
	c     *qiong.Console
	house *client.Client
	file  *os.File
	size  int64
	at    TransferView
}

func (s *sender) all(ctx context.Context) error {
	for vain := 0; s.at.Status == receiving; {
		before := s.at.Offset
		err := s.once(ctx)
		if err == nil || s.at.Status != receiving {
			break
		}
		if k := errs.KindOf(err); k != errs.Unavailable && k != errs.Timeout && k != errs.TooMany && errs.As(err).Code != "exchange.busy" {
			return err
		}
		if vain++; s.at.Offset > before {
			vain = 0
		}
		if vain == maxSends {
			return err
		}
		fmt.Fprintf(s.c.Err, s.c.Say("连接中断，自第 %d 字节继续\n", "the connection broke off; going on from byte %d\n"), s.at.Offset)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(min(time.Second<<vain, 30*time.Second)):
		}
	}
	if s.at.Status == refused {
		return errs.Newf(errs.Invalid, "传输 %[1]s 被拒收：%[2]s", "transfer %[1]s was refused: %[2]s", s.at.ID, s.at.Reason)
	}
	return nil
}

// once sends the rest of the file, and learns where the house stands then.
func (s *sender) once(ctx context.Context) error {
	rest := io.NewSectionReader(s.file, s.at.Offset, s.size-s.at.Offset)
	path := base + "/transfers/" + url.PathEscape(s.at.ID)
	err := s.house.Do(ctx, client.Request{Method: "PUT", Path: fmt.Sprintf("%s/content?offset=%d", path, s.at.Offset), Timeout: -1,
		Body: &progressReader{r: rest, s: s}, Header: map[string]string{"Content-Type": "application/octet-stream"}}, &s.at)
	if err == nil {
		return nil
	}
	if ask := s.house.Do(ctx, client.Request{Method: "GET", Path: path}, &s.at); ask != nil {
		return errors.Join(err, ask)
	}
	return err
}

// progressReader shows on a terminal how far the file has gone.
type progressReader struct {
	r     io.Reader
	s     *sender
	sent  int64
	shown time.Time
}

// Read implements io.Reader.
func (p *progressReader) Read(b []byte) (int, error) {
	n, err := p.r.Read(b)
	p.sent += int64(n)
	if p.s.c.Live && time.Since(p.shown) > 200*time.Millisecond {
		p.shown = time.Now()
		fmt.Fprintf(p.s.c.Err, "\r%3d%%  %d / %d MiB ", 100*(p.s.at.Offset+p.sent)/max(p.s.size, 1), (p.s.at.Offset+p.sent)>>20, p.s.size>>20)
	}
	return n, err
}
