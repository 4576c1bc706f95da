// Package qiong is the contract between a house and what lives in it: a [Service] that stays running, a [Tool] that runs
// and ends, the [Host] a service is given, and the [Runner] it gives back.
//
// A service is a value. Its name stands in five places: the folder, the command, the section of the configuration, the
// path /api/<name>/ and the prefix of its metrics. A program is a list of services and tools handed to package house:
//
//	func main() { house.Main([]*qiong.Service{approval.Service, sandbox.Service}, []*qiong.Tool{demo.Tool}) }
//
// The life of a service: its configuration is read, its tables are migrated, New makes it (and starts nothing), the
// house listens, Run runs until its context ends, and Ready says whether it can serve.
package qiong

import (
	"context"
	"io/fs"
	"log/slog"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/qiongdev/qiong/kit/auth"
	"github.com/qiongdev/qiong/kit/blob"
	"github.com/qiongdev/qiong/kit/httpapi"
	"github.com/qiongdev/qiong/kit/keys"
	"github.com/qiongdev/qiong/kit/label"
	"github.com/qiongdev/qiong/kit/lang"
	"github.com/qiongdev/qiong/kit/outbox"
	"github.com/qiongdev/qiong/kit/saga/engine"
	"github.com/qiongdev/qiong/kit/sqldb"
)

// Text is a message in Chinese and English.
type Text = lang.Text

// Need is a set of what a service asks of the house. Only what is asked for is opened.
type Need uint

// The needs.
const (
	DB    Need = 1 << iota // its own database, with the message table
	Sagas                  // an engine in that database; implies DB
	Blobs                  // a folder of objects
	Keys                   // the key ring
)

// Has reports whether n includes all of other.
func (n Need) Has(other Need) bool { return n&other == other }

// Service is something that stays running.
type Service struct {
	Name         string // lower case; folder, command, configuration section, /api/<name>/, metric prefix
	Doc          Text   // one sentence
	Needs        Need
	Tables       fs.FS   // migrations of its own database: 0001_init.sql, …
	Config       any     // pointer to a struct of its defaults; see package config for the tags
	ConfigSource string  // Go source of the file that declares Config, embedded: its comments are the manual
	Events       []Event // what it publishes
	// Clearance is the highest grade of the messages that its consumers may be told, unless a subscription says another;
	// default L2. What is graver becomes a dead letter.
	Clearance label.Grade
	// Lean says that memory is worth more to it than time: garbage is collected early where all services of a process are.
	Lean     bool
	Commands []*Tool // qiong <service> <command>
	New      func(ctx context.Context, h *Host, config any) (Runner, error)
}

// Event is a kind of message that a service publishes.
type Event struct {
	Type    string // "<service>.<noun>.<participle>"
	Version int    // of its data
	Grade   string // the highest grade of its data, such as "L2"; a house refuses an event without one
	Act     bool   // whether evidence anchors it
	Doc     Text
}

// Runner is a service that was made. Run ends everything it started before it returns; it returns nil when ctx ends.
type Runner interface {
	Run(ctx context.Context) error
}

// Readier is a Runner that can say why it can't serve at the moment.
type Readier interface{ Ready() error }

// Drainer is a Runner that can stop taking work in before it is told to end.
type Drainer interface {
	Drain(ctx context.Context) error
}

// Host is what a service may use. What it did not ask for in Needs is nil.
type Host struct {
	Name string // of the service
	// Folder returns a folder of the service's own in the data folder, which it makes where there is none.
	Folder func() (string, error)
	DB     sqldb.DB
	Sagas  *engine.Engine
	Box    *outbox.Box // the message table of DB
	Blobs  *blob.Store
	Keys   *keys.Ring
	API    *httpapi.API   // operations below /api/<name>/
	Mux    *http.ServeMux // pages below /<name>/
	Who    auth.Authenticator
	Now    func() time.Time // never steps back
	Log    *slog.Logger
	Meter  prometheus.Registerer // registers with the service's name as prefix
	// URL returns where this house is reached, such as "http://127.0.0.1:8460", once it listens.
	URL func() string
	// Clearance is that of the service.
	Clearance label.Grade

	// Proofs proves the acts of this house, and ProofOfAct one act of a batch; an error of kind Unavailable where no service
	// in it does.
	Proofs     Prove
	ProofOfAct ProveAct

	on    []Subscription
	every []Job
	prove Prove
	act   ProveAct

	children []Child

	elsewhere func(w http.ResponseWriter, r *http.Request) bool
}

