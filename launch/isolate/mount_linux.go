package isolate

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

const (
	readOnly  = unix.MOUNT_ATTR_RDONLY | unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV
	writable  = unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV
	oldRoot   = "/.old"
	scratchFS = unix.MS_NOSUID | unix.MS_NODEV
)

// find opens a path of the machine as it is outside; symbolic links lead where they lead there. The caller closes it.
func find(path string) (int, error) {
	root, err := unix.Open(oldRoot, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	defer unix.Close(root)
	how := unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS}
	fd, err := unix.Openat2(root, path, &how)
	if err != nil {
		return -1, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	return fd, nil
}

// kind is the file type of an open file (inode(7)).
func kind(fd int) (uint32, error) {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return 0, err
	}
	return st.Mode & unix.S_IFMT, nil
}

// bind shows what fd is at path, with everything that is mounted below it, and closes fd.
func bind(fd int, path string, attr uint64) error {
	defer unix.Close(fd)
	k, err := kind(fd)
	if err != nil {
		return fmt.Errorf("showing %s: %w", path, err)
	}
	if err := mountPoint(path, k == unix.S_IFDIR); err != nil {
		return fmt.Errorf("showing %s: %w", path, err)
	}
	return attach(fd, path, attr)
}

// attach mounts what fd is over path, which exists.
func attach(fd int, path string, attr uint64) error {
	tree, err := unix.OpenTree(fd, "", unix.AT_EMPTY_PATH|unix.AT_RECURSIVE|unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	if err != nil {
		return fmt.Errorf("showing %s: %w", path, err)
	}
	defer unix.Close(tree)
	if attr != 0 {
		if err := unix.MountSetattr(tree, "", unix.AT_EMPTY_PATH|unix.AT_RECURSIVE, &unix.MountAttr{Attr_set: attr}); err != nil {
			return fmt.Errorf("protecting %s: %w", path, err)
		}
	}
	if err := unix.MoveMount(tree, "", unix.AT_FDCWD, path, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
		return fmt.Errorf("showing %s: %w", path, err)
	}
	return nil
}

// mountPoint makes what something can be mounted on, where nothing is.
func mountPoint(path string, dir bool) error {
	if dir {
		return os.MkdirAll(path, 0o755)
	}
	if _, err := os.Lstat(path); err == nil {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return f.Close()
}

// show binds a path of the machine at the same place, if it is there and is not shown already.
func show(path string, attr uint64) error {
	fd, err := find(path)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) || errors.Is(err, unix.ENOTDIR) {
		return nil
	}
	if err != nil {
		return err
	}
	if same(fd, path) {
		return unix.Close(fd)
	}
	return bind(fd, path, attr)
}

// same tells whether path already is what fd is: it lies in something that is shown.
func same(fd int, path string) bool {
	var a, b unix.Stat_t
	return unix.Fstat(fd, &a) == nil && unix.Stat(path, &b) == nil && a.Dev == b.Dev && a.Ino == b.Ino
}

// scratch mounts an empty writable directory.
func scratch(path, options string) error {
	if err := os.MkdirAll(path, 0o755); err != nil {
		return fmt.Errorf("making %s: %w", path, err)
	}
	if err := unix.Mount("remit", path, "tmpfs", scratchFS, options); err != nil {
		return fmt.Errorf("making %s: %w", path, err)
	}
	return nil
}

// freeze makes one mount read-only.
func freeze(path string) error {
	if err := unix.MountSetattr(unix.AT_FDCWD, path, 0, &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY}); err != nil {
		return fmt.Errorf("making %s read-only: %w", path, err)
	}
	return nil
}

// cover hides what lies at path: an empty directory over a directory, the null device over everything else.
func cover(path string) error {
	fi, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) || errors.Is(err, unix.ENOTDIR) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("hiding %s: %w", path, err)
	}
	if fi.Mode()&fs.ModeSymlink != 0 {
		return nil // what it leads to is named itself, or is not shown
	}
	if fi.IsDir() {
		if err := unix.Mount("remit", path, "tmpfs", scratchFS|unix.MS_RDONLY|unix.MS_NOEXEC, "mode=0755,size=4k"); err != nil {
			return fmt.Errorf("hiding %s: %w", path, err)
		}
		return nil
	}
	if err := unix.Mount(os.DevNull, path, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("hiding %s: %w", path, err)
	}
	return nil
}
