//go:build unix

package deploy

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"syscall"
	"time"
)

// lock is held by this process and by all that it starts with it, and so outlives a crash as long as any of them does:
// the lock belongs to the open file (flock), which children inherit.
type lock struct{ f *os.File }

const retry = 50 * time.Millisecond

func acquire(ctx context.Context, path string, patience time.Duration) (*lock, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	for {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return &lock{f}, nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR) {
			return nil, errors.Join(err, f.Close())
		}
		select {
		case <-ctx.Done():
			return nil, errors.Join(errors.New("its lock is held"), f.Close())
		case <-time.After(retry):
		}
	}
}

// release lets go also for those who inherited it: what a command that ended well left running is its business.
func (l *lock) release() {
	_ = syscall.Flock(int(l.f.Fd()), syscall.LOCK_UN)
	_ = l.f.Close()
}

// ownGroup puts cmd in a process group of its own, which is killed as a whole.
func ownGroup(cmd *exec.Cmd, l *lock) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	if l != nil {
		cmd.ExtraFiles = []*os.File{l.f}
	}
}
