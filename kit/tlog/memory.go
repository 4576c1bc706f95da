package tlog

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/gm"
	"github.com/qiongdev/qiong/kit/receipt"
)

// memory is what a witness must never forget: of each log the last checkpoint that it was about to cosign. It is a file
// to which lines are appended, each synced before anyone is told: the checkpoint's three lines with blanks between, and
// the first 8 bytes of their SM3. What a crash leaves of a line that was not finished is cut off at the next start:
// nothing was signed for it yet. Any other damage refuses the file, for a witness that has forgotten is none.
type memory struct {
	dir   string
	lock  *os.File // the folder: one witness a memory
	file  *os.File
	size  int64
	known map[string]receipt.Checkpoint // by origin
}

const (
	memoryName  = "seen"
	memoryHead  = "qiong-witness/v1\n"
	memoryLimit = 1 << 20 // then it is written anew, with one line a log
)

// CodeForgot is the code of errors that say a witness's memory is gone or damaged.
const CodeForgot = "log.forgot"

// openMemory opens the memory in a folder. Where there is none, it is made only if create says so.
func openMemory(dir string, create bool) (*memory, error) {
	if create {
		if err := makeFolder(dir); err != nil {
			return nil, err
		}
	}
	m := &memory{dir: dir, known: map[string]receipt.Checkpoint{}}
	if err := m.open(create); err != nil {
		_ = m.close() // nothing was written
		return nil, err
	}
	return m, nil
}

// makeFolder makes a folder, and the one it lies in, so that a power cut does not take them with what is in them.
func makeFolder(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	for _, d := range []string{dir, filepath.Dir(dir), filepath.Dir(filepath.Dir(dir))} {
		f, err := os.Open(d)
		if err != nil {
			return err
		}
		if err := errors.Join(f.Sync(), f.Close()); err != nil {
			return err
		}
	}
	return nil
}

func (m *memory) open(create bool) (err error) {
	if m.lock, err = os.Open(m.dir); err != nil {
		return forgot(err, m.dir)
	}
	if err := syscall.Flock(int(m.lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return errs.Wrap(err, errs.Conflict, "另一个见证者正在使用 "+m.dir, "another witness uses "+m.dir)
	}
	data, err := os.ReadFile(filepath.Join(m.dir, memoryName))
	switch {
	case errors.Is(err, fs.ErrNotExist) && create:
		return m.rewrite()
	case err != nil:
		return forgot(err, m.dir)
	}
	if err := m.read(data); err != nil {
		return err
	}
	return m.rewrite()
}

func forgot(err error, dir string) error {
	return errs.Wrap(err, errs.Internal, "见证者的记忆不可读："+dir, "the memory of a witness can't be read: "+dir).WithCode(CodeForgot)
}

// read takes the last checkpoint of every log from the lines.
func (m *memory) read(data []byte) error {
	rest, ok := bytes.CutPrefix(data, []byte(memoryHead))
	if !ok {
		return forgot(nil, m.dir)
	}
	for len(rest) > 0 {
		line, after, ended := bytes.Cut(rest, []byte("\n"))
		if !ended {
			return nil // cut by a crash before anything was signed
		}
		c, err := parseMemory(string(line))
		if err != nil {
			return forgot(err, m.dir)
		}
		m.known[c.Origin], rest = c, after
	}
	return nil
}

func memoryLine(c receipt.Checkpoint) string {
	text := strings.ReplaceAll(strings.TrimSuffix(c.Text(), "\n"), "\n", " ") // an origin has no blank
	sum := gm.SM3([]byte(text))
	return text + " " + hex.EncodeToString(sum[:8]) + "\n"
}

func parseMemory(line string) (receipt.Checkpoint, error) {
	parts := strings.Split(line, " ")
	if len(parts) == 4 {
		c, err := receipt.ParseCheckpoint(strings.Join(parts[:3], "\n") + "\n")
		if err == nil && memoryLine(c) == line+"\n" {
			return c, nil
		}
	}
	return receipt.Checkpoint{}, fmt.Errorf("a line of %d bytes is damaged", len(line))
}

// remember returns when the checkpoint is on the disk.
func (m *memory) remember(c receipt.Checkpoint) error {
	line := memoryLine(c)
	if m.size+int64(len(line)) > memoryLimit {
		old, had := m.known[c.Origin]
		m.known[c.Origin] = c
		err := m.rewrite()
		if err != nil && had {
			m.known[c.Origin] = old
		} else if err != nil {
			delete(m.known, c.Origin)
		}
		return err
	}
	_, err := m.file.WriteAt([]byte(line), m.size)
	if err == nil {
		err = m.file.Sync()
	}
	if err != nil {
		return errors.Join(err, m.file.Truncate(m.size)) // nothing was signed for what may stand there
	}
	m.size += int64(len(line))
	m.known[c.Origin] = c
	return nil
}

// rewrite puts a file with one line a log in the place of the old one.
func (m *memory) rewrite() error {
	var b strings.Builder
	b.WriteString(memoryHead)
	for _, c := range m.known {
		b.WriteString(memoryLine(c))
	}
	f, err := os.CreateTemp(m.dir, ".seen-*")
	if err != nil {
		return err
	}
	_, err = f.WriteString(b.String())
	if err := errors.Join(err, f.Sync()); err != nil {
		return errors.Join(err, f.Close(), os.Remove(f.Name()))
	}
	if err := os.Rename(f.Name(), filepath.Join(m.dir, memoryName)); err != nil {
		return errors.Join(err, f.Close(), os.Remove(f.Name()))
	}
	if m.file != nil {
		_ = m.file.Close() // it is no longer the memory
	}
	m.file, m.size = f, int64(b.Len())
	return m.lock.Sync()
}

func (m *memory) close() error {
	var all []error
	for _, f := range []*os.File{m.file, m.lock} {
		if f != nil {
			all = append(all, f.Close())
		}
	}
	return errors.Join(all...)
}
