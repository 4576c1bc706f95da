package exchange

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"

	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/han/gb18030"
	"github.com/qiongdev/qiong/kit/label"
	"github.com/qiongdev/qiong/kit/lang"
	"github.com/qiongdev/qiong/kit/recordio"
	"github.com/qiongdev/qiong/kit/yamlfile"
)

// Feed is a kind of record that is exchanged, as its YAML file says it: where it comes from, what its fields are, and
// which systems get it.
type Feed struct {
	Name    string    `yaml:"feed"`
	Version int       `yaml:"version"` // raised with every change: what was accepted is delivered as it was
	Title   lang.Text `yaml:"title"`
	From    Source    `yaml:"from"`
	Key     string    `yaml:"key"` // the field that tells records apart; a later record replaces an earlier one
	Fields  []Field   `yaml:"fields"`
	To      []Target  `yaml:"to"`

	source  []byte
	key     int
	columns *recordio.Columns // of the source
}

// Source is where records come from: files that a partner sends, or a table that is read.
type Source struct {
	Partner  string          `yaml:"partner"`  // whose key, exchange.<partner>, signs the manifests
	Format   recordio.Format `yaml:"format"`   // ndjson, json, csv or xml
	Encoding charset         `yaml:"encoding"` // utf-8 where empty
	Row      string          `yaml:"row"`      // of XML: a record's element
	Naive    string          `yaml:"naive"`    // a time without zone: beijing, or refuse, which is the default
	Table    *TableSource    `yaml:"table"`
}

// TableSource is a table of another system that is read now and then.
type TableSource struct {
	Connection string            `yaml:"connection"` // named in the configuration
	Name       string            `yaml:"name"`
	Cursor     string            `yaml:"cursor"` // a column of whole numbers that only grow
	Every      yamlfile.Duration `yaml:"every"`  // 10s where zero
	Text       charset           `yaml:"text"`   // how the columns of text are encoded
}

// Field is one value of a record.
type Field struct {
	Name     string            `yaml:"name"`
	Title    lang.Text         `yaml:"title"`
	From     string            `yaml:"from"` // what the source calls it; its name where empty
	Type     string            `yaml:"type"` // see types
	Required bool              `yaml:"required"`
	Max      int               `yaml:"max"`   // of text: code points; 4000 where zero
	Codes    map[string]string `yaml:"codes"` // of code: what the source writes, and what it is here
	Grade    string            `yaml:"grade"` // a label, such as L3,pii=id_card,mask=3-4
	tag      label.Tag
}

// Target is a system that gets the records. Exactly one of Table, File and Push says how.
type Target struct {
	Name     string                       `yaml:"name"`
	Encoding charset                      `yaml:"encoding"` // of text; gb18030 where empty
	Columns  map[string]string            `yaml:"columns"`  // what it calls a field; the field's name where absent
	Codes    map[string]map[string]string `yaml:"codes"`    // by field: a code here, and what it is there
	Time     string                       `yaml:"time"`     // layout of times, in Go's form; RFC 3339 where empty
	Table    *TableTarget                 `yaml:"table"`
	File     *FileTarget                  `yaml:"file"`
	Push     *PushTarget                  `yaml:"push"`
}

// TableTarget is a table in another system's database.
type TableTarget struct {
	Connection string `yaml:"connection"`
	Name       string `yaml:"name"`
	Charset    string `yaml:"charset"` // the text columns': binary where empty
}

// FileTarget is a folder that another system picks files up from.
type FileTarget struct {
	Folder string          `yaml:"folder"`
	Format recordio.Format `yaml:"format"`
	Root   string          `yaml:"root"` // of XML
	Row    string          `yaml:"row"`
}

// PushTarget is an interface that takes records by HTTP.
type PushTarget struct {
	URL    string          `yaml:"url"`
	Format recordio.Format `yaml:"format"` // json, ndjson or xml
	Root   string          `yaml:"root"`
	Row    string          `yaml:"row"`
}

// encoding is that of the source's text.
func (f *Feed) encoding() charset {
	if f.From.Table != nil {
		return f.From.Table.Text
	}
	return f.From.Encoding
}

// grade is the highest of its fields'.
func (f *Feed) grade() label.Grade {
	highest := label.Ungraded
	for i := range f.Fields {
		highest = max(highest, f.Fields[i].tag.Grade)
	}
	return highest
}

// charset is how text is encoded: UTF-8, or a profile of GB 18030.
type charset struct {
	name    string
	gb      bool
	profile gb18030.Profile
}

// UnmarshalYAML implements yaml.Unmarshaler.
func (c *charset) UnmarshalYAML(n *yaml.Node) error {
	if strings.EqualFold(n.Value, "utf-8") || strings.EqualFold(n.Value, "utf8") {
		*c = charset{name: "utf-8"}
		return nil
	}
	profile, ok := gb18030.Parse(n.Value)
	if !ok {
		return errs.New(errs.Invalid, "应为 utf-8、gb18030、gb18030-2005、gb18030-2022-strict、gbk、cp936 或 gb2312",
			"must be utf-8, gb18030, gb18030-2005, gb18030-2022-strict, gbk, cp936 or gb2312").WithLine(n.Line)
	}
	*c = charset{name: profile.String(), gb: true, profile: profile}
	return nil
}

