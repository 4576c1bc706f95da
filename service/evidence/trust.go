package evidence

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"time"

	"github.com/qiongdev/qiong/kit/beijing"
	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/receipt"
)

// trust returns the keys of this log that are believed now.
func (x *Evidence) trust() *receipt.Trust { return x.keys.Load() }

// council returns the agencies whose quorum counts now; none in log mode.
func (x *Evidence) council() []string {
	return x.trust().Council(x.cfg.Origin, beijing.At(x.host.Now()))
}

// readTrust reads the file of keys: the council's, or, in log mode, those of witnesses beside this house's own.
func (x *Evidence) readTrust(text []byte) (*receipt.Trust, error) {
	t, err := receipt.ParseTrust(text)
	if err != nil {
		return nil, fmt.Errorf("evidence.trust: %w", err)
	}
	bad := func(zh, en, field string) error { return errs.New(errs.Invalid, zh, en).WithField("evidence." + field) }
	if len(x.cfg.Nodes) > 0 {
		if len(t.Council(x.cfg.Origin, beijing.At(x.host.Now()))) == 0 {
			return nil, bad("公钥文件中没有此日志的部门", "no agency of this log is in the file of keys", "origin")
		}
		t.Precompute()
		return t, nil
	}
	keys := []receipt.Key{x.operatorKey()}
	for _, k := range t.Keys() {
		switch {
		case k.Origin != x.cfg.Origin || k.Name == x.cfg.Name && k.Public.Equal(x.key.PublicKey()):
		case k.Role == receipt.Agency:
			return nil, bad("日志模式没有部门：公钥文件只能列出见证者和运营者的旧密钥", "in log mode there are no agencies: the file lists witnesses, and former keys of the operator", "trust")
		default:
			keys = append(keys, k)
		}
	}
	return receipt.NewTrust(keys)
}

func (x *Evidence) operatorKey() receipt.Key {
	return receipt.Key{Name: x.cfg.Name, Origin: x.cfg.Origin, Role: receipt.Operator, Public: x.key.PublicKey()}
}

// loadTrust reads the keys for the first time.
func (x *Evidence) loadTrust() error {
	if x.cfg.Trust == "" {
		t, err := receipt.NewTrust([]receipt.Key{x.operatorKey()})
		x.keys.Store(t)
		return err
	}
	text, err := os.ReadFile(x.cfg.Trust)
	if err != nil {
		return errs.Wrap(err, errs.Invalid, "读不到公钥文件", "the file of keys cannot be read").WithField("evidence.trust")
	}
	t, err := x.readTrust(text)
	x.keys.Store(t)
	return err
}

const trustEvery = 5 * time.Second

// reloadTrust believes other keys when their file has changed: an agency has replaced its key. A file that cannot be
// believed changes nothing.
func (x *Evidence) reloadTrust(ctx context.Context) error {
	if x.cfg.Trust == "" {
		return nil
	}
	said, last := quiet{log: x.host.Log}, []byte(nil)
	tick := time.NewTicker(trustEvery)
	defer tick.Stop()
	for {
		text, err := os.ReadFile(x.cfg.Trust)
		if err == nil && !bytes.Equal(text, last) {
			var t *receipt.Trust
			if t, err = x.readTrust(text); err == nil {
				if last != nil || !bytes.Equal(t.Marshal(), x.trust().Marshal()) {
					x.host.Log.Info("other keys are believed now", "file", x.cfg.Trust, "keys", len(t.Keys()))
				}
				x.keys.Store(t)
				last = text
			}
		}
		if err != nil {
			said.warn("the file of keys has changed and cannot be believed; the former keys stay", "file", x.cfg.Trust, err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}
