package booking

import (
	"hash/maphash"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/qiongdev/qiong/kit/errs"
)

// networks keeps one network from filling the intake before everybody else, and does nothing while there is room: when
// more than half of the intake is taken, a network that has more than half of it waits. So a carrier's address with a whole
// town behind it is never locked out, since half of what can be done at all is always its own to take, and a crowd of
// machines behind one address leaves the other half to others. Addresses that are not public are not counted: behind them
// are proxies and the other server of a pair, with everybody's requests.
type networks struct {
	seed  maphash.Seed
	once  sync.Once
	cells []atomic.Int32 // requests under way; two networks in one cell count as one
}

const networkCells = 1 << 16

var errNetwork = errs.New(errs.TooMany, "本网络同时预约的请求过多，请稍候", "too many from this network are booking at once: wait a moment").
	WithCode("booking.network").WithRetryAfter(time.Second)

// enter counts a request from remote, an address with a port, before an intake in which waiting of size requests wait.
// leave of what it returns must be called when the request has been answered.
func (n *networks) enter(remote string, waiting, size int) (*place, error) {
	network, ok := networkOf(remote)
	if !ok {
		return nil, nil
	}
	n.once.Do(func() { n.seed, n.cells = maphash.MakeSeed(), make([]atomic.Int32, networkCells) })
	cell := &n.cells[maphash.Comparable(n.seed, network)%networkCells]
	if held := int(cell.Add(1)); waiting > size/2 && held > size/2 {
		cell.Add(-1)
		return nil, errNetwork
	}
	return (*place)(cell), nil
}

// place is a request that was counted; nil where it was not.
type place atomic.Int32

func (p *place) leave() {
	if p != nil {
		(*atomic.Int32)(p).Add(-1)
	}
}

// networkOf returns the network of a public address: of IPv6, what one customer may have at most.
func networkOf(remote string) (netip.Prefix, bool) {
	at, err := netip.ParseAddrPort(remote)
	if err != nil {
		return netip.Prefix{}, false
	}
	ip := at.Addr().Unmap().WithZone("")
	if !ip.IsGlobalUnicast() || ip.IsPrivate() || shared.Contains(ip) {
		return netip.Prefix{}, false
	}
	bits := 32
	if ip.Is6() {
		bits = 48
	}
	network, err := ip.Prefix(bits)
	return network, err == nil
}

// shared are the addresses that carriers use within their own networks.
var shared = netip.MustParsePrefix("100.64.0.0/10")
