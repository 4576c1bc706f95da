package jsonmask

import (
	"encoding/binary"
	"slices"
	"strings"

	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/label"
)

// Rules become a deterministic automaton: its states are the places in all rules at which a path may stand, its symbols
// the names that rules have, and symbol 0 any other. One look-up by name and one by state take the scanner from a value
// to a member of it.

// state is what becomes of a scalar that the automaton arrives at. Masks follow actMask in Masker.masks.
type state struct{ act uint16 }

const (
	actPass uint16 = iota
	actDetect
	actMask
)

const maxStates = 4096

// place is a position in a rule.
type place struct{ rule, at int }

type compiler struct {
	paths   [][]string
	symbols []string // by number less one
	sets    map[string]uint16
	todo    [][]place
}

func (m *Masker) compile() error {
	c := compiler{sets: map[string]uint16{}}
	for _, r := range m.o.Rules {
		path, err := segments(r.Path)
		if err != nil {
			return err
		}
		c.paths = append(c.paths, path)
		for _, name := range path {
			if name := fold(name); name != "*" && name != "**" && !slices.Contains(c.symbols, name) {
				c.symbols = append(c.symbols, name)
			}
		}
	}
	m.names = newNames(c.symbols)
	var start []place
	for i := range c.paths {
		start = append(start, place{i, 0})
	}
	c.id(c.closure(start))
	for n := 0; n < len(c.todo); n++ {
		if len(c.todo) > maxStates {
			return errs.New(errs.Invalid, "路径规则过于复杂", "the rules have too many combinations").WithCode("jsonmask.rules")
		}
		set := c.todo[n]
		m.states = append(m.states, state{m.act(c.accepted(set))})
		m.next = append(m.next, c.id(c.step(set, "")))
		for _, name := range c.symbols {
			m.next = append(m.next, c.id(c.step(set, name)))
		}
	}
	return nil
}

// act returns what becomes of values that rule i accepts, or of those that none does, where i is -1.
func (m *Masker) act(i int) uint16 {
	mask := m.o.Otherwise
	switch {
	case i >= 0 && m.o.Rules[i].Pass:
		return actPass
	case i >= 0:
		if mask = m.o.Rules[i].Mask; mask.IsZero() {
			mask = label.MaskDrop
		}
	case mask.IsZero() && m.o.Detect:
		return actDetect
	case mask.IsZero():
		return actPass
	}
	if mask == label.MaskDetect {
		return actDetect
	}
	n := slices.Index(m.masks, mask)
	if n < 0 {
		n = len(m.masks)
		m.masks = append(m.masks, mask)
	}
	return actMask + uint16(n)
}

// accepted returns the first rule whose path has ended in set, or -1. Places are sorted by rule.
func (c *compiler) accepted(set []place) int {
	for _, p := range set {
		if p.at == len(c.paths[p.rule]) {
			return p.rule
		}
	}
	return -1
}

// step returns the places after a member of a name; "" is a name that no rule has. A path that has ended stays so: its
// rule is for all within.
func (c *compiler) step(set []place, name string) (after []place) {
	for _, p := range set {
		path := c.paths[p.rule]
		switch {
		case p.at == len(path), path[p.at] == "**":
			after = append(after, p)
		case path[p.at] == "*", name != "" && fold(path[p.at]) == name:
			after = append(after, place{p.rule, p.at + 1})
		}
	}
	return c.closure(after)
}

// closure adds what "**" leads to when it stands for nothing.
func (c *compiler) closure(set []place) []place {
	for i := 0; i < len(set); i++ {
		p := set[i]
		if path := c.paths[p.rule]; p.at < len(path) && path[p.at] == "**" {
			if after := (place{p.rule, p.at + 1}); !slices.Contains(set, after) {
				set = append(set, after)
			}
		}
	}
	slices.SortFunc(set, func(a, b place) int {
		if a.rule != b.rule {
			return a.rule - b.rule
		}
		return a.at - b.at
	})
	return slices.Compact(set)
}

// id returns the number of a set of places.
func (c *compiler) id(set []place) uint16 {
	var key []byte
	for _, p := range set {
		key = binary.AppendUvarint(binary.AppendUvarint(key, uint64(p.rule)), uint64(p.at))
	}
	n, ok := c.sets[string(key)]
	if !ok {
		n = uint16(len(c.todo))
		c.sets[string(key)] = n
		c.todo = append(c.todo, set)
	}
	return n
}

// fold makes the ASCII letters of s small.
func fold(s string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'A' && r <= 'Z' {
			return r + 'a' - 'A'
		}
		return r
	}, s)
}

// names finds the symbol of a name: an open table, by the first and the last eight bytes and the length.
type names struct {
	list  []string    // by symbol less one
	may   [256]uint64 // by first byte: a bit for every length modulo 64 that a name with it has
	table []entry
	shift uint
}

type entry struct {
	hash   uint64
	symbol uint16 // 0 where the entry is free
	name   string // folded
}

func newNames(symbols []string) names {
	size, shift := 8, uint(61)
	for size < 4*len(symbols) {
		size, shift = size*2, shift-1
	}
	n := names{list: symbols, table: make([]entry, size), shift: shift}
	for i, s := range symbols {
		h := hash([]byte(s))
		at := int(h >> shift)
		for n.table[at].symbol != 0 {
			at = (at + 1) % size
		}
		n.table[at] = entry{h, uint16(i + 1), s}
		n.may[s[0]] |= 1 << (len(s) % 64)
		if s[0] >= 'a' && s[0] <= 'z' {
			n.may[s[0]-'a'+'A'] |= 1 << (len(s) % 64)
		}
	}
	return n
}

// symbol returns the number of name; 0 where no rule has it. Most names are told apart by their first letter and length.
func (n *names) symbol(name []byte) uint16 {
	if len(name) == 0 || n.may[name[0]]>>(len(name)%64)&1 == 0 {
		return 0
	}
	return n.find(name)
}

func (n *names) find(name []byte) uint16 {
	h := hash(name)
	for at := int(h >> n.shift); ; {
		e := &n.table[at&(len(n.table)-1)]
		if e.symbol == 0 || e.hash == h && sameFold(name, e.name) {
			return e.symbol
		}
		at++
	}
}

// hash takes letters of both cases for the same; it may take other bytes for the same, too.
func hash(name []byte) uint64 {
	const small, prime = 0x2020202020202020, 0x9e3779b97f4a7c15
	var first, last uint64
	switch n := len(name); {
	case n >= 8:
		first, last = binary.LittleEndian.Uint64(name), binary.LittleEndian.Uint64(name[n-8:])
	case n >= 4:
		first, last = uint64(binary.LittleEndian.Uint32(name)), uint64(binary.LittleEndian.Uint32(name[n-4:]))
	case n > 0:
		first, last = uint64(name[0])|uint64(name[n/2])<<8, uint64(name[n-1])
	}
	h := (first|small)*prime ^ (last | small) ^ uint64(len(name))<<56
	return h * prime
}

func sameFold(name []byte, folded string) bool {
	if len(name) != len(folded) {
		return false
	}
	for i, c := range name {
		if c >= 'A' && c <= 'Z' {
			c += 'a' - 'A'
		}
		if c != folded[i] {
			return false
		}
	}
	return true
}
