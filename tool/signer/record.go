package signer

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/qiongdev/qiong/kit/beijing"
	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/folder"
	"github.com/qiongdev/qiong/kit/signer"
)

// record is what was signed, a line of JSON each, a file a day of Beijing time. A line is written before its signature
// leaves, so that a killed process loses none, and is on the disk within a second, so that a power cut loses little.
// Whoever may write to the folder can change it: let it be the signer's alone, and collect it elsewhere.
type record struct {
	dir string

	mu    sync.Mutex
	day   string
	file  *os.File
	dirty bool
	lost  error // since when nobody knows what of the record is on the disk; nothing is added any more
}

// line is one signature.
type line struct {
	Time   beijing.Time `json:"time"`
	Key    string       `json:"key"`
	KeyID  string       `json:"keyId"`
	Digest string       `json:"digest"` // what was signed, in hexadecimal
	User   uint32       `json:"user"`   // id of the user whose process has asked
	PID    int32        `json:"pid"`
}

func openRecord(dir string) (*record, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, errs.Wrap(err, errs.Invalid, "无法创建签名记录的文件夹", "the folder of the record can't be made").WithField("--record")
	}
	r := &record{dir: dir}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r, r.turn(time.Now())
}

// add writes a signature down.
func (r *record) add(s signer.Signing) error {
	text, err := json.Marshal(line{beijing.At(s.Time), s.Key, s.KeyID, hex.EncodeToString(s.Digest[:]), s.User, s.PID})
	if err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.lost != nil {
		return r.lost
	}
	if err := r.turn(s.Time); err != nil {
		return err
	}
	if n, err := r.file.Write(append(text, '\n')); err != nil {
		return errors.Join(err, r.broken(r.cut(n)))
	}
	r.dirty = true
	return nil
}

// broken keeps an error after which the record is not what it ought to be. A sync is not tried again: the kernel forgets
// what it could not write, and the next one would succeed without it.
func (r *record) broken(err error) error {
	if err != nil && r.lost == nil {
		r.lost = errs.Wrap(err, errs.Unavailable, "签名记录未能写入磁盘，不再签名", "the record could not be put on the disk, and nothing is signed any more").
			WithHint("检查磁盘与记录的末尾，再重新启动签名进程", "look at the disk and at the end of the record, then start the signer again")
	}
	return err
}

// cut takes back what stands there of a line that could not be written.
func (r *record) cut(n int) error {
	info, err := r.file.Stat()
	if err != nil || n == 0 {
		return err
	}
	return r.file.Truncate(info.Size() - int64(n))
}

// turn opens the file of the day, and closes the one before.
func (r *record) turn(now time.Time) error {
	day := beijing.Date(now)
	if day == r.day {
		return nil
	}
	f, err := os.OpenFile(filepath.Join(r.dir, day+".ndjson"), os.O_CREATE|os.O_RDWR|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	if err := errors.Join(endLine(f), folder.Sync(r.dir)); err != nil {
		return errors.Join(err, f.Close())
	}
	old := r.file
	r.file, r.day, r.dirty = f, day, false
	if old == nil {
		return nil
	}
	return r.broken(errors.Join(old.Sync(), old.Close()))
}

// endLine ends a line that a power cut has torn, so that the next one stands by itself.
func endLine(f *os.File) error {
	info, err := f.Stat()
	if err != nil || info.Size() == 0 {
		return err
	}
	var last [1]byte
	if _, err := f.ReadAt(last[:], info.Size()-1); err != nil || last[0] == '\n' {
		return err
	}
	_, err = f.Write([]byte{'\n'})
	return err
}

// keep syncs once a second what was written, until ctx ends; the function that it returns waits for that.
func (r *record) keep(ctx context.Context, log *slog.Logger) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for tick := time.Tick(time.Second); ; {
			select {
			case <-ctx.Done():
				return
			case <-tick:
			}
			if err := r.sync(); err != nil {
				log.Error("the record of signatures could not be synced", "err", err)
			}
		}
	}()
	return func() { cancel(); <-done }
}

func (r *record) sync() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.dirty {
		return nil
	}
	r.dirty = false
	return r.broken(r.file.Sync())
}

func (r *record) close() {
	_ = r.sync() // nobody is left to hear of it
	_ = r.file.Close()
}
