package booking

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"encoding/pem"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/folder"
	"github.com/qiongdev/qiong/kit/gm"
	"github.com/qiongdev/qiong/service/booking/ticket"
)

// device is an offline gate on a small machine: a ticket.Gate, and the file of its journal. An entry is on the disk before
// anybody hears yes, so that whatever ends the process, nobody comes in twice by the same code at this gate. After an
// error of the disk it lets nobody in: started anew, it knows again what is on it.
type device struct {
	gate    *ticket.Gate
	file    *os.File
	size    int64
	broken  error
	keys    watched
	revoked watched
	pruned  time.Time
	warn    func(error)
}

// deviceConfig says what a gate is.
type deviceConfig struct {
	spot    uint16
	id      uint32 // 0: that of the journal; of a new one, 1
	journal string
	keys    string
	revoked string // may be empty
	grace   time.Duration
	now     time.Time
	warn    func(error) // told what doesn't keep the gate from working
}

// openDevice opens a gate where it stopped, or a new one.
func openDevice(cfg deviceConfig) (*device, error) {
	d := &device{keys: watched{path: cfg.keys}, revoked: watched{path: cfg.revoked, later: true}, pruned: cfg.now, warn: cfg.warn}
	data, _, err := d.keys.read()
	if err != nil {
		return nil, errs.Wrap(err, errs.KindOf(err), "公钥文件无法读取", "the file of keys can't be read").WithField("--keys")
	}
	keys, err := parseKeys(data)
	if err != nil {
		return nil, err
	}
	if d.file, err = openJournal(cfg.journal); err != nil {
		return nil, err
	}
	if err := d.restore(ticket.GateConfig{ID: cfg.id, Spot: cfg.spot, Keys: keys, Grace: cfg.grace}, cfg.journal); err != nil {
		return nil, errors.Join(err, d.file.Close())
	}
	d.gate.Prune(cfg.now)
	d.refresh()
	return d, nil
}

// openJournal opens the file for one process.
func openJournal(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, journalError(err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = f.Close() // nothing was written
		return nil, errs.Wrap(err, errs.Conflict, "另一个闸机进程正在使用此日志", "another gate uses this journal").WithField("--journal")
	}
	return f, nil
}

func journalError(err error) *errs.Error {
	kind := errs.Internal
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		kind = errs.Full
	}
	return errs.Wrap(err, kind, "闸机日志无法读写，任何人不得放行", "the gate's journal can't be read or written: nobody is let in").WithField("--journal")
}

// restore reads the journal. A head or a last entry that was not written whole is what a power cut leaves of something
// that nobody heard of, and is cut off.
func (d *device) restore(cfg ticket.GateConfig, path string) error {
	data, err := io.ReadAll(d.file)
	if err != nil {
		return journalError(err)
	}
	if len(data) < ticket.HeadSize {
		return d.begin(cfg, path, data)
	}
	if cfg.ID == 0 {
		cfg.ID = gateIDOf(data)
	}
	gate, whole, err := ticket.OpenGate(cfg, data)
	if last := lastEntry(data); err != nil && last >= 0 && errs.As(err).HasOffset && errs.As(err).Offset == int64(last-ticket.HeadSize) {
		if gate, whole, err = ticket.OpenGate(cfg, data[:last]); err == nil {
			d.warn(errs.New(errs.Internal, "日志末条不完整，已截去；它未放行任何人", "the journal's last entry was not whole and is cut off; nobody entered by it"))
		}
	}
	if err != nil {
		if e := errs.As(err); e.HasOffset { // of the file, not of its entries
			err = errs.New(e.Kind, e.Msg.ZH, e.Msg.EN).WithCode(e.Code).WithField("--journal").WithOffset(e.Offset+int64(ticket.HeadSize)).
				WithHint("保留此文件备查，并另起一个日志", "keep this file for inquiry, and begin a new journal")
		}
		return err
	}
	if whole < len(data) {
		if err := errors.Join(d.file.Truncate(int64(whole)), d.file.Sync()); err != nil {
			return journalError(err)
		}
	}
	d.gate, d.size = gate, int64(whole)
	return nil
}

// gateIDOf returns the gate in a journal's head.
func gateIDOf(journal []byte) uint32 { return binary.BigEndian.Uint32(journal[len("QGATE\x01"):]) }

// lastEntry returns where the last whole entry begins; negative where there is none.
func lastEntry(journal []byte) int {
	n := (len(journal) - ticket.HeadSize) / ticket.EntrySize
	if n == 0 {
		return -1
	}
	return ticket.HeadSize + (n-1)*ticket.EntrySize
}

