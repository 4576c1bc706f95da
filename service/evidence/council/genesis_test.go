package council

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/qiongdev/qiong/kit/errs"
)

var founding = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

func fourPublics(t testing.TB) []Public {
	return []Public{newPublic(t, "tax", "127.0.0.1:1"), newPublic(t, "customs", "[::1]:2"),
		newPublic(t, "clearing", "clearing.example:3"), newPublic(t, "forex", "10.0.0.1:4")}
}

// Every agency computes the same, in whatever order the public parts came in.
func TestGenesisIsTheSameForAll(t *testing.T) {
	pubs := fourPublics(t)
	g, err := NewGenesis("hainan", founding, []byte("policy"), pubs)
	if err != nil {
		t.Fatal(err)
	}
	want, err := g.Fingerprint()
	if err != nil || len(want) != 64 {
		t.Fatal(want, err)
	}
	slices.Reverse(pubs)
	other, err := NewGenesis("hainan", founding.In(time.FixedZone("", 8*3600)), []byte("policy"), pubs)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := other.Fingerprint(); got != want || err != nil {
		t.Errorf("another order gives %s, %v", got, err)
	}
	doc, err := g.doc()
	if err != nil {
		t.Fatal(err)
	}
	if len(doc.Validators) != 4 || doc.Validators[0].Power != doc.Validators[3].Power || !strings.Contains(doc.ChainID, want[:16]) {
		t.Errorf("CometBFT gets %+v", doc)
	}
	changed, err := NewGenesis("hainan", founding, []byte("Policy"), pubs)
	if err != nil {
		t.Fatal(err)
	}
	if got, _ := changed.Fingerprint(); got == want {
		t.Error("another state has the same fingerprint")
	}
}

func TestGenesisRefuses(t *testing.T) {
	pubs := fourPublics(t)
	twice := slices.Clone(pubs)
	twice[1].Node = twice[0].Node
	key := slices.Clone(pubs)
	key[1].Consensus = key[0].Consensus
	sign := slices.Clone(pubs)
	sign[2].Cosigning = sign[3].Cosigning
	for _, c := range []struct {
		field, chain string
		at           time.Time
		pubs         []Public
	}{
		{"chain", "Hainan", founding, pubs},
		{"chain", "", founding, pubs},
		{"time", "hainan", founding.Add(1), pubs},
		{"time", "hainan", time.Time{}, pubs},
		{"members", "hainan", founding, nil},
		{"members[1].agency", "hainan", founding, append(slices.Clone(pubs[1:2]), pubs[1])},
		{"members[3].node", "hainan", founding, twice},
		{"members[3].consensus", "hainan", founding, key},
		{"members[2].cosigning", "hainan", founding, sign},
	} {
		_, err := NewGenesis(c.chain, c.at, nil, c.pubs)
		if e := errs.As(err); err == nil || e.Kind != errs.Invalid || e.Field != c.field {
			t.Errorf("want a complaint about %s, got %v", c.field, err)
		}
	}
}

func TestGenesisFileHasOneForm(t *testing.T) {
	g, err := NewGenesis("hainan", founding, []byte("policy"), fourPublics(t))
	if err != nil {
		t.Fatal(err)
	}
	data, err := g.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	back, err := ParseGenesis(data)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := back.Marshal(); err != nil || !bytes.Equal(again, data) {
		t.Errorf("read and written it is another file (%v)", err)
	}
	compact := new(bytes.Buffer)
	if err := json.Compact(compact, data); err != nil {
		t.Fatal(err)
	}
	for name, other := range map[string][]byte{
		"compact":       compact.Bytes(),
		"longer":        append(slices.Clone(data), '\n'),
		"unknown field": bytes.Replace(data, []byte(`"chain"`), []byte(`"x":1,"chain"`), 1),
		"null state":    bytes.Replace(data, []byte(`"cG9saWN5"`), []byte(`null`), 1),
		"local time":    bytes.Replace(data, []byte(`12:00:00Z`), []byte(`20:00:00+08:00`), 1),
		"no vote twice": bytes.Replace(data, []byte(`"votes": true`), []byte(`"votes": true, "votes": true`), 1),
	} {
		if bytes.Equal(other, data) {
			t.Fatalf("%s changes nothing", name)
		}
		if _, err := ParseGenesis(other); err == nil {
			t.Errorf("%s was read", name)
		}
	}
}

func TestPublicRefuses(t *testing.T) {
	good := newPublic(t, "customs", "10.0.0.1:26656")
	data, err := good.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	if back, err := ParsePublic(data); err != nil || back.Node != good.Node || !bytes.Equal(back.Consensus, good.Consensus) {
		t.Errorf("read back as %+v, %v", back, err)
	}
	for _, c := range []struct {
		field  string
		change func(*Public)
	}{
		{"agency", func(p *Public) { p.Agency = "海关" }},
		{"node", func(p *Public) { p.Node = strings.ToUpper(p.Node) + "A" }},
		{"node", func(p *Public) { p.Node = p.Node[:38] }},
		{"consensus", func(p *Public) { p.Consensus = p.Consensus[1:] }},
		{"p2p", func(p *Public) { p.P2P = "10.0.0.1" }},
		{"p2p", func(p *Public) { p.P2P = ":26656" }},
		{"p2p", func(p *Public) { p.P2P = "a@b:26656" }},
		{"p2p", func(p *Public) { p.P2P = "a:0" }},
		{"p2p", func(p *Public) { p.P2P = "a:026656" }},
		{"http", func(p *Public) { p.HTTP = "ftp://a" }},
		{"http", func(p *Public) { p.HTTP = "https://u:p@a" }},
		{"cosigning", func(p *Public) { p.Cosigning = "" }},
	} {
		p := good
		c.change(&p)
		if _, err := p.Marshal(); !errs.Is(err, errs.Invalid) || errs.As(err).Field != c.field {
			t.Errorf("want a complaint about %s, got %v", c.field, err)
		}
	}
}

func FuzzParsePublic(f *testing.F) {
	data, err := newPublic(f, "customs", "10.0.0.1:26656").Marshal()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add([]byte(`{}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := ParsePublic(data)
		if err != nil {
			return
		}
		if again, err := p.Marshal(); err != nil || !bytes.Equal(again, data) {
			t.Errorf("%q has another form %q, %v", data, again, err)
		}
	})
}

func FuzzParseGenesis(f *testing.F) {
	g, err := NewGenesis("hainan", founding, []byte("policy"), fourPublics(f))
	if err != nil {
		f.Fatal(err)
	}
	data, err := g.Marshal()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Fuzz(func(t *testing.T, data []byte) {
		g, err := ParseGenesis(data)
		if err != nil {
			return
		}
		if _, err := g.doc(); err != nil {
			t.Errorf("CometBFT refuses what we take: %v", err)
		}
		if again, err := g.Marshal(); err != nil || !bytes.Equal(again, data) {
			t.Errorf("%q has another form %q, %v", data, again, err)
		}
	})
}
