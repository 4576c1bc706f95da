package ledger

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"

	"github.com/qiongdev/qiong/kit/beijing"
	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/gm"
	"github.com/qiongdev/qiong/kit/rule"
	"github.com/qiongdev/qiong/kit/sqldb"
	"github.com/qiongdev/qiong/kit/tlog"
)

// schemas are those of all facts that a ledger keeps, of policies that went as well, by number. They are never changed,
// only added to. Packed facts are the number and whether the record failed, as one varint, and behind it the values in the
// order of their names: a whole number or a time in milliseconds as a varint, truth as a byte, a code behind its length,
// a key as its 32 bytes.
type schemas struct {
	numbers map[string]int64 // by type and kinds, in JSON
	all     map[int64]*stored
	seen    map[*rule.Schema]int64 // of the policies of this process, so that their JSON need not be written for each record
}

// stored is a schema with its names sorted.
type stored struct {
	*rule.Schema
	names []string
}

func readSchemas(ctx context.Context, q sqldb.Querier) (s schemas, err error) {
	rows, err := sqldb.All(ctx, q, func(row sqldb.Scanner) (text string, err error) { return text, row.Scan(&text) },
		"SELECT schema FROM ledger_schema ORDER BY number")
	for _, text := range rows {
		schema, err := rule.ParseSchema([]byte(text))
		if err != nil {
			return s, fmt.Errorf("a schema in the ledger: %w", err)
		}
		s = s.with(text, schema)
	}
	return s, err
}

// with returns the schemas and one more.
func (s schemas) with(text string, schema *rule.Schema) schemas {
	more := schemas{map[string]int64{}, map[int64]*stored{}, s.seen}
	maps.Copy(more.numbers, s.numbers)
	maps.Copy(more.all, s.all)
	number := int64(len(s.all)) + 1
	more.numbers[text] = number
	more.all[number] = &stored{schema, slices.Sorted(maps.Keys(schema.Facts))}
	return more
}

// seeing returns the schemas, and the number of one that was seen.
func (s schemas) seeing(schema *rule.Schema, number int64) schemas {
	seen := map[*rule.Schema]int64{schema: number}
	maps.Copy(seen, s.seen)
	s.seen = seen
	return s
}

// pack returns the packed form of facts of the schema with a number.
func (s schemas) pack(number int64, facts *rule.Facts, failed bool) []byte {
	b := binary.AppendUvarint(make([]byte, 0, 64), uint64(number)<<1|uint64(bit(failed)))
	for _, name := range s.all[number].names {
		switch v, _ := facts.Value(name); v := v.(type) {
		case int64:
			b = binary.AppendVarint(b, v)
		case beijing.Time:
			b = binary.AppendUvarint(b, uint64(v))
		case bool:
			b = append(b, byte(bit(v)))
		case string:
			b = append(binary.AppendUvarint(b, uint64(len(v))), v...)
		case [32]byte:
			b = append(b, v[:]...)
		}
	}
	return b
}

