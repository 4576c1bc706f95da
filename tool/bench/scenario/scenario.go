// Package scenario says what a load consists of: requests with their weights, headers, bodies and checks, the data they
// are filled with, and the phases they are sent in. A Definition is what a person writes, in YAML, read strictly and with
// every finding at its line; a Program is what is compiled from it once, so that drawing a request copies bytes and
// allocates nothing; a Stream draws the requests of one part of the load.
//
// It promises that a load is the same again: parts of one seed draw the same requests, and no two parts draw the same
// number of a sequence.
package scenario

import (
	"github.com/qiongdev/qiong/kit/yamlfile"
)

// Definition is a scenario as it is written.
type Definition struct {
	Name        string             `yaml:"name"`
	Target      string             `yaml:"target"`      // http://host:port or https://host:port
	Protocol    string             `yaml:"protocol"`    // http1 (default), http2, grpc
	Insecure    bool               `yaml:"insecure"`    // the certificate is not verified
	Descriptors string             `yaml:"descriptors"` // file of a FileDescriptorSet, for gRPC with bodies in JSON
	Connections int                `yaml:"connections"`
	Streams     int                `yaml:"streams"` // requests at a time on a connection of HTTP/2 or gRPC
	Workers     int                `yaml:"workers"`
	Timeout     yamlfile.Duration  `yaml:"timeout"`
	Seed        uint64             `yaml:"seed"`
	Variables   map[string]string  `yaml:"variables"`
	Data        map[string]FeedDef `yaml:"data"`
	Requests    []RequestDef       `yaml:"requests"`
	Phases      []PhaseDef         `yaml:"phases"`
	Require     []string           `yaml:"require"`
}

// RequestDef is a request.
type RequestDef struct {
	Name    string            `yaml:"name"`
	Method  string            `yaml:"method"` // default GET, or POST where there is a body
	Path    string            `yaml:"path"`   // of gRPC: /package.Service/Method
	Headers map[string]string `yaml:"headers"`
	Body    string            `yaml:"body"`
	BodyHex string            `yaml:"bodyHex"` // instead of Body: bytes
	Weight  *float64          `yaml:"weight"`  // default 1
	Checks  []CheckDef        `yaml:"checks"`
	Keep    *KeepDef          `yaml:"keep"`
}

// CheckDef is something that must be true of an answer. One of its parts is set. Without a check of the status, any below
// 400 will do (of gRPC: 0).
type CheckDef struct {
	Status   []int   `yaml:"status"`
	JSON     string  `yaml:"json"`   // path of a field, such as result.items[0].id
	Equals   *string `yaml:"equals"` // what the field says; without it, it must be there
	Contains string  `yaml:"contains"`
	Lacks    string  `yaml:"lacks"`
}

// KeepDef keeps the id of every acknowledged request with the key it was sent with.
type KeepDef struct {
	Key   string `yaml:"key"`   // template
	Field string `yaml:"field"` // path of a field of the answer
}

// FeedDef is data for requests.
type FeedDef struct {
	Kind    string    `yaml:"kind"` // sequence, uuid, integer, choice, csv, id-card
	From    int64     `yaml:"from"`
	To      int64     `yaml:"to"`
	Width   int       `yaml:"width"` // of a sequence: digits, filled up with zeros
	Of      []string  `yaml:"of"`
	Weights []float64 `yaml:"weights"`
	File    string    `yaml:"file"`
	Order   string    `yaml:"order"` // of choice and csv: random (default) or sequence
}

// PhaseDef is a phase: a closed loop or an open one.
type PhaseDef struct {
	Name   string     `yaml:"name"`
	Closed *ClosedDef `yaml:"closed"`
	Open   *OpenDef   `yaml:"open"`
}

// ClosedDef is a closed loop: with the connections given, or, where To is above them, with more and more until more bring
// no more.
type ClosedDef struct {
	Connections int               `yaml:"connections"`
	To          int               `yaml:"to"`
	For         yamlfile.Duration `yaml:"for"` // each step
}

// OpenDef is an open loop.
type OpenDef struct {
	Rate     float64           `yaml:"rate"` // constant
	From     float64           `yaml:"from"` // a ramp
	To       float64           `yaml:"to"`
	Share    float64           `yaml:"share"` // constant, of the ceiling that a phase before has found
	For      yamlfile.Duration `yaml:"for"`
	Steps    []StepDef         `yaml:"steps"`
	Arrivals string            `yaml:"arrivals"` // even (default) or poisson
}

// StepDef is a step of an open loop: a constant rate, or one that goes from one to another.
type StepDef struct {
	Rate float64           `yaml:"rate"`
	From float64           `yaml:"from"`
	To   float64           `yaml:"to"`
	For  yamlfile.Duration `yaml:"for"`
}
