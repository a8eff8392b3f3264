//go:build !unix

package stdio

import (
	"os"
	"syscall"
)

// attributes: this system has no groups of processes; what a server starts outlives it.
func attributes() *syscall.SysProcAttr { return nil }

func signalGroup(pid int, _ syscall.Signal) {
	if p, err := os.FindProcess(pid); err == nil {
		_ = p.Kill()
	}
}
