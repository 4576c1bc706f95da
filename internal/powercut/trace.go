// Package powercut says what a disk holds when the power goes. From a trace of a program's system calls it rebuilds the
// program's folder as it may be found afterwards: what was synced is there, and of everything else, as much or as little
// as one asks for. Killing a process shows nothing of this, since the kernel keeps what the process has written.
package powercut

import (
	"bufio"
	"encoding/hex"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
)

// Strace are the options with which strace writes what Read reads. Strings are in hexadecimal, so that none of them
// holds a quote, a comma or a bracket.
var Strace = []string{"-f", "--seccomp-bpf", "-y", "-xx", "-s", "67108864", "-e", "signal=none", "-e", "trace=" + strings.Join(known(), ",")}

// Never is the End of a call that was not seen to return.
const Never = math.MaxInt

// Call is a system call.
type Call struct {
	Begin, End int // lines of the trace in which it was entered and left
	Name       string
	FD         int    // -1 where the call has none
	Path       string // of the file descriptor, or the one named; a socket's is "socket:[…]" or the like
	To         string // of link and rename
	Flags      string // of open, such as "O_RDWR|O_CREAT"
	Data       []byte
	At         int64 // offset of pwrite64, size of ftruncate, length of fallocate, which begins at 0
	Result     int64
}

// shapes says what the arguments of each call are: d a file descriptor, f a folder that paths are relative to, p a path,
// t the second path, o flags, s data, n a number that is kept, and _ what is passed over.
var shapes = map[string]string{
	"open": "po_", "openat": "fpo_", "creat": "p_", "close": "d",
	"write": "ds_", "pwrite64": "ds_n", "ftruncate": "dn", "fallocate": "d__n", "fsync": "d", "fdatasync": "d",
	"mkdir": "p_", "mkdirat": "fp_", "unlink": "p", "unlinkat": "fp_", "rmdir": "p",
	"rename": "pt", "renameat": "fpft", "renameat2": "fpft_", "link": "pt", "linkat": "fpft_",
	// Calls that Replay does not model, traced so that it can refuse a folder that is changed by them.
	"lseek": "d__", "writev": "d__", "pwritev": "d___", "pwritev2": "d____", "dup": "d", "dup2": "d_", "dup3": "d__",
}

func known() []string {
	names := make([]string, 0, len(shapes))
	for name := range shapes {
		names = append(names, name)
	}
	return names
}

// Read reads what strace wrote. It refuses a line that it does not understand: a call passed over could be a write.
// Calls that failed are left out. They come in the order of their Begin.
func Read(r io.Reader) ([]Call, error) {
	var calls []Call
	open := map[string]int{} // by thread, the call that has not returned
	lines := bufio.NewReaderSize(r, 1<<20)
	for n := 1; ; n++ {
		line, err := lines.ReadString('\n')
		if err == io.EOF { // a last line without its end was being written when strace died
			return succeeded(calls), nil
		}
		if err != nil {
			return nil, err
		}
		if calls, err = parse(calls, open, strings.TrimSuffix(line, "\n"), n); err != nil {
			return nil, fmt.Errorf("trace: line %d: %w", n, err)
		}
	}
}

func succeeded(calls []Call) []Call {
	kept := calls[:0]
	for _, c := range calls {
		if c.Result >= 0 {
			kept = append(kept, c)
		}
	}
	return kept
}

const unfinished = " <unfinished ...>"

// dying is how strace names a call that it could not look at, since the process was being killed: it did nothing.
const dying = "????"

// parse adds to calls what a line says.
func parse(calls []Call, open map[string]int, line string, n int) ([]Call, error) {
	thread, rest, ok := strings.Cut(line, " ")
	rest = strings.TrimLeft(rest, " ")
	if _, err := strconv.Atoi(thread); err != nil || !ok {
		return calls, fmt.Errorf("no thread")
	}
	if strings.HasPrefix(rest, "+++ ") || strings.HasPrefix(rest, "--- ") { // it ended, or got a signal
		return calls, nil
	}
	if resumed, ok := strings.CutPrefix(rest, "<... "); ok {
		i, begun := open[thread]
		if _, tail, ok := strings.Cut(resumed, " resumed>"); ok && begun {
			delete(open, thread)
			return calls, calls[i].end(tail, n)
		}
		return calls, fmt.Errorf("resumes nothing")
	}
	head, begun := strings.CutSuffix(rest, unfinished)
	c, tail, err := begin(head, n)
	if err != nil {
		return calls, err
	}
	calls = append(calls, c)
	if begun {
		open[thread] = len(calls) - 1
		return calls, nil
	}
	return calls, calls[len(calls)-1].end(tail, n)
}

