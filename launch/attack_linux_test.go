package launch

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// stage is what lies around a sandbox and is to be reached from inside it.
type stage struct {
	Abstract, Socket, TreeSocket, RunSocket string // of servers that say "hello"
	Victim                                  int    // a process of the same user, with a secret in its environment
	TCP, TCP6, UDP                          string
	Secret                                  string // file outside the tree with a secret in it
	SSH                                     string // one in the person's home
	FD                                      int    // an inherited descriptor of it
	Shm                                     int    // the key of a shared memory segment
	Tree, Outside                           string
	Input                                   string // what standard input is, opened for reading
}

const theirSecret = "s3cret-of-the-person"

// attack is one way out. It returns nil if it got out; a file that it writes says "broken" where it must not.
type attack struct {
	name string
	root bool // only root could do it outside
	try  func(stage) error
}

// harmlessInside are attacks that may seem to succeed: what they write to is the sandbox's own, and ends with it.
var harmlessInside = []string{"writing outside the tree", "writing above the tree"}

func hello(network, address string) error {
	c, err := net.Dial(network, address)
	if err != nil {
		return err
	}
	defer c.Close()
	if _, err := io.WriteString(c, "hello?"); err != nil {
		return err
	}
	answer := make([]byte, 5)
	if _, err := io.ReadFull(c, answer); err != nil {
		return err
	}
	if string(answer) != "hello" {
		return fmt.Errorf("somebody else says %q", answer)
	}
	return nil
}

func reads(path string) error {
	raw, err := os.ReadFile(path)
	if err == nil && !bytes.Contains(raw, []byte(theirSecret)) {
		return fmt.Errorf("%s is something else", path)
	}
	return err
}

// breaks puts "broken" into a file, and makes the directories above it.
func breaks(path string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o755)
	if err != nil {
		return err
	}
	_, err = f.WriteString("broken\n")
	return errors.Join(err, f.Close())
}

// opens opens what already is there for writing, and changes nothing.
func opens(path string) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	return f.Close()
}

func fails(errno syscall.Errno) error {
	if errno != 0 {
		return errno
	}
	return nil
}

// makes starts a program in new namespaces.
func makes(flags uintptr) error {
	cmd := exec.Command("true")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWUSER | flags}
	return cmd.Run()
}

