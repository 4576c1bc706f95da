package council

import (
	"context"
	"fmt"
	"log/slog"
	"strings"

	cmtlog "github.com/cometbft/cometbft/libs/log"
)

// quiet passes CometBFT's log on to slog two steps lower than CometBFT thinks of it: what it calls information comes
// with every block. Its errors are warnings, since most are a peer going away; what stops the node is returned by Run.
type quiet struct {
	log    *slog.Logger
	failed func(error)
}

// Some failures reach nobody but CometBFT's log, after which the node stands still.
var deadly = map[string]bool{
	"CONSENSUS FAILURE!!!":                    true,
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
		q.failed(fmt.Errorf("%s: %v", strings.TrimRight(msg, "!"), valueOf("err", keyvals)))
	}
}

func valueOf(key string, keyvals []any) any {
	for i := 0; i+1 < len(keyvals); i += 2 {
		if keyvals[i] == key {
			return keyvals[i+1]
		}
	}
	return "no reason given"
}

// With implements cmtlog.Logger.
func (q quiet) With(keyvals ...any) cmtlog.Logger {
	return quiet{q.log.With(keyvals...), q.failed}
}
