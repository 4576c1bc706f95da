package main

import (
	"bufio"
	_ "embed" // for the C program
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

//go:embed iconv/iconv.c
var iconvSource []byte

// iconv is the C library's converter, in a small program of its own that is compiled here.
type iconv struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

// startIconv compiles and starts the program on the text in both encodings. Without a C compiler it returns nil.
func startIconv(dir string, gb, utf8 []byte) (*iconv, error) {
	cc, err := exec.LookPath("cc")
	if err != nil {
		fmt.Fprintln(os.Stderr, "no C compiler (cc): iconv is left out")
		return nil, nil
	}
	at := func(name string) string { return filepath.Join(dir, name) }
	for name, data := range map[string][]byte{"iconv.c": iconvSource, "text.gb": gb, "text.utf8": utf8} {
		if err := os.WriteFile(at(name), data, 0o600); err != nil {
			return nil, err
		}
	}
	if out, err := exec.Command(cc, "-O2", "-o", at("iconv"), at("iconv.c")).CombinedOutput(); err != nil {
		return nil, fmt.Errorf("%w: %s", err, out)
	}
	p := &iconv{cmd: exec.Command(at("iconv"), at("text.gb"), at("text.utf8"))}
	p.cmd.Stderr = os.Stderr
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	p.out = bufio.NewReader(out)
	return p, p.cmd.Start()
}

// run has the program do what for d, and returns how often it passed over the text, how long that took, and a checksum
// of what it wrote.
func (p *iconv) run(what string, d time.Duration) (passes int, took time.Duration, sum uint32, err error) {
	if _, err = fmt.Fprintln(p.in, what, d.Nanoseconds()); err == nil {
		_, err = fmt.Fscanln(p.out, &passes, &took, &sum)
	}
	return passes, took, sum, err
}

func (p *iconv) stop() error {
	p.in.Close()
	return p.cmd.Wait()
}
