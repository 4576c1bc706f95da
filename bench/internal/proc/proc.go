// Package proc tells what processor time a process has used, with that of the children it has outlived, and says on
// which machine that was. It reads /proc, so it is for Linux alone.
package proc

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// tick is the unit of the times in /proc/<pid>/stat: USER_HZ, which is 100 on every architecture Linux runs on.
const tick = 10 * time.Millisecond

// Self returns the processor time of this process.
func Self() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// Tree returns the processor time of the process pid, of its living children, and of those it has waited for: the whole
// of a server that serves each connection with a process of its own.
func Tree(pid int) time.Duration {
	root, ok := read(pid)
	if !ok {
		return 0
	}
	total := root.own + root.waited
	stats, _ := filepath.Glob("/proc/[0-9]*/stat") // the pattern is well formed
	for _, path := range stats {
		child, err := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		if err != nil {
			continue
		}
		if s, ok := read(child); ok && s.parent == pid {
			total += s.own + s.waited
		}
	}
	return total
}

type stat struct {
	parent      int
	own, waited time.Duration
}

// read parses /proc/<pid>/stat. The command in its second field may hold blanks and parentheses.
func read(pid int) (stat, bool) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return stat{}, false // it has ended
	}
	_, after, ok := strings.Cut(string(b[strings.LastIndexByte(string(b), ')')+1:]), " ")
	f := strings.Fields(after)
	if !ok || len(f) < 15 {
		return stat{}, false
	}
	n := func(i int) int64 { v, _ := strconv.ParseInt(f[i], 10, 64); return v } // the kernel writes numbers
	return stat{
		parent: int(n(1)),
		own:    time.Duration(n(11)+n(12)) * tick,
		waited: time.Duration(n(13)+n(14)) * tick,
	}, true
}

// Machine describes where and when a figure was measured.
func Machine() string {
	kernel, _ := os.ReadFile("/proc/sys/kernel/osrelease") // left out where there is none
	return fmt.Sprintf("%d × %s, Linux %s, %s, %s", runtime.NumCPU(), model(), strings.TrimSpace(string(kernel)),
		runtime.Version(), time.Now().Format(time.DateOnly))
}

func model() string {
	b, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(b)) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(strings.ToLower(name)) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return runtime.GOARCH
}
