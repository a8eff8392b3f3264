package isolate

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/remit-dev/remit"
	"golang.org/x/sys/unix"
)

// What a command leaves in the work tree is read later by its person's own programs, outside: git runs hooks and what
// its configuration names, agents and editors run what their settings name. So these paths are read-only inside; where
// one is missing, an empty directory lies there for as long as the command runs (git does not see it), because a name
// can only be kept from being made by something that is there. What lies above such a path is a mount point itself, or
// it could be renamed away.

// settings are the files and directories of a work tree that agents and editors take orders from.
var settings = []string{".claude", ".codex", ".gemini", ".cursor", ".github/hooks", ".mcp.json", ".vscode"}

// settingsIfThere are those that nobody reads in a tree that is not a home, or that ask before they run: they are
// protected where they are, and not kept from being made.
var settingsIfThere = []string{
	".idea", ".opencode", ".devcontainer", ".envrc", ".gitconfig", ".bashrc", ".bash_profile", ".bash_login", ".bash_logout", ".profile", ".zshrc", ".zshenv", ".zprofile", ".zlogin", ".ripgreprc",
}

const (
	maxConfig   = 1 << 20 // of git's configuration, in bytes
	maxIncludes = 5       // how deep one file of it includes another
	searchDepth = 3       // how deep other repositories are looked for in the tree
	searchMost  = 20_000  // entries that are looked at for them
)

// tree is what a command may write to, and what of that it may not.
type tree struct {
	dir  string   // where the command starts
	root string   // the work tree
	hold []string // mounted over themselves, so that they stay where they are
	lock []string // and read-only
	made []string // what was made so that it could be locked, in the order of making

	// A linked work tree has its repository elsewhere, and in that a directory of its own.
	common, own string
	ownLock     []string

	// lockfile is shared (flock(2)) by all sandboxes of this tree, for as long as they live: what was made for one of them
	// protects the others.
	lockfile int
}

// newTree looks at the work tree that dir is in, and makes what has to be there. What it made is in the tree that it
// returns, also with an error.
func newTree(dir string, homes []string) (*tree, error) {
	dir, root, err := rootOf(dir, homes)
	if err != nil {
		return nil, err
	}
	t := &tree{dir: dir, root: root, lockfile: -1}
	if t.lockfile, err = unix.Open(t.root, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0); err == nil {
		err = unix.Flock(t.lockfile, unix.LOCK_SH)
	}
	if err != nil {
		return t, fmt.Errorf("locking the work tree: %w", err)
	}
	if err := t.git(filepath.Join(t.root, ".git")); err != nil {
		return t, err
	}
	for _, nested := range repositories(t.root) {
		if err := t.git(nested); err != nil {
			return t, err
		}
	}
	for _, at := range slices.Compact([]string{t.root, dir}) {
		for _, s := range settings {
			if err := t.protect(at, s, true); err != nil {
				return t, err
			}
		}
		for _, s := range settingsIfThere {
			if err := t.protect(at, s, false); err != nil {
				return t, err
			}
		}
	}
	return t, nil
}

// rootOf is dir without symbolic links, and the git work tree that it is in, or itself.
func rootOf(dir string, homes []string) (real, root string, err error) {
	if real, err = filepath.EvalSymlinks(dir); err != nil {
		return "", "", fmt.Errorf("finding the work tree: %w", err)
	}
	root = real
	for d := real; d != "/" && !holdsMany(d, homes); d = filepath.Dir(d) {
		if _, err := os.Lstat(filepath.Join(d, ".git")); err == nil {
			root = d
			break
		}
	}
	if holdsMany(root, homes) {
		return "", "", remit.Errorf(remit.BadRequest, "%s cannot be the one directory that an isolated command may write to: too much else lies in it; start in the directory of a project", root)
	}
	return real, root, nil
}

// holdsMany tells whether dir is no project: a home, what homes lie in, or a crossroads of the system.
func holdsMany(dir string, homes []string) bool {
	return slices.Contains(crossroads, dir) || slices.ContainsFunc(homes, func(home string) bool { return below(home, dir) })
}

// protect locks base/rel and holds what lies between. What is missing is made if it must, and else left alone.
func (t *tree) protect(base, rel string, must bool) error {
	path := base
	parts := strings.Split(rel, "/")
	for i, part := range parts {
		path = filepath.Join(path, part)
		fi, err := os.Lstat(path)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			if !must {
				return nil
			}
			err := os.Mkdir(path, 0o755)
			if errors.Is(err, fs.ErrPermission) || errors.Is(err, fs.ErrExist) {
				return nil // nor can the command make it, or it came this moment
			}
			if err != nil {
				return fmt.Errorf("protecting %s: %w", path, err)
			}
			t.made = append(t.made, path)
		case errors.Is(err, fs.ErrPermission):
			return nil
		case err != nil:
			return fmt.Errorf("protecting %s: %w", path, err)
		case fi.Mode()&fs.ModeSymlink != 0:
			return remit.Errorf(remit.BadRequest, "%s is a symbolic link, which cannot be kept as it is while an isolated command runs; put what it leads to in its place", path)
		case must && fi.IsDir() && isEmpty(path):
			t.made = append(t.made, path) // by another sandbox, or by one whose launcher was killed
		}
		if i < len(parts)-1 {
			t.hold = append(t.hold, path)
		} else {
			t.lock = append(t.lock, path)
		}
	}
	return nil
}

