package council

import (
	"context"
)

func signTwice(ctx context.Context, n *Node, h *Home) {}