var attacks = []attack{
	{"abstract socket", false, func(s stage) error { return hello("unix", s.Abstract) }},
	{"pathname socket", false, func(s stage) error { return hello("unix", s.Socket) }},
	{"pathname socket in the work tree", false, func(s stage) error { return hello("unix", s.TreeSocket) }},
	{"socket of a container engine", true, func(s stage) error { return hello("unix", s.RunSocket) }},
	{"TCP to the host's loopback", false, func(s stage) error { return hello("tcp", s.TCP) }},
	{"IPv6 to the host's loopback", false, func(s stage) error { return hello("tcp", s.TCP6) }},
	{"UDP to the host's loopback", false, func(s stage) error { return hello("udp", s.UDP) }},
	{"a route to a name server", false, func(s stage) error {
		c, err := net.Dial("udp", "192.0.2.53:53")
		if err != nil {
			return err
		}
		return c.Close()
	}},
	{"Multipath TCP", false, func(s stage) error {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, unix.IPPROTO_MPTCP)
		if err == nil {
			unix.Close(fd)
		}
		return err
	}},
	{"environment of a host process", false, func(s stage) error { return reads(fmt.Sprintf("/proc/%d/environ", s.Victim)) }},
	{"files through a host process", false, func(s stage) error { return reads(fmt.Sprintf("/proc/%d/root%s", s.Victim, s.Secret)) }},
	{"files through the parent", false, func(s stage) error { return reads(fmt.Sprintf("/proc/%d/root%s", os.Getppid(), s.Secret)) }},
	{"memory of the parent", false, func(s stage) error {
		f, err := os.OpenFile(fmt.Sprintf("/proc/%d/mem", os.Getppid()), os.O_RDONLY, 0)
		if err != nil {
			return err
		}
		return f.Close()
	}},
	{"files of the parent", false, func(s stage) error {
		// Root can list them, because it is the owner; not one leads anywhere.
		_, err := os.Readlink(fmt.Sprintf("/proc/%d/fd/1", os.Getppid()))
		return err
	}},
	{"ptrace of a host process", false, func(s stage) error {
		runtime.LockOSThread()
		const seize = 0x4206
		_, _, errno := unix.Syscall6(unix.SYS_PTRACE, seize, uintptr(s.Victim), 0, 0, 0, 0)
		if errno == 0 {
			_ = unix.PtraceDetach(s.Victim)
		}
		return fails(errno)
	}},
	{"signal to a host process", false, func(s stage) error { return unix.Kill(s.Victim, 0) }},
	{"inherited descriptor", false, func(s stage) error {
		raw := make([]byte, len(theirSecret))
		_, err := unix.Pread(s.FD, raw, 0)
		if err == nil && string(raw) != theirSecret {
			return errors.New("it is something else")
		}
		return err
	}},
	{"standard input opened again for writing", false, func(s stage) error { return breaks("/proc/self/fd/0") }},
	{"nested user namespace", false, func(s stage) error { return makes(0) }},
	{"nested mount namespace", false, func(s stage) error { return makes(syscall.CLONE_NEWNS) }},
	{"nested network namespace", false, func(s stage) error { return makes(syscall.CLONE_NEWNET) }},
	{"nested pid namespace", false, func(s stage) error { return makes(syscall.CLONE_NEWPID) }},
	{"clone3", false, func(s stage) error {
		_, _, errno := unix.Syscall(unix.SYS_CLONE3, 0, 0, 0)
		if errno == unix.EINVAL { // it is there
			errno = 0
		}
		return fails(errno)
	}},
	{"mount", true, func(s stage) error {
		if err := unix.Mount("x", s.Tree+"/out", "tmpfs", 0, ""); err != nil {
			return err
		}
		return unix.Unmount(s.Tree+"/out", 0)
	}},
	{"remount of the root for writing", true, func(s stage) error { return unix.Mount("", "/", "", unix.MS_REMOUNT|unix.MS_BIND, "") }},
	{"mount by file descriptors", true, func(s stage) error {
		fd, err := unix.OpenTree(unix.AT_FDCWD, s.Tree, unix.OPEN_TREE_CLONE)
		if err == nil {
			unix.Close(fd)
		}
		return err
	}},
	{"chroot", true, func(s stage) error { return unix.Chroot("/") }},
	{"setns to process 1 of the host", true, func(s stage) error {
		fd, err := unix.Open(fmt.Sprintf("/proc/%d/ns/uts", s.Victim), unix.O_RDONLY, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		return unix.Setns(fd, unix.CLONE_NEWUTS)
	}},
	{"file by its handle", true, func(s stage) error {
		h, mount, err := unix.NameToHandleAt(unix.AT_FDCWD, s.Tree, 0)
		_ = mount
		if err != nil {
			return err
		}
		dir, err := unix.Open(s.Tree, unix.O_RDONLY, 0)
		if err != nil {
			return err
		}
		defer unix.Close(dir)
		fd, err := unix.OpenByHandleAt(dir, h, unix.O_RDONLY)
		if err == nil {
			unix.Close(fd)
		}
		return err
	}},
	{"a device node in the work tree", true, func(s stage) error {
		path := s.Tree + "/out/dev"
		defer os.Remove(path)
		if err := unix.Mknod(path, unix.S_IFCHR|0o666, int(unix.Mkdev(1, 3))); err != nil {
			return err
		}
		return opens(path)
	}},
	{"the kernel's log", true, func(s stage) error {
		f, err := os.OpenFile("/dev/kmsg", os.O_RDONLY, 0)
		if err != nil {
			return err
		}
		return f.Close()
	}},
	{"a disk", true, func(s stage) error {
		disks, err := filepath.Glob("/sys/class/block/*")
		for _, d := range disks {
			f, openErr := os.Open("/dev/" + filepath.Base(d))
			if openErr == nil {
				return f.Close()
			}
			err = openErr
		}
		if err == nil {
			err = errors.New("no disk is to be seen")
		}
		return err
	}},
	{"the kernel's settings", true, func(s stage) error { return opens("/proc/sys/kernel/core_pattern") }},
	{"the keyboard's magic", true, func(s stage) error { return opens("/proc/sysrq-trigger") }},
	{"passwords of the machine", true, func(s stage) error {
		raw, err := os.ReadFile("/etc/shadow")
		if err == nil && len(raw) == 0 {
			err = errors.New("it is empty")
		}
		return err
	}},
	{"host name", true, func(s stage) error {
		name, err := os.Hostname()
		if err != nil {
			return err
		}
		return unix.Sethostname([]byte(name))
	}},
	{"keys of the session", false, func(s stage) error {
		_, err := unix.KeyctlGetKeyringID(unix.KEY_SPEC_USER_KEYRING, true)
		return err
	}},
	{"io_uring", false, func(s stage) error {
		params := make([]byte, 120)
		fd, _, errno := unix.Syscall(unix.SYS_IO_URING_SETUP, 1, uintptr(unsafe.Pointer(&params[0])), 0)
		if errno == 0 {
			unix.Close(int(fd))
		}
		return fails(errno)
	}},
	{"shared memory", false, func(s stage) error {
		_, err := unix.SysvShmGet(s.Shm, 0, 0)
		return err
	}},
	{"the person's keys", false, func(s stage) error { return reads(s.SSH) }},
	{"a file outside the tree", false, func(s stage) error { return reads(s.Secret) }},
	{"a symbolic link out of the tree", false, func(s stage) error {
		link := s.Tree + "/out/link"
		defer os.Remove(link)
		if err := os.Symlink(s.Secret, link); err != nil {
			return err
		}
		return reads(link)
	}},
	{"a hard link out of the tree", false, func(s stage) error {
		link := s.Tree + "/out/hard"
		defer os.Remove(link)
		if err := os.Link(s.Secret, link); err != nil {
			return err
		}
		return reads(link)
	}},
	{"writing outside the tree", false, func(s stage) error { return breaks(s.Outside + "/new") }},
	{"writing above the tree", false, func(s stage) error { return breaks(filepath.Dir(s.Tree) + "/new") }},
	{"a hook of git", false, func(s stage) error { return breaks(s.Tree + "/.git/hooks/pre-commit") }},
	{"git's configuration", false, func(s stage) error { return breaks(s.Tree + "/.git/config") }},
	{"git's configuration, replaced", false, func(s stage) error {
		if err := breaks(s.Tree + "/.git/config.new"); err != nil {
			return err
		}
		return os.Rename(s.Tree+"/.git/config.new", s.Tree+"/.git/config")
	}},
	{"git's configuration, by another repository", false, func(s stage) error {
		return errors.Join(os.WriteFile(s.Tree+"/.git/commondir", []byte("../out\n"), 0o644), breaks(s.Tree+"/.git/commondir"))
	}},
	{"another repository in the place of git's", false, func(s stage) error { return moves(s.Tree+"/.git", s.Tree+"/.git2", true) }},
	{"a hook of a repository below", false, func(s stage) error { return breaks(s.Tree + "/vendor/lib/.git/hooks/post-checkout") }},
	{"a hook of a submodule", false, func(s stage) error { return breaks(s.Tree + "/.git/modules/sub/hooks/post-checkout") }},
	{"hooks that the configuration names", false, func(s stage) error { return breaks(s.Tree + "/tools/hooks/pre-push") }},
	{"settings of an agent", false, func(s stage) error { return breaks(s.Tree + "/.claude/settings.json") }},
	{"settings of an agent, moved and made again", false, func(s stage) error { return moves(s.Tree+"/.claude", s.Tree+"/out/claude", true) }},
	{"settings of an agent, removed and made again", false, func(s stage) error {
		return errors.Join(os.RemoveAll(s.Tree+"/.claude"), breaks(s.Tree+"/.claude/settings.local.json"))
	}},
	{"settings of an agent that were missing", false, func(s stage) error { return breaks(s.Tree + "/.gemini/settings.json") }},
	{"servers of an agent that were missing", false, func(s stage) error { return breaks(s.Tree + "/.mcp.json") }},
	{"servers of an agent, renamed into place", false, func(s stage) error {
		if err := breaks(s.Tree + "/out/mcp"); err != nil {
			return err
		}
		return os.Rename(s.Tree+"/out/mcp", s.Tree+"/.mcp.json")
	}},
	{"settings of an agent, by a symbolic link", false, func(s stage) error { return os.Symlink("out", s.Tree+"/.codex") }},
	{"hooks two directories down that were missing", false, func(s stage) error { return breaks(s.Tree + "/.github/hooks/x.json") }},
	{"the directory above them, moved away", false, func(s stage) error { return moves(s.Tree+"/.github", s.Tree+"/out/github", true) }},
	{"renaming the tree away", false, func(s stage) error { return moves(s.Tree, s.Tree+"2", false) }},
}

