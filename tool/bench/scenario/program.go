package scenario

import (
	"encoding/csv"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net/textproto"
	"slices"
	"strings"

	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/yamlfile"
)

// Program is a compiled definition: what streams draw from. It does not change.
type Program struct {
	requests []request
	weights  []float64
	feeds    []feed
	slots    [][]slot // of the feeds
	values   int      // how many slots there are
	grpc     bool
}

// request is a compiled request.
type request struct {
	name       string
	method     string
	path       []part
	headers    []header
	head       []part // of HTTP/1.1, from the blank before the version on; up to the blank line where the body is fixed
	body       []part
	bodyEscape escape
	fixedBody  []byte // not nil where no value is in the body
	feeds      []int  // to be drawn, in order
	checks     []check
	keep       *keep
	needsBody  bool
	grpc       bool
	call       *call // of gRPC with descriptors
}

type header struct {
	name  string
	value []part
}

// keep says what is kept of an acknowledgement.
type keep struct {
	key   []part
	field field
}

// Names returns the names of the requests.
func (p *Program) Names() []string {
	var all []string
	for i := range p.requests {
		all = append(all, p.requests[i].name)
	}
	return all
}

// Keeps reports whether any request keeps something of its answers.
func (p *Program) Keeps() bool {
	return slices.ContainsFunc(p.requests, func(r request) bool { return r.keep != nil })
}

// compiler compiles a definition and collects what is wrong with it.
type compiler struct {
	d       *Definition
	at      At
	f       yamlfile.Findings
	p       *Program
	byName  map[string]int      // feeds
	columns map[string][]string // of feeds that have some
	known   map[string]int      // slots
	owner   []int               // feed of a slot
}

// Compile returns the program of a definition whose requests go to host. files is where CSV files lie; at finds the lines
// of its parts, as yamlfile.Find does, and may be nil where there is no file.
func (d *Definition) Compile(host string, files fs.FS, at At) (*Program, error) {
	c := &compiler{d: d, at: func(steps ...any) (int, string) { return where(at, steps...) }, p: &Program{grpc: d.Protocol == "grpc"}, byName: map[string]int{}, columns: map[string][]string{}, known: map[string]int{}}
	for _, name := range slices.Sorted(maps.Keys(d.Data)) {
		c.feed(name, d.Data[name], files)
	}
	if len(d.Requests) == 0 {
		c.find("没有请求", "there are no requests", "requests")
	}
	var weights []float64
	seen := map[string]bool{}
	for i := range d.Requests {
		r := c.request(i, &d.Requests[i], host)
		if seen[r.name] {
			c.find("与另一请求同名", "another request has this name", "requests", i, "name")
		}
		seen[r.name] = true
		weight := 1.0
		if w := d.Requests[i].Weight; w != nil {
			weight = *w
		}
		if weight < 0 || weight > 1e9 || weight != weight {
			c.find("权重须在 0 与 10 亿之间", "a weight is between 0 and a thousand million", "requests", i, "weight")
			weight = 0
		}
		c.p.requests = append(c.p.requests, r)
		weights = append(weights, weight)
	}
	c.p.weights = sums(weights)
	if n := len(weights); n > 0 && c.p.weights[n-1] <= 0 {
		c.find("所有请求的权重都是 0", "all requests weigh 0", "requests")
	}
	if c.p.grpc || d.Descriptors != "" {
		c.calls(files)
	}
	return c.p, c.f.Err()
}

func (c *compiler) find(zh, en string, steps ...any) {
	line, field := c.at(steps...)
	c.f.Add(line, field, zh, en)
}

// request compiles one request.
func (c *compiler) request(i int, d *RequestDef, host string) request {
	r := request{name: d.Name, grpc: c.p.grpc, method: strings.ToUpper(d.Method), bodyEscape: asIs}
	slots := map[int]bool{} // asked for by this request
	parts := func(text, part string) []part {
		return compile(c.d.expand(text), func(name string) int {
			n, ok := c.slot(name)
			if !ok {
				c.find("${…} 中的名字没有定义", "a name in ${…} is not defined", "requests", i, part)
			}
			slots[n] = true
			return n
		})
	}
	body := d.Body
	if d.BodyHex != "" {
		raw, err := hex.DecodeString(d.BodyHex)
		if err != nil || d.Body != "" {
			c.find("应为十六进制，且不与 body 同用", "must be hexadecimal, and not beside body", "requests", i, "bodyHex")
		}
		r.body = []part{{string(raw), -1}}
	}
	if r.method == "" {
		r.method = "GET"
		if body != "" || d.BodyHex != "" {
			r.method = "POST"
		}
	}
	if !isToken(r.method) {
		c.find("方法不对", "not a method", "requests", i, "method")
	}
	if r.name == "" {
		r.name = fmt.Sprintf("request-%d", i+1)
	}
	if path := c.d.expand(d.Path); !strings.HasPrefix(path, "/") || strings.ContainsFunc(path, func(c rune) bool { return c <= ' ' || c == 0x7f }) {
		c.find("应以 / 开头，且不含空白", "must begin with / and hold no blanks", "requests", i, "path")
	}
	r.path = parts(d.Path, "path")
	c.headers(i, d, &r, parts)
	if body != "" {
		r.body = parts(body, "body")
	}
	c.frame(&r, host)
	for n := range d.Checks {
		c.check(i, n, &d.Checks[n], &r)
	}
	if d.Keep != nil {
		r.keep = &keep{key: parts(d.Keep.Key, "keep"), field: parseField(d.Keep.Field)}
		if d.Keep.Key == "" || len(r.keep.field) == 0 {
			c.find("须有 key 与 field", "needs key and field", "requests", i, "keep")
		}
		r.needsBody = true
	}
	feeds := map[int]bool{}
	for n := range slots {
		if n >= 0 {
			feeds[c.owner[n]] = true
		}
	}
	r.feeds = slices.Sorted(maps.Keys(feeds))
	return r
}

