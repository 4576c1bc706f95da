package sandbox

import (
	"context"
	"crypto"
	"log/slog"
	"maps"
	"net/http"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/qiongdev/qiong/kit/agency"
	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/gm"
	"github.com/qiongdev/qiong/kit/httpsig"
	"github.com/qiongdev/qiong/kit/ident"
	"github.com/qiongdev/qiong/kit/keys"
	"github.com/qiongdev/qiong/kit/lang"
	"github.com/qiongdev/qiong/kit/sqldb"
)

// Deps are what a sandbox runs on.
type Deps struct {
	DB   sqldb.DB         // migrated; see Migrate
	Keys *keys.Ring       // signs as KeyName(agency); callers are whom it trusts
	Now  func() time.Time // default time.Now
	Log  *slog.Logger     // default slog.Default()
	HTTP *http.Client     // sends callbacks; default agency.NewHTTP
}

// Sandbox is the agencies at work.
type Sandbox struct {
	cfg     Config
	deps    Deps
	store   store
	offices map[string]*office
	faults  faults
	nonces  *httpsig.NonceCache
	forger  crypto.Signer // of wrong signatures
	room    chan struct{} // one token a request
	mux     *http.ServeMux
	wake    chan struct{} // a callback is owed
	ended   chan struct{} // closed when Run has returned
	end     sync.Once
}

// maxNonces is room for 4,000 requests a second over four windows; see httpsig.NewNonceCache.
const maxNonces = 1 << 20

// KeyName is the name of an agency's key in the ring.
func KeyName(agency string) string { return "agency." + agency }

// New returns a sandbox on a migrated database. It starts nothing.
func New(cfg Config, deps Deps) (*Sandbox, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if deps.Now == nil {
		deps.Now = time.Now
	}
	if deps.Log == nil {
		deps.Log = slog.Default()
	}
	if deps.HTTP == nil {
		deps.HTTP = agency.NewHTTP(maxDeliveries)
	}
	forger, err := gm.GenerateKey()
	if err != nil {
		return nil, err
	}
	s := &Sandbox{
		cfg: cfg, deps: deps, forger: forger,
		store:  store{db: deps.DB, ids: &ident.Source{}},
		nonces: httpsig.NewNonceCache(maxNonces, agency.Window),
		room:   make(chan struct{}, cfg.MaxConcurrent),
		wake:   make(chan struct{}, 1),
		ended:  make(chan struct{}),
	}
	last, err := sqldb.Value[int64](context.Background(), deps.DB, "SELECT coalesce(max(id), 0) FROM effect")
	if err != nil {
		return nil, err
	}
	s.store.ids.Seen(last)
	if s.offices, err = open(cfg.Scenario, deps.Keys); err != nil {
		return nil, err
	}
	s.mux = s.routes()
	return s, nil
}

// open opens the agencies with the built-in scenario and the operator's over it.
func open(file string, ring *keys.Ring) (map[string]*office, error) {
	scenario, err := LoadScenario(builtin)
	if err != nil {
		return nil, err
	}
	if file != "" {
		data, err := os.ReadFile(file)
		if err != nil {
			return nil, errs.Wrap(err, errs.NotFound, "无法读取场景文件", "the scenario cannot be read").WithField("scenario")
		}
		own, err := LoadScenario(data)
		if err != nil {
			return nil, err
		}
		scenario = own.over(scenario)
	}
	docs, err := loadDocuments()
	if err != nil {
		return nil, err
	}
	offices := map[string]*office{}
	for name, doc := range docs {
		signer, err := ring.Signer(KeyName(name))
		if err != nil {
			return nil, err
		}
		offices[name] = &office{name: name, doc: doc, key: signer, resources: map[string]*Behaviour{}}
	}
	for k, b := range scenario.resources {
		offices[k.agency].resources[k.resource] = b
	}
	return offices, nil
}

// Agency is what there is to know of an agency.
type Agency struct {
	_         struct{}   `grade:"L1"`
	Name      string     `json:"name"`
	Title     lang.Text  `json:"title"`
	KeyID     string     `json:"keyId" doc:"签名密钥 / its signing key"`
	Resources []Resource `json:"resources"`
}

// Resource is one of an agency's resources.
type Resource struct {
	Name      string `json:"name" grade:"L1"`
	Mode      Mode   `json:"mode" grade:"L1"`
	MedianMS  int64  `json:"medianMs" grade:"L1" doc:"时延中位数（毫秒） / median latency in milliseconds"`
	Revocable bool   `json:"revocable" grade:"L1" doc:"办结后可否撤销 / whether it can be undone once done"`
}

// Agencies returns the agencies by name.
func (s *Sandbox) Agencies() []Agency {
	var all []Agency
	for _, name := range slices.Sorted(maps.Keys(s.offices)) {
		o := s.offices[name]
		a := Agency{Name: name, Title: o.doc.title, KeyID: o.key.KeyID()}
		for _, resource := range slices.Sorted(maps.Keys(o.resources)) {
			b := o.resources[resource]
			a.Resources = append(a.Resources, Resource{resource, b.Mode, b.Latency.Median.Milliseconds(), b.Revocable})
		}
		all = append(all, a)
	}
	return all
}

// Reset forgets everything: requests, the ledger, faults.
func (s *Sandbox) Reset(ctx context.Context) error {
	for name := range s.offices {
		s.faults.clear(name)
	}
	return s.store.forget(ctx)
}

func (s *Sandbox) office(name string) (*office, error) {
	if o, ok := s.offices[name]; ok {
		return o, nil
	}
	return nil, errs.New(errs.NotFound, "没有这个部门", "there is no such agency").WithField("agency")
}

func (s *Sandbox) now() time.Time { return s.deps.Now() }

func fromMilli(ms int64) time.Time { return time.UnixMilli(ms) }