func bit(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

// unpacked are facts as they were packed.
type unpacked struct {
	*stored
	failed bool
	json   []byte // as rule.Facts has it
	keys   map[string][32]byte
}

// unpack is the inverse of pack.
func (s schemas) unpack(packed []byte) (*unpacked, error) {
	r := &reader{rest: packed}
	head := r.uvarint()
	schema := s.all[int64(head>>1)]
	if schema == nil {
		return nil, damagedFacts()
	}
	u := &unpacked{stored: schema, failed: head&1 == 1, keys: map[string][32]byte{}}
	b := []byte{'{'}
	for i, name := range schema.names {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(strconv.AppendQuote(b, name), ':')
		switch schema.Facts[name] {
		case rule.Int:
			b = strconv.AppendInt(b, r.varint(), 10)
		case rule.Time:
			b = append(beijing.Time(r.uvarint()).Time().AppendFormat(append(b, '"'), beijing.Layout), '"')
		case rule.Bool:
			b = strconv.AppendBool(b, r.take(1)[0] == 1)
		case rule.Code:
			b = append(append(append(b, '"'), r.take(r.uvarint())...), '"')
		case rule.Key:
			key := [32]byte(r.take(32))
			u.keys[name] = key
			b = append(base64.StdEncoding.AppendEncode(append(b, '"'), key[:]), '"')
		}
	}
	if u.json = append(b, '}'); r.bad || len(r.rest) > 0 {
		return nil, damagedFacts()
	}
	return u, nil
}

func damagedFacts() error {
	return errs.New(errs.Internal, "账本中的事实已损坏", "facts in the ledger are damaged").WithCode(tlog.CodeBroken)
}

// reader reads packed values. Once one is not there, bad stays.
type reader struct {
	rest []byte
	bad  bool
}

func (r *reader) uvarint() uint64 {
	n, width := binary.Uvarint(r.rest)
	r.bad = r.bad || width <= 0
	r.rest = r.rest[max(width, 0):]
	return n
}

func (r *reader) varint() int64 {
	n, width := binary.Varint(r.rest)
	r.bad = r.bad || width <= 0
	r.rest = r.rest[max(width, 0):]
	return n
}

// take returns the next n bytes; at least one of zero where there are fewer.
func (r *reader) take(n uint64) []byte {
	if n > uint64(len(r.rest)) {
		r.bad, r.rest = true, nil
		return make([]byte, min(max(n, 1), 32))
	}
	taken := r.rest[:n]
	r.rest = r.rest[n:]
	return taken
}

// hash is by what a lookup is found: 32 bits of an SM3. Who finds holds it to the key itself.
func (at lookup) hash() int64 {
	sum := gm.SM3([]byte(at.typ), []byte{0}, []byte(at.name), []byte{0}, at.key[:])
	return int64(int32(binary.BigEndian.Uint32(sum[:])))
}

var (
	intoFacts  = sqldb.NewInto("ledger_facts", "idx", "facts")
	intoKey    = sqldb.NewInto("ledger_key", "hash", "idx")
	intoSchema = sqldb.NewInto("ledger_schema", "number", "schema")
)

// rowsOf returns the rows that keep the facts of the record at index; with the first of a schema, the schema's. Where the
// record failed nothing finds it, but the facts are part of the ledger's hash.
func (s *state) rowsOf(index int64, schema *rule.Schema, facts *rule.Facts, failed bool) ([]sqldb.Insert, error) {
	var rows []sqldb.Insert
	number, seen := s.kept.seen[schema]
	if !seen {
		text, err := schema.JSON()
		if err != nil {
			return nil, err
		}
		if number = s.kept.numbers[string(text)]; number == 0 {
			s.kept = s.kept.with(string(text), schema)
			number = s.kept.numbers[string(text)]
			rows = append(rows, intoSchema.Row(number, string(text)))
		}
		s.kept = s.kept.seeing(schema, number)
	}
	rows = append(rows, intoFacts.Row(index, s.kept.pack(number, facts, failed)))
	if failed {
		return rows, nil
	}
	for _, name := range s.kept.all[number].names {
		if key, ok := facts.Key(name); ok {
			rows = append(rows, intoKey.Row(lookup{schema.Type, name, key}.hash(), index))
		}
	}
	return rows, nil
}

// upgradeFacts packs what a ledger from before has in ledger_fact: at the first Open, and all or nothing.
func upgradeFacts(ctx context.Context, db sqldb.DB) error {
	old, err := sqldb.Value[int64](ctx, db, "SELECT count(*) FROM (SELECT idx FROM ledger_fact LIMIT 1) AS f")
	if err != nil || old == 0 {
		return err
	}
	return db.Write(ctx, sqldb.Durable, func(tx *sqldb.Tx) error {
		schemas, err := schemasEver(ctx, tx)
		if err != nil {
			return err
		}
		s := state{}
		for last := int64(-1); ; {
			rows, err := sqldb.All(ctx, tx, func(row sqldb.Scanner) (rows []sqldb.Insert, err error) {
				var typ, text string
				var failed int64
				if err := row.Scan(&last, &typ, &failed, &text); err != nil {
					return nil, err
				}
				return s.repack(last, schemas[typ], failed == 1, text)
			}, "SELECT DISTINCT idx, type, failed, facts FROM ledger_fact WHERE idx > $1 ORDER BY idx LIMIT 4096", last)
			if err != nil {
				return err
			}
			if len(rows) == 0 {
				break
			}
			if err := tx.Insert(ctx, slices.Concat(rows...)...); err != nil {
				return err
			}
		}
		_, err = tx.Exec(ctx, "DELETE FROM ledger_fact")
		return err
	})
}

// repack returns the new rows of facts that stood in JSON under one of several schemas of their type.
func (s *state) repack(index int64, schemas []*rule.Schema, failed bool, text string) ([]sqldb.Insert, error) {
	err := errors.New("facts of no known type")
	for _, schema := range schemas {
		var facts *rule.Facts
		if facts, err = schema.Parse([]byte(text)); err == nil {
			return s.rowsOf(index, schema, facts, failed)
		}
	}
	return nil, fmt.Errorf("facts of record %d in the ledger: %w", index, err)
}

// schemasEver returns the schemas that types had under any policy, newest first.
func schemasEver(ctx context.Context, q sqldb.Querier) (map[string][]*rule.Schema, error) {
	policies, err := sqldb.All(ctx, q, func(row sqldb.Scanner) (*Policy, error) {
		var text string
		if err := row.Scan(&text); err != nil {
			return nil, err
		}
		return ParsePolicy([]byte(text))
	}, "SELECT policy FROM ledger_policy ORDER BY version DESC")
	ever := map[string][]*rule.Schema{}
	for _, p := range policies {
		for _, t := range p.Types {
			if len(t.Facts) > 0 {
				ever[t.Type] = append(ever[t.Type], &rule.Schema{Type: t.Type, Facts: t.Facts})
			}
		}
	}
	return ever, err
}
