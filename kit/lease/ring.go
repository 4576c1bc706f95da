package lease

import (
	"net/url"
	"strings"
	"time"

	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/gm"
	"github.com/qiongdev/qiong/kit/keys"
)

// Path is where a house's voter is asked.
const Path = "/api/witness/ask"

// OwnKey is the name, in a house's key ring, of the key with which it asks and votes. Those of others are called
// "lease." and their name.
const OwnKey = "lease"

// Connect returns the client of replica me with its house's key ring. Each voter is written "name=URL", with the URL of
// its house; its key is "lease.NAME" in the ring, its own where it is me.
func Connect(ring *keys.Ring, me string, voters []string, ttl time.Duration, sole bool) (*Client, error) {
	signer, err := ring.Signer(OwnKey)
	if err != nil {
		return nil, err
	}
	client, o := NewHTTP(), Options{Me: me, TTL: ttl, Sole: sole}
	for _, v := range voters {
		name, address, err := ParseVoter(v)
		if err != nil {
			return nil, err
		}
		key := signer.PublicKey()
		if name != me {
			if key, err = Trusted(ring, name); err != nil {
				return nil, err
			}
		}
		o.Voters = append(o.Voters, NewRemote(name, address, key, signer, client))
	}
	c, err := NewClient(o)
	if err == nil {
		c.close = func() error { client.CloseIdleConnections(); return nil }
	}
	return c, err
}

// ParseVoter reads "name=URL" and returns the URL at which that house's voter is asked.
func ParseVoter(s string) (name, address string, err error) {
	name, base, _ := strings.Cut(s, "=")
	u, err := url.Parse(base)
	if err != nil || !ValidReplica(name) || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || u.RawQuery != "" || u.Fragment != "" || u.User != nil {
		return "", "", invalid("voters", "应为 名称=http 或 https 地址", "must be NAME=URL, of http or https")
	}
	return name, strings.TrimSuffix(base, "/") + Path, nil
}

// Trusted returns the key of another replica or voter in the ring.
func Trusted(ring *keys.Ring, name string) (*gm.PublicKey, error) {
	key, err := ring.Public(OwnKey + "." + name)
	if errs.Is(err, errs.NotFound) {
		return nil, errs.Newf(errs.NotFound, "密钥环中没有 %s.%s", "the key ring has no %s.%s", OwnKey, name).
			WithHint("在对方机器上 qiong keys new lease，在本机 qiong keys trust lease.名称 文件", "qiong keys new lease on its machine, then qiong keys trust lease.NAME FILE here")
	}
	return key, err
}
