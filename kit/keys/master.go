package keys

import (
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/qiongdev/qiong/kit/errs"
)

const (
	masterName = "master.key"
	checkFile  = "master.check"
	minMaster  = 32
	maxMaster  = 4096
)

// openMaster returns the master secret. It makes one only in the ring's own folder, and only where no key exists that
// would be lost by it.
func (r *Ring) openMaster(create, haveKeys bool) ([]byte, error) {
	own := r.master == ""
	if own {
		r.master = filepath.Join(r.dir, masterName)
	}
	secret, err := readMaster(r.master)
	if !errors.Is(err, fs.ErrNotExist) {
		return secret, err
	}
	if haveKeys || exists(filepath.Join(r.dir, checkFile)) {
		// The master precedes all that it seals, so where another process has just made both it is there by now.
		if secret, err = readMaster(r.master); !errors.Is(err, fs.ErrNotExist) {
			return secret, err
		}
		return nil, errs.Newf(errs.Internal, "主密钥 %[1]s 不存在，但 %[2]s 中已有用它密封的密钥",
			"the master key %[1]s is missing, yet %[2]s holds keys sealed under it", r.master, r.dir).
			WithHint("请从备份恢复主密钥文件；不会自动新建", "restore the master key file from its backup; no new one is made")
	}
	if !own || !create || r.readOnly {
		return nil, errs.Newf(errs.Internal, "主密钥文件 %s 不存在", "the master key file %s does not exist", r.master).
			WithHint("请用 openssl rand -hex 32 生成，权限设为 0600", "make one by openssl rand -hex 32, with mode 0600")
	}
	text := append(hex.AppendEncode(nil, random(32)), '\n')
	if err := createFile(r.master, text); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, storage(err, r.master)
	}
	return readMaster(r.master) // where another process was first, its master
}

// readMaster returns the file's bytes, or an error that is fs.ErrNotExist where there is none.
func readMaster(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if err != nil {
		return nil, storage(err, path)
	}
	if !info.Mode().IsRegular() || info.Mode().Perm()&0o077 != 0 {
		return nil, errs.Newf(errs.Internal, "主密钥文件 %s 须为普通文件，且只有其所有者可读写",
			"the master key file %s must be a regular file that only its owner may access", path).
			WithHint("请执行 chmod 600", "run chmod 600 on it")
	}
	secret, err := readSmall(path, maxMaster)
	if err != nil {
		return nil, storage(err, path)
	}
	if len(secret) < minMaster {
		return nil, errs.Newf(errs.Internal, "主密钥文件 %[1]s 少于 %[2]d 字节", "the master key file %[1]s has fewer than %[2]d bytes",
			path, minMaster).WithHint("请从备份恢复，或另用 openssl rand -hex 32 生成", "restore it from its backup, or make one by openssl rand -hex 32")
	}
	return secret, nil
}

// checkMaster opens master.check, or writes it in a ring that has no key yet.
func (r *Ring) checkMaster(haveKeys bool) error {
	path := filepath.Join(r.dir, checkFile)
	e, err := r.readFile(path, checkFile)
	switch {
	case err == nil && e.kind == kindCheck:
		return nil
	case errs.Is(err, errs.NotFound) && haveKeys:
		return damaged(path, err)
	case errs.Is(err, errs.NotFound) && r.readOnly:
		return nil
	case errs.Is(err, errs.NotFound):
		err = createFile(path, r.seal(checkFile, entry{kind: kindCheck}))
		if errors.Is(err, fs.ErrExist) {
			return r.checkMaster(true) // another process was first: is its master ours?
		}
		if err != nil {
			return storage(err, path)
		}
		return nil
	}
	return errs.Wrap(err, errs.Internal, "主密钥与密钥环不符", "the master key is not the one of this ring").
		WithHint("请检查主密钥文件是否为此密钥环的那一个；若是，则 "+path+" 已损坏，请从备份恢复",
			"check that the master key file is this ring's; if it is, "+path+" is damaged: restore it from a backup")
}
