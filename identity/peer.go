package identity

import (
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"strconv"
)

const (
	maxDepth  = 4096     // of the tree of processes; deeper ones are refused
	maxStatus = 64 << 10 // of /proc/PID/status, in bytes
)

// DescendsFrom tells whether pid is one of leaders or has one among its ancestors, by the PPid lines of
// /proc/PID/status (proc(5)); proc is os.DirFS("/proc"). An error means that nobody can tell: refuse then.
//
// It sees parents as they are now. A process whose parent ended belongs to the nearest ancestor that called
// prctl(PR_SET_CHILD_SUBREAPER), or else to process 1: so leaders must be subreapers (the launcher is one), and stay
// among leaders while any of their processes lives.
func DescendsFrom(pid int, leaders map[int]bool, proc fs.FS) (bool, error) {
	for range maxDepth {
		if pid <= 0 {
			return false, fmt.Errorf("a process outside of this pid namespace cannot be judged")
		}
		if leaders[pid] {
			return true, nil
		}
		if pid == 1 {
			return false, nil
		}
		parent, err := parentOf(pid, proc)
		if err != nil {
			return false, err
		}
		pid = parent
	}
	return false, fmt.Errorf("the process has more than %d ancestors", maxDepth)
}

func parentOf(pid int, proc fs.FS) (int, error) {
	f, err := proc.Open(strconv.Itoa(pid) + "/status")
	if err != nil {
		return 0, fmt.Errorf("looking for the parent of process %d: %w", pid, err)
	}
	defer f.Close()
	status, err := io.ReadAll(io.LimitReader(f, maxStatus))
	if err != nil {
		return 0, fmt.Errorf("looking for the parent of process %d: %w", pid, err)
	}
	parent, err := parsePPid(status)
	if err != nil {
		return 0, fmt.Errorf("looking for the parent of process %d: %w", pid, err)
	}
	return parent, nil
}

// parsePPid finds the one PPid line. A process chooses its own Name, but the kernel escapes line ends in it.
func parsePPid(status []byte) (int, error) {
	found := -1
	for line := range bytes.Lines(status) {
		value, ok := bytes.CutPrefix(line, []byte("PPid:"))
		if !ok {
			continue
		}
		n, err := strconv.ParseUint(string(bytes.TrimSpace(value)), 10, 31)
		if err != nil {
			return 0, fmt.Errorf("its PPid line does not parse: %w", err)
		}
		if found >= 0 {
			return 0, fmt.Errorf("it has two PPid lines")
		}
		found = int(n)
	}
	if found < 0 {
		return 0, fmt.Errorf("it has no PPid line")
	}
	return found, nil
}
