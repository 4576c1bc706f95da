// Package council promises that four agencies agree on one order of transactions.
package council

import (
	_ "github.com/cometbft/cometbft/node"
	_ "github.com/cometbft/cometbft/privval"
	_ "github.com/cometbft/cometbft/p2p"
	_ "github.com/cometbft/cometbft/proxy"
)