// Subscription has a service handle events.
type Subscription struct {
	Consumer string // "<service>.<name>"
	Event    string // empty: every act
	Blocks   bool   // whether a dead letter holds back what follows of its key
	Handle   outbox.Handler
	Rows     outbox.Rows // instead of Handle, where it only inserts
	// Clearance is the highest grade of messages it may be told; default the service's. A consumer of several events has
	// the lowest of theirs.
	Clearance label.Grade
}

// Acts has every act of every service in the house handled once, in the order of its key, from the first start on: the
// events that evidence anchors. It is for New.
func (h *Host) Acts(name string, rows outbox.Rows) {
	h.on = append(h.on, Subscription{Consumer: h.Name + "." + name, Rows: rows, Clearance: h.Clearance})
}

// Proof is what proves an act.
type Proof struct {
	Record   string // id of the record in the log
	Type     string // of the event, with its version: approval.case.decided/1
	Receipt  []byte // the file that anyone verifies; empty while nobody has signed
	Original []byte // the file that the receipt's record commits to; empty where it was erased
	Complete bool   // everyone whom the record needs has cosigned
}

// Prove returns the proofs of the acts of a producer about the thing with a key, in their order.
type Prove func(ctx context.Context, producer, key string) ([]Proof, error)

// ProveAct returns the receipt of the n-th act of the batch under a record, and whether it is complete; an empty one while
// nobody has signed.
type ProveAct func(ctx context.Context, record string, n uint64) (receipt []byte, complete bool, err error)

// Proves makes a service the one that answers Host.Proofs and Host.ProofOfAct of all others. It is for New.
func (h *Host) Proves(p Prove, act ProveAct) { h.prove, h.act = p, act }

// Proved returns what Proves was given, for the house.
func (h *Host) Proved() (Prove, ProveAct) { return h.prove, h.act }

// Job is a function that runs now and then.
type Job struct {
	Name   string
	Period time.Duration
	Run    func(ctx context.Context) error
}

// On has every event of the type handled once, in the order of its key, from the first start on. The name tells
// consumers of one service apart. It is for New.
func (h *Host) On(name, event string, blocks bool, handle outbox.Handler) {
	h.Subscribe(Subscription{Consumer: h.Name + "." + name, Event: event, Blocks: blocks, Handle: handle})
}

// Subscribe is On for what On can't say. It is for New.
func (h *Host) Subscribe(s Subscription) {
	if s.Clearance == label.Ungraded {
		s.Clearance = h.Clearance
	}
	h.on = append(h.on, s)
}

// Every has f run each period while the house runs, never twice at a time. It is for New.
func (h *Host) Every(name string, period time.Duration, f func(ctx context.Context) error) {
	h.every = append(h.every, Job{Name: name, Period: period, Run: f})
}

// Elsewhere has f asked first about every request to the service, its API and its pages, before anybody is asked who they
// are: f answers it and returns true, as where another server is in charge, or returns false. It is for New.
func (h *Host) Elsewhere(f func(w http.ResponseWriter, r *http.Request) bool) { h.elsewhere = f }

// Diverts returns what Elsewhere was given, for the house.
func (h *Host) Diverts() func(w http.ResponseWriter, r *http.Request) bool { return h.elsewhere }

// Child is a process of this very program, in a process group of its own.
type Child struct {
	Name string   // unique in its service
	Args []string // after the program's name
}

// Child has the house keep a process of this program running while it runs itself: started after the house listens,
// started again when it ends, with longer and longer pauses, and ended with the house by SIGTERM, then SIGKILL. The house
// holds its standard input open, so that a child that watches for its end outlives nobody, however the house dies; on
// Linux the kernel kills it then. What it writes goes to the log. It is for New.
func (h *Host) Child(name string, args ...string) {
	h.children = append(h.children, Child{Name: name, Args: args})
}

// Children returns what Child has registered, for the house.
func (h *Host) Children() []Child { return h.children }

// Registered returns what On and Every have registered, for the house.
func (h *Host) Registered() ([]Subscription, []Job) { return h.on, h.every }
