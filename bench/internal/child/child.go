// Package child runs a program beside a benchmark: started, waited for until it says that it serves, killed at the end,
// and never outliving us.
package child

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
)

// Child is a running program.
type Child struct {
	PID  int
	Kill func() // by SIGKILL, and waits for the end; may be called again
}

// Start runs cmd and hands it its output line by line, until said returns true for one. What follows is read and dropped.
func Start(cmd *exec.Cmd, said func(line string) bool) (*Child, error) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	pipe, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	var complaints bytes.Buffer
	cmd.Stderr = &complaints
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	read := make(chan struct{})
	c := &Child{PID: cmd.Process.Pid, Kill: sync.OnceFunc(func() {
		_ = cmd.Process.Kill() // it may have ended
		<-read
		_ = cmd.Wait() // it was killed
	})}
	lines := bufio.NewScanner(pipe)
	for lines.Scan() {
		if said(lines.Text()) {
			go func() {
				defer close(read)
				_, _ = io.Copy(io.Discard, pipe)
			}()
			return c, nil
		}
	}
	close(read)
	c.Kill()
	return nil, fmt.Errorf("%s ended: %s", filepath.Base(cmd.Path), complaints.String())
}
