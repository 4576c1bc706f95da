package powercut

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Loss says what becomes of what was not synced when the power went.
type Loss string

// The losses. All three are allowed to a disk.
const (
	All  Loss = "all"  // it is gone, and so are names made in a folder that was not synced
	Some Loss = "some" // writes survive at random, and by sectors; of names, as many as a journal had
	None Loss = "none" // it is there, as after a kill
)

// Losses lists them.
var Losses = []Loss{All, Some, None}

// sector is what a disk writes whole.
const sector = 512

// Disk is a folder as the calls of a trace changed it.
type Disk struct {
	root   string
	nodes  []*node
	names  []*naming
	linked map[string]*node // while replaying: what each path names
	open   map[int]*handle  // while replaying
}

// node is a file or a folder, whatever its names.
type node struct {
	folder bool
	writes []write
	syncs  []Call
}

// write is a change of a file's contents.
type write struct {
	Call
	at int64
}

// naming is a change of a folder: path now names node, or nothing; gone names nothing any more.
type naming struct {
	Call
	folder *node
	path   string
	node   *node
	gone   string
}

// handle is an open file.
type handle struct {
	node   *node
	offset int64
	append bool
}

// Replay follows calls through root, which was an empty folder when they began. It refuses what it does not model.
// Memory that is mapped leaves no calls: files whose name ends in -shm are left out, as SQLite makes them anew.
func Replay(root string, calls []Call) (*Disk, error) {
	top := &node{folder: true}
	d := &Disk{root: filepath.Clean(root), nodes: []*node{top}, linked: map[string]*node{}, open: map[int]*handle{}}
	d.linked[d.root] = top
	for _, c := range inOrder(calls) {
		if err := d.follow(c); err != nil {
			return nil, fmt.Errorf("line %d: %s %s: %w", c.Begin, c.Name, c.Path, err)
		}
	}
	return d, nil
}

// inOrder sorts calls by when they change the table of descriptors: a descriptor is free once its close has begun, and
// taken when an open has ended.
func inOrder(calls []Call) []Call {
	at := func(c Call) int {
		if strings.HasPrefix(c.Name, "open") {
			return c.End
		}
		return c.Begin
	}
	return slices.SortedStableFunc(slices.Values(calls), func(a, b Call) int { return cmp.Compare(at(a), at(b)) })
}

// within reports whether d follows path.
func (d *Disk) within(path string) bool {
	return (path == d.root || strings.HasPrefix(path, d.root+"/")) && !strings.HasSuffix(path, "-shm")
}

func (d *Disk) follow(c Call) error {
	if c.FD >= 0 {
		return d.onFile(c)
	}
	if !filepath.IsAbs(c.Path) && strings.HasPrefix(c.Path, ".") {
		return fmt.Errorf("a relative path")
	}
	if !d.within(c.Path) {
		return nil
	}
	switch c.Name {
	case "open", "openat":
		return d.opened(c)
	case "mkdir", "mkdirat":
		return d.make(c, true)
	case "unlink", "unlinkat", "rmdir":
		return d.name(c, c.Path, nil, "")
	case "link", "linkat":
		return d.name(c, c.To, d.linked[c.Path], "")
	case "rename", "renameat", "renameat2":
		if filepath.Dir(c.Path) != filepath.Dir(c.To) || d.linked[c.Path] == nil || d.linked[c.Path].folder {
			return fmt.Errorf("only files are moved, and within their folder")
		}
		return d.name(c, c.To, d.linked[c.Path], c.Path)
	}
	return fmt.Errorf("is not modelled")
}

func (d *Disk) make(c Call, folder bool) error {
	n := &node{folder: folder}
	d.nodes = append(d.nodes, n)
	return d.name(c, c.Path, n, "")
}

// name records that path names n from now on, and gone nothing.
func (d *Disk) name(c Call, path string, n *node, gone string) error {
	folder := d.linked[filepath.Dir(path)]
	if folder == nil || !folder.folder {
		return fmt.Errorf("its folder is unknown")
	}
	d.names = append(d.names, &naming{c, folder, path, n, gone})
	delete(d.linked, gone)
	d.linked[path] = n
	if n == nil {
		delete(d.linked, path)
	}
	return nil
}

func (d *Disk) opened(c Call) error {
	if c.End == Never {
		return nil // nobody has its descriptor; a name it made is as good as lost
	}
	if d.linked[c.Path] == nil {
		if !strings.Contains(c.Flags, "O_CREAT") {
			return fmt.Errorf("opened and never made")
		}
		if err := d.make(c, false); err != nil {
			return err
		}
	}
	n := d.linked[c.Path]
	if strings.Contains(c.Flags, "O_TRUNC") {
		n.writes = append(n.writes, write{Call: Call{Begin: c.Begin, End: c.End, Name: "ftruncate"}})
	}
	d.open[int(c.Result)] = &handle{node: n, append: strings.Contains(c.Flags, "O_APPEND")}
	return nil
}

