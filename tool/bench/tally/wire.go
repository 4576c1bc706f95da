package tally

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// wire is a tally as it travels between machines.
type wire struct {
	Response, Service, Lag               []byte // HdrHistogram V2, compressed
	Kinds                                []wireKind
	Status                               map[int]int64
	Failures                             [failures]int64
	Sent, Late, Dropped, Bytes, Connects int64
	Interval                             time.Duration
	Points                               []wirePoint
}

type wireKind struct {
	Name         string
	Done, Failed int64
	Response     []byte
}

type wirePoint struct {
	Done, Failed int64
	Response     []byte
}

// MarshalJSON writes the tally whole.
func (t *Tally) MarshalJSON() ([]byte, error) {
	t.Sum()
	var fail error
	encode := func(h *hdrhistogram.Histogram) []byte {
		if h == nil {
			return nil
		}
		b, err := h.Encode(hdrhistogram.V2CompressedEncodingCookieBase)
		fail = errors.Join(fail, err)
		return b
	}
	w := wire{Response: encode(t.Response), Service: encode(t.Service), Lag: encode(t.Lag), Status: t.Status, Failures: t.Failures,
		Sent: t.Sent, Late: t.Late, Dropped: t.Dropped, Bytes: t.Bytes, Connects: t.Connects, Interval: t.Series.Interval}
	for _, k := range t.Kinds {
		one := wireKind{Name: k.Name, Done: k.Done, Failed: k.Failed}
		if len(t.Kinds) > 1 {
			one.Response = encode(k.Response)
		}
		w.Kinds = append(w.Kinds, one)
	}
	for _, p := range t.Series.Points {
		w.Points = append(w.Points, wirePoint{p.Done, p.Failed, encode(p.Response)})
	}
	if fail != nil {
		return nil, fail
	}
	return json.Marshal(w)
}

// UnmarshalJSON reads a tally, and refuses one whose parts could not have been counted by this program.
func (t *Tally) UnmarshalJSON(data []byte) error {
	var w wire
	if err := json.Unmarshal(data, &w); err != nil {
		return err
	}
	if w.Interval < time.Second || len(w.Points) > maxPoints || len(w.Kinds) == 0 {
		return errors.New("tally: not of this form")
	}
	var names []string
	for _, k := range w.Kinds {
		names = append(names, k.Name)
	}
	*t = *New(names, w.Interval)
	var fail error
	into := func(h *hdrhistogram.Histogram, data []byte) {
		from, err := Decode(data)
		if err != nil {
			fail = errors.Join(fail, err)
			return
		}
		h.Merge(from)
	}
	into(t.Response, w.Response)
	into(t.Service, w.Service)
	into(t.Lag, w.Lag)
	for i, k := range w.Kinds {
		t.Kinds[i].Done, t.Kinds[i].Failed = k.Done, k.Failed
		if len(w.Kinds) > 1 {
			into(t.Kinds[i].Response, k.Response)
		}
	}
	for i, p := range w.Points {
		if len(p.Response) > 0 {
			at := t.Series.at(i)
			at.Done, at.Failed = p.Done, p.Failed
			into(at.Response, p.Response)
		}
	}
	for code, n := range w.Status {
		t.Status[code] = n
	}
	t.Failures = w.Failures
	t.Sent, t.Late, t.Dropped, t.Bytes, t.Connects = w.Sent, w.Late, w.Dropped, w.Bytes, w.Connects
	return fail
}

// Decode reads a histogram. The library panics on some data that is none; that is kept in.
func Decode(data []byte) (h *hdrhistogram.Histogram, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("histogram: %v", r)
		}
	}()
	if len(data) > 1<<20 {
		return nil, errors.New("histogram: too large")
	}
	if h, err = hdrhistogram.Decode(data); err == nil && h == nil {
		err = errors.New("histogram: empty")
	}
	return h, err
}
