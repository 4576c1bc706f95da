package keys

import (
	"bytes"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/gm"
)

const (
	format    = "qiong/keys/1"
	blockType = "QIONG SEALED KEY"
	suffix    = ".key"
	maxFile   = 16 << 10
)

// The kinds of key. They are written in files: never change one.
const (
	kindSigner = "sm2-private"
	kindPublic = "sm2-public"
	kindSealer = "sm4-gcm"
	kindSecret = "secret"
	kindCheck  = "check"
)

// entry is a key in memory: its bytes as they are sealed, and what they mean by kind.
type entry struct {
	kind    string
	plain   []byte
	private *gm.PrivateKey // of a signer
	public  *gm.PublicKey  // of a signer or a trusted key
	keyID   string         // of public
	sealer  *gm.Sealer     // of a sealer
}

func newEntry(kind string, plain []byte) (e entry, err error) {
	e = entry{kind: kind, plain: plain}
	switch kind {
	case kindSigner:
		if e.private, err = gm.ParsePKCS8(plain); err == nil {
			e.public = e.private.PublicKey()
		}
	case kindPublic:
		e.public, err = gm.ParsePKIX(plain)
	case kindSealer:
		e.sealer, err = gm.NewSealer(plain)
	case kindSecret, kindCheck:
	default:
		err = errs.New(errs.Internal, "未知的密钥类型", "unknown kind of key")
	}
	if err == nil && e.public != nil {
		e.keyID = gm.KeyID(e.public)
	}
	return e, err
}

// get returns the key called name of the given kind, creating it by make where it is absent.
func (r *Ring) get(name, kind string, make func() (entry, error)) (entry, error) {
	if err := checkName(name); err != nil {
		return entry{}, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	e, err := r.load(name)
	if errs.Is(err, errs.NotFound) {
		if r.readOnly {
			return entry{}, err
		}
		e, err = r.create(name, make)
	}
	if err != nil {
		return entry{}, err
	}
	if e.kind != kind {
		return entry{}, otherKind(name, e.kind)
	}
	return e, nil
}

func (r *Ring) find(name string) (entry, error) {
	if err := checkName(name); err != nil {
		return entry{}, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.load(name)
}

// load returns the key from memory, or from the file that another process may have created since Open.
func (r *Ring) load(name string) (entry, error) {
	if e, ok := r.entries[name]; ok {
		return e, nil
	}
	return r.read(name)
}

func (r *Ring) read(name string) (entry, error) {
	e, err := r.readFile(r.path(name), name)
	if err == nil {
		r.entries[name] = e
	}
	return e, err
}

// create makes the key and writes it; where another process was first, the key is that process's.
func (r *Ring) create(name string, make func() (entry, error)) (entry, error) {
	e, err := make()
	if err != nil {
		return entry{}, err
	}
	err = createFile(r.path(name), r.seal(name, e))
	if errors.Is(err, fs.ErrExist) {
		return r.read(name)
	}
	if err != nil {
		return entry{}, storage(err, r.path(name))
	}
	r.entries[name] = e
	return e, nil
}

func (r *Ring) seal(name string, e entry) []byte {
	return pem.EncodeToMemory(&pem.Block{
		Type:    blockType,
		Headers: map[string]string{"Kind": e.kind},
		Bytes:   r.sealer.Seal(e.plain, aad(e.kind, name)),
	})
}

func (r *Ring) readFile(path, name string) (entry, error) {
	text, err := readSmall(path, maxFile)
	if errors.Is(err, fs.ErrNotExist) {
		return entry{}, errs.Newf(errs.NotFound, "密钥环中没有密钥 %s", "the ring has no key %s", name)
	}
	if err != nil {
		return entry{}, storage(err, path)
	}
	block, rest := pem.Decode(text)
	if block == nil || block.Type != blockType || len(bytes.TrimSpace(rest)) > 0 {
		return entry{}, damaged(path, nil)
	}
	kind := block.Headers["Kind"]
	plain, err := r.sealer.Open(block.Bytes, aad(kind, name))
	if err != nil {
		return entry{}, damaged(path, err)
	}
	e, err := newEntry(kind, plain)
	if err != nil {
		return entry{}, damaged(path, err)
	}
	return e, nil
}

func (r *Ring) path(name string) string { return filepath.Join(r.dir, name+suffix) }

// aad binds a sealed key to its kind and name. Neither can hold a space, so no two pairs read the same.
func aad(kind, name string) []byte { return []byte(format + " " + kind + " " + name) }

// listKeys returns the names of the key files in dir; none where dir does not exist.
func listKeys(dir string) (names []string, err error) {
	files, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, storage(err, dir)
	}
	for _, f := range files {
		name, ok := strings.CutSuffix(f.Name(), suffix)
		if ok && f.Name() != masterName && checkName(name) == nil {
			names = append(names, name)
		}
	}
	return names, nil
}

func checkName(name string) error {
	const inner = "abcdefghijklmnopqrstuvwxyz0123456789._-"
	ok := len(name) >= 1 && len(name) <= 64 && strings.Trim(name, inner) == "" && strings.IndexByte("._-", name[0]) < 0
	if !ok || name+suffix == masterName {
		return errs.New(errs.Invalid, "密钥名须为 1 至 64 个小写字母、数字、“.”、“_”、“-”，以字母或数字开头，且不是 master",
			"a key's name is 1 to 64 of a-z, 0-9, '.', '_', '-', begins with a letter or digit, and is not master")
	}
	return nil
}

func random(n int) []byte {
	b := make([]byte, n)
	rand.Read(b) // never fails: package crypto/rand ends the program instead
	return b
}

func otherKind(name, kind string) error {
	if kind == kindPublic {
		return errs.Newf(errs.Conflict, "密钥环中只有 %[1]s 的公钥", "of %[1]s the ring has the public key alone", name).
			WithHint("私钥若在签名进程中，请配置其套接字", "where a signer has the private key, configure its socket")
	}
	return errs.Newf(errs.Conflict, "密钥 %[1]s 已存在，类型为 %[2]s，不能另作他用",
		"the key %[1]s exists and is of kind %[2]s; it cannot serve another use", name, kind)
}

func readOnly(name string) error {
	return errs.Newf(errs.Forbidden, "密钥环以只读方式打开，不能写入 %s", "the ring is open read-only; %s cannot be written", name)
}

func damaged(path string, cause error) error {
	e := errs.Newf(errs.Internal, "密钥文件 %s 已损坏、被改动或被改名", "the key file %s is damaged, altered or renamed", path).
		WithHint("请从备份恢复该文件", "restore this file from a backup")
	e.Err = cause
	return e
}
