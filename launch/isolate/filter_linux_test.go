package isolate

import (
	"encoding/binary"
	"encoding/json"
	"math/rand/v2"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// interpret runs a filter over one system call as the kernel would (seccomp(2), "struct seccomp_data").
func interpret(t *testing.T, p program, architecture, number uint32, args [6]uint64) uint32 {
	t.Helper()
	data := binary.LittleEndian.AppendUint32(nil, number)
	data = binary.LittleEndian.AppendUint32(data, architecture)
	data = binary.LittleEndian.AppendUint64(data, 0) // instruction pointer
	for _, a := range args {
		data = binary.LittleEndian.AppendUint64(data, a)
	}
	var a uint32
	for pc := 0; pc < len(p); pc++ {
		i := p[pc]
		jump := func(yes bool) {
			if yes {
				pc += int(i.Jt)
			} else {
				pc += int(i.Jf)
			}
		}
		switch i.Code {
		case unix.BPF_LD | unix.BPF_W | unix.BPF_ABS:
			a = binary.LittleEndian.Uint32(data[i.K:])
		case unix.BPF_ALU | unix.BPF_AND | unix.BPF_K:
			a &= i.K
		case unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K:
			jump(a == i.K)
		case unix.BPF_JMP | unix.BPF_JGT | unix.BPF_K:
			jump(a > i.K)
		case unix.BPF_JMP | unix.BPF_JSET | unix.BPF_K:
			jump(a&i.K != 0)
		case unix.BPF_RET | unix.BPF_K:
			return i.K
		default:
			t.Fatalf("instruction %d has code %#x", pc, i.Code)
		}
	}
	t.Fatal("the program ends without an answer")
	return 0
}

func architectureHere(t *testing.T) uint32 {
	t.Helper()
	switch runtime.GOARCH {
	case "amd64":
		return unix.AUDIT_ARCH_X86_64
	case "arm64":
		return unix.AUDIT_ARCH_AARCH64
	}
	t.Skip("no filter for this processor")
	return 0
}

const garbage = 0xdeadbeef << 32 // in the half of an int that the kernel does not look at

func TestTheFilter(t *testing.T) {
	here := architectureHere(t)
	const allowed = syscall.Errno(0)
	for _, c := range []struct {
		name         string
		architecture uint32
		number       uint32
		args         [6]uint64
		strong, weak syscall.Errno
	}{
		{"reading", here, unix.SYS_READ, [6]uint64{}, allowed, allowed},
		{"a 32-bit program", unix.AUDIT_ARCH_I386, 20, [6]uint64{}, unix.ENOSYS, unix.ENOSYS},
		{"a 32-bit program of ARM", unix.AUDIT_ARCH_ARM, 20, [6]uint64{}, unix.ENOSYS, unix.ENOSYS},
		{"an x32 program", here, 0x40000000 + 1, [6]uint64{}, unix.ENOSYS, unix.ENOSYS},
		{"a call that nobody knows yet", here, lastCall + 1, [6]uint64{}, unix.ENOSYS, unix.ENOSYS},
		{"a mount", here, unix.SYS_MOUNT, [6]uint64{}, unix.EPERM, unix.EPERM},
		{"a mount, newer", here, unix.SYS_MOVE_MOUNT, [6]uint64{}, unix.EPERM, unix.EPERM},
		{"a mount, newest", here, 467, [6]uint64{}, unix.EPERM, unix.EPERM},
		{"tracing", here, unix.SYS_PTRACE, [6]uint64{}, unix.EPERM, unix.EPERM},
		{"a program of the kernel's", here, unix.SYS_BPF, [6]uint64{}, unix.EPERM, unix.EPERM},
		{"clone3", here, unix.SYS_CLONE3, [6]uint64{}, unix.ENOSYS, unix.ENOSYS},
		{"a thread", here, unix.SYS_CLONE, [6]uint64{unix.CLONE_VM | unix.CLONE_THREAD | unix.CLONE_SIGHAND}, allowed, allowed},
		{"a process", here, unix.SYS_CLONE, [6]uint64{uint64(unix.SIGCHLD) | unix.CLONE_VFORK | unix.CLONE_VM}, allowed, allowed},
		{"a process in a user namespace", here, unix.SYS_CLONE, [6]uint64{uint64(unix.SIGCHLD) | unix.CLONE_NEWUSER}, unix.EPERM, unix.EPERM},
		{"and with garbage", here, unix.SYS_CLONE, [6]uint64{garbage | unix.CLONE_NEWUSER}, unix.EPERM, unix.EPERM},
		{"a file table of one's own", here, unix.SYS_UNSHARE, [6]uint64{unix.CLONE_FILES}, allowed, allowed},
		{"a mount namespace", here, unix.SYS_UNSHARE, [6]uint64{unix.CLONE_NEWNS}, unix.EPERM, unix.EPERM},
		{"a time namespace", here, unix.SYS_UNSHARE, [6]uint64{unix.CLONE_NEWTIME}, unix.EPERM, unix.EPERM},
		{"a socket", here, unix.SYS_SOCKET, [6]uint64{unix.AF_UNIX, unix.SOCK_STREAM}, allowed, allowed},
		{"TCP", here, unix.SYS_SOCKET, [6]uint64{unix.AF_INET, unix.SOCK_STREAM | unix.SOCK_CLOEXEC, unix.IPPROTO_TCP}, allowed, allowed},
		{"TCP of IPv6", here, unix.SYS_SOCKET, [6]uint64{unix.AF_INET6, unix.SOCK_STREAM | unix.SOCK_NONBLOCK, 0}, allowed, allowed},
		{"UDP", here, unix.SYS_SOCKET, [6]uint64{unix.AF_INET, unix.SOCK_DGRAM, 0}, allowed, unix.EACCES},
		{"UDP of IPv6", here, unix.SYS_SOCKET, [6]uint64{unix.AF_INET6, unix.SOCK_DGRAM | unix.SOCK_CLOEXEC, unix.IPPROTO_UDP}, allowed, unix.EACCES},
		{"UDP with garbage", here, unix.SYS_SOCKET, [6]uint64{garbage | unix.AF_INET, garbage | unix.SOCK_DGRAM, garbage}, allowed, unix.EACCES},
		{"Multipath TCP", here, unix.SYS_SOCKET, [6]uint64{unix.AF_INET, unix.SOCK_STREAM, unix.IPPROTO_MPTCP}, unix.EPROTONOSUPPORT, unix.EPROTONOSUPPORT},
		{"Multipath TCP with garbage", here, unix.SYS_SOCKET, [6]uint64{garbage | unix.AF_INET6, unix.SOCK_STREAM, garbage | unix.IPPROTO_MPTCP}, unix.EPROTONOSUPPORT, unix.EPROTONOSUPPORT},
		{"SCTP", here, unix.SYS_SOCKET, [6]uint64{unix.AF_INET, unix.SOCK_STREAM, unix.IPPROTO_SCTP}, unix.EPROTONOSUPPORT, unix.EPROTONOSUPPORT},
		{"virtual sockets", here, unix.SYS_SOCKET, [6]uint64{unix.AF_VSOCK, unix.SOCK_STREAM}, unix.EAFNOSUPPORT, unix.EAFNOSUPPORT},
		{"virtual sockets with garbage", here, unix.SYS_SOCKET, [6]uint64{garbage | unix.AF_VSOCK, unix.SOCK_STREAM}, unix.EAFNOSUPPORT, unix.EAFNOSUPPORT},
		{"packets", here, unix.SYS_SOCKET, [6]uint64{unix.AF_PACKET, unix.SOCK_RAW}, unix.EAFNOSUPPORT, unix.EAFNOSUPPORT},
		{"ciphers of the kernel's", here, unix.SYS_SOCKET, [6]uint64{unix.AF_ALG, unix.SOCK_SEQPACKET}, unix.EAFNOSUPPORT, unix.EAFNOSUPPORT},
		{"interfaces", here, unix.SYS_SOCKET, [6]uint64{unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_ROUTE}, allowed, allowed},
		{"firewalls", here, unix.SYS_SOCKET, [6]uint64{unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_NETFILTER}, unix.EPROTONOSUPPORT, unix.EPROTONOSUPPORT},
		{"the window's size", here, unix.SYS_IOCTL, [6]uint64{0, unix.TIOCGWINSZ}, allowed, allowed},
		{"a negative request, as musl has it", here, unix.SYS_IOCTL, [6]uint64{0, 0xffffffff80045430}, allowed, allowed},
		{"the keyboard", here, unix.SYS_IOCTL, [6]uint64{0, unix.TIOCSTI}, unix.EPERM, unix.EPERM},
		{"the keyboard with garbage", here, unix.SYS_IOCTL, [6]uint64{0, garbage | unix.TIOCSTI}, unix.EPERM, unix.EPERM},
		{"the keyboard with a sign", here, unix.SYS_IOCTL, [6]uint64{0, 0xffffffff00000000 | unix.TIOCSTI}, unix.EPERM, unix.EPERM},
		{"the console's clipboard", here, unix.SYS_IOCTL, [6]uint64{0, tioclinux}, unix.EPERM, unix.EPERM},
	} {
		for weak, want := range map[bool]syscall.Errno{false: c.strong, true: c.weak} {
			p, err := rulesFor(weak)
			if err != nil {
				t.Fatal(err)
			}
			answer := uint32(unix.SECCOMP_RET_ALLOW)
			if want != allowed {
				answer = unix.SECCOMP_RET_ERRNO | uint32(want)
			}
			if got := interpret(t, p, c.architecture, c.number, c.args); got != answer {
				t.Errorf("%s (weak: %t): %#x, not %#x", c.name, weak, got, answer)
			}
		}
	}
}

// TestTheFilterAlwaysAnswers: whatever the call, there is one answer, and what the lists say holds with any arguments.
func TestTheFilterAlwaysAnswers(t *testing.T) {
	here := architectureHere(t)
	p, err := rulesFor(false)
	if err != nil {
		t.Fatal(err)
	}
	random := rand.New(rand.NewPCG(5, 6))
	for range 20_000 {
		args := [6]uint64{random.Uint64(), random.Uint64(), random.Uint64()}
		if got := interpret(t, p, here, random.Uint32N(600), args); got != unix.SECCOMP_RET_ALLOW && got>>16 != unix.SECCOMP_RET_ERRNO>>16 {
			t.Fatalf("%#x", got)
		}
		if call := denied[random.IntN(len(denied))]; interpret(t, p, here, call, args) != unix.SECCOMP_RET_ERRNO|uint32(unix.EPERM) {
			t.Fatalf("call %d with %x is not denied", call, args)
		}
		args[0] &^= newNamespaces
		if interpret(t, p, here, unix.SYS_CLONE, args) != unix.SECCOMP_RET_ALLOW {
			t.Fatalf("clone with %x is denied", args[0])
		}
	}
}

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "__filtered" {
		os.Exit(filtering())
	}
	os.Exit(m.Run())
}

