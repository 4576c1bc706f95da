package booking

import (
	"testing"

	"github.com/qiongdev/qiong/kit/errs"
)

func TestANetworkTakesHalfWhenOthersWait(t *testing.T) {
	const size = 8
	var n networks
	var held []*place
	for range 3 * size { // there is room: nobody is counted out
		p, err := n.enter("203.0.113.7:4000", size/2, size)
		if err != nil || p == nil {
			t.Fatalf("with room: %v", err)
		}
		held = append(held, p)
	}
	if _, err := n.enter("203.0.113.7:4001", size/2+1, size); !errs.Is(err, errs.TooMany) {
		t.Errorf("one that has it all, in a full intake: %v", err)
	}
	p, err := n.enter("198.51.100.9:4000", size, size)
	if err != nil {
		t.Errorf("another network: %v", err)
	}
	p.leave()
	for _, p := range held[:len(held)-size/2+1] {
		p.leave()
	}
	for i := range 2 { // half of the intake is always its own to take
		_, err := n.enter("203.0.113.7:4002", size, size)
		if (err != nil) != (i > 0) {
			t.Errorf("with %d of %d: %v", size/2-1+i, size, err)
		}
	}
}

func TestNetworksOfAddresses(t *testing.T) {
	for remote, want := range map[string]string{
		"203.0.113.7:80":              "203.0.113.7/32",
		"[::ffff:203.0.113.7]:80":     "203.0.113.7/32",
		"[2001:db8:1:2::3]:80":        "2001:db8:1::/48",
		"[2001:db8:1:ffff::3%eth]:80": "2001:db8:1::/48",
		"127.0.0.1:80":                "",
		"[::1]:80":                    "",
		"10.1.2.3:80":                 "",
		"192.168.1.1:80":              "",
		"100.64.0.1:80":               "",
		"100.128.0.1:80":              "100.128.0.1/32",
		"[fd00::1]:80":                "",
		"[fe80::1%eth]:80":            "",
		"":                            "",
		"@":                           "",
		"203.0.113.7":                 "",
	} {
		network, ok := networkOf(remote)
		if got := network.String(); ok && got != want || ok != (want != "") {
			t.Errorf("%s is of %s, %v; want %s", remote, got, ok, want)
		}
	}
}