// begin reads a call up to the end of its arguments, and returns what follows.
func begin(text string, n int) (Call, string, error) {
	c := Call{Begin: n, End: Never, FD: -1}
	name, rest, ok := strings.Cut(text, "(")
	name = strings.TrimSpace(name)
	if name != "" && strings.Trim(name, "?") == "" { // strace writes three or four of them, with and without the rest
		name = dying
		if !strings.Contains(rest, "= ") {
			return Call{Begin: n, End: Never, FD: -1, Name: dying}, "= ?", nil
		}
	}
	shape, known := shapes[name]
	if !ok || !known && name != dying {
		return c, "", fmt.Errorf("%s: not a call that is traced", name)
	}
	c.Name = name
	list, tail, _ := strings.Cut(strings.ReplaceAll(rest, "(deleted)", ""), ")") // what is in hexadecimal holds none
	if look := strings.TrimSpace(list); name == dying || look == "" || look == "<unavailable>" {
		c.Name = dying
		return c, tail, nil
	}
	args := split(list)
	if len(args) > len(shape) || len(args) < len(strings.TrimRight(shape, "_")) {
		return c, "", fmt.Errorf("%s: %d arguments", name, len(args))
	}
	for i, arg := range args {
		if err := c.take(shape[i], arg); err != nil {
			return c, "", fmt.Errorf("%s: argument %d: %w", name, i+1, err)
		}
	}
	return c, tail, nil
}

// split cuts a list at its commas, but for those within brackets.
func split(list string) []string {
	var args []string
	depth, from := 0, 0
	for i := range len(list) {
		switch list[i] {
		case '[', '{':
			depth++
		case ']', '}':
			depth--
		case ',':
			if depth == 0 {
				args, from = append(args, list[from:i]), i+1
			}
		}
	}
	return append(args, list[from:])
}

// take reads one argument.
func (c *Call) take(shape byte, arg string) (err error) {
	arg = strings.TrimSpace(arg)
	switch shape {
	case 'd':
		c.FD, c.Path, err = descriptor(arg)
	case 'f':
		if !strings.HasPrefix(arg, "AT_FDCWD") {
			err = fmt.Errorf("a path relative to an open folder")
		}
	case 'p':
		var path []byte
		path, err = text(arg)
		c.Path = string(path)
	case 't':
		var path []byte
		path, err = text(arg)
		c.To = string(path)
	case 'o':
		c.Flags = arg
	case 's':
		c.Data, err = text(arg)
	case 'n':
		c.At, err = strconv.ParseInt(arg, 10, 64)
	}
	return err
}

// end reads what a call returned.
func (c *Call) end(tail string, n int) (err error) {
	_, result, ok := strings.Cut(tail, "= ")
	if !ok {
		return fmt.Errorf("%s returns nothing", c.Name)
	}
	result, _, _ = strings.Cut(result, " ")
	if result == "?" { // the process died in it, or a signal has it begun again
		return nil
	}
	if c.Name == dying {
		return fmt.Errorf("without its arguments, and it returns")
	}
	result, _, _ = strings.Cut(result, "<")
	c.End = n
	if c.Result, err = strconv.ParseInt(result, 0, 64); err != nil {
		return fmt.Errorf("%s: result: %w", c.Name, err)
	}
	return nil
}

// descriptor reads 7<\x2f\x61>.
func descriptor(arg string) (int, string, error) {
	number, rest, _ := strings.Cut(arg, "<")
	fd, err := strconv.Atoi(number)
	if err != nil {
		return -1, "", fmt.Errorf("not a file descriptor")
	}
	path, _, _ := strings.Cut(rest, ">")
	plain, err := unescape(path)
	return fd, string(plain), err
}

// text reads "\x2f\x61". What strace has cut short ends in dots, and is refused.
func text(arg string) ([]byte, error) {
	inner, ok := strings.CutPrefix(arg, `"`)
	inner, end := strings.CutSuffix(inner, `"`)
	if !ok || !end {
		return nil, fmt.Errorf("not a whole string")
	}
	return unescape(inner)
}

// unescape reads bytes in hexadecimal; a text without any is plain, as strace writes what is no path.
func unescape(s string) ([]byte, error) {
	if !strings.HasPrefix(s, `\x`) {
		return []byte(s), nil
	}
	digits := strings.ReplaceAll(s, `\x`, "")
	if len(digits)*2 != len(s) {
		return nil, fmt.Errorf("not all in hexadecimal")
	}
	return hex.DecodeString(digits)
}
