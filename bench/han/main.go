// Han measures text: GB 18030 to UTF-8 and back beside golang.org/x/text and the C library's iconv, and the check for
// Normalization Form C beside x/text's. Rates are of UTF-8, whichever side it stands on.
//
// Rounds are interleaved, and ratios are taken round by round. It is run in the folder bench: go run ./han
package main

import (
	"bytes"
	"flag"
	"fmt"
	"hash/fnv"
	"log"
	"os"
	"runtime/pprof"
	"testing"
	"time"

	"golang.org/x/text/encoding/simplifiedchinese"
	"golang.org/x/text/unicode/norm"

	"github.com/qiongdev/qiong/bench/internal/proc"
	"github.com/qiongdev/qiong/bench/internal/report"
	"github.com/qiongdev/qiong/kit/han"
	"github.com/qiongdev/qiong/kit/han/gb18030"
)

type options struct {
	root    string
	rounds  int
	each    time.Duration
	profile string
}

func main() {
	log.SetFlags(0)
	var o options
	flag.StringVar(&o.root, "root", "..", "`folder` of the project, whose documents are the text")
	flag.IntVar(&o.rounds, "rounds", 9, "rounds of each system")
	flag.DurationVar(&o.each, "each", 200*time.Millisecond, "length of a round")
	flag.StringVar(&o.profile, "cpuprofile", "", "write a CPU profile of this process to this `file`")
	flag.Parse()
	if err := run(o); err != nil {
		log.Fatal(err)
	}
}

// system does one thing to the whole text; a round is as many passes as fit into its time.
type system struct {
	name  string
	round func(d time.Duration) (passes int, took time.Duration, err error)
}

// contest is one thing that several systems do; the first is Qiong's, and wants are what it must reach over the others.
type contest struct {
	name    string
	systems []system
	wants   []float64
}

func run(o options) error {
	text, err := corpus(o.root)
	if err != nil {
		return err
	}
	code, err := gb18030.V2022.AppendEncode(nil, text)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "qiong-bench-han-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	c, err := startIconv(dir, code, text)
	if err != nil {
		return err
	}
	if c != nil {
		defer c.stop()
	}
	contests, err := arrange(text, code, c)
	if err != nil {
		return err
	}
	if o.profile != "" {
		f, err := os.Create(o.profile)
		if err != nil {
			return err
		}
		defer f.Close()
		if err := pprof.StartCPUProfile(f); err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
	}
	fmt.Printf("## Text: GB 18030 and NFC\n\n%s\n\n", proc.Machine())
	fmt.Printf("- %s.\n- %d rounds of %v each, interleaved; medians of MB/s of UTF-8 and of the ratios round by round.\n", describe(text), o.rounds, o.each)
	allocations(text, code)
	fmt.Println("\n| what | system | MB/s | Qiong's by its | goal | |\n|---|---|--:|--:|--:|---|")
	for _, c := range contests {
		if err := c.run(o, len(text)); err != nil {
			return err
		}
	}
	return nil
}

// arrange sets up the contests, having made sure that all systems come to the same.
func arrange(text, code []byte, c *iconv) ([]contest, error) {
	buf := make([]byte, 0, 2*len(text)+64)
	x := simplifiedchinese.GB18030
	decode := contest{"decode", []system{
		{"kit/han/gb18030", timed(func() error { _, err := gb18030.V2022.AppendDecode(buf, code); return err })},
		{"x/text", timed(func() error {
			_, _, err := x.NewDecoder().Transform(buf[:cap(buf)], code, true)
			return err
		})},
	}, []float64{1.7}}
	encode := contest{"encode", []system{
		{"kit/han/gb18030", timed(func() error { _, err := gb18030.V2022.AppendEncode(buf, text); return err })},
		{"x/text", timed(func() error {
			_, _, err := x.NewEncoder().Transform(buf[:cap(buf)], text, true)
			return err
		})},
	}, []float64{2}}
	if b, err := x.NewDecoder().Bytes(code); err != nil || !bytes.Equal(b, text) {
		return nil, fmt.Errorf("x/text does not read the text back: %v", err)
	}
	if c != nil {
		decode.add(iconvSystem(c, "decode", text), 1.3)
		encode.add(iconvSystem(c, "encode", code), 2)
	}
	nfc := contest{"NFC check", []system{
		{"kit/han", timed(func() error { return isNFC(han.IsNFC(text)) })},
		{"x/text", timed(func() error { return isNFC(norm.NFC.IsNormal(text)) })},
	}, []float64{12}}
	return []contest{decode, encode, nfc}, nil
}

func (c *contest) add(s system, want float64) {
	c.systems = append(c.systems, s)
	c.wants = append(c.wants, want)
}

func isNFC(ok bool) error {
	if !ok {
		return fmt.Errorf("the text is not in NFC")
	}
	return nil
}

// timed makes rounds of a function.
func timed(do func() error) func(time.Duration) (int, time.Duration, error) {
	return func(d time.Duration) (passes int, took time.Duration, err error) {
		for began := time.Now(); took < d && err == nil; took = time.Since(began) {
			err = do()
			passes++
		}
		return passes, took, err
	}
}

// iconvSystem makes rounds of the C program, each of which must come to want.
func iconvSystem(c *iconv, what string, want []byte) system {
	h := fnv.New32a()
	h.Write(want)
	return system{"glibc iconv", func(d time.Duration) (int, time.Duration, error) {
		passes, took, sum, err := c.run(what, d)
		if err == nil && sum != h.Sum32() {
			err = fmt.Errorf("iconv comes to another result")
		}
		return passes, took, err
	}}
}

// run measures and prints a contest.
func (c *contest) run(o options, size int) error {
	rates := make([][]float64, len(c.systems))
	for range o.rounds {
		for i, s := range c.systems {
			passes, took, err := s.round(o.each)
			if err != nil {
				return fmt.Errorf("%s, %s: %w", c.name, s.name, err)
			}
			rates[i] = append(rates[i], float64(passes)*float64(size)/1e6/took.Seconds())
		}
	}
	ratios := make([][]float64, len(c.systems))
	for i := range c.systems {
		for n := range o.rounds {
			ratios[i] = append(ratios[i], rates[0][n]/rates[i][n])
		}
	}
	for i, s := range c.systems {
		if i == 0 {
			fmt.Printf("| %s | %s | %.0f | | | |\n", c.name, s.name, report.Median(rates[i]))
			continue
		}
		got, want, verdict := report.Median(ratios[i]), c.wants[i-1], "missed"
		if got >= want {
			verdict = "met"
		}
		fmt.Printf("| %s | %s | %.0f | %.2f | ≥ %.1f | %s |\n", c.name, s.name, report.Median(rates[i]), got, want, verdict)
	}
	return nil
}

// allocations prints how often a conversion allocates when its room is there.
func allocations(text, code []byte) {
	buf := make([]byte, 0, 2*len(text)+64)
	d := testing.AllocsPerRun(5, func() { _, _ = gb18030.V2022.AppendDecode(buf, code) }) // shown to succeed before
	e := testing.AllocsPerRun(5, func() { _, _ = gb18030.V2022.AppendEncode(buf, text) })
	n := testing.AllocsPerRun(5, func() { han.IsNFC(text) })
	fmt.Printf("- Allocations of a pass over the text: decode %v, encode %v, NFC check %v.\n", d, e, n)
}
