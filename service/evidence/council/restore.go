package council

import (
	"bytes"
	"context"
	"errors"
	"io"

	abci "github.com/cometbft/cometbft/abci/types"
)

// restore is an import under way: chunks go in at one end, the ledger reads at the other.
type restore struct {
	height   int64
	hash     []byte // that the council signed
	manifest []byte
	to       *io.PipeWriter
	result   chan error
}

// ListSnapshots implements abci.Application.
func (a *app) ListSnapshots(context.Context, *abci.RequestListSnapshots) (*abci.ResponseListSnapshots, error) {
	res := new(abci.ResponseListSnapshots)
	if a.snapshots == nil {
		return res, nil
	}
	a.snapshots.use()
	for _, height := range a.snapshots.list() {
		manifest, err := a.snapshots.manifest(height)
		if err != nil {
			continue // just removed
		}
		res.Snapshots = append(res.Snapshots, &abci.Snapshot{Height: uint64(height), Format: snapshotFormat,
			Chunks: uint32(len(manifest) / 32), Hash: identity(uint64(height), manifest), Metadata: manifest})
	}
	return res, nil
}

// LoadSnapshotChunk implements abci.Application. No chunk means that this node has it no longer.
func (a *app) LoadSnapshotChunk(ctx context.Context, req *abci.RequestLoadSnapshotChunk) (*abci.ResponseLoadSnapshotChunk, error) {
	res := new(abci.ResponseLoadSnapshotChunk)
	if a.snapshots == nil || req.Format != snapshotFormat {
		return res, nil
	}
	a.snapshots.use()
	chunk, err := a.snapshots.chunk(ctx, int64(req.Height), int(req.Chunk))
	if err != nil {
		a.log.Warn("a snapshot is unreadable", "height", req.Height, "err", err)
		return res, nil
	}
	res.Chunk = chunk
	return res, nil
}

// OfferSnapshot implements abci.Application. The hash is what the council signed; the rest is a peer's word.
func (a *app) OfferSnapshot(_ context.Context, req *abci.RequestOfferSnapshot) (*abci.ResponseOfferSnapshot, error) {
	answer := func(r abci.ResponseOfferSnapshot_Result) (*abci.ResponseOfferSnapshot, error) {
		return &abci.ResponseOfferSnapshot{Result: r}, nil
	}
	s := req.Snapshot
	switch {
	case a.snapshots == nil:
		return answer(abci.ResponseOfferSnapshot_ABORT)
	case s.Format != snapshotFormat:
		return answer(abci.ResponseOfferSnapshot_REJECT_FORMAT)
	case s.Chunks == 0 || len(s.Metadata) != int(s.Chunks)*32 || !bytes.Equal(s.Hash, identity(s.Height, s.Metadata)):
		return answer(abci.ResponseOfferSnapshot_REJECT)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.abandon()
	from, to := io.Pipe()
	a.restore = &restore{int64(s.Height), req.AppHash, s.Metadata, to, make(chan error, 1)}
	go func(result chan error) {
		err := a.snapshots.ledger.Import(a.ctx, from)
		_ = from.CloseWithError(errors.Join(errors.New("the import ended"), err)) // so that no writer waits
		result <- err
	}(a.restore.result)
	return answer(abci.ResponseOfferSnapshot_ACCEPT)
}

// abandon ends an import that will not be completed, and waits for the ledger to let go.
func (a *app) abandon() {
	if a.restore == nil {
		return
	}
	_ = a.restore.to.CloseWithError(errors.New("the snapshot was given up")) // never fails
	<-a.restore.result
	a.restore = nil
}

// ApplySnapshotChunk implements abci.Application. Chunks come in order.
func (a *app) ApplySnapshotChunk(ctx context.Context, req *abci.RequestApplySnapshotChunk) (*abci.ResponseApplySnapshotChunk, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	r := a.restore
	if r == nil || int(req.Index) >= len(r.manifest)/32 {
		return &abci.ResponseApplySnapshotChunk{Result: abci.ResponseApplySnapshotChunk_REJECT_SNAPSHOT}, nil
	}
	if !isChunk(r.manifest, int(req.Index), req.Chunk) {
		return &abci.ResponseApplySnapshotChunk{Result: abci.ResponseApplySnapshotChunk_RETRY,
			RefetchChunks: []uint32{req.Index}, RejectSenders: []string{req.Sender}}, nil
	}
	_, err := r.to.Write(req.Chunk)
	if err == nil && int(req.Index) == len(r.manifest)/32-1 {
		err = a.complete(ctx, r)
	}
	if err != nil {
		a.log.Warn("a snapshot was refused", "height", r.height, "err", err)
		a.abandon()
		return &abci.ResponseApplySnapshotChunk{Result: abci.ResponseApplySnapshotChunk_REJECT_SNAPSHOT}, nil
	}
	return &abci.ResponseApplySnapshotChunk{Result: abci.ResponseApplySnapshotChunk_ACCEPT}, nil
}

// complete waits for the ledger and holds it to what the council signed.
func (a *app) complete(ctx context.Context, r *restore) error {
	if err := r.to.Close(); err != nil {
		return err
	}
	err := <-r.result
	r.result <- err // for abandon
	if err != nil {
		return err
	}
	if err := a.holds(ctx, r.height, r.hash); err != nil {
		return err
	}
	a.restore = nil
	a.log.Info("imported a snapshot", "height", r.height)
	return a.reload(ctx)
}