// filtering installs the filter on this process, and says what some calls give before and after, on another thread.
func filtering() int {
	try := func() (out []syscall.Errno) {
		done := make(chan bool)
		go func() {
			runtime.LockOSThread() // and never unlocked: a thread of its own
			null, err := os.Open(os.DevNull)
			if err != nil {
				panic(err)
			}
			_, _, sti := unix.Syscall(unix.SYS_IOCTL, null.Fd(), unix.TIOCSTI, 0)
			_, _, clone := unix.Syscall(unix.SYS_CLONE3, 0, 0, 0)
			_, _, keys := unix.Syscall(unix.SYS_KEYCTL, 1<<20, 0, 0)
			out = []syscall.Errno{sti, clone, keys}
			close(done)
		}()
		<-done
		return out
	}
	results := [][]syscall.Errno{try()}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		panic(err)
	}
	if err := filter(false); err != nil {
		panic(err)
	}
	results = append(results, try())
	if err := json.NewEncoder(os.Stdout).Encode(results); err != nil {
		return 1
	}
	return 0
}

func TestTheKernelTakesTheFilter(t *testing.T) {
	architectureHere(t)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	raw, err := exec.Command(self, "__filtered").Output()
	var got [][]syscall.Errno
	if err == nil {
		err = json.Unmarshal(raw, &got)
	}
	if err != nil || len(got) != 2 {
		t.Fatalf("%v: %s", err, raw)
	}
	for i, after := range []syscall.Errno{unix.EPERM, unix.ENOSYS, unix.EPERM} {
		if got[1][i] != after {
			t.Errorf("call %d: %v before, %v after, not %v", i, got[0][i], got[1][i], after)
		}
		if got[0][i] == after {
			t.Logf("call %d gives %v without the filter too", i, after)
		}
	}
}
