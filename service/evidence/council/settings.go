package council

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"time"

	dbm "github.com/cometbft/cometbft-db"
	cmtcfg "github.com/cometbft/cometbft/config"
	cmttypes "github.com/cometbft/cometbft/types"
	"github.com/syndtr/goleveldb/leveldb/opt"

	"github.com/qiongdev/qiong/kit/errs"
)

// Limits of the council, the same on every node.
const (
	MaxTx    = 1 << 20 // bytes of a transaction
	maxBlock = 8 << 20 // bytes of a block
	maxQueue = 2000    // transactions that wait, and a quarter of a gigabyte of them
)

// consensusParams are part of the genesis and never change; a change is another version of this program and needs a
// transaction of its own kind.
func consensusParams() *cmttypes.ConsensusParams {
	p := cmttypes.DefaultConsensusParams()
	p.Block.MaxBytes = maxBlock
	// Evidence of signing twice is taken for half an hour and 5,000 blocks, whichever is longer; that long headers
	// outlive their pruned blocks. It comes within seconds when peers are connected.
	p.Evidence.MaxAgeDuration = 30 * time.Minute
	p.Evidence.MaxAgeNumBlocks = 5000
	p.Evidence.MaxBytes = 64 << 10
	return p
}

// settings builds CometBFT's configuration; no file is read.
func (c *Config) settings() *cmtcfg.Config {
	s := cmtcfg.DefaultConfig()
	s.SetRoot(c.Home.dir)
	s.Moniker = c.Home.agency
	s.DBPath = dataFolder
	s.FilterPeers = true
	s.RPC.ListenAddress = "" // none
	s.Instrumentation.Prometheus = false
	s.TxIndex.Indexer = "null"
	s.Storage.DiscardABCIResponses = true

	p := s.P2P
	p.ListenAddress = "tcp://" + c.Listen
	p.AddrBook = filepath.Join(dataFolder, "addresses.json")
	p.AddrBookStrict = false  // members have the addresses they have
	p.AllowDuplicateIP = true // several on one machine
	p.PexReactor = false      // members are known
	p.HandshakeTimeout = 5 * time.Second
	p.DialTimeout = 2 * time.Second
	p.FlushThrottleTimeout = 2 * time.Millisecond
	p.MaxPacketMsgPayloadSize = 16 << 10
	p.SendRate, p.RecvRate = 64<<20, 64<<20

	m := s.Mempool
	m.Recheck = false // whatever waits is proposed next, and Apply bears it
	m.Size, m.MaxTxsBytes, m.CacheSize, m.MaxTxBytes = maxQueue, maxQueue<<17, 4*maxQueue, MaxTx

	cs := s.Consensus
	cs.WalPath = filepath.Join(dataFolder, "cs.wal", "wal")
	cs.TimeoutPropose, cs.TimeoutProposeDelta = c.Propose, c.Propose
	cs.TimeoutPrevote, cs.TimeoutPrevoteDelta = 100*time.Millisecond, 100*time.Millisecond
	cs.TimeoutPrecommit, cs.TimeoutPrecommitDelta = 100*time.Millisecond, 100*time.Millisecond
	cs.TimeoutCommit, cs.SkipTimeoutCommit = 0, true
	cs.CreateEmptyBlocks, cs.CreateEmptyBlocksInterval = false, c.Heartbeat
	cs.PeerGossipSleepDuration = 10 * time.Millisecond
	cs.PeerQueryMaj23SleepDuration = 500 * time.Millisecond
	cs.BlockTimeTolerance = c.tolerance

	s.StateSync.Enable = c.Sync != nil
	s.StateSync.DiscoveryTime = 5 * time.Second // the least that CometBFT takes
	s.StateSync.TempDir = filepath.Join(c.Home.dir, dataFolder)
	return s
}

// database opens one of CometBFT's databases. The buffers are a quarter of goleveldb's: a block is some kilobytes and
// read at most once again.
func (c *Config) database(ctx *cmtcfg.DBContext) (dbm.DB, error) {
	data := filepath.Join(c.Home.dir, dataFolder)
	if err := removeHalfMade(filepath.Join(data, ctx.ID+".db")); err != nil {
		return nil, unwritable(err)
	}
	db, err := dbm.NewGoLevelDBWithOpts(ctx.ID, data, &opt.Options{
		BlockCacheCapacity: 2 << 20, WriteBuffer: 1 << 20, OpenFilesCacheCapacity: 64,
	})
	if err != nil || ctx.ID != "blockstore" {
		return db, err
	}
	return newDeflated(db), nil
}

// removeHalfMade removes what is left of a database whose making was interrupted: its first manifest, with nothing that
// names it. goleveldb takes that for a damaged database and would never open it; but nothing was in it, for the name comes
// before anything else. Where there is any other file, all stays.
func removeHalfMade(dir string) error {
	files, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, f := range files {
		switch f.Name() {
		case "CURRENT.0", "MANIFEST-000000", "LOCK", "LOG":
		default:
			return nil
		}
	}
	return os.RemoveAll(dir)
}

// checkListen refuses an address that others could reach, unless that was said.
func checkListen(address string, beyond bool) error {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return errs.Wrap(err, errs.Invalid, "应为 主机:端口", "must be host:port").WithField("listen")
	}
	ip := net.ParseIP(host)
	if ip == nil {
		return invalid("listen", "应为 IP 地址与端口", "must be an IP address and a port")
	}
	if !ip.IsLoopback() && !beyond {
		return invalid("listen", "该地址本机以外也能访问；未明确允许", "others could reach that address, which was not allowed").
			WithCode("council.listen-beyond").
			WithHint("确需对外监听时，明确开启对外监听", "where that is meant, allow listening beyond loopback")
	}
	return nil
}
