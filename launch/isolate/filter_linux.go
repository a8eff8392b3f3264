package isolate

import (
	"errors"
	"fmt"
	"math"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The filter (seccomp(2)) takes from a command what namespaces and missing capabilities leave it: more attack surface of
// the kernel than a program needs, ways around Landlock (Multipath TCP), and the keyboard of the terminal (TIOCSTI). It
// is a list of what is denied, so that programs do not break by a libc that is newer than the list; system calls that it
// does not know at all do not exist.
//
// A 64-bit processor also runs 32-bit programs, with other numbers: they get ENOSYS for everything. Arguments are
// compared as the kernel takes them: it looks at the low half of an int only.

// lastCall is the newest system call that the list was made with (file_setattr); the numbers above 423 are the same on
// all processors.
const lastCall = 469

// denied are answered with EPERM.
var denied = []uint32{
	unix.SYS_MOUNT, unix.SYS_UMOUNT2, unix.SYS_PIVOT_ROOT, unix.SYS_CHROOT, unix.SYS_SETNS,
	unix.SYS_MOUNT_SETATTR, unix.SYS_OPEN_TREE, unix.SYS_MOVE_MOUNT, unix.SYS_FSOPEN, unix.SYS_FSCONFIG, unix.SYS_FSMOUNT, unix.SYS_FSPICK, 467, // open_tree_attr
	unix.SYS_PTRACE, unix.SYS_PROCESS_VM_READV, unix.SYS_PROCESS_VM_WRITEV, unix.SYS_PIDFD_GETFD, unix.SYS_KCMP,
	unix.SYS_BPF, unix.SYS_PERF_EVENT_OPEN, unix.SYS_USERFAULTFD, unix.SYS_FANOTIFY_INIT,
	unix.SYS_KEYCTL, unix.SYS_ADD_KEY, unix.SYS_REQUEST_KEY,
	unix.SYS_OPEN_BY_HANDLE_AT, unix.SYS_ACCT, unix.SYS_QUOTACTL, unix.SYS_QUOTACTL_FD, unix.SYS_SWAPON, unix.SYS_SWAPOFF, unix.SYS_REBOOT, unix.SYS_SYSLOG, unix.SYS_VHANGUP,
	unix.SYS_KEXEC_LOAD, unix.SYS_KEXEC_FILE_LOAD, unix.SYS_INIT_MODULE, unix.SYS_FINIT_MODULE, unix.SYS_DELETE_MODULE,
	unix.SYS_SETTIMEOFDAY, unix.SYS_CLOCK_SETTIME,
}

// missing are answered with ENOSYS, upon which programs take another way: clone3 has its flags where no filter can see
// them.
var missing = []uint32{unix.SYS_CLONE3, unix.SYS_IO_URING_SETUP, unix.SYS_IO_URING_ENTER, unix.SYS_IO_URING_REGISTER}

const (
	newNamespaces = unix.CLONE_NEWNS | unix.CLONE_NEWCGROUP | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC | unix.CLONE_NEWUSER | unix.CLONE_NEWPID | unix.CLONE_NEWNET
	sockTypeMask  = 0xf // SOCK_TYPE_MASK: what is not SOCK_NONBLOCK and SOCK_CLOEXEC
	tioclinux     = 0x541c
)

// Offsets in struct seccomp_data; the processors that filter knows are little-endian.
const (
	atNumber       = 0
	atArchitecture = 4
	atArguments    = 16
)

// program is a filter in the making: classic BPF (socket(7), "SO_ATTACH_FILTER").
type program []unix.SockFilter

func (p *program) add(code uint16, k uint32, jt, jf uint8) {
	*p = append(*p, unix.SockFilter{Code: code, Jt: jt, Jf: jf, K: k})
}

func (p *program) load(offset uint32) { p.add(unix.BPF_LD|unix.BPF_W|unix.BPF_ABS, offset, 0, 0) }
func (p *program) argument(n uint32)  { p.load(atArguments + 8*n) }
func (p *program) ret(action uint32)  { p.add(unix.BPF_RET|unix.BPF_K, action, 0, 0) }
func (p *program) fail(e unix.Errno)  { p.ret(unix.SECCOMP_RET_ERRNO | uint32(e)) }
func (p *program) mask(bits uint32)   { p.add(unix.BPF_ALU|unix.BPF_AND|unix.BPF_K, bits, 0, 0) }
func (p *program) unless(k uint32, skip int) { // skips where the value is k
	p.add(unix.BPF_JMP|unix.BPF_JEQ|unix.BPF_K, k, uint8(skip), 0)
}
func (p *program) when(k uint32, skip int) { // skips where the value is not k
	p.add(unix.BPF_JMP|unix.BPF_JEQ|unix.BPF_K, k, 0, uint8(skip))
}

// on adds what is done about one system call; where body does not return, the call goes on to the next rule.
func (p *program) on(call uint32, body func(*program)) {
	var b program
	body(&b)
	p.load(atNumber)
	p.when(call, len(b))
	*p = append(*p, b...)
}

// only returns e unless the argument is one of allowed.
func (p *program) only(argument uint32, e unix.Errno, allowed ...uint32) {
	p.argument(argument)
	for i, a := range allowed {
		p.unless(a, len(allowed)-i)
	}
	p.fail(e)
}

// rulesFor is the filter for this processor. weak is for a command that has the machine's network: there it may use TCP
// alone, which Landlock restricts.
func rulesFor(weak bool) (program, error) {
	architecture := map[string]uint32{"amd64": unix.AUDIT_ARCH_X86_64, "arm64": unix.AUDIT_ARCH_AARCH64}[runtime.GOARCH]
	if architecture == 0 {
		return nil, fmt.Errorf("there is no list of system calls for %s; isolation needs amd64 or arm64", runtime.GOARCH)
	}
	var p program
	p.load(atArchitecture)
	p.unless(architecture, 1)
	p.fail(unix.ENOSYS)
	p.load(atNumber)
	p.add(unix.BPF_JMP|unix.BPF_JGT|unix.BPF_K, lastCall, 0, 1) // x32 has numbers from 2^30 on
	p.fail(unix.ENOSYS)
	for _, call := range denied {
		p.when(call, 1)
		p.fail(unix.EPERM)
	}
	for _, call := range missing {
		p.when(call, 1)
		p.fail(unix.ENOSYS)
	}
	for _, call := range []uint32{unix.SYS_CLONE, unix.SYS_UNSHARE} {
		flags := uint32(newNamespaces)
		if call == unix.SYS_UNSHARE {
			flags |= unix.CLONE_NEWTIME // for clone, part of the signal's number
		}
		p.on(call, func(p *program) {
			p.argument(0)
			p.add(unix.BPF_JMP|unix.BPF_JSET|unix.BPF_K, flags, 0, 1)
			p.fail(unix.EPERM)
		})
	}
	p.on(unix.SYS_SOCKET, func(p *program) {
		p.only(0, unix.EAFNOSUPPORT, unix.AF_UNIX, unix.AF_INET, unix.AF_INET6, unix.AF_NETLINK)
		// Multipath TCP is a way around Landlock's rules for ports; of netlink, glibc needs to see interfaces.
		var inet program
		inet.only(2, unix.EPROTONOSUPPORT, 0, unix.IPPROTO_TCP, unix.IPPROTO_UDP)
		if weak {
			inet.argument(1)
			inet.mask(sockTypeMask)
			inet.unless(unix.SOCK_STREAM, 1)
			inet.fail(unix.EACCES)
		}
		for _, family := range []uint32{unix.AF_INET, unix.AF_INET6} {
			p.argument(0)
			p.when(family, len(inet))
			*p = append(*p, inet...)
		}
		var netlink program
		netlink.only(2, unix.EPROTONOSUPPORT, unix.NETLINK_ROUTE)
		p.argument(0)
		p.when(unix.AF_NETLINK, len(netlink))
		*p = append(*p, netlink...)
	})
	p.on(unix.SYS_IOCTL, func(p *program) {
		p.argument(1)
		for _, request := range []uint32{unix.TIOCSTI, tioclinux, unix.TIOCSETD, unix.TIOCCONS} {
			p.when(request, 1)
			p.fail(unix.EPERM)
		}
	})
	p.ret(unix.SECCOMP_RET_ALLOW)
	if len(p) > math.MaxUint16 {
		return nil, errors.New("the list of system calls is too long")
	}
	return p, nil
}

// filter installs the filter on all threads; no_new_privs must be set.
func filter(weak bool) error {
	p, err := rulesFor(weak)
	if err != nil {
		return err
	}
	prog := unix.SockFprog{Len: uint16(len(p)), Filter: &p[0]}
	failed, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_TSYNC, uintptr(unsafe.Pointer(&prog)))
	if errno != 0 || failed != 0 {
		return fmt.Errorf("filtering system calls: %w (thread %d)", errno, failed)
	}
	return nil
}
