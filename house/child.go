package house

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/qiongdev/qiong"
)

// How long the pause before a child is started again may be, and for how long it must have lived for the next pause to be
// the first again.
const (
	firstPause = 500 * time.Millisecond
	longPause  = 30 * time.Second
	healthyAge = time.Minute
)

// child keeps a process of this program running.
type child struct {
	qiong.Child
	program string
	grace   time.Duration
	log     *slog.Logger

	pid      atomic.Int64 // 0 while it does not run
	restarts atomic.Int64
}

// childEnv names the child to itself. Children have none of their own: a program that is not the house it seems to be, such
// as a test's, would start itself again and again.
const childEnv = "QIONG_CHILD"

// raise makes the children that services have registered; they start with Run.
func (h *House) raise() error {
	program, err := os.Executable()
	if err != nil {
		return fmt.Errorf("where this program is: %w", err)
	}
	for _, r := range h.rooms {
		names := map[string]bool{}
		for _, c := range r.host.Children() {
			if os.Getenv(childEnv) != "" {
				return fmt.Errorf("%s: a child process has no children", r.service.Name)
			}
			if names[c.Name] {
				return fmt.Errorf("%s: two children are called %s", r.service.Name, c.Name)
			}
			names[c.Name] = true
			r.children = append(r.children, &child{Child: c, program: program, grace: h.Config.Grace, log: r.host.Log.With("child", c.Name)})
		}
	}
	return nil
}

// run keeps the process running until ctx ends. That it ends again and again is the operator's concern, not a reason for
// the house to stop.
func (c *child) run(ctx context.Context) error {
	for pause := firstPause; ; pause = min(2*pause, longPause) {
		begun := time.Now()
		err := c.once(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if time.Since(begun) >= healthyAge {
			pause = firstPause
		}
		c.log.Warn("a child has ended and is started again", "after", time.Since(begun).Round(time.Millisecond), "pause", pause, "err", err)
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-timer.C:
		}
		c.restarts.Add(1)
	}
}

// once runs the process to its end, which comes at latest some grace after ctx has ended.
func (c *child) once(ctx context.Context) error {
	// The kernel takes the end of the thread that began the process for the parent's: this one lives as long.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	cmd := exec.Command(c.program, c.Args...)
	cmd.Env = append(os.Environ(), childEnv+"="+c.Name)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	cmd.WaitDelay = time.Second // for a grandchild that holds the pipes
	said := &lineLog{log: c.log}
	cmd.Stdout, cmd.Stderr = said, said
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return errors.Join(err, stdin.Close())
	}
	c.pid.Store(int64(cmd.Process.Pid))
	ended := make(chan struct{})
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		c.stop(ctx, cmd.Process.Pid, stdin, ended)
	}()
	err = cmd.Wait()
	close(ended)
	<-stopped
	c.pid.Store(0)
	said.flush()
	return err
}

// stop ends the process, and what it has started, when ctx ends.
func (c *child) stop(ctx context.Context, pid int, stdin io.Closer, ended <-chan struct{}) {
	select {
	case <-ended:
		return
	case <-ctx.Done():
	}
	_ = syscall.Kill(-pid, syscall.SIGTERM) // it may be gone
	_ = stdin.Close()
	timer := time.NewTimer(c.grace)
	defer timer.Stop()
	select {
	case <-ended:
	case <-timer.C:
		c.log.Warn("a child did not end in time and is killed")
		_ = syscall.Kill(-pid, syscall.SIGKILL)
	}
}

// lineLog writes a process's output to the log, line by line. Lines that look like slog's text keep their level.
type lineLog struct {
	log  *slog.Logger
	rest []byte
}

const maxLine = 16 << 10

// Write implements io.Writer.
func (l *lineLog) Write(p []byte) (int, error) {
	l.rest = append(l.rest, p...)
	for {
		line, rest, ok := bytes.Cut(l.rest, []byte{'\n'})
		if !ok {
			break
		}
		l.say(line)
		l.rest = append(l.rest[:0], rest...)
	}
	if len(l.rest) > maxLine {
		l.flush()
	}
	return len(p), nil
}

func (l *lineLog) flush() {
	if len(l.rest) > 0 {
		l.say(l.rest)
	}
	l.rest = l.rest[:0]
}

func (l *lineLog) say(line []byte) {
	text, level := string(line), slog.LevelInfo
	if _, after, ok := strings.Cut(text, " level="); ok && strings.HasPrefix(text, "time=") {
		word, rest, _ := strings.Cut(after, " ")
		if level.UnmarshalText([]byte(word)) == nil {
			text = unquoted(strings.TrimPrefix(rest, "msg="))
		}
	}
	l.log.Log(context.Background(), level, text)
}

// unquoted returns a text without the quotes around its beginning.
func unquoted(text string) string {
	quoted, err := strconv.QuotedPrefix(text)
	if err != nil {
		return text
	}
	plain, err := strconv.Unquote(quoted)
	if err != nil {
		return text
	}
	return plain + text[len(quoted):]
}

// childCollector tells Prometheus about a service's children.
type childCollector []*child

var (
	childUp       = prometheus.NewDesc("child_up", "1 while the child process runs.", []string{"child"}, nil)
	childRestarts = prometheus.NewDesc("child_restarts_total", "How often the child process was started again.", []string{"child"}, nil)
	childMemory   = prometheus.NewDesc("child_pss_bytes", "Memory of the child process, shared pages divided by their users (PSS).", []string{"child"}, nil)
)

// Describe implements prometheus.Collector.
func (all childCollector) Describe(out chan<- *prometheus.Desc) {
	out <- childUp
	out <- childRestarts
	out <- childMemory
}

// Collect implements prometheus.Collector.
func (all childCollector) Collect(out chan<- prometheus.Metric) {
	for _, c := range all {
		pid, up := c.pid.Load(), 0.0
		if pid != 0 {
			up = 1
			if n, err := pss(pid); err == nil {
				out <- prometheus.MustNewConstMetric(childMemory, prometheus.GaugeValue, float64(n), c.Name)
			}
		}
		out <- prometheus.MustNewConstMetric(childUp, prometheus.GaugeValue, up, c.Name)
		out <- prometheus.MustNewConstMetric(childRestarts, prometheus.CounterValue, float64(c.restarts.Load()), c.Name)
	}
}

// pss returns the bytes of memory that are a process's share.
func pss(pid int64) (int64, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(data)) {
		if rest, ok := strings.CutPrefix(line, "Pss:"); ok {
			kb, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), "kB")), 10, 64)
			return kb << 10, err
		}
	}
	return 0, errors.New("no Pss in smaps_rollup")
}