// headers compiles the headers of a request.
func (c *compiler) headers(i int, d *RequestDef, r *request, parts func(text, part string) []part) {
	typed := false
	for _, name := range slices.Sorted(maps.Keys(d.Headers)) {
		value, canonical := c.d.expand(d.Headers[name]), textproto.CanonicalMIMEHeaderKey(name)
		switch {
		case !isToken(name) || strings.ContainsAny(value, "\r\n\x00"):
			c.find("不是合法的头字段", "not a header field", "requests", i, "headers", name)
			continue
		case canonical == "Content-Length" || canonical == "Transfer-Encoding" || canonical == "Connection":
			c.find("此头字段由程序填写", "this field is written by the program", "requests", i, "headers", name)
			continue
		case canonical == "Content-Type":
			typed = true
			if strings.Contains(value, "json") {
				r.bodyEscape = asJSON
			}
		}
		r.headers = append(r.headers, header{name, parts(value, "headers")})
	}
	if !typed && d.Body != "" {
		r.headers = append(r.headers, header{"Content-Type", []part{{"application/json", -1}}})
		r.bodyEscape = asJSON
	}
}

// frame writes the head of HTTP/1.1.
func (c *compiler) frame(r *request, host string) {
	head := []part{{" HTTP/1.1\r\n", -1}}
	text := func(s string) {
		if last := &head[len(head)-1]; last.slot < 0 {
			last.text += s
		} else {
			head = append(head, part{s, -1})
		}
	}
	if !slices.ContainsFunc(r.headers, func(h header) bool { return strings.EqualFold(h.name, "Host") }) {
		text("Host: " + host + "\r\n")
	}
	for _, h := range r.headers {
		text(h.name + ": ")
		for _, p := range h.value {
			if p.slot < 0 {
				text(p.text)
			} else {
				head = append(head, p)
			}
		}
		text("\r\n")
	}
	if !slices.ContainsFunc(r.body, func(p part) bool { return p.slot >= 0 }) {
		r.fixedBody = []byte{}
		for _, p := range r.body {
			r.fixedBody = append(r.fixedBody, p.text...)
		}
		if len(r.fixedBody) > 0 || r.method != "GET" && r.method != "HEAD" {
			text(fmt.Sprintf("Content-Length: %d\r\n", len(r.fixedBody)))
		}
		text("\r\n")
	}
	r.head = head
}

// slot returns the slot of a name: a feed, or feed.column.
func (c *compiler) slot(name string) (int, bool) {
	if n, ok := c.known[name]; ok {
		return n, true
	}
	base, column, dotted := strings.Cut(name, ".")
	feed, ok := c.byName[base]
	at := slices.Index(c.columns[base], column)
	if !ok || dotted != (c.columns[base] != nil) || dotted && at < 0 {
		return -1, false
	}
	n := c.p.values
	c.p.values++
	c.owner = append(c.owner, feed)
	c.p.slots[feed] = append(c.p.slots[feed], slot{max(at, 0), n})
	c.known[name] = n
	return n, true
}

// feed compiles one feed.
func (c *compiler) feed(name string, d FeedDef, files fs.FS) {
	if _, twice := c.d.Variables[name]; twice || !isName(name) {
		c.find("名字须由字母、数字、_ 和 - 组成，且不与变量同名", "a name has letters, digits, _ and -, and is no variable's", "data", name)
		return
	}
	made, err := c.make(name, d, files)
	if err != nil {
		e := errs.As(err)
		line, field := c.at("data", name)
		if e.Line > 0 {
			e.Msg.ZH = fmt.Sprintf("第 %d 行：%s", e.Line, e.Msg.ZH)
			e.Msg.EN = fmt.Sprintf("line %d: %s", e.Line, e.Msg.EN)
		}
		c.f.Add(line, field, e.Msg.ZH, e.Msg.EN)
	}
	c.byName[name] = len(c.p.feeds)
	c.p.feeds, c.p.slots = append(c.p.feeds, made), append(c.p.slots, nil)
}

