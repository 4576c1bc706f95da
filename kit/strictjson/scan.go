package strictjson

import (
	"encoding/binary"
	"hash/maphash"
	"math/bits"
	"sync"
	"unicode/utf8"

	"github.com/qiongdev/qiong/kit/errs"
)

// scanner reads one document. It is kept in a pool so that a check allocates nothing in the common case.
type scanner struct {
	data   []byte
	pos    int
	lim    Limits
	frames []frame // the open objects and arrays, outermost first
	names  []name  // the names of the open objects, one run per object
	index  map[slot]int
	serial uint32 // counts the objects, so that one index serves them all
	folded []byte // scratch for one folded name
	seed   maphash.Seed
}

// frame is one open object or array: what an error needs to say where it is.
type frame struct {
	object bool
	base   int    // first of its names in scanner.names
	serial uint32 // its key in scanner.index
	member name   // the current member of an object
	item   int    // the current item of an array
}

// name is a member name: the hash of its case-folded form, and where its quoted form stands in the document.
type name struct {
	hash       uint64
	start, end int
}

type slot struct {
	serial uint32
	hash   uint64
}

// Objects of few names are searched through; larger ones through the index, or a hostile document would cost n².
const indexFrom = 24

var scanners = sync.Pool{New: func() any { return &scanner{seed: maphash.MakeSeed()} }}

func (s *scanner) reset(data []byte, lim Limits) {
	s.data, s.pos, s.lim, s.serial = data, 0, lim, 0
	s.frames, s.names = s.frames[:0], s.names[:0]
}

func (s *scanner) release() {
	s.data = nil
	if len(s.index) > 0 {
		clear(s.index)
	}
	if cap(s.names) > 1<<14 {
		s.names, s.index = nil, nil
	}
	scanners.Put(s)
}

func (s *scanner) document() *errs.Error {
	s.space()
	if s.pos == len(s.data) {
		return s.fail(s.pos, CodeEmpty, "没有 JSON 内容", "there is no JSON document")
	}
	if err := s.value(); err != nil {
		return err
	}
	s.space()
	if s.pos < len(s.data) {
		return s.fail(s.pos, CodeTrailing, "JSON 文档结束后还有内容", "something follows the JSON document")
	}
	return nil
}

func (s *scanner) space() {
	if s.pos < len(s.data) && s.data[s.pos] > ' ' {
		return
	}
	s.spaces()
}

func (s *scanner) spaces() {
	for s.pos < len(s.data) {
		switch s.data[s.pos] {
		case ' ', '\t', '\n', '\r':
			s.pos++
		default:
			return
		}
	}
}

// value reads one value; s.pos stands at its first byte.
func (s *scanner) value() *errs.Error {
	if s.pos >= len(s.data) {
		return s.truncated()
	}
	switch c := s.data[s.pos]; c {
	case '{':
		return s.object()
	case '[':
		return s.array()
	case '"':
		return s.str()
	case 't':
		return s.literal("true")
	case 'f':
		return s.literal("false")
	case 'n':
		return s.literal("null")
	default:
		if c == '-' || digit(c) {
			return s.number()
		}
		return s.unexpected()
	}
}

func (s *scanner) open(object bool) *errs.Error {
	if len(s.frames) >= s.lim.Depth {
		return s.failf(s.pos, CodeDepth, "嵌套超过 %d 层", "nested deeper than %d levels", s.lim.Depth)
	}
	s.serial++
	s.frames = append(s.frames, frame{object: object, base: len(s.names), serial: s.serial, item: -1})
	s.pos++
	return nil
}

func (s *scanner) close() {
	last := len(s.frames) - 1
	s.names = s.names[:s.frames[last].base]
	s.frames = s.frames[:last]
	s.pos++
}

func (s *scanner) array() *errs.Error {
	if err := s.open(false); err != nil {
		return err
	}
	s.space()
	if s.at(']') {
		s.close()
		return nil
	}
	for {
		s.frames[len(s.frames)-1].item++
		if err := s.value(); err != nil {
			return err
		}
		s.space()
		switch {
		case s.at(','):
			s.pos++
			s.space()
		case s.at(']'):
			s.close()
			return nil
		default:
			return s.unexpected()
		}
	}
}

