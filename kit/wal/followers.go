package wal

import "sync"

// followers are the connections to standbys.
type followers struct {
	ended sync.WaitGroup
}

func (f *followers) init() {}
func (f *followers) wait() { f.ended.Wait() }

// Require says which standbys must have a batch, besides this disk, before done is called for it.
func (l *Log) Require(names ...string) {
	l.at.update(func() { l.at.required = names })
}