func (c *compiler) make(name string, d FeedDef, files fs.FS) (feed, error) {
	if d.Order != "" && d.Order != "random" && d.Order != "sequence" {
		return nil, errs.New(errs.Invalid, "order 应为 random 或 sequence", "order is random or sequence")
	}
	switch d.Kind {
	case "sequence":
		if d.From < 0 || d.Width < 0 || d.Width > 40 {
			return nil, errs.New(errs.Invalid, "from 不能为负，width 最大 40", "from is not negative, width at most 40")
		}
		return sequence{uint64(d.From), d.Width}, nil
	case "uuid":
		return uuid{}, nil
	case "id-card":
		return idCard{uint64(max(d.From, 0))}, nil
	case "integer":
		if d.To < d.From {
			return nil, errs.New(errs.Invalid, "to 不能小于 from", "to is not below from")
		}
		return integer{d.From, d.To}, nil
	case "choice":
		return choice(d)
	case "csv":
		columns, all, err := readCSV(files, d.File)
		if err != nil {
			return nil, err
		}
		c.columns[name] = columns
		return rows{rows: all, inTurn: d.Order == "sequence"}, nil
	}
	return nil, errs.New(errs.Invalid, "kind 应为 sequence、uuid、integer、choice、csv 或 id-card", "kind is sequence, uuid, integer, choice, csv or id-card")
}

func choice(d FeedDef) (feed, error) {
	if len(d.Of) == 0 || d.Weights != nil && (len(d.Weights) != len(d.Of) || d.Order == "sequence") {
		return nil, errs.New(errs.Invalid, "of 须有值；weights 须与之一一对应，且不按顺序", "of needs values; weights, one for each, and not in sequence")
	}
	r := rows{inTurn: d.Order == "sequence"}
	for _, v := range d.Of {
		r.rows = append(r.rows, []string{v})
	}
	if d.Weights != nil {
		r.weights = sums(d.Weights)
		if !slices.IsSorted(r.weights) || r.weights[0] < 0 || !(r.weights[len(r.weights)-1] > 0) {
			return nil, errs.New(errs.Invalid, "weights 不能为负，且不能全为 0", "weights are not negative, and not all 0")
		}
	}
	return r, nil
}

// maxRows bounds a file of data.
const maxRows = 1 << 20

// readCSV reads a file whose first line has the names of its columns.
func readCSV(files fs.FS, name string) (columns []string, all [][]string, err error) {
	if files == nil || name == "" {
		return nil, nil, errs.New(errs.Invalid, "须有 file", "needs file")
	}
	f, err := files.Open(name)
	if err != nil {
		return nil, nil, errs.Wrap(err, errs.NotFound, "file 无法读取；路径相对于方案文件，且在其目录之内", "file can't be read; its path is relative to the scenario and within its folder")
	}
	defer f.Close()
	return parseCSV(f)
}

func parseCSV(r io.Reader) (columns []string, all [][]string, err error) {
	in := csv.NewReader(r)
	for {
		row, err := in.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			var at *csv.ParseError
			line := 1
			if errors.As(err, &at) {
				line = at.Line
			}
			return nil, nil, errs.Wrap(err, errs.Invalid, "CSV 无法读取，或列数与首行不同", "the CSV can't be read, or has other columns than its first line").WithLine(line)
		}
		if columns == nil {
			row[0] = strings.TrimPrefix(row[0], "\ufeff")
			if i := slices.IndexFunc(row, func(s string) bool { return !isName(s) }); i >= 0 {
				return nil, nil, errs.New(errs.Invalid, "首行应为列名，由字母、数字、_ 和 - 组成", "the first line has names of columns: letters, digits, _ and -").WithLine(1)
			}
			columns = row
			continue
		}
		if all = append(all, row); len(all) > maxRows {
			return nil, nil, errs.Newf(errs.TooLarge, "最多 %d 行", "at most %d lines", maxRows)
		}
	}
	if len(all) == 0 {
		return nil, nil, errs.New(errs.Invalid, "文件没有数据", "the file has no data").WithLine(1)
	}
	return columns, all, nil
}

func isName(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(c rune) bool {
		return c != '_' && c != '-' && (c < '0' || c > '9') && (c|0x20 < 'a' || c|0x20 > 'z')
	})
}

// isToken reports whether s is a token of RFC 9110, section 5.6.2.
func isToken(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(c rune) bool {
		return !strings.ContainsRune("!#$%&'*+-.^_`|~", c) && (c < '0' || c > '9') && (c|0x20 < 'a' || c|0x20 > 'z')
	})
}