func (s *scanner) object() *errs.Error {
	if err := s.open(true); err != nil {
		return err
	}
	s.space()
	if s.at('}') {
		s.close()
		return nil
	}
	for {
		if err := s.member(); err != nil {
			return err
		}
		s.space()
		switch {
		case s.at(','):
			s.pos++
			s.space()
		case s.at('}'):
			s.close()
			return nil
		default:
			return s.unexpected()
		}
	}
}

func (s *scanner) member() *errs.Error {
	if !s.at('"') {
		return s.unexpected()
	}
	start := s.pos
	if err := s.str(); err != nil {
		return err
	}
	if err := s.admit(name{start: start, end: s.pos}); err != nil {
		return err
	}
	s.space()
	if !s.at(':') {
		return s.unexpected()
	}
	s.pos++
	s.space()
	return s.value()
}

// admit enters a name in the innermost object, unless it is there already.
func (s *scanner) admit(n name) *errs.Error {
	s.folded = fold(s.folded[:0], s.data[n.start:n.end])
	n.hash = maphash.Bytes(s.seed, s.folded)
	f := &s.frames[len(s.frames)-1]
	f.member = n
	known := s.names[f.base:]
	if len(known) >= s.lim.Names {
		return s.failf(n.start, CodeNames, "一个对象超过 %d 个成员", "an object has more than %d members", s.lim.Names)
	}
	if other, found := s.find(f, known, n); found {
		if sameName(s.data[other.start:other.end], s.data[n.start:n.end]) {
			return s.fail(n.start, CodeDuplicateKey, "同一对象中名称重复", "the name stands twice in one object")
		}
		return s.fail(n.start, CodeCaseKey, "同一对象中有两个名称仅大小写不同",
			"two names of one object differ only in letter case")
	}
	s.names = append(s.names, n)
	return nil
}

// find returns the name among known that equals n but for case. Equal hashes are believed only after a comparison.
func (s *scanner) find(f *frame, known []name, n name) (name, bool) {
	if len(known) >= indexFrom {
		if s.index == nil {
			s.index = make(map[slot]int)
		}
		if len(known) == indexFrom {
			for i, k := range known {
				s.index[slot{f.serial, k.hash}] = i
			}
		}
		if _, hit := s.index[slot{f.serial, n.hash}]; !hit {
			s.index[slot{f.serial, n.hash}] = len(known)
			return name{}, false
		}
	}
	for _, k := range known {
		if k.hash == n.hash && string(fold(nil, s.data[k.start:k.end])) == string(s.folded) {
			return k, true
		}
	}
	return name{}, false
}

// str reads a string, quotes included, and proves every byte of it.
func (s *scanner) str() *errs.Error {
	data, i := s.data, s.pos+1
	for {
		i = plain(data, i)
		if i >= len(data) {
			s.pos = len(data)
			return s.truncated()
		}
		switch c := data[i]; {
		case c == '"':
			s.pos = i + 1
			return nil
		case c == '\\':
			n, err := s.escape(i)
			if err != nil {
				return err
			}
			i += n
		case c < 0x20:
			return s.fail(i, CodeControl, "字符串中有未转义的控制字符", "a string holds a raw control character")
		default:
			n := runes(data[i:])
			if n == 0 {
				return s.notUTF8(i)
			}
			i += n
		}
	}
}

// runes returns the length of the run of valid runes outside ASCII that data begins with; 0 where it begins with none.
// The common Han characters, three bytes from U+4000 to U+CFFF, are proven without a call.
func runes(data []byte) int {
	i := 0
	for i < len(data) && data[i] >= utf8.RuneSelf {
		if c := data[i]; c >= 0xe4 && c <= 0xec && i+2 < len(data) && data[i+1]&0xc0 == 0x80 && data[i+2]&0xc0 == 0x80 {
			i += 3
			continue
		}
		r, n := utf8.DecodeRune(data[i:])
		if r == utf8.RuneError && n == 1 {
			break
		}
		i += n
	}
	return i
}

func (s *scanner) notUTF8(at int) *errs.Error {
	if !utf8.FullRune(s.data[at:]) {
		s.pos = len(s.data)
		return s.truncated()
	}
	return s.fail(at, CodeUTF8, "字符串不是有效的 UTF-8", "a string is not valid UTF-8")
}

