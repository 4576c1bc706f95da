package exchange

import (
	"context"
	"encoding/hex"
	"slices"
	"unicode/utf8"

	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/recordio"
	"github.com/qiongdev/qiong/kit/sqldb"
)

// raw opens what a record in quarantine holds.
func (x *Exchange) raw(h *held) ([]byte, error) { return x.sealer.Open(h.raw, heldAAD(h.ID)) }

// content shows a record in quarantine to who may correct it: its fields where it was taken in here, else its text as
// it came, or its bytes where they are no text.
func (x *Exchange) content(h *held) (fields map[string]string, text string, err error) {
	raw, err := x.raw(h)
	if err != nil {
		return nil, "", err
	}
	f, err := x.feed(h.Feed, h.Version)
	if err != nil {
		return nil, "", err
	}
	if h.Target != "" {
		fields = map[string]string{}
		err = unpack(raw, len(f.Fields), func(_ int64, values []recordio.Value) error {
			for i, v := range values {
				if v.Set {
					fields[f.Fields[i].Name] = string(v.Text)
				}
			}
			return nil
		})
		return fields, "", err
	}
	decoded, err := f.encoding().decode(nil, raw)
	if err != nil || !utf8.Valid(decoded) {
		return nil, "hex:" + hex.EncodeToString(raw), nil
	}
	return nil, string(decoded), nil
}

// replay takes a record out of quarantine: corrected, by source columns where it had not been taken in, by fields where
// a target could not have it; or as it is, where the target can have it now. What is wrong with the correction is said
// as of any record.
func (x *Exchange) replay(ctx context.Context, id, by string, corrected map[string]string) (*transfer, error) {
	h, err := x.store.held(ctx, x.host.DB, id)
	if err != nil {
		return nil, err
	}
	f, err := x.feed(h.Feed, h.Version)
	if err != nil {
		return nil, err
	}
	values, err := x.corrected(f, h, corrected)
	if err != nil {
		return nil, err
	}
	of, err := x.store.transfer(ctx, x.host.DB, h.Transfer)
	if err != nil {
		return nil, err
	}
	now := x.host.Now().UnixMilli()
	t := &transfer{ID: x.newID(), Feed: f.Name, Version: h.Version, Kind: kindCorrection, Name: h.ID, Day: of.Day, Status: accepted,
		Good: 1, Chunks: 1, Created: now, Ended: now}
	h.Status, h.By, h.Closed, h.Correction = replayed, by, now, t.ID
	body := x.sealer.Seal(pack(nil, h.Seq, values), chunkAAD(t.ID, 0))
	err = x.host.DB.Write(ctx, sqldb.Durable, func(tx *sqldb.Tx) error {
		if err := x.store.settle(ctx, tx, h); err != nil {
			return err
		}
		if err := tx.Insert(ctx, t.row(), intoChunk.Row(t.ID, int64(0), int64(1), body)); err != nil {
			return err
		}
		return x.handOn(ctx, tx, f, t, h.Target)
	})
	return t, err
}

// corrected returns the values of a record as it is replayed.
func (x *Exchange) corrected(f *Feed, h *held, corrected map[string]string) ([]recordio.Value, error) {
	values := make([]recordio.Value, len(f.Fields))
	if h.Target == "" {
		in := make([]recordio.Value, len(f.Fields))
		for name, text := range corrected {
			i := slices.Index(f.columns.Names(), name)
			if i < 0 {
				return nil, errs.New(errs.Invalid, "来源没有这一列", "the source has no such column").WithField("values").WithCode("exchange.no-column")
			}
			in[i] = recordio.Value{Text: []byte(text), Set: text != ""}
		}
		_, err := f.normal(nil, in, values)
		return values, err
	}
	raw, err := x.raw(h)
	if err != nil {
		return nil, err
	}
	err = unpack(raw, len(f.Fields), func(_ int64, kept []recordio.Value) error {
		for i, v := range kept {
			values[i] = recordio.Value{Text: slices.Clone(v.Text), Set: v.Set}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	for name, text := range corrected {
		if err := f.replace(values, name, text); err != nil {
			return nil, err
		}
	}
	_, err = f.target(h.Target).view(nil, f, values, make([]recordio.Value, len(values)))
	return values, err
}

// replace puts text in the place of a field's value.
func (f *Feed) replace(values []recordio.Value, name, text string) error {
	i := slices.IndexFunc(f.Fields, func(field Field) bool { return field.Name == name })
	if i < 0 {
		return errs.New(errs.Invalid, "没有这个字段", "there is no such field").WithField("values").WithCode("exchange.no-field")
	}
	field := &f.Fields[i]
	if text == "" && !field.Required {
		values[i] = recordio.Value{}
		return nil
	}
	normal := []byte(text)
	var err error
	if field.Type == "code" {
		if !slices.ContainsFunc(mapValues(field.Codes), func(c string) bool { return c == text }) {
			err = invalid("code", "不在代码表内", "is not in the table of codes")
		}
	} else {
		normal, err = types[field.Type](nil, []byte(text), f, field)
	}
	if err != nil {
		e := *errs.As(err)
		e.Field = name
		return &e
	}
	values[i] = recordio.Value{Text: normal, Set: true}
	return nil
}

func mapValues(m map[string]string) []string {
	all := make([]string, 0, len(m))
	for _, v := range m {
		all = append(all, v)
	}
	return all
}

// dismiss closes a record in quarantine that nobody will deliver, with the reason.
func (x *Exchange) dismiss(ctx context.Context, id, by, note string) error {
	h, err := x.store.held(ctx, x.host.DB, id)
	if err != nil {
		return err
	}
	h.Status, h.By, h.Closed, h.Note = dismissed, by, x.host.Now().UnixMilli(), note
	return x.host.DB.Write(ctx, sqldb.Durable, func(tx *sqldb.Tx) error { return x.store.settle(ctx, tx, h) })
}
