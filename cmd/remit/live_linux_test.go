package main

import (
	"os"
	"os/exec"
	"syscall"
)

// mayConfine tells whether the kernel gives a process mounts of its own.
func mayConfine() bool {
	cmd := exec.Command("true")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS}
	if os.Geteuid() != 0 {
		cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
	}
	return cmd.Run() == nil
}
