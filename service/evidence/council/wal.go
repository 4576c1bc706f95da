package council

import (
	"context"
	"os"
	"path/filepath"
	"time"
)

// keepWAL removes old files of CometBFT's write-ahead log, of which CometBFT itself would keep a gigabyte. After a crash
// it needs what follows the last block's end. A file that was finished before a moment since when two blocks have ended
// lies before that. While nothing is decided, rounds go by and nothing is removed.
func (n *Node) keepWAL(ctx context.Context, l *live) {
	ticker := time.NewTicker(2 * time.Second)
	defer ticker.Stop()
	height, since := l.consensus.GetLastHeight(), time.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-ticker.C:
			if h := l.consensus.GetLastHeight(); h >= height+2 {
				if err := trimWAL(filepath.Join(n.cfg.Home.dir, dataFolder, "cs.wal"), since); err != nil {
					n.log.Warn("couldn't remove old files of the write-ahead log", "err", err)
				}
				height, since = h, now
			}
		}
	}
}

// trimWAL removes the files that were finished before a moment; never the one being written, which has no number.
func trimWAL(dir string, before time.Time) error {
	finished, err := filepath.Glob(filepath.Join(dir, "wal.[0-9]*"))
	if err != nil {
		return err
	}
	for _, name := range finished {
		info, err := os.Stat(name)
		if err != nil {
			return err
		}
		if info.ModTime().Before(before) {
			if err := os.Remove(name); err != nil {
				return err
			}
		}
	}
	return nil
}