// git protects what the .git at path leads to.
func (t *tree) git(path string) error {
	fi, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // the command may make a repository of its own
	}
	if err != nil {
		return fmt.Errorf("protecting %s: %w", path, err)
	}
	switch {
	case fi.IsDir():
		return t.gitDir(path)
	case fi.Mode().IsRegular():
		t.lock = append(t.lock, path)
		if filepath.Dir(path) != t.root {
			return nil // a submodule: its directory is below .git/modules, and locked there
		}
		return t.linked(path)
	}
	return remit.Errorf(remit.BadRequest, "%s is neither a directory nor a file, so it cannot be kept as it is while an isolated command runs", path)
}

// gitDir protects what git runs, or finds what it runs by, in a git directory (gitrepository-layout(5)).
func (t *tree) gitDir(dir string) error {
	t.hold = append(t.hold, dir)
	// Other work trees and submodules have hooks and configuration of their own in these.
	for _, name := range []string{"hooks", "worktrees", "modules"} {
		if err := t.protect(dir, name, true); err != nil {
			return err
		}
	}
	for _, name := range []string{"config", "config.worktree"} {
		if err := t.protect(dir, name, false); err != nil {
			return err
		}
	}
	config, err := head(filepath.Join(dir, "config"), maxConfig)
	if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("reading git's configuration: %w", err)
	}
	if bytes.Contains(bytes.ToLower(config), []byte("worktreeconfig")) {
		if err := t.protect(dir, "config.worktree", true); err != nil {
			return err
		}
	}
	for _, hooks := range configValues(config, "hookspath") {
		if err := t.inTree(hooks, filepath.Dir(dir)); err != nil {
			return err
		}
	}
	if err := t.included(config, dir, 0); err != nil {
		return err
	}
	return t.commonDir(dir)
}

// inTree protects a path that git's configuration names, if it lies in the work tree.
func (t *tree) inTree(path, base string) error {
	if !filepath.IsAbs(path) {
		path = filepath.Join(base, path)
	}
	if rel, ok := t.within(path); ok {
		return t.protect(t.root, rel, true)
	}
	return nil
}

// within is a path as seen from the work tree, if it lies in it.
func (t *tree) within(path string) (string, bool) {
	rel, err := filepath.Rel(t.root, path)
	return rel, err == nil && filepath.IsLocal(rel) && rel != "."
}

// included protects the files that configuration includes from the work tree. One that is missing cannot be kept from being
// made: git fails where a directory lies in its place.
func (t *tree) included(config []byte, dir string, depth int) error {
	if depth > maxIncludes {
		return remit.Errorf(remit.BadRequest, "the configuration in %s includes other files more than %d deep, so it cannot be kept as it is while an isolated command runs", dir, maxIncludes)
	}
	for _, path := range configValues(config, "path") {
		if strings.HasPrefix(path, "~") {
			continue // in a home, and so not in the tree
		}
		if !filepath.IsAbs(path) {
			path = filepath.Join(dir, path)
		}
		more, err := head(path, maxConfig)
		if rel, ok := t.within(path); ok && errors.Is(err, fs.ErrNotExist) {
			return remit.Errorf(remit.BadRequest, "git's configuration includes %s, which is not there, so an isolated command could make it; make it, or take it out of the configuration", path)
		} else if ok {
			if err := t.protect(t.root, rel, false); err != nil {
				return err
			}
		}
		if err != nil {
			continue // no file that can be read
		}
		if err := t.included(more, filepath.Dir(path), depth+1); err != nil {
			return err
		}
	}
	return nil
}

// commonDir keeps a git directory from being led to another one for its configuration: a file commondir does that,
// whatever repository it lies in. One that says "." changes nothing.
func (t *tree) commonDir(dir string) error {
	path := filepath.Join(dir, "commondir")
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	switch {
	case err == nil:
		t.made = append(t.made, path)
		_, err = f.WriteString(".\n")
		if err = errors.Join(err, f.Close()); err != nil {
			return fmt.Errorf("protecting %s: %w", path, err)
		}
	case errors.Is(err, fs.ErrPermission):
		return nil
	case !errors.Is(err, fs.ErrExist):
		return fmt.Errorf("protecting %s: %w", path, err)
	default:
		if said, err := head(path, 16); err == nil && string(said) == ".\n" {
			t.made = append(t.made, path)
		}
	}
	t.lock = append(t.lock, path)
	return nil
}

