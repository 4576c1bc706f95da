package node

import (
	"bytes"
	"crypto"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/gm"
	"github.com/qiongdev/qiong/kit/keys"
	"github.com/qiongdev/qiong/kit/signer"
	"github.com/qiongdev/qiong/service/evidence/council"
)

// What a home holds. Everything is its owner's alone: folders 0700, files 0600.
const (
	councilFolder = "council"      // consensus keys, what was signed, blocks
	keysFolder    = "keys"         // the ring with the keys for cosigning
	publicFile    = "public.json"  // what the other agencies get
	genesisFile   = "genesis.json" // since the first start
	ledgerFile    = "ledger.db"
	lockFile      = "lock"
	signerFile    = "signer" // the socket of the process that has the keys for cosigning, where they are not in the ring

	cosigning = "cosigning" // the first key in the ring; what it is rotated to is cosigning-2, and so on
)

// Home is an agency's folder.
type Home struct {
	dir     string
	council *council.Home
	ring    *keys.Ring
	public  council.Public
	socket  string // of the signer; empty where there is none
}

// HomeOptions say what a new home is to be.
type HomeOptions struct {
	Agency    string
	P2P       string // host:port at which the other agencies reach it
	HTTP      string // URL at which gateways reach it
	MasterKey string // file of the master secret that seals the ring; empty: one in the ring's own folder
	Signer    string // socket of the signer that has the key for cosigning; empty: one is made in the ring
	SignerKey string // that key's name there
}

// NewHome makes a home with new keys, whole or not at all. Where dir holds anything already, nothing is changed and the
// error is of kind Conflict.
func NewHome(dir string, o HomeOptions) (*Home, error) {
	taken := errs.New(errs.Conflict, "文件夹不为空，不会覆盖", "the folder is not empty, and nothing is overwritten").WithCode("evidence.home-exists").
		WithHint("已有密钥时，用 --print 再次输出公开信息；否则另选文件夹", "where it holds keys, --print prints their public part again; else choose another folder")
	if entries, err := os.ReadDir(dir); err == nil && len(entries) > 0 {
		return nil, taken
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o700); err != nil {
		return nil, unwritable(err)
	}
	making, err := os.MkdirTemp(filepath.Dir(dir), ".home-") // 0700
	if err != nil {
		return nil, unwritable(err)
	}
	if err := makeHome(making, o); err != nil {
		return nil, errors.Join(err, os.RemoveAll(making))
	}
	if err := os.Rename(making, dir); err != nil {
		if errors.Is(err, syscall.ENOTEMPTY) || errors.Is(err, fs.ErrExist) {
			err = taken
		}
		return nil, errors.Join(err, os.RemoveAll(making))
	}
	if err := syncFolder(filepath.Dir(dir)); err != nil {
		return nil, err
	}
	return OpenHome(dir, o.MasterKey)
}

func makeHome(dir string, o HomeOptions) error {
	h, err := council.NewHome(filepath.Join(dir, councilFolder), o.Agency)
	if err != nil {
		return err
	}
	ring, err := keys.Open(filepath.Join(dir, keysFolder), keys.Options{MasterFile: o.MasterKey, CreateMaster: o.MasterKey == ""})
	if err != nil {
		return err
	}
	key, err := makeKey(dir, ring, cosigning, o.Signer, o.SignerKey)
	if err != nil {
		return err
	}
	public, err := h.Public(o.P2P, o.HTTP, key.PEM())
	if err != nil {
		return err
	}
	return writePublic(dir, public)
}

// makeKey makes a key in the ring, or takes the public half of one that a signer has, and returns it.
func makeKey(dir string, ring *keys.Ring, name, socket, there string) (*gm.PublicKey, error) {
	if socket == "" {
		key, err := ring.Signer(name)
		if err != nil {
			return nil, err
		}
		return key.PublicKey(), nil
	}
	socket, err := filepath.Abs(socket)
	if err != nil {
		return nil, err
	}
	client := signer.NewClient(socket, signer.ClientOptions{})
	defer client.Close()
	pub, err := client.Find(there)
	if err != nil {
		return nil, err
	}
	if err := replaceFile(filepath.Join(dir, signerFile), []byte(socket+"\n")); err != nil {
		return nil, err
	}
	return pub, ring.Trust(name, pub)
}

func writePublic(dir string, p council.Public) error {
	data, err := p.Marshal()
	if err != nil {
		return err
	}
	return replaceFile(filepath.Join(dir, publicFile), data)
}

// OpenHome opens the home in dir for reading.
func OpenHome(dir, masterKey string) (*Home, error) { return openHome(dir, masterKey, "") }

