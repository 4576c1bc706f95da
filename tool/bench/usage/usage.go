// Package usage tells what processor time and memory processes use: this one, another of this machine by its number, or
// one that says so itself on a page of Prometheus metrics. What it can't find out it says it does not know.
package usage

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/qiongdev/qiong/kit/errs"
)

// Usage is what a process has used so far.
type Usage struct {
	CPU time.Duration
	RSS int64 // bytes
}

// Reader reads what a process has used so far.
type Reader func(ctx context.Context) (Usage, error)

// tick is the unit of times in /proc/<pid>/stat: USER_HZ, which is 100 wherever Linux runs.
const tick = 10 * time.Millisecond

// Process reads of a process of this machine, with its children, from /proc.
func Process(pid int) Reader {
	return func(context.Context) (Usage, error) {
		root, err := read(pid)
		if err != nil {
			return Usage{}, errs.Wrap(err, errs.NotFound, "没有此进程，或不在 Linux 上", "there is no such process, or this is not Linux").WithField("--pid")
		}
		u := Usage{root.cpu, root.rss}
		stats, _ := filepath.Glob("/proc/[0-9]*/stat") // the pattern is well formed
		for _, path := range stats {
			child, err := strconv.Atoi(filepath.Base(filepath.Dir(path)))
			if err != nil {
				continue
			}
			if s, err := read(child); err == nil && s.parent == pid {
				u.CPU += s.cpu
				u.RSS += s.rss
			}
		}
		return u, nil
	}
}

type stat struct {
	parent int
	cpu    time.Duration
	rss    int64
}

func read(pid int) (stat, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return stat{}, err
	}
	return parseStat(string(b))
}

// parseStat reads a line of /proc/<pid>/stat. The command in its second field may hold blanks and parentheses.
func parseStat(line string) (stat, error) {
	f := strings.Fields(line[strings.LastIndexByte(line, ')')+1:])
	if len(f) < 22 {
		return stat{}, errors.New("/proc: too few fields")
	}
	var n [22]int64
	for _, i := range []int{1, 11, 12, 13, 14, 21} {
		v, err := strconv.ParseInt(f[i], 10, 64)
		if err != nil {
			return stat{}, err
		}
		n[i] = v
	}
	return stat{int(n[1]), time.Duration(n[11]+n[12]+n[13]+n[14]) * tick, n[21] * int64(os.Getpagesize())}, nil
}

// maxMetrics bounds a page of metrics.
const maxMetrics = 64 << 20

// Metrics reads process_cpu_seconds_total and process_resident_memory_bytes from a page of Prometheus metrics.
func Metrics(url string, c *http.Client) Reader {
	return func(ctx context.Context) (Usage, error) {
		ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
		defer cancel()
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return Usage{}, unreachable(err)
		}
		resp, err := c.Do(request)
		if err != nil {
			return Usage{}, unreachable(err)
		}
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			return Usage{}, unreachable(fmt.Errorf("status %d", resp.StatusCode))
		}
		return parseMetrics(io.LimitReader(resp.Body, maxMetrics))
	}
}

func unreachable(err error) error {
	return errs.Wrap(err, errs.Unavailable, "指标页无法读取", "the page of metrics can't be read").WithField("--metrics")
}

func parseMetrics(r io.Reader) (Usage, error) {
	var u Usage
	found := false
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		f := strings.Fields(lines.Text())
		if len(f) < 2 {
			continue
		}
		v, err := strconv.ParseFloat(f[1], 64)
		if err != nil || !(v >= 0 && v < 1e15) {
			continue
		}
		switch f[0] {
		case "process_cpu_seconds_total":
			u.CPU, found = time.Duration(min(v, 1e9)*float64(time.Second)), true
		case "process_resident_memory_bytes":
			u.RSS = int64(v)
		}
	}
	if err := lines.Err(); err != nil {
		return u, unreachable(err)
	}
	if !found {
		return u, unreachable(errors.New("no process_cpu_seconds_total"))
	}
	return u, nil
}

// Machine describes where figures were measured.
func Machine() string {
	model := runtime.GOARCH
	b, _ := os.ReadFile("/proc/cpuinfo") // left out where there is none
	for line := range strings.Lines(string(b)) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.EqualFold(strings.TrimSpace(name), "model name") {
			model = strings.TrimSpace(value)
			break
		}
	}
	return fmt.Sprintf("%d × %s, %s, %s", runtime.NumCPU(), model, runtime.GOOS, runtime.Version())
}
