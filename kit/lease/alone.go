package lease

import (
	"context"
	"errors"
)

// Alone returns the client of a server without others: it votes for itself, in a folder of its own that no other process
// can open at the same time. A lease is taken at once, with an epoch greater than all before, and stays valid until it is
// released.
func Alone(ctx context.Context, dir, me string) (*Client, error) {
	files, err := OpenFiles(dir, true)
	if err != nil {
		return nil, err
	}
	v, err := OpenVoter(ctx, VoterOptions{Store: files})
	if err != nil {
		return nil, errors.Join(err, files.Close())
	}
	c, err := NewClient(Options{Me: me, Voters: []Peer{v.Peer(me, me)}, Sole: true})
	if err != nil {
		return nil, errors.Join(err, files.Close())
	}
	c.forever, c.close = true, files.Close
	return c, nil
}
