// Package house runs `qiong up` as a user would: a process of its own on an empty folder and a free port, with a token to
// submit cases by.
package house

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/qiongdev/qiong/bench/internal/child"
	"github.com/qiongdev/qiong/kit/sqldb"
	"github.com/qiongdev/qiong/kit/sqldb/sqlite"
)

// Submissions is where cases are submitted.
const Submissions = "/api/approval/cases"

// House is a running house.
type House struct {
	*child.Child
	Addr    string
	Token   string        // of an applicant
	Healthy time.Duration // from its start to the first answer of /readyz
	dir     string
}

var secret = regexp.MustCompile(`qiong_[0-9A-Za-z]+`)

// Start starts program with flags besides those for its folder and address. Its data lie under tmp, or in the folder for
// temporary files where tmp is empty.
func Start(ctx context.Context, program, tmp string, flags ...string) (*House, error) {
	dir, err := os.MkdirTemp(tmp, "qiong-bench-house-")
	if err != nil {
		return nil, err
	}
	h := &House{dir: dir}
	if err := h.start(ctx, program, flags); err != nil {
		return nil, errors.Join(err, h.Remove())
	}
	return h, nil
}

func (h *House) start(ctx context.Context, program string, flags []string) error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	h.Addr = l.Addr().String()
	if err := l.Close(); err != nil {
		return err
	}
	args := append([]string{"up", "--lang=en", "--house.data=" + h.dir, "--house.listen=" + h.Addr}, flags...)
	began := time.Now()
	healthy := make(chan time.Duration, 1)
	wait, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	go func() {
		if h.ready(wait) == nil {
			healthy <- time.Since(began)
		}
	}()
	var oneTime string
	h.Child, err = child.Start(exec.Command(program, args...), func(line string) bool {
		oneTime = secret.FindString(line)
		return oneTime != ""
	})
	if err != nil {
		return err
	}
	select {
	case h.Healthy = <-healthy:
	case <-wait.Done():
		return fmt.Errorf("the house is not ready: %w", wait.Err())
	}
	h.Token, err = h.applicant(wait, oneTime)
	return err
}

func (h *House) ready(ctx context.Context) error {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		resp, err := http.Get("http://" + h.Addr + "/readyz")
		if err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// applicant exchanges the one-time token of a new house for that of someone who may submit.
func (h *House) applicant(ctx context.Context, oneTime string) (string, error) {
	var got struct{ Token string }
	if err := h.post(ctx, "/api/house/redeem", "", map[string]any{"token": oneTime}, &got); err != nil {
		return "", err
	}
	err := h.post(ctx, "/api/house/tokens", got.Token,
		map[string]any{"id": "bench", "name": "bench", "roles": []string{"applicant"}, "days": 1}, &got)
	return got.Token, err
}

func (h *House) post(ctx context.Context, path, token string, body, answer any) error {
	b, err := json.Marshal(body)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+h.Addr+path, bytes.NewReader(b))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode >= 300 {
		why, _ := io.ReadAll(resp.Body) // the status says enough
		return fmt.Errorf("%s: %s: %s", path, resp.Status, bytes.TrimSpace(why))
	}
	return json.NewDecoder(resp.Body).Decode(answer)
}

// Backlog returns how many cases are under way.
func (h *House) Backlog() (int64, error) {
	resp, err := http.Get("http://" + h.Addr + "/metrics")
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	for lines.Scan() {
		if name, value, ok := strings.Cut(lines.Text(), " "); ok && strings.Contains(name, "sagas_backlog") && !strings.HasPrefix(name, "#") {
			n, err := strconv.ParseFloat(value, 64)
			return int64(n), err
		}
	}
	return 0, errors.Join(errors.New("the metrics do not tell the backlog"), lines.Err())
}

// PSS returns the proportional share of memory of the process, in bytes, and the private part of it.
func (h *House) PSS() (pss, private int64, err error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", h.PID))
	if err != nil {
		return 0, 0, err
	}
	for line := range strings.Lines(string(b)) {
		f := strings.Fields(line)
		if len(f) < 2 {
			continue
		}
		n, _ := strconv.ParseInt(f[1], 10, 64) // the kernel writes numbers
		switch f[0] {
		case "Pss:":
			pss = n << 10
		case "Private_Clean:", "Private_Dirty:":
			private += n << 10
		}
	}
	return pss, private, nil
}

// Database opens the SQLite database of a service. The house should have ended.
func (h *House) Database(service string) (sqldb.DB, error) {
	return sqlite.Open(filepath.Join(h.dir, "db", service+".db"))
}

// Submission makes the body that submits the case in an example file.
func Submission(path string) ([]byte, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var body map[string]any
	if err := json.Unmarshal(raw, &body); err != nil {
		return nil, err
	}
	body["submit"] = true
	return json.Marshal(body)
}

// Remove kills the house and deletes its folder.
func (h *House) Remove() error {
	if h.Child != nil {
		h.Kill()
	}
	return os.RemoveAll(h.dir)
}
