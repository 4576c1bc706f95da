package audit

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/qiongdev/qiong/kit/receipt"
	"github.com/qiongdev/qiong/kit/sqldb"
)

// stated is a gap that stands in the database.
type stated struct {
	*Gap
	leaf uint64 // that says so
	text string
}

// gapFile begins the names of statements in the witness's folder. They lie there, too, so that who can write to the
// database alone cannot take a gap out of sight.
const gapFile = "restored-"

// Gaps returns what the log lacks since it was put back from backups, oldest first, each verified.
func (l *Log) Gaps(ctx context.Context) ([]*Gap, error) {
	all, err := l.statements(ctx)
	if err != nil {
		return nil, err
	}
	kept, err := l.kept()
	if err != nil {
		return nil, err
	}
	for _, k := range kept {
		if slices.ContainsFunc(all, func(s *stated) bool { return s.text == k.text }) {
			continue
		}
		// The entry of a gap may itself be in what a later backup lacks.
		if !slices.ContainsFunc(all, func(s *stated) bool { return k.leaf >= s.Shown.Size && k.leaf < s.Lost() }) {
			return nil, changed("日志曾由备份恢复，其声明被拿掉了", "the log was put back from a backup, and the statement of it was taken away")
		}
		all = append(all, k)
	}
	slices.SortStableFunc(all, func(a, b *stated) int { return int(a.Time - b.Time) })
	gaps := make([]*Gap, len(all))
	for i, s := range all {
		gaps[i] = s.Gap
	}
	return gaps, nil
}

// statements returns the gaps in the database, each held to its signatures and to the entry that names it.
func (l *Log) statements(ctx context.Context) ([]*stated, error) {
	if l.old {
		return nil, nil
	}
	all, err := sqldb.All(ctx, l.o.DB, func(row sqldb.Scanner) (*stated, error) {
		var leaf int64
		s := new(stated)
		err := row.Scan(&leaf, &s.text)
		s.leaf = uint64(leaf)
		return s, err
	}, "SELECT leaf, statement FROM audit_restored ORDER BY leaf")
	if err != nil {
		return nil, err
	}
	expired, err := l.expired(ctx)
	if err != nil {
		return nil, err
	}
	for _, s := range all {
		if err := s.read(l.trust); err != nil {
			return nil, err
		}
		if s.leaf < expired {
			continue // the entry is in the archive
		}
		leaves, err := l.Leaves(ctx, s.leaf, 1)
		if err != nil {
			return nil, err
		}
		if entry := s.entry(); len(leaves) != 1 || string(leaves[0]) != string(entry.Append(nil)) {
			return nil, changed("恢复声明与日志中的条目不符", "the statement of a restore is not what the log says of it")
		}
	}
	return all, nil
}

// read reads the text.
func (s *stated) read(trust *receipt.Trust) (err error) {
	if s.Gap, err = ParseGap([]byte(s.text)); err != nil {
		return err
	}
	return s.Verify(trust)
}

// kept returns the statements in the witness's folder.
func (l *Log) kept() (all []*stated, err error) {
	files, err := os.ReadDir(l.o.Memory)
	if errors.Is(err, os.ErrNotExist) || l.o.Memory == "" {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	for _, f := range files {
		s := new(stated)
		digits, ok := strings.CutPrefix(f.Name(), gapFile)
		if _, err := fmt.Sscanf(digits, "%d-", &s.leaf); !ok || err != nil {
			continue
		}
		text, err := os.ReadFile(filepath.Join(l.o.Memory, f.Name()))
		if err != nil {
			return nil, err
		}
		s.text = string(text)
		if err := s.read(l.trust); err != nil {
			return nil, err
		}
		all = append(all, s)
	}
	return all, nil
}
