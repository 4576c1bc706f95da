//go:build !linux

package load

import "context"

// runEpoll is for Linux alone.
func runEpoll(context.Context, *Plan) (*Outcome, error) { return nil, nil }
