package isolate

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/remit-dev/remit"
	"golang.org/x/sys/unix"
)

// Room is what the process has built that a command will run in, until it is closed.
type Room struct {
	Tree string   // the work tree
	Dir  string   // where the command starts, without symbolic links
	Made []string // in the work tree, for Unmake
	// Listener is a listening TCP socket on 127.0.0.1 of the sandbox's own network, for the launcher.
	Listener *os.File

	box   Box
	write []string // what may be written to
}

// Enter builds the room around this process, which is the only one of new user, mount, pid, network, IPC and UTS
// namespaces, with all capabilities in them. What was made in the work tree is in the Room also with an error.
func (b Box) Enter() (*Room, error) {
	if err := checkStandardFiles(); err != nil {
		return &Room{}, err
	}
	inside := b.UID
	if b.UID == 0 {
		inside = InsideUID
	}
	gid := b.GID
	if b.GID == 0 {
		gid = InsideUID
	}
	if err := MapSelf(inside, b.UID, gid, b.GID); err != nil {
		return &Room{}, err
	}
	t, err := newTree(b.Dir, b.Homes)
	if t == nil {
		return &Room{}, err
	}
	r := &Room{Tree: t.root, Dir: t.dir, Made: t.made, box: b}
	if err != nil {
		return r, err
	}
	if err := r.build(t); err != nil {
		return r, err
	}
	if err := unix.Sethostname([]byte("remit")); err != nil {
		return r, fmt.Errorf("naming the sandbox: %w", err)
	}
	r.Listener, err = network()
	return r, err
}

// checkStandardFiles refuses a directory as one of the command's first files: it would lead out of the mounts.
func checkStandardFiles() error {
	for fd := range 3 {
		if k, err := kind(fd); err == nil && k == unix.S_IFDIR {
			return remit.Errorf(remit.BadRequest, "file %d of the command is a directory, which would lead out of the sandbox", fd)
		}
	}
	return nil
}

// MapSelf maps one user and one group of the namespace around to one of this process's own (user_namespaces(7)).
func MapSelf(uid, outerUID, gid, outerGID int) error {
	for _, f := range [][2]string{
		{"setgroups", "deny"}, // before gid_map: the kernel asks for it
		{"uid_map", fmt.Sprintf("%d %d 1", uid, outerUID)},
		{"gid_map", fmt.Sprintf("%d %d 1", gid, outerGID)},
	} {
		if err := os.WriteFile("/proc/self/"+f[0], []byte(f[1]), 0); err != nil {
			return fmt.Errorf("entering a user namespace: %w", err)
		}
	}
	return nil
}

// build makes a new root and moves into it. The old one stays at oldRoot until Close.
func (r *Room) build(t *tree) error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("taking the mounts out of the system's: %w", err)
	}
	if err := newRoot(); err != nil {
		return err
	}
	for _, step := range []func() error{procfs, devices, r.system, r.scratch, r.programs, func() error { return r.tree(t) }, r.hide} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// newRoot makes an empty root and puts the old one below it (pivot_root(2)).
func newRoot() error {
	base := "/tmp"
	if _, err := os.Stat(base); err != nil {
		base = "/var"
	}
	if err := unix.Mount("remit", base, "tmpfs", scratchFS, "mode=0755,size=1m"); err != nil {
		return fmt.Errorf("making a new root: %w", err)
	}
	if err := os.Mkdir(base+oldRoot, 0o700); err != nil {
		return fmt.Errorf("making a new root: %w", err)
	}
	if err := unix.PivotRoot(base, base+oldRoot); err != nil {
		return fmt.Errorf("moving into the new root: %w", err)
	}
	if err := os.Chdir("/"); err != nil {
		return fmt.Errorf("moving into the new root: %w", err)
	}
	return nil
}