func (d *Disk) onFile(c Call) error {
	h := d.open[c.FD]
	switch {
	case c.Name == "close":
		delete(d.open, c.FD)
		return nil
	case !d.within(c.Path):
		return nil
	case h == nil:
		return fmt.Errorf("the descriptor was not seen opened")
	}
	if c.End != Never && c.Data != nil {
		c.Data = c.Data[:min(c.Result, int64(len(c.Data)))] // the disk was nearly full
	}
	switch c.Name {
	case "fsync", "fdatasync":
		if c.End != Never {
			h.node.syncs = append(h.node.syncs, c)
		}
	case "pwrite64":
		h.node.writes = append(h.node.writes, write{c, c.At})
	case "ftruncate", "fallocate":
		h.node.writes = append(h.node.writes, write{Call: c})
	case "write":
		if h.append {
			return fmt.Errorf("appending is not modelled")
		}
		h.node.writes = append(h.node.writes, write{c, h.offset})
		h.offset += c.Result
	default:
		return fmt.Errorf("is not modelled")
	}
	return nil
}

// synced reports whether n was synced after c and before the line cut.
func (n *node) synced(c Call, cut int) bool {
	i, _ := slices.BinarySearchFunc(n.syncs, c.End, func(s Call, line int) int { return cmp.Compare(s.Begin, line) })
	return slices.ContainsFunc(n.syncs[i:], func(s Call) bool { return s.End < cut })
}

// Cut writes into the empty folder to what the disk may hold where the power went just before the line cut of the trace.
// The same seed loses the same.
func (d *Disk) Cut(cut int, loss Loss, seed uint64, to string) error {
	r := rand.New(rand.NewPCG(seed, uint64(cut)))
	found := d.find(cut, loss, r)
	paths := make([]string, 0, len(found))
	for path := range found {
		paths = append(paths, path)
	}
	slices.Sort(paths) // a folder comes before what is in it
	made := map[string]bool{d.root: true}
	for _, path := range paths {
		n, target := found[path], filepath.Join(to, strings.TrimPrefix(path, d.root))
		if !made[filepath.Dir(path)] {
			continue // it is in a folder that nothing names
		}
		if made[path] = n.folder; n.folder {
			if err := os.Mkdir(target, 0o700); err != nil {
				return err
			}
			continue
		}
		if err := os.WriteFile(target, n.content(cut, loss, r), 0o600); err != nil {
			return err
		}
	}
	return nil
}

// find returns what each path names at the cut.
func (d *Disk) find(cut int, loss Loss, r *rand.Rand) map[string]*node {
	lost := 0
	var begun []*naming
	for _, change := range d.names {
		if change.Begin < cut {
			begun = append(begun, change)
			if !change.folder.synced(change.Call, cut) {
				lost++
			}
		}
	}
	keep := map[Loss]int{All: 0, Some: r.IntN(lost + 1), None: lost}[loss]
	found := map[string]*node{}
	for _, change := range begun {
		if !change.folder.synced(change.Call, cut) {
			if keep == 0 {
				continue
			}
			keep--
		}
		delete(found, change.gone)
		delete(found, change.path)
		if change.node != nil {
			found[change.path] = change.node
		}
	}
	return found
}

// content returns the bytes of n at the cut.
func (n *node) content(cut int, loss Loss, r *rand.Rand) []byte {
	var data []byte
	for _, w := range n.writes {
		if w.Begin >= cut {
			continue
		}
		kept := n.synced(w.Call, cut) || loss == None || loss == Some && r.IntN(2) == 0
		switch {
		case !kept:
		case w.Name == "ftruncate":
			data = sized(data, w.Call.At)
		case w.Name == "fallocate":
			data = sized(data, max(int64(len(data)), w.Call.At))
		case loss == Some && !n.synced(w.Call, cut) && r.IntN(4) == 0:
			data = w.torn(data, r)
		default:
			data = put(data, w.at, w.Data)
		}
	}
	return data
}

// torn puts some sectors of w into data.
func (w write) torn(data []byte, r *rand.Rand) []byte {
	for from := 0; from < len(w.Data); from += sector {
		if r.IntN(2) == 0 {
			data = put(data, w.at+int64(from), w.Data[from:min(from+sector, len(w.Data))])
		}
	}
	return data
}

func put(data []byte, at int64, piece []byte) []byte {
	data = sized(data, max(int64(len(data)), at+int64(len(piece))))
	copy(data[at:], piece)
	return data
}

func sized(data []byte, size int64) []byte {
	if size <= int64(len(data)) {
		return data[:size]
	}
	return append(data, make([]byte, size-int64(len(data)))...)
}
