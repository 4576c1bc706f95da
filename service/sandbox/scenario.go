package sandbox

import (
	_ "embed"
	"maps"
	"slices"

	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/lang"
)

//go:embed scenario.yaml
var builtin []byte

// Mode is how an agency lets its caller know.
type Mode string

// The modes.
const (
	Now      Mode = "now"      // the answer waits until it is decided
	Callback Mode = "callback" // pending, then a signed POST to the caller
	Poll     Mode = "poll"     // pending until the caller asks again
)

// Scenario says how agencies behave.
type Scenario struct {
	resources map[key]*Behaviour // key.id is empty
}

// Behaviour is how one resource of one agency behaves.
type Behaviour struct {
	Mode      Mode
	Latency   Latency
	Revocable bool
	Refuse    []Rule

	output []template
	faults []odds // in the order of faultKinds
	line   int
}

// Refusal is why an agency will not act.
type Refusal struct {
	Code   string
	Reason lang.Text
}

// odds is how probable a fault is.
type odds struct {
	kind FaultKind
	p    float64
}

// LoadScenario reads a scenario. The error is an *errs.Error of kind Invalid with every finding, each with its line and
// the path of the key; it never repeats a value.
func LoadScenario(data []byte) (Scenario, error) {
	s, err := parseScenario(data)
	if err != nil {
		return Scenario{}, err
	}
	docs, err := loadDocuments()
	if err != nil {
		return Scenario{}, err
	}
	return s, s.knownTo(docs)
}

// knownTo refuses agencies and resources that no document describes.
func (s Scenario) knownTo(docs map[string]*document) error {
	var r findings
	for _, k := range s.keys() {
		line, path := s.resources[k].line, "agencies."+k.agency
		if doc, ok := docs[k.agency]; !ok {
			r.add(line, path, "没有这个部门", "there is no such agency")
		} else if _, ok := doc.schemas[k.resource]; !ok {
			r.add(line, path+"."+k.resource, "该部门没有这项资源", "the agency has no such resource")
		}
	}
	return r.err()
}

// keys returns the resources in the order of the file.
func (s Scenario) keys() []key {
	return slices.SortedFunc(maps.Keys(s.resources), func(a, b key) int { return s.resources[a].line - s.resources[b].line })
}

// over returns s with what is missing in it taken from base.
func (s Scenario) over(base Scenario) Scenario {
	all := maps.Clone(base.resources)
	maps.Copy(all, s.resources)
	return Scenario{all}
}

// findings collects what is wrong with a file.
type findings []*errs.Error

func (f *findings) add(line int, path, zh, en string) {
	*f = append(*f, errs.New(errs.Invalid, zh, en).WithCode("sandbox.scenario").WithLine(line).WithField(path))
}

func (f findings) err() error {
	if len(f) == 0 {
		return nil
	}
	f[0].Also = f[1:]
	return f[0]
}