// procfs shows the processes of the sandbox, read-only: what /proc/sys sets, root sets by being its owner, without any
// capability.
func procfs() error {
	if err := os.Mkdir("/proc", 0o755); err != nil {
		return fmt.Errorf("making /proc: %w", err)
	}
	if err := unix.Mount("proc", "/proc", "proc", scratchFS|unix.MS_NOEXEC, ""); err != nil {
		return fmt.Errorf("showing only the sandbox's own processes: %w", err)
	}
	// Nobody inside can raise it again: that takes a capability (user_namespaces(7)).
	if err := os.WriteFile("/proc/sys/user/max_user_namespaces", []byte("0"), 0); err != nil {
		return fmt.Errorf("forbidding namespaces inside: %w", err)
	}
	return freeze("/proc")
}

// devices makes a /dev of the few devices that every program may have, and terminals of its own.
func devices() error {
	if err := scratch("/dev", "mode=0755,size=64k"); err != nil {
		return err
	}
	for _, name := range []string{"null", "zero", "full", "random", "urandom", "tty"} {
		fd, err := find("/dev/" + name)
		if errors.Is(err, fs.ErrNotExist) && name == "tty" {
			continue
		}
		if err != nil {
			return fmt.Errorf("showing /dev/%s: %w", name, err)
		}
		if err := bind(fd, "/dev/"+name, 0); err != nil {
			return err
		}
	}
	for _, l := range [][2]string{{"/proc/self/fd", "/dev/fd"}, {"fd/0", "/dev/stdin"}, {"fd/1", "/dev/stdout"}, {"fd/2", "/dev/stderr"}, {"pts/ptmx", "/dev/ptmx"}} {
		if err := os.Symlink(l[0], l[1]); err != nil {
			return fmt.Errorf("making /dev: %w", err)
		}
	}
	if err := os.Mkdir("/dev/pts", 0o755); err != nil {
		return fmt.Errorf("making /dev: %w", err)
	}
	if err := unix.Mount("devpts", "/dev/pts", "devpts", unix.MS_NOSUID|unix.MS_NOEXEC, "newinstance,ptmxmode=0666,mode=0620"); err != nil {
		return fmt.Errorf("making terminals of the sandbox's own: %w", err)
	}
	if err := scratch("/dev/shm", "mode=1777"); err != nil {
		return err
	}
	return freeze("/dev")
}

// system shows the machine's programs, libraries and configuration.
func (r *Room) system() error {
	for _, path := range system {
		if link, err := os.Readlink(oldRoot + path); err == nil {
			if err := os.Symlink(link, path); err != nil {
				return fmt.Errorf("showing %s: %w", path, err)
			}
			continue
		}
		if err := show(path, readOnly); err != nil {
			return err
		}
	}
	return nil
}

// scratch makes what the command may write to and that ends with it.
func (r *Room) scratch() error {
	dirs := [][2]string{{"/tmp", "mode=1777"}, {"/var/tmp", "mode=1777"}}
	for _, home := range outermost(r.box.Homes) {
		fd, err := find(home)
		if err != nil {
			continue
		}
		unix.Close(fd)
		// Users that nobody signs in as have homes such as / and /usr/sbin.
		if !slices.ContainsFunc(system, func(s string) bool { return below(home, s) }) && (home == "/root" || !slices.Contains(crossroads, home)) {
			dirs = append(dirs, [2]string{home, "mode=0700"})
		}
	}
	dirs = append(dirs, [2]string{"/run/user/" + strconv.Itoa(os.Getuid()), "mode=0700"})
	for _, d := range dirs {
		if err := scratch(d[0], d[1]); err != nil {
			return err
		}
		r.write = append(r.write, d[0])
	}
	r.write = append(r.write, "/dev/shm")
	if err := os.Symlink("/run", "/var/run"); err != nil {
		return fmt.Errorf("making /var/run: %w", err)
	}
	return nil
}

// programs shows what the command's PATH leads to.
func (r *Room) programs() error {
	paths := r.box.toShow()
	if r.box.Program != "" {
		paths = append(paths, r.box.Program)
		if real, err := filepath.EvalSymlinks(filepath.Join(oldRoot, r.box.Program)); err == nil {
			if inside, ok := strings.CutPrefix(real, oldRoot); ok && inside != "" {
				paths = append(paths, packageOf(inside))
			}
		}
	}
	for _, p := range paths {
		if err := show(p, readOnly); err != nil {
			return err
		}
	}
	return nil
}

