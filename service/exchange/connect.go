package exchange

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/gm"
	"github.com/qiongdev/qiong/kit/httpsig"
	"github.com/qiongdev/qiong/kit/recordio"
	"github.com/qiongdev/qiong/kit/table"
)

// tableConnector writes shipments to a table; the table's ledger makes each take effect once.
type tableConnector struct{ t table.Table }

func (c tableConnector) deliver(ctx context.Context, s *shipment) error {
	rows := make([]table.Row, len(s.rows))
	for i, values := range s.rows {
		rows[i] = tableRow(values)
	}
	return c.t.Write(ctx, s.name, rows)
}

func tableRow(values []recordio.Value) table.Row {
	row := make(table.Row, len(values))
	for i, v := range values {
		if v.Set {
			row[i] = v.Text
		}
	}
	return row
}

// spec describes the target's table.
func (t *Target) spec(f *Feed) table.Spec {
	spec := table.Spec{Table: t.Table.Name, Columns: t.columns(f), Charset: t.Table.Charset, Key: f.key, Text: make([]bool, len(f.Fields))}
	for i := range f.Fields {
		field := &f.Fields[i]
		switch field.Type {
		case "integer", "decimal", "boolean", "date", "time":
		default:
			spec.Text[i] = true
		}
		if t.Codes[field.Name] != nil {
			spec.Text[i] = true
		}
	}
	return spec
}

// fileConnector writes a file for each shipment, and beside it, when it is whole, one with ".ok" behind its name that
// holds the SM3 of it. Writing it again changes nothing.
type fileConnector struct{}

func (fileConnector) deliver(_ context.Context, s *shipment) error {
	to := s.to.File
	body, err := s.file(to.Format, to.Root, to.Row)
	if err != nil {
		return err
	}
	path := filepath.Join(to.Folder, s.name+"."+string(to.Format))
	digest := gm.SM3(body)
	if err := writeWhole(path, body); err != nil {
		return err
	}
	return writeWhole(path+".ok", fmt.Appendf(nil, "%x  %s\n", digest, filepath.Base(path)))
}

// writeWhole makes a file appear whole: written and synced under another name, renamed, and the folder synced.
func writeWhole(path string, data []byte) (err error) {
	dir := filepath.Dir(path)
	defer func() {
		if err != nil {
			err = errs.Wrap(err, errs.Unavailable, "无法写入目标目录", "the target's folder can't be written to")
		}
	}()
	f, err := os.CreateTemp(dir, ".qiong-*.tmp")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			f.Close()
			os.Remove(f.Name())
		}
	}()
	if _, err = f.Write(data); err != nil {
		return err
	}
	if err = f.Chmod(0o640); err != nil {
		return err
	}
	if err = f.Sync(); err != nil {
		return err
	}
	if err = f.Close(); err != nil {
		return err
	}
	if err = os.Rename(f.Name(), path); err != nil {
		return err
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// file returns the shipment as a file in the target's encoding.
func (s *shipment) file(format recordio.Format, root, row string) ([]byte, error) {
	if root == "" {
		root = "rows"
	}
	w := &recordio.Writer{Format: format, Columns: recordio.NewColumns(s.to.columns(s.feed)...), Root: root, Row: row,
		Charset: s.to.Encoding.xml(), Bare: map[int]bool{}}
	for i := range s.feed.Fields {
		w.Bare[i] = bare(s.feed.Fields[i].Type) && s.to.Codes[s.feed.Fields[i].Name] == nil
	}
	b := w.AppendHead(nil)
	for i, values := range s.rows {
		b = w.Append(b, values, i == 0)
	}
	return s.to.Encoding.encode(nil, w.AppendTail(b))
}

// pushConnector posts shipments, signed, each with its name as the Idempotency-Key.
type pushConnector struct{ x *Exchange }

// pushTimeout is how long an answer may take.
const pushTimeout = 30 * time.Second

var pushClient = &http.Client{Timeout: pushTimeout, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}

func (c pushConnector) deliver(ctx context.Context, s *shipment) error {
	to := s.to.Push
	body, err := s.file(to.Format, to.Root, to.Row)
	if err != nil {
		return err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, to.URL, bytes.NewReader(body))
	if err != nil {
		return err
	}
	media := map[recordio.Format]string{recordio.JSON: "application/json", recordio.NDJSON: "application/x-ndjson", recordio.XML: "application/xml", recordio.CSV: "text/csv"}
	r.Header.Set("Content-Type", media[to.Format]+"; charset="+s.to.Encoding.xml())
	r.Header.Set("Idempotency-Key", s.name)
	r.Header.Set("X-Data-Grade", s.feed.grade().String())
	signer, err := c.x.host.Keys.Signer("exchange")
	if err != nil {
		return err
	}
	if err := httpsig.SignRequest(r, body, signer, c.x.host.Now(), httpsig.NewNonce()); err != nil {
		return err
	}
	resp, err := pushClient.Do(r)
	if err != nil {
		return errs.Wrap(err, errs.Unavailable, "目标接口没有应答", "the target's interface does not answer")
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, io.LimitReader(resp.Body, 1<<20)); err != nil {
		return errs.Wrap(err, errs.Unavailable, "目标接口的应答不完整", "the target's answer was cut off")
	}
	if resp.StatusCode/100 != 2 {
		return errs.Newf(errs.Unavailable, "目标接口应答 %d", "the target's interface answers %d", resp.StatusCode).WithCode(fmt.Sprintf("push.%d", resp.StatusCode))
	}
	return nil
}