// openHome is OpenHome with a signer at another socket than the home has noted; empty: at that.
func openHome(dir, masterKey, socket string) (*Home, error) {
	h := &Home{dir: dir, socket: socket}
	var err error
	if h.council, err = council.OpenHome(filepath.Join(dir, councilFolder)); err != nil {
		return nil, err
	}
	if h.socket == "" {
		noted, err := os.ReadFile(filepath.Join(dir, signerFile))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, unreadable(err, signerFile)
		}
		h.socket = strings.TrimSuffix(string(noted), "\n")
	}
	o := keys.Options{MasterFile: masterKey, ReadOnly: true}
	if h.socket != "" {
		o.Elsewhere = signer.NewClient(h.socket, signer.ClientOptions{})
	}
	if h.ring, err = keys.Open(filepath.Join(dir, keysFolder), o); err != nil {
		return nil, err
	}
	data, err := os.ReadFile(filepath.Join(dir, publicFile))
	if err != nil {
		return nil, unreadable(err, publicFile)
	}
	if h.public, err = council.ParsePublic(data); err != nil {
		return nil, errs.Wrap(err, errs.Internal, "公开信息文件已损坏", "the file of the public part is damaged").WithField(publicFile)
	}
	return h, nil
}

// Agency returns the agency's name.
func (h *Home) Agency() string { return h.council.Agency() }

// Public returns what the other agencies get.
func (h *Home) Public() council.Public { return h.public }

// Rotate makes a further key for cosigning and returns the public part with it. The key is used from the block on that
// brings a policy which names it; the earlier ones stay.
func (h *Home) Rotate(masterKey string) (council.Public, error) { return h.rotate(masterKey, "", "") }

// rotate is Rotate to a key that a signer has, where a socket is given.
func (h *Home) rotate(masterKey, socket, there string) (council.Public, error) {
	ring, err := keys.Open(filepath.Join(h.dir, keysFolder), keys.Options{MasterFile: masterKey})
	if err != nil {
		return council.Public{}, err
	}
	n := 1
	for ; ; n++ {
		if _, err := ring.Public(keyName(n)); errs.Is(err, errs.NotFound) {
			break
		} else if err != nil {
			return council.Public{}, err
		}
	}
	key, err := makeKey(h.dir, ring, keyName(n), socket, there)
	if err != nil {
		return council.Public{}, err
	}
	p := h.public
	p.Cosigning = string(key.PEM())
	if err := writePublic(h.dir, p); err != nil {
		return council.Public{}, err
	}
	h.public = p
	return p, nil
}

func keyName(n int) string {
	if n == 1 {
		return cosigning
	}
	return fmt.Sprintf("%s-%d", cosigning, n)
}

// Signer returns the key of the home for cosigning whose public part is pub, also one that was made since the home was
// opened; an error of kind NotFound where it has none such.
func (h *Home) Signer(pub *gm.PublicKey) (crypto.Signer, error) {
	for n := 1; ; n++ {
		have, err := h.ring.Public(keyName(n))
		if errs.Is(err, errs.NotFound) {
			return nil, errs.New(errs.NotFound, "本机没有策略所列的联合签名密钥", "this machine has no key for cosigning as the policy names it").
				WithCode("evidence.no-key").WithHint("在制作该密钥的机器上签署，或提出更换密钥的策略", "sign on the machine that made the key, or propose a policy that rotates it")
		}
		if err != nil {
			return nil, err
		}
		if have.Equal(pub) {
			return h.ring.Signer(keyName(n))
		}
	}
}

// Found returns the genesis of the home, after storing the given one where it has none. Another one than stored is a
// conflict; nil asks for the stored one.
func (h *Home) Found(genesis []byte) (*council.Genesis, error) {
	path := filepath.Join(h.dir, genesisFile)
	have, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist) && genesis == nil:
		return nil, errs.New(errs.Invalid, "尚无创世文件，第一次启动须用 --genesis 给出", "there is no genesis yet: the first start needs --genesis").WithField("genesis")
	case errors.Is(err, fs.ErrNotExist):
		g, err := council.ParseGenesis(genesis)
		if err != nil {
			return nil, err
		}
		return g, replaceFile(path, genesis)
	case err != nil:
		return nil, unreadable(err, genesisFile)
	case genesis != nil && !bytes.Equal(have, genesis):
		return nil, errs.New(errs.Conflict, "与本节点已有的创世文件不同", "not the genesis that this node began with").WithField("genesis").WithCode("council.other-genesis")
	}
	return council.ParseGenesis(have)
}

// lock keeps a second process out, which must not even open the ledger. It ends with the process, or with Close.
func (h *Home) lock() (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(h.dir, lockFile), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, unwritable(err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = f.Close() // nothing was written
		return nil, errs.Wrap(err, errs.Conflict, "另一个进程正在使用这个文件夹", "another process uses this folder").WithCode("council.home-in-use")
	}
	return f, nil
}
