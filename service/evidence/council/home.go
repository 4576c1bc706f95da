package council

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/cometbft/cometbft/crypto/ed25519"
	cmtjson "github.com/cometbft/cometbft/libs/json"
	"github.com/cometbft/cometbft/p2p"
	"github.com/cometbft/cometbft/privval"

	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/folder"
	"github.com/qiongdev/qiong/kit/strictjson"
)

// The files of a home. Keys may be backed up, sealed; signed.json and data must never be copied to a second machine or
// brought back from a backup: a node that has forgotten what it signed may sign again, and differently.
const (
	homeFile      = "home.json"
	consensusFile = "consensus_key.json"
	nodeFile      = "node_key.json"
	signedFile    = "signed.json"
	dataFolder    = "data"
	snapsFolder   = "snapshots"
	lockFile      = "lock"
)

// Home is the folder of an agency's node: its keys, what it signed last, its data.
type Home struct {
	dir       string
	agency    string
	consensus ed25519.PrivKey
	node      *p2p.NodeKey
}

type homeJSON struct {
	Agency string `json:"agency"`
}

// NewHome makes a home with new keys in dir, for the agency of that name. Where there is one already, it stays as it is
// and the error is of kind Conflict. Keys are in files of mode 0600, and never leave the machine.
func NewHome(dir, agency string) (*Home, error) {
	if err := checkName("agency", agency); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, unwritable(err)
	}
	consensus, node := ed25519.GenPrivKey(), ed25519.GenPrivKey()
	key, err := cmtjson.MarshalIndent(privval.FilePVKey{
		Address: consensus.PubKey().Address(), PubKey: consensus.PubKey(), PrivKey: consensus,
	}, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("couldn't encode the consensus key: %w", err)
	}
	id, err := cmtjson.MarshalIndent(&p2p.NodeKey{PrivKey: node}, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("couldn't encode the node key: %w", err)
	}
	signed, err := cmtjson.MarshalIndent(privval.FilePVLastSignState{}, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("couldn't encode what was signed: %w", err)
	}
	name, err := json.Marshal(homeJSON{agency})
	if err != nil {
		return nil, fmt.Errorf("couldn't encode the home: %w", err)
	}
	// The home's own file comes last: without it the rest is no home, and with any of the rest NewHome touches nothing.
	for _, f := range []struct {
		name string
		data []byte
	}{{consensusFile, key}, {nodeFile, id}, {signedFile, signed}, {homeFile, append(name, '\n')}} {
		if err := writeNew(filepath.Join(dir, f.name), f.data); err != nil {
			return nil, err
		}
	}
	return OpenHome(dir)
}

// writeNew writes a file that was not there, durably.
func writeNew(path string, data []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return errs.New(errs.Conflict, "文件夹中已有密钥，不会覆盖", "the folder holds keys already, which are not overwritten").
			WithCode("council.home-exists").
			WithHint("使用已有的密钥，或另选文件夹", "use those keys, or choose another folder")
	}
	if err != nil {
		return unwritable(err)
	}
	_, err = f.Write(data)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return unwritable(err)
	}
	return syncFolder(filepath.Dir(path))
}

func syncFolder(dir string) error {
	if err := folder.Sync(dir); err != nil {
		return unwritable(err)
	}
	return nil
}

func unwritable(err error) error {
	kind := errs.Internal
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		kind = errs.Full
	}
	return errs.Wrap(err, kind, "无法写入理事会节点的文件夹", "couldn't write the folder of the council's node")
}

// OpenHome reads the home in dir.
func OpenHome(dir string) (*Home, error) {
	data, err := os.ReadFile(filepath.Join(dir, homeFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, errs.New(errs.NotFound, "文件夹中没有理事会节点的密钥", "the folder holds no keys of a council's node").
			WithCode("council.no-home").WithHint("先在本机生成密钥", "make the keys on this machine first")
	}
	if err != nil {
		return nil, damaged(homeFile, err)
	}
	var h homeJSON
	if err := strictjson.Unmarshal(data, &h); err != nil {
		return nil, damaged(homeFile, err)
	}
	if err := checkName("agency", h.Agency); err != nil {
		return nil, damaged(homeFile, err)
	}
	var key privval.FilePVKey
	if err := readJSON(dir, consensusFile, &key); err != nil {
		return nil, err
	}
	consensus, ok := key.PrivKey.(ed25519.PrivKey)
	if !ok || len(consensus) != ed25519.PrivateKeySize {
		return nil, damaged(consensusFile, errors.New("no Ed25519 key"))
	}
	node := new(p2p.NodeKey)
	if err := readJSON(dir, nodeFile, node); err != nil {
		return nil, err
	}
	if node.PrivKey == nil {
		return nil, damaged(nodeFile, errors.New("no key"))
	}
	return &Home{dir, h.Agency, consensus, node}, nil
}

func readJSON(dir, name string, into any) error {
	data, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		return damaged(name, err)
	}
	if err := cmtjson.Unmarshal(data, into); err != nil {
		return damaged(name, err)
	}
	return nil
}

func damaged(file string, err error) error {
	e := errs.Newf(errs.Internal, "理事会节点的文件 %s 无法使用", "the file %s of the council's node is unusable", file)
	e.Err = err
	return e.WithCode("council.home-damaged")
}

// Agency returns the name of the agency.
func (h *Home) Agency() string { return h.agency }

// Public returns what the other agencies need to know. The addresses and the key for cosigning (SM2, PEM) are the
// caller's to say.
func (h *Home) Public(p2pAddress, http string, cosigning []byte) (Public, error) {
	pub := Public{Agency: h.agency, Node: string(h.node.ID()), Consensus: h.consensus.PubKey().Bytes(),
		P2P: p2pAddress, HTTP: http, Cosigning: string(cosigning)}
	if err := pub.check(""); err != nil {
		return Public{}, err
	}
	return pub, nil
}

// signer returns the agency's key with its memory of what it signed. privval ends the process when a file is damaged,
// so the memory is read here first.
func (h *Home) signer() (*privval.FilePV, error) {
	var last privval.FilePVLastSignState
	if err := readJSON(h.dir, signedFile, &last); err != nil {
		return nil, err
	}
	return privval.LoadFilePV(filepath.Join(h.dir, consensusFile), filepath.Join(h.dir, signedFile)), nil
}

// signedWithin reports whether the agency has signed within a time.
func (h *Home) signedWithin(d time.Duration) bool {
	info, err := os.Stat(filepath.Join(h.dir, signedFile))
	return err == nil && time.Since(info.ModTime()).Abs() < d
}

// lock makes sure that no other process uses the home. The lock ends with the process.
func (h *Home) lock() (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(h.dir, lockFile), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, unwritable(err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = f.Close() // nothing was written
		return nil, errs.Wrap(err, errs.Conflict, "另一个进程正在使用这个理事会节点的文件夹",
			"another process uses the folder of this council's node").WithCode("council.home-in-use")
	}
	return f, nil
}
