// Package tally counts what came of requests. A Tally belongs to one worker at a time and promises that merging the
// tallies of workers, processes or machines gives exactly what one tally of everything had given: histograms are kept
// whole (HdrHistogram, microseconds up to ten minutes, three digits), never as percentiles.
//
// Response time runs from the moment a request was due, service time from the moment it was sent. A server that stops
// for a second makes thousands of requests late; only the first of the two shows them all.
package tally

import (
	"maps"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Longest is the longest time that is told from others.
const Longest = 10 * time.Minute

// Failure is why a request has no answer, or not the one that was expected.
type Failure uint8

// The failures.
const (
	Connect   Failure = iota // no connection could be made
	Closed                   // the connection ended before the answer did
	TimedOut                 // no answer in time
	Malformed                // the answer is not of the protocol
	Check                    // the answer is not the expected one
	failures
)

var failureNames = [failures]string{"connect", "closed", "timeout", "malformed", "check"}

// String returns the failure's stable name.
func (f Failure) String() string { return failureNames[f] }

// Tally is what came of requests so far.
type Tally struct {
	Response *hdrhistogram.Histogram
	Service  *hdrhistogram.Histogram
	Lag      *hdrhistogram.Histogram // from when a request could have been sent until it was: the generator's own delay
	Kinds    []Kind
	Status   map[int]int64
	Failures [failures]int64
	Sent     int64
	Late     int64 // sent more than LateAfter after they were due
	Dropped  int64 // due and never sent
	Bytes    int64 // of answers' bodies
	Connects int64 // connections made
	Series   *Series

	status [600]int64 // until Sum
}

// LateAfter is by how much a request must be behind its time to be called late.
const LateAfter = time.Millisecond

// Kind is what came of the requests of one name.
type Kind struct {
	Name     string
	Done     int64
	Failed   int64
	Response *hdrhistogram.Histogram
}

// New returns an empty tally of requests with these names, with a series of intervals of the length.
func New(kinds []string, interval time.Duration) *Tally {
	t := &Tally{Response: histogram(), Service: histogram(), Lag: histogram(), Status: map[int]int64{}, Series: NewSeries(interval)}
	for _, name := range kinds {
		t.Kinds = append(t.Kinds, Kind{Name: name, Response: histogram()})
	}
	return t
}

func histogram() *hdrhistogram.Histogram { return hdrhistogram.New(1, Longest.Microseconds(), 3) }

// record takes a time in, at most the longest.
func record(h *hdrhistogram.Histogram, d time.Duration) {
	_ = h.RecordValue(min(max(d, 0), Longest).Microseconds()) // within the range
}

// SendAt counts a request that was due at one moment, could have been sent at another, and was sent at a third.
func (t *Tally) SendAt(due, ready, sent time.Duration) {
	t.Sent++
	if sent-due > LateAfter {
		t.Late++
	}
	record(t.Lag, sent-max(due, ready))
}

// Answer counts a whole answer. ok tells whether it was the expected one.
func (t *Tally) Answer(kind, status int, size int64, due, sent, now time.Duration, ok bool) {
	record(t.Service, now-sent)
	t.Bytes += size
	if status >= 0 && status < len(t.status) {
		t.status[status]++
	} else {
		t.Status[status]++
	}
	k := &t.Kinds[kind]
	k.Done++
	if !ok {
		k.Failed++
		t.Failures[Check]++
	}
	t.response(k, due, now, !ok)
}

// Fail counts a request that was not answered. The time until that was known is part of its response time: who leaves
// out what failed makes a failing server look fast.
func (t *Tally) Fail(kind int, f Failure, due, now time.Duration) {
	t.Failures[f]++
	k := &t.Kinds[kind]
	k.Failed++
	t.response(k, due, now, true)
}

// Drop counts a request that was due and never sent; it had waited until now.
func (t *Tally) Drop(due, now time.Duration) {
	t.Dropped++
	record(t.Response, now-due)
	t.Series.add(now, now-due, true)
}

func (t *Tally) response(k *Kind, due, now time.Duration, failed bool) {
	record(t.Response, now-due)
	if len(t.Kinds) > 1 {
		record(k.Response, now-due)
	}
	t.Series.add(now, now-due, failed)
}

// Done returns how many requests were answered.
func (t *Tally) Done() int64 { return t.Service.TotalCount() }

// Failed returns how many requests have no answer or not the expected one.
func (t *Tally) Failed() int64 {
	n := int64(0)
	for _, f := range t.Failures {
		n += f
	}
	return n
}

// Sum moves what is counted on the way into what others read.
func (t *Tally) Sum() {
	for status, n := range t.status {
		if n > 0 {
			t.Status[status] += n
			t.status[status] = 0
		}
	}
	if len(t.Kinds) == 1 {
		t.Kinds[0].Response = t.Response
	}
}

// Merge adds what another tally of the same requests has.
func (t *Tally) Merge(o *Tally) {
	t.Sum()
	o.Sum()
	for i := range min(len(t.Kinds), len(o.Kinds)) {
		t.Kinds[i].Done += o.Kinds[i].Done
		t.Kinds[i].Failed += o.Kinds[i].Failed
		if len(t.Kinds) > 1 {
			t.Kinds[i].Response.Merge(o.Kinds[i].Response)
		}
	}
	t.Response.Merge(o.Response)
	t.Service.Merge(o.Service)
	t.Lag.Merge(o.Lag)
	for status := range maps.Keys(o.Status) {
		t.Status[status] += o.Status[status]
	}
	for f := range t.Failures {
		t.Failures[f] += o.Failures[f]
	}
	t.Sent += o.Sent
	t.Late += o.Late
	t.Dropped += o.Dropped
	t.Bytes += o.Bytes
	t.Connects += o.Connects
	t.Series.merge(o.Series)
}