// moves renames a path, and puts a directory with something broken in its place.
func moves(from, to string, again bool) error {
	if err := os.Rename(from, to); err != nil {
		return err
	}
	if again {
		return breaks(from + "/hooks/broken")
	}
	return nil
}

// tryAll tries all attacks, in the order of the table or from its end, and prints what came of each.
func tryAll(arg string, outside bool) int {
	var s stage
	if err := json.Unmarshal([]byte(arg), &s); err != nil {
		fmt.Println(err)
		return 1
	}
	out := map[string]string{}
	for _, a := range attacks {
		if a.root && outside && os.Geteuid() != 0 {
			continue
		}
		out[a.name] = ""
		if err := a.try(s); err != nil {
			out[a.name] = strings.ToValidUTF8(err.Error(), "?")
		}
		if outside {
			continue
		}
		// One attack must not make the next one easier.
		for _, left := range []string{"/out/mcp", "/.git/config.new"} {
			_ = os.Remove(s.Tree + left)
		}
	}
	if err := json.NewEncoder(os.Stdout).Encode(out); err != nil {
		return 1
	}
	return 0
}

// poor becomes a launcher in a process that may make no user namespaces; it was started in one of its own.
func poor(arg string) int {
	// The sizes of all namespaces below this one are told by its own settings (user_namespaces(7)).
	uid := os.Getenv("POOR_UID")
	for _, f := range [][2]string{{"/proc/self/setgroups", "deny"}, {"/proc/self/uid_map", uid + " " + uid + " 1"}, {"/proc/self/gid_map", uid + " " + uid + " 1"}, {"/proc/sys/user/max_user_namespaces", "0"}} {
		if err := os.WriteFile(f[0], []byte(f[1]), 0); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	self, err := os.Executable()
	if err == nil {
		err = syscall.Exec(self, []string{self, "__launch", arg}, os.Environ())
	}
	fmt.Fprintln(os.Stderr, err)
	return 1
}