// tree shows the work tree, writable but for what its person's own programs take orders from.
func (r *Room) tree(t *tree) error {
	if err := r.writable(t.root); err != nil {
		return err
	}
	if t.common != "" {
		if err := r.writable(t.common); err != nil {
			return err
		}
	}
	for _, path := range t.hold {
		if err := again(path, 0); err != nil {
			return err
		}
	}
	for _, path := range t.lock {
		if err := again(path, readOnly); err != nil {
			return err
		}
	}
	if t.own == "" {
		return nil
	}
	if err := r.writable(t.own); err != nil { // over what is locked around it
		return err
	}
	for _, path := range t.ownLock {
		if err := again(path, readOnly); err != nil {
			return err
		}
	}
	return nil
}

// writable shows a path of the machine, and lets the command write to it.
func (r *Room) writable(path string) error {
	fd, err := find(path)
	if err != nil {
		return fmt.Errorf("showing %s: %w", path, err)
	}
	var st unix.Statfs_t
	if err := unix.Fstatfs(fd, &st); err == nil && st.Flags&unix.ST_RDONLY != 0 {
		unix.Close(fd)
		return remit.Errorf(remit.BadRequest, "%s is mounted read-only, so nothing could be written there", path)
	}
	r.write = append(r.write, path)
	return bind(fd, path, writable)
}

// again mounts a path over itself. No part of it may be a symbolic link: it could have been changed since it was looked
// at.
func again(path string, attr uint64) error {
	fd, err := unix.Openat2(unix.AT_FDCWD, path, &unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: unix.RESOLVE_NO_SYMLINKS})
	if err != nil {
		return fmt.Errorf("protecting %s: %w", path, err)
	}
	defer unix.Close(fd)
	return attach(fd, path, attr)
}

// hide covers credentials and sockets in what is shown.
func (r *Room) hide() error {
	for _, path := range slices.Concat(r.box.Hide, r.box.Sockets, secrets) {
		if path = filepath.Clean(path); !filepath.IsAbs(path) || path == r.Tree || below(r.Tree, path) || slices.Contains(r.write, path) {
			continue
		}
		if fd, err := find(path); err == nil && !same(fd, path) { // the name of something else here
			unix.Close(fd)
			continue
		} else if err == nil {
			unix.Close(fd)
		}
		if err := cover(path); err != nil {
			return err
		}
	}
	return nil
}

// Close shows s, lets go of the old root, and gives Landlock's part: what may be read and written. No capability is
// dropped yet.
func (r *Room) Close(s Share) error {
	for _, path := range s.Read {
		if err := show(path, readOnly); err != nil {
			return err
		}
	}
	for _, path := range s.Write {
		if err := r.writable(path); err != nil {
			return err
		}
	}
	if err := unix.Unmount(oldRoot, unix.MNT_DETACH); err != nil {
		return fmt.Errorf("letting go of the old root: %w", err)
	}
	if err := os.Remove(oldRoot); err != nil {
		return fmt.Errorf("letting go of the old root: %w", err)
	}
	return freeze("/")
}

// Restrict puts Landlock and seccomp on top, on all threads of this process and on what it starts, and closes this
// process, which has the command's user, to the command.
func (r *Room) Restrict(s Share) error {
	// Descriptors that the launcher itself inherited may lead out of the sandbox.
	if err := unix.CloseRange(3, ^uint(0), unix.CLOSE_RANGE_CLOEXEC); err != nil {
		return fmt.Errorf("closing inherited files: %w", err)
	}
	// Its memory and its files.
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return fmt.Errorf("closing process 1 to the command: %w", err)
	}
	if err := landlock(rules{read: []string{"/"}, write: r.write, sockets: slices.Concat(s.Read, s.Write)}); err != nil {
		return err
	}
	return filter(false)
}
