package scenario

import (
	"encoding/hex"
	"fmt"
	"io/fs"
	"maps"
	"net/textproto"
	"slices"
	"strings"

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