// decode appends text to dst as UTF-8.
func (c charset) decode(dst, text []byte) ([]byte, error) {
	if c.gb {
		return c.profile.AppendDecode(dst, text)
	}
	return append(dst, text...), nil
}

// encode appends text, UTF-8, to dst.
func (c charset) encode(dst, text []byte) ([]byte, error) {
	if c.gb {
		return c.profile.AppendEncode(dst, text)
	}
	return append(dst, text...), nil
}

// xml returns what the declaration of an XML file calls the charset.
func (c charset) xml() string {
	switch {
	case !c.gb:
		return "UTF-8"
	case c.profile == gb18030.GBK || c.profile == gb18030.CP936:
		return "GBK"
	case c.profile == gb18030.GB2312:
		return "GB2312"
	}
	return "GB18030"
}

// ParseFeed reads and checks a feed. The error is an *errs.Error with every finding, each with its line.
func ParseFeed(data []byte) (*Feed, error) {
	f := &Feed{source: data}
	root, err := yamlfile.Decode(data, f)
	if err != nil {
		return nil, err
	}
	l := &linter{f: f, root: root}
	l.check()
	if err := l.found.Err(); err != nil {
		return nil, err
	}
	return f, nil
}

// LoadFeeds reads the feeds of a folder; none where dir is empty.
func LoadFeeds(dir string) ([]*Feed, error) {
	if dir == "" {
		return nil, nil
	}
	return yamlfile.Load(os.DirFS(dir), dir, ParseFeed, func(f *Feed) string { return f.Name })
}

// linter collects what is wrong with a feed.
type linter struct {
	f     *Feed
	root  *yaml.Node
	found yamlfile.Findings
}

// add reports a finding about the node at a path of keys and indices.
func (l *linter) add(path []any, zh, en string) {
	line, field := yamlfile.Find(l.root, path...)
	l.found.Add(line, field, zh, en)
}

func path(steps ...any) []any { return steps }

var (
	feedName  = regexp.MustCompile(`^[a-z][a-z0-9-]{0,31}$`)
	fieldName = regexp.MustCompile(`^[a-z][A-Za-z0-9]{0,47}$`)
)

// columnName reports whether s can be the name of a column, table or element: letters, digits and underscores. (As a
// regular expression it would take megabytes.)
func columnName(s string) bool {
	for i, r := range s {
		if r != '_' && !unicode.IsLetter(r) && (i == 0 || !unicode.IsNumber(r)) {
			return false
		}
	}
	return s != "" && utf8.RuneCountInString(s) <= 64
}

const nameRule, nameRuleEN = "应为小写字母、数字和连字符，以字母开头", "must be lower-case letters, digits and hyphens, a letter first"

func (l *linter) check() {
	f := l.f
	if !feedName.MatchString(f.Name) {
		l.add(path("feed"), nameRule, nameRuleEN)
	}
	if f.Version < 1 {
		l.add(path("version"), "应为从 1 起的整数", "must be a whole number from 1")
	}
	if f.Title.ZH == "" || f.Title.EN == "" {
		l.add(path("title"), "须有中文（zh）和英文（en）", "must have both zh and en")
	}
	l.from()
	l.fields()
	if len(f.To) == 0 {
		l.add(path("to"), "至少要有一个目标", "there must be a target")
	}
	seen := map[string]bool{}
	for i := range f.To {
		l.target(i, seen)
	}
}

func (l *linter) from() {
	s := &l.f.From
	switch s.Naive {
	case "":
		s.Naive = "refuse"
	case "beijing", "refuse":
	default:
		l.add(path("from", "naive"), "应为 beijing 或 refuse", "must be beijing or refuse")
	}
	if s.Table != nil {
		if s.Partner != "" || s.Format != "" {
			l.add(path("from"), "来源或是表，或是文件，不能兼有", "the source is a table or files, not both")
		}
		l.connection(path("from", "table"), s.Table.Connection, s.Table.Name)
		if !columnName(s.Table.Cursor) {
			l.add(path("from", "table", "cursor"), "须指明递增列", "must name a column that grows")
		}
		if s.Table.Every == 0 {
			s.Table.Every = yamlfile.Duration(10 * time.Second)
		}
		return
	}
	if !feedName.MatchString(s.Partner) {
		l.add(path("from", "partner"), "须指明发送方；"+nameRule, "must name the sender: "+nameRuleEN)
	}
	l.format(path("from", "format"), s.Format, s.Row)
	if s.Format == recordio.JSON && s.Encoding.gb {
		l.add(path("from", "encoding"), "JSON 数组只能是 UTF-8；其他编码请用 ndjson", "a JSON array must be UTF-8; use ndjson for other encodings")
	}
}