// begin begins a journal, in a file that has at most a part of a head.
func (d *device) begin(cfg ticket.GateConfig, path string, part []byte) error {
	if cfg.ID == 0 {
		cfg.ID = 1
	}
	_, _ = rand.Read(cfg.Journal[:]) // it never fails
	gate, head := ticket.NewGate(cfg)
	if n := min(len(part), len("QGATE\x01")); !bytes.Equal(part[:n], head[:n]) {
		return errs.New(errs.Invalid, "不是闸机日志", "not a gate's journal").WithCode("ticket.journal").WithField("--journal")
	}
	_, err := d.file.WriteAt(head, 0)
	if err == nil {
		err = d.file.Sync()
	}
	if err == nil {
		err = folder.Sync(filepath.Dir(path))
	}
	if err != nil {
		return journalError(err)
	}
	d.gate, d.size = gate, int64(len(head))
	return nil
}

// enter lets people of a code in, all that are left where people is 0. With an error nobody enters, now or later.
func (d *device) enter(code string, people int, now time.Time) (ticket.Decision, error) {
	if d.broken != nil {
		return ticket.Decision{}, d.broken
	}
	d.refresh()
	if now.Sub(d.pruned) > 24*time.Hour {
		d.gate.Prune(now)
		d.pruned = now
	}
	decision, entry := d.gate.Enter(code, people, now)
	if entry == nil {
		return decision, nil
	}
	_, err := d.file.WriteAt(entry, d.size)
	if err == nil {
		err = d.file.Sync()
	}
	if err != nil { // whether it is on the disk now nobody knows
		d.broken = journalError(err)
		return ticket.Decision{}, d.broken
	}
	d.size += int64(len(entry))
	return decision, nil
}

func (d *device) close() error { return d.file.Close() }

// refresh takes over keys and revocations where their files are new. What is wrong with them is told once, and the gate
// goes on with what it has.
func (d *device) refresh() {
	if data, changed, err := d.keys.read(); err != nil {
		d.warn(err)
	} else if changed {
		if keys, err := parseKeys(data); err != nil {
			d.warn(err)
		} else {
			d.gate.SetKeys(keys)
			d.revoked.seen = nil // what the old keys did not sign, the new ones may have
		}
	}
	data, changed, err := d.revoked.read()
	if err != nil {
		d.warn(err)
	}
	if !changed {
		return
	}
	lists, err := splitLists(data)
	for _, list := range lists {
		if err := d.gate.Revoke(list); err != nil {
			d.warn(err)
			return
		}
	}
	if err != nil {
		d.warn(err)
	}
}

// watched is a file that others replace.
type watched struct {
	path   string
	later  bool // it may come later
	seen   os.FileInfo
	failed bool
}

// read returns the file where it is another than the last time. One that has no path or isn't there yet is never new; the
// first of errors in a row is returned.
func (w *watched) read() (data []byte, changed bool, err error) {
	if w.path == "" {
		return nil, false, nil
	}
	info, err := os.Stat(w.path)
	if err == nil && w.seen != nil && os.SameFile(info, w.seen) && info.Size() == w.seen.Size() && info.ModTime().Equal(w.seen.ModTime()) {
		return nil, false, nil
	}
	if err == nil {
		data, err = os.ReadFile(w.path)
	}
	if err != nil {
		again := w.failed
		w.failed = true
		if again || w.later && w.seen == nil && errors.Is(err, fs.ErrNotExist) {
			return nil, false, nil
		}
		kind := errs.Internal
		if errors.Is(err, fs.ErrNotExist) {
			kind = errs.NotFound
		}
		return nil, false, errs.Wrap(err, kind, "文件无法读取", "the file can't be read").WithField(filepath.Base(w.path))
	}
	w.seen, w.failed = info, false
	return data, true, nil
}

// parseKeys reads one or more public keys in PEM.
func parseKeys(data []byte) (*ticket.Keys, error) {
	var all []*gm.PublicKey
	for {
		var block *pem.Block
		if block, data = pem.Decode(data); block == nil {
			break
		}
		pub, err := gm.ParsePublicKeyPEM(pem.EncodeToMemory(block))
		if err != nil {
			return nil, err
		}
		all = append(all, pub)
	}
	if len(all) == 0 {
		return nil, errs.New(errs.Invalid, "文件中没有公钥", "there is no public key in the file").WithField("--keys")
	}
	return ticket.NewKeys(all...), nil
}

// The head of a list of revocations: magic, key, spot, since, and how many there are; see package ticket.
const (
	listSpot  = 10
	listSince = 12
	listCount = 20
	listHead  = 24
	listSign  = 64
)

// splitLists cuts a file of lists, one behind another, into them. Behind the last whole one nothing is read.
func splitLists(data []byte) (lists [][]byte, err error) {
	for len(data) > 0 {
		bad := errs.New(errs.Invalid, "吊销名单文件不完整", "the file of revocations is not whole").WithCode("ticket.revocations").WithField("--revocations")
		if len(data) < listHead+listSign {
			return lists, bad
		}
		size := listHead + 8*int64(binary.BigEndian.Uint32(data[listCount:])) + listSign
		if int64(len(data)) < size {
			return lists, bad
		}
		lists, data = append(lists, data[:size]), data[size:]
	}
	return lists, nil
}
