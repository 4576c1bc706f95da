package lean

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// Program takes the pages of the program's own file out of the process: its code and constants. To start takes far more of
// them than to serve, and they stay otherwise. What is needed again comes back from the system's file cache, or from the
// file, when it is touched. It returns how many bytes were let go.
func Program() (bytes int64, err error) {
	path, err := os.Executable()
	if err != nil {
		return 0, err
	}
	f, err := os.Open("/proc/self/smaps")
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	var m mapping
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		line := lines.Text()
		if next, ok := parseMapping(line); ok {
			m = next
			continue
		}
		var kib int64
		if _, err := fmt.Sscanf(line, "Rss: %d kB", &kib); err == nil {
			m.resident = kib << 10
		}
		// The line comes behind Rss. Pages of the process's own, which a linker or a debugger has written, would be lost.
		if _, err := fmt.Sscanf(line, "Anonymous: %d kB", &kib); err != nil || kib > 0 || m.path != path || m.writable {
			continue
		}
		if err := m.leave(); err != nil {
			return bytes, err
		}
		bytes += m.resident
	}
	return bytes, lines.Err()
}

// mapping is one of the process's.
type mapping struct {
	from, to uintptr
	writable bool
	path     string
	resident int64
}

// parseMapping reads the first line of a mapping.
func parseMapping(line string) (m mapping, ok bool) {
	words := strings.Fields(line)
	if len(words) < 6 {
		return m, false
	}
	if _, err := fmt.Sscanf(words[0], "%x-%x", &m.from, &m.to); err != nil {
		return m, false
	}
	m.writable, m.path = strings.Contains(words[1], "w"), strings.Join(words[5:], " ")
	return m, true
}

func (m *mapping) leave() error {
	// No slice of Go's may begin at such an address, so the call is made by its number.
	if _, _, errno := unix.Syscall(unix.SYS_MADVISE, m.from, m.to-m.from, unix.MADV_DONTNEED); errno != 0 {
		return os.NewSyscallError("madvise", errno)
	}
	return nil
}
