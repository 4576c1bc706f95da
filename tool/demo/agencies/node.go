package agencies

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// Node is an agency's node, a process where it runs.
type Node struct {
	Name string // of the agency
	URL  string // of the HTTP face
	Home string // folder

	program, genesis string
	cmd              *exec.Cmd // nil where it does not run
	stdin            io.Closer
}

// PID returns the number of the process; 0 where it does not run.
func (n *Node) PID() int {
	if n.cmd == nil {
		return 0
	}
	return n.cmd.Process.Pid
}

// Start starts the process, which ends with this one. What it says goes to the file node.log in its home.
func (n *Node) Start() error {
	if n.cmd != nil {
		return nil
	}
	said, err := os.OpenFile(filepath.Join(n.Home, "node.log"), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer said.Close() // the process has its own
	cmd := exec.Command(n.program, "evidence", "node", "--home", n.Home, "--genesis", n.genesis, "--with-parent", "--log-level", "warn")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // Ctrl-C is for who started it
	cmd.Stdout, cmd.Stderr = said, said
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start the node of %s: %w", n.Name, err)
	}
	n.cmd, n.stdin = cmd, stdin
	return nil
}

// ready reports whether the node takes part in the council.
func (n *Node) ready(ctx context.Context) bool {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, n.URL+"/healthz", nil)
	if err != nil {
		return false
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return false // it has not begun to listen
	}
	defer resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}

// grace is how long a node may take to end by itself.
const grace = 10 * time.Second

// Stop ends the process in good order, or after some time in any.
func (n *Node) Stop() error {
	if n.cmd == nil {
		return nil
	}
	late := time.AfterFunc(grace, func() { _ = n.Signal(syscall.SIGKILL) }) // it may be gone
	defer late.Stop()
	_ = n.stdin.Close() // that is how it hears of it
	return n.wait()
}

// Kill ends the process at once.
func (n *Node) Kill() error {
	if n.cmd == nil {
		return nil
	}
	err := n.Signal(syscall.SIGKILL)
	return errors.Join(err, n.stdin.Close(), n.wait())
}

// wait waits for the end. A node that was killed, or that says why it could not end well, has ended all the same.
func (n *Node) wait() error {
	err := n.cmd.Wait()
	n.cmd = nil
	if e := (*exec.ExitError)(nil); errors.As(err, &e) {
		return nil
	}
	return err
}

// Signal sends the process a signal.
func (n *Node) Signal(s syscall.Signal) error { return n.cmd.Process.Signal(s) }