// linked shows the repository of a linked work tree (git-worktree(1)), if it says itself that the tree is its own: the
// file .git lies in the work tree, and whoever wrote it could name any directory.
func (t *tree) linked(file string) error {
	own, err := follow(file, "gitdir: ")
	if err == nil {
		var back string
		if back, err = follow(filepath.Join(own, "gitdir"), ""); err == nil && back != file {
			err = fmt.Errorf("%s is the work tree of %s", own, back)
		}
	}
	var common string
	if err == nil {
		common, err = follow(filepath.Join(own, "commondir"), "")
	}
	if err == nil && filepath.Dir(own) != filepath.Join(common, "worktrees") {
		err = fmt.Errorf("%s does not lie in the repository %s", own, common)
	}
	if err != nil {
		return remit.Errorf(remit.BadRequest, "%s does not lead to a repository that knows this work tree, so an isolated command cannot use it; start in the repository itself: %w", file, err)
	}
	if err := t.gitDir(common); err != nil {
		return err
	}
	t.common, t.own = common, own
	before := len(t.lock)
	for _, name := range []string{"commondir", "gitdir", "config.worktree"} {
		if err := t.protect(own, name, false); err != nil {
			return err
		}
	}
	t.lock, t.ownLock = t.lock[:before], slices.Clone(t.lock[before:])
	return nil
}

// follow reads a file that names a path, relative to the file's directory where it is not absolute.
func follow(file, prefix string) (string, error) {
	raw, err := head(file, 8<<10)
	if err != nil {
		return "", err
	}
	path, ok := strings.CutPrefix(strings.TrimRight(string(raw), "\r\n"), prefix)
	if !ok || path == "" {
		return "", fmt.Errorf("%s names no path", file)
	}
	if !filepath.IsAbs(path) {
		path = filepath.Join(filepath.Dir(file), path)
	}
	return filepath.EvalSymlinks(path)
}

// head reads the beginning of a regular file.
func head(path string, most int64) ([]byte, error) {
	fi, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !fi.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a file", path)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, most))
}

// configValues are the values of a key in git's configuration (git-config(1), "Syntax"), whatever its section: too much
// found locks too much.
func configValues(config []byte, key string) (out []string) {
	text := strings.NewReplacer("\\\r\n", "", "\\\n", "").Replace(string(config)) // lines that go on
	for line := range strings.Lines(text) {
		name, v, ok := strings.Cut(line, "=")
		if i := strings.LastIndexByte(name, ']'); i >= 0 { // a section on the same line
			name = name[i+1:]
		}
		if !ok || !strings.EqualFold(strings.TrimSpace(name), key) {
			continue
		}
		v = strings.TrimSpace(v)
		if !strings.HasPrefix(v, `"`) {
			v = strings.TrimSpace(strings.FieldsFunc(v+" ;", func(r rune) bool { return r == ';' || r == '#' })[0])
		} else if end := strings.LastIndexByte(v, '"'); end > 0 {
			v = v[:end]
		}
		out = append(out, strings.NewReplacer(`\\`, `\`, `\"`, `"`, `"`, "").Replace(v))
	}
	return out
}

// repositories are the .git of other repositories in the tree, as far as they are looked for.
func repositories(root string) (out []string) {
	left := searchMost
	var look func(dir string, depth int)
	look = func(dir string, depth int) {
		f, err := os.Open(dir)
		if err != nil {
			return
		}
		defer f.Close()
		entries, err := f.ReadDir(left + 1)
		if left -= len(entries); left < 0 || err != nil && !errors.Is(err, io.EOF) {
			return
		}
		for _, e := range entries {
			path := filepath.Join(dir, e.Name())
			switch {
			case e.Name() == ".git":
				if dir != root {
					out = append(out, path)
				}
			case e.IsDir() && depth < searchDepth && e.Name() != "node_modules":
				look(path, depth+1)
			}
		}
	}
	look(root, 1)
	return out
}

func isEmpty(dir string) bool {
	f, err := os.Open(dir)
	if err != nil {
		return false
	}
	defer f.Close()
	_, err = f.Readdirnames(1)
	return errors.Is(err, io.EOF)
}

// Unmake removes what was made in the work tree so that it could be protected, as far as it is still empty and no other
// sandbox of the tree lives. The launcher calls it when no process of its own sandbox is left.
func Unmake(root string, made []string) error {
	fd, err := unix.Open(root, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("clearing the work tree: %w", err)
	}
	defer unix.Close(fd)
	if unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB) != nil {
		return nil // the last one does it
	}
	var failed error
	for _, path := range slices.Backward(made) {
		err := os.Remove(path)
		if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, unix.ENOTEMPTY) {
			failed = errors.Join(failed, err)
		}
	}
	return failed
}
