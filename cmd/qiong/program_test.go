package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/qiongdev/qiong/kit/auth"
	"github.com/qiongdev/qiong/kit/client"
	"github.com/qiongdev/qiong/kit/lang"
)

// build runs go with the arguments and returns the path of what it has built, as the program is shipped: without the race
// detector, under which a house is slow to start.
func build(t testing.TB, args ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "program") // not "qiong", the name by which the scripts call it
	cmd := exec.Command("go", append(args, "-o", path, ".")...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go %s: %v\n%s", args, err, out)
	}
	return path
}

// program is a house in a process of its own, which is killed and started again on the same folder and port.
type program struct {
	t       testing.TB
	command []string // without the flags
	env     []string
	data    string
	listen  string
	log     string
	traced  bool // the command is strace's: the house is its child

	cmd  *exec.Cmd
	once chan string   // the one-time token, where this start shows one
	done chan struct{} // closed when the process has ended
}

// newProgram is a house on a data folder, run by a command such as "qiong up". It runs once it is started.
func newProgram(t testing.TB, data string, command ...string) *program {
	t.Helper()
	scenario, err := filepath.Abs("testdata/faults.yaml")
	if err != nil {
		t.Fatal(err)
	}
	p := &program{t: t, data: data, listen: quietPort(t), log: filepath.Join(t.TempDir(), "log")}
	p.command = append(command, "--house.data="+data, "--house.listen="+p.listen, "--house.log-level=warn",
		"--sandbox.scenario="+scenario, "--sandbox.speed=0.02")
	p.env = slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "QIONG_") })
	p.env = append(p.env, "LANG=en_US.UTF-8", "TMPDIR="+t.TempDir()) // who is killed clears nothing away
	t.Cleanup(p.kill)
	return p
}

// quietPort returns an address below the ports that the kernel hands out, so that nobody takes it while the house is down;
// a client that dials it meanwhile could even meet itself.
func quietPort(t testing.TB) string {
	t.Helper()
	for range 100 {
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", 10000+rand.IntN(20000)))
		if err == nil {
			defer l.Close()
			return l.Addr().String()
		}
	}
	t.Fatal("no free port")
	return ""
}

func (p *program) url() string { return "http://" + p.listen }

// tokenLabel begins the line of the banner with the first token.
const tokenLabel = "one-time token"

// start runs the program until it is healthy.
func (p *program) start() {
	p.t.Helper()
	p.begin()
	p.healthy()
}

// begin runs the program, which may need others to get healthy.
func (p *program) begin() {
	p.t.Helper()
	log, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		p.t.Fatal(err)
	}
	defer log.Close()
	cmd := exec.Command(p.command[0], p.command[1:]...)
	cmd.Env, cmd.Stderr = p.env, log
	out, err := cmd.StdoutPipe()
	if err != nil {
		p.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	once, done := make(chan string, 1), make(chan struct{})
	p.cmd, p.once, p.done = cmd, once, done
	go func() {
		defer close(done)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			if rest, ok := strings.CutPrefix(strings.TrimSpace(lines.Text()), tokenLabel); ok {
				once <- strings.Fields(rest)[0]
			}
		}
		_ = cmd.Wait() // it is killed
	}()
}

// healthy returns when the program says that it is ready.
func (p *program) healthy() {
	p.t.Helper()
	tick, late := time.NewTicker(5*time.Millisecond), time.After(60*time.Second)
	defer tick.Stop()
	for {
		resp, err := http.Get(p.url() + "/readyz")
		if err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return
			}
		}
		select {
		case <-tick.C:
		case <-p.done:
			p.t.Fatalf("the house ended by itself:\n%s", p.said())
		case <-late:
			p.t.Fatalf("the house does not get healthy: %v\n%s", err, p.said())
		}
	}
}

// kill ends the program as a kernel does that is out of memory.
func (p *program) kill() {
	if p.cmd == nil {
		return
	}
	if err := syscall.Kill(p.pid(), syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
		p.t.Error(err)
	}
	<-p.done
	p.cmd = nil
}

// pid is the process of the house, which the lock of its folder names where it is not the test's own child.
func (p *program) pid() int {
	if p.traced {
		text, _ := os.ReadFile(filepath.Join(p.data, "house.lock")) // it may not have come so far
		if pid, err := strconv.Atoi(strings.TrimSpace(string(text))); err == nil {
			return pid
		}
	}
	return p.cmd.Process.Pid
}

// said is what the program has logged.
func (p *program) said() string {
	log, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	return string(log)
}

// as returns a client of the house with a token.
func (p *program) as(token string) *client.Client {
	return &client.Client{URL: p.url(), Token: token, Lang: lang.EN,
		HTTP: &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 32}}}
}

// first returns the one-time token that the start has shown.
func (p *program) first() string {
	p.t.Helper()
	select {
	case token := <-p.once:
		return token
	case <-time.After(10 * time.Second):
		p.t.Fatal("the start showed no token")
		return ""
	}
}

// tokens redeems the first token and returns clients for an applicant and for an operator.
func (p *program) tokens() (applicant, operator *client.Client) {
	p.t.Helper()
	ask := func(c *client.Client, path string, body any) string {
		var answer struct{ Token string }
		if err := c.Do(context.Background(), client.Request{Method: "POST", Path: path, Body: body}, &answer); err != nil {
			p.t.Fatal(err)
		}
		return answer.Token
	}
	security := p.as(ask(p.as(""), "/api/house/redeem", map[string]any{"token": p.first()}))
	issue := func(id string, role auth.Role) *client.Client {
		return p.as(ask(security, "/api/house/tokens", map[string]any{"id": id, "name": id, "roles": []auth.Role{role}}))
	}
	return issue("applicant", auth.Applicant), issue("operator", auth.Operator)
}
