package audit

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/qiongdev/qiong"
	"github.com/qiongdev/qiong/kit/audit"
	"github.com/qiongdev/qiong/kit/client"
	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/keys"
	"github.com/qiongdev/qiong/kit/merkle"
	"github.com/qiongdev/qiong/kit/receipt"
	"github.com/qiongdev/qiong/kit/signer"
	"github.com/qiongdev/qiong/kit/sqldb"
	"github.com/qiongdev/qiong/kit/tlog"
)

// restored enters that the log was put back from a backup, in a running house or in a folder.
func (t *tool) restored(ctx context.Context, c *qiong.Console) error {
	reason, _ := c.Flags.GetString("reason") // declared, as all flags here are
	if reason == "" {
		return errs.New(errs.Invalid, "缺少 --reason：为什么恢复、用的哪份备份", "--reason is missing: why it was restored, and from which backup").WithField("--reason")
	}
	dir, _ := c.Flags.GetString("data")
	if dir == "" {
		var a answer
		h := client.FromFlags(c.Flags, c.Lang)
		err := h.Do(ctx, client.Request{Method: "POST", Path: "/api/house/audit/restored", Body: map[string]string{"reason": reason}, Timeout: -1}, &a)
		if err != nil {
			return err
		}
		all, err := a.gaps()
		if err != nil || len(all) == 0 {
			return errors.Join(err, errs.New(errs.Internal, "应答中没有恢复声明", "the answer has no statement of a restore"))
		}
		return entered(c, all[len(all)-1])
	}
	f, err := t.writable(ctx, c, dir)
	if err != nil {
		return err
	}
	g, err := f.log.Restored(ctx, operator(), reason)
	if err := errors.Join(err, f.close()); err != nil {
		return err
	}
	return entered(c, g)
}

// entered tells what is missing.
func entered(c *qiong.Console, g *audit.Gap) error {
	v := viewOf(g)
	if c.JSON {
		return show(c, report{Whole: true, Leaves: [2]uint64{0, g.Found.Size}, Restored: []restored{v}})
	}
	var b bytes.Buffer
	b.WriteString(c.Say("已登记，日志由此继续：\n", "entered; the log goes on from here:\n"))
	v.print(c, &b)
	_, err := c.Out.Write(b.Bytes())
	return err
}

// operator names the person at this machine, who has no account of the house here.
func operator() string {
	if u, err := user.Current(); err == nil {
		return "os:" + u.Username
	}
	return "os:" + strconv.Itoa(os.Getuid())
}

// writing is the log in the folder of a house that does not run, and does not start meanwhile, opened with its keys.
type writing struct {
	log  *audit.Log
	ring *keys.Ring
	db   sqldb.DB
	lock *os.File
}

func (w *writing) close() error {
	var all []error
	if w.log != nil {
		all = append(all, w.log.Close())
	}
	if w.db != nil {
		all = append(all, w.db.Close())
	}
	return errors.Join(append(all, w.lock.Close())...)
}

// writable opens the log in a folder.
func (t *tool) writable(ctx context.Context, c *qiong.Console, dir string) (*writing, error) {
	file, err := database(dir)
	if err != nil {
		return nil, err
	}
	w := new(writing)
	if w.lock, err = os.OpenFile(filepath.Join(dir, "house.lock"), os.O_RDWR|os.O_CREATE, 0o600); err != nil {
		return nil, err
	}
	if err = syscall.Flock(int(w.lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		err = inUse(err)
	} else {
		err = w.open(ctx, c, t, dir, file)
	}
	if err != nil {
		return nil, errors.Join(err, w.close())
	}
	return w, nil
}

func inUse(err error) error {
	return errs.Wrap(err, errs.Conflict, "数据目录正在使用中", "the data folder is in use").
		WithHint("改用 --url，或停止运行中的服务", "use --url, or stop the running house")
}

func (w *writing) open(ctx context.Context, c *qiong.Console, t *tool, dir, file string) (err error) {
	if w.ring, err = ring(c, dir); err != nil {
		return err
	}
	operator, err := w.ring.Signer("audit")
	if err != nil {
		return err
	}
	witness, err := w.ring.Signer("audit-witness")
	if err != nil {
		return err
	}
	outside, err := outsideOf(dir)
	if err != nil {
		return err
	}
	if w.db, err = t.open(file); err != nil {
		return err
	}
	if err := errors.Join(w.db.Migrate(ctx, "tlog", tlog.Tables()), w.db.Migrate(ctx, "audit", audit.Tables())); err != nil {
		return err
	}
	w.log, err = audit.Open(ctx, audit.Options{DB: w.db, Operator: operator, Witness: witness, Memory: filepath.Join(dir, "witness", "audit"),
		Outside: outside, Archive: filepath.Join(dir, "audit"), Now: time.Now})
	return err
}

// ring opens the key ring of a folder for reading.
func ring(c *qiong.Console, dir string) (*keys.Ring, error) {
	master, _ := c.Flags.GetString("master-key")
	socket, _ := c.Flags.GetString("signer")
	o := keys.Options{MasterFile: master, ReadOnly: true}
	if socket != "" {
		o.Elsewhere = signer.NewClient(socket, signer.ClientOptions{})
	}
	return keys.Open(filepath.Join(dir, "keys"), o)
}

// outsideOf returns the witness in another house whose keys lie with those of the log, which is not asked here; nil where
// there is none. Keys that can't be read are no reason to go on without it.
func outsideOf(dir string) (*audit.Outside, error) {
	text, err := os.ReadFile(filepath.Join(dir, "audit", "trust.pem"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, missing(err, "audit/trust.pem")
	}
	trust, err := receipt.ParseTrust(text)
	if err != nil {
		return nil, errs.As(err).WithField("audit/trust.pem").
			WithHint("从备份恢复此文件，或启动一次系统，由它重新写出", "restore the file from a backup, or start the house once, which writes it anew")
	}
	o := &audit.Outside{Witness: unasked{}}
	for _, k := range trust.Keys() {
		if k.Role == receipt.Witness && k.Name != audit.WitnessName {
			o.Keys = append(o.Keys, k)
		}
	}
	if len(o.Keys) == 0 {
		return nil, nil
	}
	return o, nil
}

// unasked is a witness that can't be reached from here.
type unasked struct{}

func (unasked) Cosign(context.Context, uint64, []merkle.Hash, *receipt.Note) (receipt.Signature, error) {
	return receipt.Signature{}, errs.New(errs.Unavailable, "离线时不询问外部见证者", "the witness in another house is not asked offline")
}
