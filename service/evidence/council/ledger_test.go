package council

import (
	"bufio"
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/qiongdev/qiong/kit/gm"
)

// book is a ledger for tests: a file to which every block appends one line, durable at Commit. A transaction is
// "id:payload"; the same id counts once. "members:" is followed by the new members.
type book struct {
	path   string
	fails  int64 // the height at which Apply fails
	strays int64 // the height at which it comes to another hash than the others

	mu      sync.Mutex
	changed chan struct{} // closed at the next Commit
	page    page          // as committed
	at      map[string]int64
	next    *line
}

// page is the state.
type page struct {
	height  int64
	hash    []byte
	members []Member
	guilty  []string // who misbehaved
}

// line is a block in the file.
type line struct {
	Height  int64         `json:"height"`
	Time    time.Time     `json:"time"`
	Turn    string        `json:"turn"`
	IDs     []string      `json:"ids,omitempty"`
	Digest  string        `json:"digest"` // of all transactions as they came
	Guilty  []Misbehavior `json:"guilty,omitempty"`
	Members []Member      `json:"members,omitempty"`
	Hash    string        `json:"hash"`
}

func openBook(path string) (*book, error) {
	b := &book{path: path, changed: make(chan struct{})}
	data, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	whole := data[:bytes.LastIndexByte(data, '\n')+1] // a crash may have torn the last line
	if len(whole) != len(data) {
		if err := os.Truncate(path, int64(len(whole))); err != nil {
			return nil, err
		}
	}
	return b, b.read(whole)
}

// read builds the state from the lines and checks every hash.
func (b *book) read(data []byte) error {
	b.page, b.at = page{}, map[string]int64{}
	for lines := bufio.NewReader(bytes.NewReader(data)); ; {
		text, err := lines.ReadBytes('\n')
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		var l line
		if err := json.Unmarshal(text, &l); err != nil {
			return err
		}
		if l.Height == 0 { // how the book begins
			b.page = page{members: l.Members}
			if b.page.hash, err = hex.DecodeString(l.Hash); err != nil {
				return err
			}
			continue
		}
		if want := hex.EncodeToString(b.page.after(&l)); want != l.Hash {
			return fmt.Errorf("line of block %d doesn't lead to its hash", l.Height)
		}
		b.turn(&l)
	}
}

// after returns the hash that a line leads to.
func (p *page) after(l *line) []byte {
	if len(l.IDs) == 0 && len(l.Guilty) == 0 {
		return p.hash
	}
	bare := *l
	bare.Hash = ""
	text, err := json.Marshal(&bare)
	if err != nil {
		panic(err)
	}
	sum := gm.SM3(p.hash, text)
	return sum[:]
}

func (b *book) turn(l *line) {
	b.page.hash, _ = hex.DecodeString(l.Hash)
	b.page.height = l.Height
	for _, id := range l.IDs {
		b.at[id] = l.Height
	}
	for _, m := range l.Guilty {
		b.page.guilty = append(b.page.guilty, m.Agency)
	}
	if l.Members != nil {
		b.page.members = l.Members
	}
}

func (b *book) Begin(_ context.Context, g *Genesis) ([]byte, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	sum := gm.SM3(g.State)
	b.page = page{hash: sum[:], members: g.Members}
	return sum[:], nil
}

func (b *book) Last(context.Context) (int64, []byte, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.page.height == 0 {
		return 0, nil, nil
	}
	return b.page.height, b.page.hash, nil
}

func (b *book) Members(context.Context) ([]Member, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.page.members, nil
}

func (b *book) Check(_ context.Context, tx []byte) error {
	id, _, ok := bytes.Cut(tx, []byte(":"))
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, had := b.at[string(id)]; !ok || had {
		return invalid("id", "重复", "again")
	}
	return nil
}

func (b *book) Apply(_ context.Context, block Block) (Applied, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if block.Height != b.page.height+1 {
		return Applied{}, fmt.Errorf("block %d after %d", block.Height, b.page.height)
	}
	l := &line{Height: block.Height, Time: block.Time, Turn: block.Proposer, Guilty: block.Misbehaviors}
	if block.Height == b.fails {
		return Applied{}, errors.New("the disk is on fire")
	}
	all, seen := gm.NewSM3(), map[string]bool{}
	for _, tx := range block.Txs {
		all.Write(tx)
		id, rest, _ := strings.Cut(string(tx), ":")
		if _, had := b.at[id]; had || seen[id] {
			continue
		}
		id = strings.Clone(id) // without the payload
		seen[id] = true
		l.IDs = append(l.IDs, id)
		if strings.HasPrefix(id, "members") {
			if err := json.Unmarshal([]byte(rest), &l.Members); err != nil {
				return Applied{}, err
			}
		}
	}
	if block.Height == b.strays {
		all.Write([]byte("stray"))
		l.IDs = append(l.IDs, "stray")
	}
	l.Digest = hex.EncodeToString(all.Sum(nil))
	l.Hash = hex.EncodeToString(b.page.after(l))
	b.next = l
	hash, err := hex.DecodeString(l.Hash)
	return Applied{Hash: hash, Members: l.Members}, err
}

func (b *book) Commit(context.Context) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	var text bytes.Buffer
	enc := json.NewEncoder(&text)
	if b.next.Height == 1 {
		if err := enc.Encode(line{Members: b.page.members, Hash: hex.EncodeToString(b.page.hash)}); err != nil {
			return err
		}
	}
	if err := enc.Encode(b.next); err != nil {
		return err
	}
	f, err := os.OpenFile(b.path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(text.Bytes())
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	b.turn(b.next)
	close(b.changed)
	b.changed = make(chan struct{})
	return nil
}

func (b *book) Export(context.Context) ([]byte, int, error) {
	info, err := os.Stat(b.path)
	if err != nil {
		return nil, 0, err
	}
	return strconv.AppendInt(nil, info.Size(), 10), int(info.Size()/bookPart) + 1, nil
}

const bookPart = 4 << 10

func (b *book) Part(_ context.Context, head []byte, i int) ([]byte, error) {
	data, err := os.ReadFile(b.path)
	if err != nil {
		return nil, err
	}
	size, err := strconv.Atoi(string(head))
	return data[:size][i*bookPart : min((i+1)*bookPart, size)], err
}

func (b *book) Import(_ context.Context, from io.Reader) error {
	data, err := io.ReadAll(from)
	if err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.read(data); err != nil {
		return err
	}
	tmp := filepath.Join(filepath.Dir(b.path), "import.tmp")
	if err := os.WriteFile(tmp, data, 0o600); err != nil {
		return err
	}
	return os.Rename(tmp, b.path)
}

// until waits for the committed state to satisfy ok.
func (b *book) until(ctx context.Context, ok func() bool) error {
	for {
		b.mu.Lock()
		done, changed := ok(), b.changed
		b.mu.Unlock()
		if done {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-changed:
		}
	}
}
