package isolate

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/sys/unix"
)

// Command is what Init runs.
type Command struct {
	Path      string
	Args, Env []string
	Dir       string
}

// Init starts the command and, as process 1 of the namespace, reaps whatever ends in it. started is called with how the
// start went, stopped each time the command stops. It returns when the command has ended; the kernel ends the rest when
// this process does.
//
// The command is in this process's group, so that signals to the group reach it. Process 1 must not end by them.
func Init(c Command, started func(error), stopped func()) (unix.WaitStatus, error) {
	// What was ignored when the launcher started (nohup) stays so, and is inherited.
	ignored := make(chan os.Signal, 1)
	for _, s := range []os.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGALRM, syscall.SIGABRT, syscall.SIGPIPE} {
		if !signal.Ignored(s) {
			signal.Notify(ignored, s)
		}
	}
	pid, err := syscall.ForkExec(c.Path, c.Args, &syscall.ProcAttr{Dir: c.Dir, Env: c.Env, Files: []uintptr{0, 1, 2}})
	if err != nil {
		err = fmt.Errorf("executing %s: %w", c.Path, err)
		started(err)
		return 0, err
	}
	started(nil)
	for {
		var status unix.WaitStatus
		ended, err := unix.Wait4(-1, &status, unix.WUNTRACED, nil)
		switch {
		case errors.Is(err, unix.EINTR) || err == nil && ended != pid:
		case err != nil:
			return 0, fmt.Errorf("waiting for the command: %w", err)
		case status.Stopped():
			stopped()
		default:
			return status, nil
		}
	}
}
