package lease

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/folder"
	"github.com/qiongdev/qiong/kit/gm"
	"github.com/qiongdev/qiong/kit/strictjson"
)

// Files is a [Store] in a folder, one file a lease: a line "qiong-lease/v1" with the first 16 bytes of the SM3 of the
// rest, then the record in JSON. A file is written beside the old one, synced, renamed over it, and the folder is synced:
// after a power cut the old or the new one is there, whole. One process has the folder.
type Files struct {
	dir  string
	lock *os.File
}

const (
	fileHead = "qiong-lease/v1 "
	fileType = ".lease"
)

// OpenFiles opens the folder, and makes it where create says so: a voter's folder that is gone must not become a new
// one unnoticed. Another process that has it is an error of kind Conflict.
func OpenFiles(dir string, create bool) (*Files, error) {
	if create {
		if err := makeFolder(dir); err != nil {
			return nil, storage(err)
		}
	}
	lock, err := os.Open(dir)
	if err != nil {
		return nil, storage(err)
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = lock.Close() // nothing was written
		return nil, errs.Wrap(err, errs.Conflict, "另一个进程正在使用此目录", "another process uses this folder")
	}
	return &Files{dir, lock}, nil
}

// makeFolder makes a folder, and syncs the one it lies in.
func makeFolder(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	return folder.Sync(filepath.Dir(dir))
}

// Close gives the folder to other processes.
func (f *Files) Close() error { return f.lock.Close() }

// Load implements Store, and clears away what a crash left half written.
func (f *Files) Load(context.Context) (map[string]Record, error) {
	entries, err := os.ReadDir(f.dir)
	if err != nil {
		return nil, storage(err)
	}
	all := map[string]Record{}
	for _, e := range entries {
		path := filepath.Join(f.dir, e.Name())
		name, ok := strings.CutSuffix(e.Name(), fileType)
		switch {
		case strings.HasPrefix(e.Name(), ".new-"):
			if err := os.Remove(path); err != nil {
				return nil, storage(err)
			}
			continue
		case !ok:
			continue // not ours
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return nil, storage(err)
		}
		name = strings.ReplaceAll(name, "+", "/")
		rec, err := ParseRecord(data)
		if err != nil || !ValidName(name) {
			return nil, errs.Wrap(err, errs.Internal, "租约文件已损坏："+path, "the file of a lease is damaged: "+path).
				WithHint("投票者不能忘记它的承诺：不要删除此文件。让其余投票者决定，并以新的密钥和空目录重建本投票者", "a voter must not forget: do not remove the file. Let the other voters decide, and make this one anew, with a new key and an empty folder")
		}
		all[name] = rec
	}
	return all, nil
}

// Save implements Store.
func (f *Files) Save(_ context.Context, lease string, r Record) (err error) {
	temp, err := os.CreateTemp(f.dir, ".new-*") // mode 0600
	if err != nil {
		return storage(err)
	}
	defer func() {
		if err != nil {
			_, _ = temp.Close(), os.Remove(temp.Name()) // Load removes it otherwise
			err = storage(err)
		}
	}()
	if _, err = temp.Write(r.Marshal()); err != nil {
		return err
	}
	if err = temp.Sync(); err != nil {
		return err
	}
	if err = temp.Close(); err != nil {
		return err
	}
	if err = os.Rename(temp.Name(), filepath.Join(f.dir, strings.ReplaceAll(lease, "/", "+")+fileType)); err != nil {
		return err
	}
	return f.lock.Sync()
}

// Marshal returns the record as a file has it.
func (r Record) Marshal() []byte {
	body := encode(r)
	return append(append(append([]byte(fileHead), seal(body)...), '\n'), append(body, '\n')...)
}

func seal(body []byte) []byte {
	sum := gm.SM3(body)
	return hex.AppendEncode(nil, sum[:16])
}

// ParseRecord reads what Marshal writes and nothing else.
func ParseRecord(data []byte) (Record, error) {
	var r Record
	head, body, _ := bytes.Cut(data, []byte("\n"))
	body, ended := bytes.CutSuffix(body, []byte("\n"))
	sum, ok := bytes.CutPrefix(head, []byte(fileHead))
	if !ok || !ended || !bytes.Equal(sum, seal(body)) {
		return r, errs.New(errs.Invalid, "不是完整的租约记录", "is no whole record of a lease")
	}
	if err := strictjson.Unmarshal(body, &r); err != nil {
		return Record{}, err
	}
	a := Answer{Promised: r.Promised, Accepted: r.Accepted, Register: r.Register}
	if err := a.check(); err != nil {
		return Record{}, err
	}
	if !bytes.Equal(r.Marshal(), data) {
		return Record{}, errs.New(errs.Invalid, "不是规范的写法", "is not written as it should be")
	}
	return r, nil
}

func storage(err error) error {
	if err == nil {
		return nil
	}
	kind := errs.Internal
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) || errors.Is(err, syscall.EFBIG) {
		kind = errs.Full
	}
	return errs.Wrap(err, kind, "租约无法写入磁盘", "a lease cannot be kept on the disk")
}