// plain returns the first index from i on that needs a closer look: a quote, a backslash, a control character, or a
// byte outside ASCII. It reads eight bytes at a time.
func plain(data []byte, i int) int {
	const low, high = 0x0101010101010101, 0x8080808080808080
	for ; i+8 <= len(data); i += 8 {
		w := binary.LittleEndian.Uint64(data[i:])
		quote, slash := w^(low*'"'), w^(low*'\\')
		if hit := (w | (w - low*0x20) | (quote - low) | (slash - low)) & high; hit != 0 {
			// A borrow can only mark a byte above the first true hit, so the lowest mark is the true one.
			return i + bits.TrailingZeros64(hit)/8
		}
	}
	for i < len(data) {
		if c := data[i]; c == '"' || c == '\\' || c < 0x20 || c >= utf8.RuneSelf {
			break
		}
		i++
	}
	return i
}

// escape proves the escape at i and returns its length.
func (s *scanner) escape(i int) (int, *errs.Error) {
	if i+1 >= len(s.data) {
		s.pos = len(s.data)
		return 0, s.truncated()
	}
	switch s.data[i+1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return 2, nil
	case 'u':
		return s.unicode(i)
	}
	return 0, s.fail(i, CodeSyntax, "无效的转义", "this escape does not exist")
}

func (s *scanner) unicode(i int) (int, *errs.Error) {
	r, err := s.hex(i)
	if err != nil {
		return 0, err
	}
	switch {
	case r == 0 && !s.lim.AllowNUL:
		return 0, s.fail(i, CodeNUL, "字符串中有空字符 \\u0000", "a string holds \\u0000")
	case r < 0xd800 || r > 0xdfff:
		return 6, nil
	case r > 0xdbff:
		return 0, s.lone(i)
	}
	for k, c := range [...]byte{'\\', 'u'} {
		if i+6+k >= len(s.data) {
			s.pos = len(s.data)
			return 0, s.truncated()
		}
		if s.data[i+6+k] != c {
			return 0, s.lone(i)
		}
	}
	second, err := s.hex(i + 6)
	if err != nil {
		return 0, err
	}
	if second < 0xdc00 || second > 0xdfff {
		return 0, s.lone(i)
	}
	return 12, nil
}

// hex reads the four digits of the \u escape at i.
func (s *scanner) hex(i int) (rune, *errs.Error) {
	var r rune
	for k := i + 2; k < i+6; k++ {
		if k >= len(s.data) {
			s.pos = len(s.data)
			return 0, s.truncated()
		}
		d := hexDigit(s.data[k])
		if d < 0 {
			return 0, s.fail(i, CodeSyntax, "无效的转义", "this escape does not exist")
		}
		r = r<<4 | d
	}
	return r, nil
}

func hexDigit(c byte) rune {
	switch {
	case digit(c):
		return rune(c - '0')
	case c >= 'a' && c <= 'f':
		return rune(c-'a') + 10
	case c >= 'A' && c <= 'F':
		return rune(c-'A') + 10
	}
	return -1
}

func digit(c byte) bool { return c >= '0' && c <= '9' }

func (s *scanner) at(c byte) bool { return s.pos < len(s.data) && s.data[s.pos] == c }

func (s *scanner) literal(word string) *errs.Error {
	for i := range len(word) {
		if !s.at(word[i]) {
			return s.unexpected()
		}
		s.pos++
	}
	return nil
}

// number reads -?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?
func (s *scanner) number() *errs.Error {
	if s.at('-') {
		s.pos++
	}
	if s.at('0') {
		s.pos++
	} else if !s.digits() {
		return s.unexpected()
	}
	if s.at('.') {
		s.pos++
		if !s.digits() {
			return s.unexpected()
		}
	}
	if s.at('e') || s.at('E') {
		s.pos++
		if s.at('+') || s.at('-') {
			s.pos++
		}
		if !s.digits() {
			return s.unexpected()
		}
	}
	return nil
}

func (s *scanner) digits() bool {
	start := s.pos
	for s.pos < len(s.data) && digit(s.data[s.pos]) {
		s.pos++
	}
	return s.pos > start
}
