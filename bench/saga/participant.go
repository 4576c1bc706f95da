package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"syscall"
)

// participant is a process that answers every request with {"outcome":"done"}.
type participant struct {
	url    string
	cmd    *exec.Cmd
	in     io.Closer
	client *http.Client
}

func startParticipant() (*participant, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(self, "-participant")
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // Ctrl-C is for us to handle
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		return nil, fmt.Errorf("participant: %w", err)
	}
	t := &http.Transport{MaxIdleConnsPerHost: 1024}
	return &participant{url: strings.TrimSpace(line), cmd: cmd, in: in, client: &http.Client{Transport: t}}, nil
}

func (p *participant) stop() {
	_ = p.in.Close() // it ends by this
	_ = p.cmd.Wait()
}

// serveParticipant serves until its standard input ends.
func serveParticipant() error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	answer := []byte(`{"outcome":"done"}`)
	s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // the caller sees what becomes of it
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(answer)
	})}
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		_ = s.Close()
	}()
	fmt.Printf("http://%s\n", l.Addr())
	if err := s.Serve(l); err != http.ErrServerClosed {
		return err
	}
	return nil
}

// ask makes one call and returns the outcome.
func (p *participant) ask(ctx context.Context, step, id string) (string, error) {
	body, err := json.Marshal(map[string]string{"request": id + "." + step})
	if err != nil {
		return "", err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, p.url+"/"+step, bytes.NewReader(body))
	if err != nil {
		return "", err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := p.client.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		return "", err
	}
	var a struct{ Outcome string }
	if err := json.Unmarshal(answer, &a); err != nil {
		return "", err
	}
	return a.Outcome, nil
}