func (l *linter) format(at []any, f recordio.Format, row string) {
	if !f.Known() {
		l.add(at, "应为 ndjson、json、csv 或 xml", "must be ndjson, json, csv or xml")
	}
	if f == recordio.XML && !columnName(row) {
		l.add(at, "XML 须以 row 指明记录的元素名", "XML needs the name of a record's element in row")
	}
}

func (l *linter) connection(at []any, connection, name string) {
	if !feedName.MatchString(connection) {
		l.add(append(at, "connection"), "须指明配置中的连接", "must name a connection of the configuration")
	}
	if !columnName(name) {
		l.add(append(at, "name"), "须指明表名", "must name a table")
	}
}

func (l *linter) fields() {
	f := l.f
	f.key = -1
	names, from := map[string]bool{}, map[string]bool{}
	var columns []string
	for i := range f.Fields {
		field := &f.Fields[i]
		if field.From == "" {
			field.From = field.Name
		}
		if !fieldName.MatchString(field.Name) || names[field.Name] {
			l.add(path("fields", i, "name"), "字段名应为字母和数字，以小写字母开头，不重复", "a field's name is letters and digits, a lower-case letter first, and used once")
		}
		if !columnName(field.From) || from[field.From] {
			l.add(path("fields", i, "from"), "来源列名应为文字、数字和下划线，不重复", "a source column is letters, digits and underscores, and used once")
		}
		names[field.Name], from[field.From] = true, true
		columns = append(columns, field.From)
		if field.Name == f.Key {
			f.key = i
			if !field.Required {
				l.add(path("fields", i), "作为键的字段须为必填（required: true）", "the field that is the key must be required")
			}
		}
		l.field(i, field)
	}
	if f.key < 0 {
		l.add(path("key"), "须是 fields 中的一个字段", "must be one of the fields")
	}
	f.columns = recordio.NewColumns(columns...)
}

func (l *linter) field(i int, field *Field) {
	if types[field.Type] == nil {
		l.add(path("fields", i, "type"), "没有这种类型", "there is no such type")
	}
	if (field.Type == "code") != (len(field.Codes) > 0) {
		l.add(path("fields", i, "codes"), "代码表（codes）与类型 code 须同时出现", "codes and the type code go together")
	}
	var err error
	if field.tag, err = label.ParseTag(field.Grade); err != nil {
		e := errs.As(err)
		l.add(path("fields", i, "grade"), e.Msg.ZH, e.Msg.EN)
	}
	if field.Max == 0 {
		field.Max = 4000
	}
}

func (l *linter) target(i int, seen map[string]bool) {
	t := &l.f.To[i]
	if !feedName.MatchString(t.Name) || seen[t.Name] {
		l.add(path("to", i, "name"), nameRule+"，不重复", nameRuleEN+", and used once")
	}
	seen[t.Name] = true
	if t.Encoding.name == "" {
		t.Encoding = charset{name: gb18030.V2022.String(), gb: true, profile: gb18030.V2022}
	}
	if t.Time == "" {
		t.Time = "2006-01-02T15:04:05.000Z07:00"
	}
	ways := 0
	if t.Table != nil {
		ways++
		l.connection(path("to", i, "table"), t.Table.Connection, t.Table.Name)
		if t.Table.Charset == "" {
			t.Table.Charset = "binary"
		}
		if !slices.Contains([]string{"binary", "gbk", "gb2312", "gb18030", "utf8mb4"}, t.Table.Charset) {
			l.add(path("to", i, "table", "charset"), "应为 binary、gbk、gb2312、gb18030 或 utf8mb4", "must be binary, gbk, gb2312, gb18030 or utf8mb4")
		}
	}
	if t.File != nil {
		ways++
		l.format(path("to", i, "file", "format"), t.File.Format, t.File.Row)
		if !filepath.IsAbs(t.File.Folder) {
			l.add(path("to", i, "file", "folder"), "应为绝对路径", "must be an absolute path")
		}
	}
	if t.Push != nil {
		ways++
		l.format(path("to", i, "push", "format"), t.Push.Format, t.Push.Row)
		if !strings.HasPrefix(t.Push.URL, "http://") && !strings.HasPrefix(t.Push.URL, "https://") {
			l.add(path("to", i, "push", "url"), "应为 http 或 https 地址", "must be an http or https URL")
		}
	}
	if ways != 1 {
		l.add(path("to", i), "须有 table、file、push 之一", "must have one of table, file and push")
	}
	for field, column := range t.Columns {
		if !l.hasField(field) || !columnName(column) {
			l.add(path("to", i, "columns", field), "须是字段名与列名", "must be a field and a column's name")
		}
	}
	for field := range t.Codes {
		if !l.hasField(field) {
			l.add(path("to", i, "codes", field), "没有这个字段", "there is no such field")
		}
	}
}

func (l *linter) hasField(name string) bool {
	return slices.ContainsFunc(l.f.Fields, func(f Field) bool { return f.Name == name })
}
