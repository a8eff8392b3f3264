package stdio

import "syscall"

// attributes: a group of its own, so that what it starts can be ended with it; and it dies with the gateway, however that
// ends.
func attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

func signalGroup(pid int, s syscall.Signal) { _ = syscall.Kill(-pid, s) } // it is gone: that is what was wanted
