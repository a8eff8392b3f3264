package mirror

import (
	"bytes"
	"compress/zlib"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/gateway/git/internal/change"
	"github.com/remit-dev/remit/gateway/git/internal/object"
)

// Also adds a commit that no branch names, such as the head of a pull request, to what was observed; it is fetched if
// the mirror lacks it. ref is the name under which it stands in Refs of this View alone.
func (v *View) Also(ctx context.Context, ref string, oid object.OID) error {
	if _, _, err := v.m.read(ctx, oid); errors.Is(err, change.ErrNotFound) {
		if err := v.bring(ctx, oid); err != nil {
			return err
		}
	} else if err != nil {
		return err
	}
	v.refs.OIDs = maps.Clone(v.refs.OIDs)
	v.refs.OIDs[ref] = oid
	return nil
}

func (v *View) bring(ctx context.Context, oid object.OID) error {
	if err := v.m.lock(ctx); err != nil {
		return err
	}
	defer v.m.unlock()
	err := v.s.fetch(ctx, v.m, v.remote, []object.OID{oid}, unique(v.m.refs))
	if errors.Is(err, errNotThere) {
		return remit.Errorf(remit.NotFound, "the repository has no commit %s; push it first", oid)
	}
	return err
}

// Scratch is a place for objects that Remit makes itself. It reads the mirror and never writes it.
type Scratch struct {
	view *View
	dir  string
}

// Scratch makes one below dir. It is to be closed before the View.
func (v *View) Scratch(dir string) (*Scratch, error) {
	made, err := os.MkdirTemp(dir, "scratch-*")
	if err != nil {
		return nil, fmt.Errorf("making a place for new objects: %w", err)
	}
	if made, err = filepath.Abs(made); err != nil {
		return nil, err
	}
	return &Scratch{view: v, dir: made}, os.Mkdir(filepath.Join(made, "objects"), 0o700)
}

// Close removes it.
func (s *Scratch) Close() error { return os.RemoveAll(s.dir) }

// Objects is the directory in which new objects lie, one file each (gitrepository-layout(5)).
func (s *Scratch) Objects() string { return filepath.Join(s.dir, "objects") }

// maxOutput is how much git may print, in bytes: a list of changed paths.
const maxOutput = 64 << 20

// Git runs git on the mirror with new objects and the index in the scratch, and gives what it prints. An exit code of 1
// is no error: several of git's commands answer by it.
func (s *Scratch) Git(ctx context.Context, stdin []byte, args ...string) (out []byte, code int, err error) {
	cmd, err := s.view.m.git.Command(ctx, s.view.m.dir, args...)
	if err != nil {
		return nil, 0, err
	}
	cmd.Env = append(cmd.Env, "GIT_OBJECT_DIRECTORY="+s.Objects(), "GIT_INDEX_FILE="+filepath.Join(s.dir, "index"),
		"GIT_ALTERNATE_OBJECT_DIRECTORIES="+filepath.Join(s.view.m.dir, "objects"), "GIT_LITERAL_PATHSPECS=1")
	cmd.Stdin = bytes.NewReader(stdin)
	var complaint bytes.Buffer
	stdout := &capped{limit: maxOutput}
	cmd.Stdout, cmd.Stderr = stdout, &limitedBuffer{&complaint}
	err = cmd.Run()
	if stdout.over {
		return nil, 0, object.Refuse(object.CodeTooLargeJudge, "", "what git says of the change is longer than %d bytes", maxOutput)
	}
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() == 1 && ctx.Err() == nil {
		return stdout.kept.Bytes(), 1, nil
	}
	if err != nil {
		return nil, 0, errors.Join(ctx.Err(), fmt.Errorf("git %s: %w: %.300q", args[0], err, complaint.String()))
	}
	return stdout.kept.Bytes(), 0, nil
}

// capped keeps what fits. The buffer is not embedded: io.Copy would find its ReadFrom, which knows no limit.
type capped struct {
	kept  bytes.Buffer
	limit int
	over  bool
}

func (c *capped) Write(p []byte) (int, error) {
	if c.kept.Len()+len(p) > c.limit {
		c.over = true
		return 0, errors.New("too much output")
	}
	return c.kept.Write(p)
}

// Reach lists the objects that lie in the scratch and oid reaches: a merge may leave others there.
func (s *Scratch) Reach(oid object.OID) ([]object.OID, error) {
	var out []object.OID
	err := s.reach(oid, map[object.OID]bool{}, &out)
	return out, err
}

func (s *Scratch) reach(oid object.OID, seen map[object.OID]bool, out *[]object.OID) error {
	if seen[oid] {
		return nil
	}
	seen[oid] = true
	typ, body, ok, err := s.loose(oid)
	if err != nil || !ok {
		return err
	}
	*out = append(*out, oid)
	var next []object.OID
	switch typ {
	case object.Commit:
		tree, parents, _, err := object.CommitLinks(body)
		if err != nil {
			return err
		}
		next = append(parents, tree)
	case object.Tag:
		tag, err := object.ParseTag(body)
		if err != nil {
			return err
		}
		next = append(next, tag.Target)
	case object.Tree:
		entries, err := object.ParseKnownTree(body)
		if err != nil {
			return err
		}
		for _, e := range entries {
			if e.Mode != object.ModeGitlink {
				next = append(next, e.OID)
			}
		}
	}
	for _, o := range next {
		if err := s.reach(o, seen, out); err != nil {
			return err
		}
	}
	return nil
}

// loose reads an object that git wrote to the scratch: deflated, behind a header of type and size.
func (s *Scratch) loose(oid object.OID) (typ object.Type, body []byte, ok bool, err error) {
	id := oid.String()
	f, err := os.Open(filepath.Join(s.Objects(), id[:2], id[2:]))
	if os.IsNotExist(err) {
		return 0, nil, false, nil
	}
	if err != nil {
		return 0, nil, false, err
	}
	defer f.Close()
	z, err := zlib.NewReader(f)
	if err != nil {
		return 0, nil, false, err
	}
	all, err := io.ReadAll(io.LimitReader(z, MaxObject+64))
	if err != nil {
		return 0, nil, false, err
	}
	head, body, _ := bytes.Cut(all, []byte{0})
	name, _, _ := strings.Cut(string(head), " ")
	if typ, ok = object.ParseType(name); !ok {
		return 0, nil, false, fmt.Errorf("git wrote an object of type %q: %w", name, fs.ErrInvalid)
	}
	return typ, body, true, nil
}
