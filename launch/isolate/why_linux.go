package isolate

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

// Why puts why a sandbox cannot be made into one sentence that says what would be right. cause is what the kernel said.
func Why(cause error) error {
	for _, s := range []struct{ file, refusing, sentence string }{
		{"/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1", "AppArmor keeps programs without a profile from making user namespaces (kernel.apparmor_restrict_unprivileged_userns is 1); give remit a profile with `userns,`, as doc/operations.md shows"},
		{"/proc/sys/kernel/unprivileged_userns_clone", "0", "this kernel lets only root make user namespaces (kernel.unprivileged_userns_clone is 0); set it to 1"},
		{"/proc/sys/user/max_user_namespaces", "0", "user namespaces are turned off (user.max_user_namespaces is 0); set it higher, 10000 say"},
		{"/proc/sys/user/max_net_namespaces", "0", "network namespaces are turned off (user.max_net_namespaces is 0); set it higher, 10000 say"},
	} {
		raw, err := os.ReadFile(s.file)
		if err == nil && strings.TrimSpace(string(raw)) == s.refusing && (os.Geteuid() != 0 || !strings.Contains(s.file, "unprivileged")) {
			return fmt.Errorf("%s: %w", s.sentence, cause)
		}
	}
	switch {
	case errors.Is(cause, unix.ENOSYS):
		return fmt.Errorf("the kernel is too old: isolation needs Linux 5.12 or later: %w", cause)
	case errors.Is(cause, unix.EINVAL):
		return fmt.Errorf("the kernel was built without user, pid or network namespaces, or is older than 5.12: %w", cause)
	case errors.Is(cause, unix.ENOSPC):
		return fmt.Errorf("no more namespaces may be made here (user.max_user_namespaces and its like, also of what is around this container): %w", cause)
	case filtered() && (errors.Is(cause, unix.EPERM) || errors.Is(cause, unix.EACCES)):
		return fmt.Errorf("this already is a container or a sandbox whose filter of system calls refuses namespaces and mounts; let it make them (Docker: --security-opt seccomp=unconfined --security-opt systempaths=unconfined, or a virtual machine), or isolate the container as a whole: %w", cause)
	case errors.Is(cause, unix.EPERM) || errors.Is(cause, unix.EACCES):
		return fmt.Errorf("the kernel, a security module or the container around refuses namespaces or mounts: %w", cause)
	}
	return cause
}

// filtered tells whether a seccomp filter lies on this process (proc(5)).
func filtered() bool {
	mode, err := unix.PrctlRetInt(unix.PR_GET_SECCOMP, 0, 0, 0, 0)
	return err == nil && mode == unix.SECCOMP_MODE_FILTER
}

// Strength says what lies on top of the namespaces here.
func Strength() string {
	parts := []string{"no Landlock"}
	if abi := landlockABI(); abi > 0 {
		parts[0] = fmt.Sprintf("Landlock ABI %d", abi)
	}
	if _, err := rulesFor(false); err != nil {
		return parts[0] + ", no list of system calls for " + runtime.GOARCH
	}
	return parts[0] + ", seccomp"
}
