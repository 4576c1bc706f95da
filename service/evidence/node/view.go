package node

import (
	"encoding/json"

	"github.com/qiongdev/qiong/kit/beijing"
	"github.com/qiongdev/qiong/kit/lang"
)

// Status is what GET /status answers.
type Status struct {
	Agency       string       `json:"agency"`
	Chain        string       `json:"chain"`
	Running      bool         `json:"running"`
	CatchingUp   bool         `json:"catchingUp"`
	Height       int64        `json:"height"`             // of the last block
	BlockTime    beijing.Time `json:"blockTime,omitzero"` // of the last block
	Turn         string       `json:"turn"`               // the agency that proposes now
	Round        int32        `json:"round"`              // turns that have passed without a decision at this height
	Waiting      int          `json:"waiting"`            // transactions in this node's queue
	Size         uint64       `json:"size"`               // records in the log
	CosignedSize uint64       `json:"cosignedSize"`       // of the newest checkpoint that this agency has cosigned
	Waits        *lang.Text   `json:"waits,omitempty"`    // what cosigning waits for, such as a signer that does not answer
	Policy       uint64       `json:"policy"`             // version in force
	Peers        []Peer       `json:"peers"`
}

// Peer is another agency as the node sees it.
type Peer struct {
	Agency    string       `json:"agency"`
	Votes     bool         `json:"votes"`
	Connected bool         `json:"connected"`
	AheadMS   int64        `json:"aheadMs"`       // its clock against this machine's in milliseconds; negative: behind
	Seen      beijing.Time `json:"seen,omitzero"` // when the council last heard it sign
}

// Policies is what GET /policy answers.
type Policies struct {
	Policy  json.RawMessage `json:"policy"`  // in force
	History []PolicyAt      `json:"history"` // every one so far, the one in force last
}

// PolicyAt is a policy and when it came into force.
type PolicyAt struct {
	Version uint64          `json:"version"`
	Height  int64           `json:"height"` // of the block that brought it
	At      beijing.Time    `json:"at"`     // that block's time
	Policy  json.RawMessage `json:"policy"`
}
