package council

import (
	"context"
	"log/slog"

	cmtlog "github.com/cometbft/cometbft/libs/log"
)

// quiet passes CometBFT's log on to slog two steps lower than CometBFT thinks of it: what it calls information comes
// with every block. Its errors are warnings, since most are a peer going away; what stops the node is returned by Run.
type quiet struct {
	log    *slog.Logger
	failed func(words string)
}

// Some failures reach nobody but CometBFT's log, after which the node stands still.
var deadly = map[string]bool{
	"State sync failed":                       true,
	"Failed to bootstrap node with new state": true,
	"Failed to store last seen commit":        true,
	"Failed to switch to block sync":          true,
}

var _ cmtlog.Logger = quiet{}

func (q quiet) say(level slog.Level, msg string, keyvals []any) {
	if q.log.Enabled(context.Background(), level) {
		q.log.Log(context.Background(), level, msg, keyvals...)
	}
}

const levelTrace = slog.LevelDebug - 4

func (q quiet) Debug(msg string, keyvals ...any) { q.say(levelTrace, msg, keyvals) }
func (q quiet) Info(msg string, keyvals ...any)  { q.say(slog.LevelDebug, msg, keyvals) }
func (q quiet) Warn(msg string, keyvals ...any)  { q.say(slog.LevelInfo, msg, keyvals) }

func (q quiet) Error(msg string, keyvals ...any) {
	q.say(slog.LevelWarn, msg, keyvals)
	if deadly[msg] {
		q.failed(msg)
	}
}

// With implements cmtlog.Logger.
func (q quiet) With(keyvals ...any) cmtlog.Logger {
	return quiet{q.log.With(keyvals...), q.failed}
}
