package wal

import (
	"path/filepath"

	"github.com/qiongdev/qiong/kit/errs"
)

// The codes of errors that a caller may want to tell apart.
const (
	CodeDamaged = "wal.damaged"  // what was synced is not there any more: nothing is repaired, an operator decides
	CodeStopped = "wal.stopped"  // a write or sync failed; the log takes nothing more until it is opened anew
	CodeClosed  = "wal.closed"   // Close was called
	CodeFenced  = "wal.fenced"   // a newer generation has the log
	CodeLocked  = "wal.locked"   // another process has the folder
	CodeNoRoom  = "wal.no-room"  // no room for the next segment; what is written stays, try again when there is
	CodeNotKept = "wal.not-kept" // older than what the log keeps
	CodeLied    = "wal.lied"     // a standby acknowledged what it cannot have
	CodePeer    = "wal.peer"     // the other end of a connection broke the protocol, or is of another log
)

// damaged names the file and the byte from which on it is not as it was synced.
func damaged(path string, offset int64, why string) error {
	name := filepath.Base(path)
	return errs.Newf(errs.Internal, "日志文件 %s 已损坏：%s", "log file %s is damaged: %s", name, why).
		WithCode(CodeDamaged).WithOffset(offset).
		WithHint("不要删除任何文件；从备机或备份恢复，或请人判断", "delete nothing; restore from a standby or a backup, or have someone look")
}

func stopped(err error) error {
	return errs.Wrap(err, errs.Unavailable, "日志写入失败，已停止", "a write of the log failed and it has stopped").WithCode(CodeStopped)
}

func closed() error {
	return errs.New(errs.Unavailable, "日志已关闭", "the log is closed").WithCode(CodeClosed)
}

func fenced(have, want uint64) error {
	return errs.Newf(errs.Conflict, "日志已属于第 %d 代，第 %d 代不得再写", "the log belongs to generation %d; generation %d may not write", have, want).WithCode(CodeFenced)
}

func noRoom(err error) error {
	return errs.Wrap(err, errs.Unavailable, "磁盘没有下一段日志的空间", "the disk has no room for the next segment of the log").WithCode(CodeNoRoom).
		WithHint("腾出磁盘空间，或保留更少的日志", "free disk space, or keep less of the log")
}

func notKept(lsn uint64) error {
	return errs.Newf(errs.NotFound, "日志不再保留第 %d 条", "the log no longer keeps record %d", lsn).WithCode(CodeNotKept)
}
