package stack

import (
	"bytes"
	"strings"

	"github.com/google/pprof/profile"

	"github.com/qiongdev/qiong/kit/errs"
)

// maxInput bounds what is read: a profile of a million different stacks is far below.
const maxInput = 64 << 20

// Read reads a goroutine profile in any of its forms. The error, of kind Invalid, names the line of a text that is none.
func Read(data []byte) ([]Goroutines, error) {
	if len(data) > maxInput {
		return nil, errs.New(errs.TooLarge, "文件过大", "the file is too large")
	}
	switch {
	case bytes.HasPrefix(data, []byte("goroutine profile: total ")), bytes.HasPrefix(data, []byte("goroutineleak profile: total ")):
		return readCounts(string(data))
	case bytes.HasPrefix(data, []byte("goroutine ")), bytes.Contains(data, []byte("\ngoroutine ")):
		return readDump(string(data))
	}
	return readProfile(data)
}

func readProfile(data []byte) ([]Goroutines, error) {
	p, err := profile.ParseData(data)
	if err != nil {
		return nil, errs.Wrap(err, errs.Invalid, "不是协程剖析文件", "this is no goroutine profile").WithCode("stack.profile")
	}
	leaks := false
	switch {
	case len(p.SampleType) == 1 && p.SampleType[0].Type == "goroutineleak":
		leaks = true
	case len(p.SampleType) == 1 && p.SampleType[0].Type == "goroutine":
	default:
		return nil, errs.New(errs.Invalid, "是别种剖析文件，不是协程的", "this is a profile of something else than goroutines").WithCode("stack.profile-type")
	}
	var all []Goroutines
	for _, s := range p.Sample {
		if len(s.Value) != 1 || s.Value[0] <= 0 {
			continue
		}
		g := Goroutines{Count: int(s.Value[0])}
		if leaks {
			g.Leaked = g.Count
		}
		for key, values := range s.Label {
			g.Labels = keep(key, strings.Join(values, ","), g.Labels)
		}
		var frames []Frame
		for _, l := range s.Location {
			for _, line := range l.Line {
				if line.Function == nil {
					continue
				}
				f := Frame{line.Function.Name, line.Function.Filename, int(line.Line)}
				if g.PC == 0 && !standard(f.Func) {
					g.PC = l.Address
				}
				frames = append(frames, f)
			}
		}
		g.Kind, g.Stack = kindOf(frames), visible(frames)
		all = append(all, g)
	}
	return all, nil
}
