package mirror

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/gateway/git/internal/change"
	"github.com/remit-dev/remit/gateway/git/internal/object"
)

// View is a repository as it was observed. It implements change.Base; its methods can be called concurrently.
type View struct {
	s      *Store
	m      *mirror
	remote Remote
	refs   Refs
	// blobless: the mirror leaves blobs out until they are asked for.
	blobless bool
	asked    atomic.Int32
	close    sync.Once
}

var _ change.Base = (*View)(nil)

// maxAsked is how many single objects are asked of the upstream for one View.
const maxAsked = 16

// lull is how long a process waits for the next push.
const lull = time.Minute

// Close lets the mirror go.
func (v *View) Close() {
	v.close.Do(func() {
		v.m.mu.Lock()
		v.m.views--
		v.m.mu.Unlock()
		time.AfterFunc(lull, func() {
			v.m.mu.Lock()
			free := v.m.views == 0
			v.m.mu.Unlock()
			if free {
				v.m.stop()
			}
		})
	})
}

// Refs gives the branches and tags by full name.
func (v *View) Refs() map[string]object.OID { return v.refs.OIDs }

// Head gives the ref that HEAD stands for upstream; empty if it is not known.
func (v *View) Head() string { return v.refs.Head }

// Object reads an object; a blob that the mirror left out is fetched.
func (v *View) Object(ctx context.Context, oid object.OID) (object.Type, []byte, error) {
	typ, body, err := v.m.read(ctx, oid)
	// A push can name any number of objects that nobody has.
	if !errors.Is(err, change.ErrNotFound) || !v.blobless || v.asked.Add(1) > maxAsked {
		return typ, body, err
	}
	if err := v.Prefetch(ctx, oid); err != nil {
		return 0, nil, err
	}
	return v.m.read(ctx, oid)
}

// Prefetch brings blobs that the mirror left out, all in one request. Those that the upstream does not give stay
// missing: that is no error here.
func (v *View) Prefetch(ctx context.Context, blobs ...object.OID) error {
	if !v.blobless || len(blobs) == 0 {
		return nil
	}
	if err := v.m.lock(ctx); err != nil {
		return err
	}
	defer v.m.unlock()
	err := v.s.fetch(ctx, v.m, v.remote, blobs, unique(v.m.refs))
	var known *remit.Error
	if errors.As(err, &known) && known.Code == remit.UpstreamDown && ctx.Err() == nil {
		return nil
	}
	return err
}

// unique gives the values of refs, each once, in order.
func unique(refs map[string]object.OID) []object.OID {
	oids := slices.SortedFunc(maps.Values(refs), object.OID.Compare)
	return slices.Compact(oids)
}

// MaxWalk is how many commits and trees Reachable reads at most.
const MaxWalk = 2_000_000

// Reachable walks from the observed refs, newest generation first, until it has found every blob. What is asked is
// rare (an old content that comes back, a file that is copied), and mostly lies near the tips.
func (v *View) Reachable(ctx context.Context, blobs []object.OID) ([]bool, error) {
	found := make([]bool, len(blobs))
	if len(blobs) == 0 {
		return found, nil
	}
	w := &walk{v: v, wanted: map[object.OID][]int{}, seen: map[object.OID]bool{}, found: found}
	for i, b := range blobs {
		w.wanted[b] = append(w.wanted[b], i)
	}
	for _, oid := range v.refs.OIDs {
		w.push(oid)
	}
	for len(w.queue) > 0 && len(w.wanted) > 0 {
		oid := w.queue[0]
		w.queue = w.queue[1:]
		if err := w.visit(ctx, oid); err != nil {
			return nil, err
		}
	}
	return found, nil
}

type walk struct {
	v      *View
	wanted map[object.OID][]int
	seen   map[object.OID]bool
	queue  []object.OID // commits and tags, breadth first
	found  []bool
}

func (w *walk) push(oid object.OID) {
	if !w.seen[oid] {
		w.seen[oid] = true
		w.queue = append(w.queue, oid)
	}
}

func (w *walk) hit(oid object.OID) {
	for _, i := range w.wanted[oid] {
		w.found[i] = true
	}
	delete(w.wanted, oid)
}

func (w *walk) read(ctx context.Context, oid object.OID) (object.Type, []byte, error) {
	if len(w.seen) > MaxWalk {
		return 0, nil, object.Refuse(object.CodeTooLargeJudge, oid.String(),
			"the push names content that it does not bring, and looking for it upstream takes more than %d objects; rebase onto the trusted branch", MaxWalk)
	}
	typ, body, err := w.v.m.read(ctx, oid)
	if errors.Is(err, change.ErrNotFound) {
		return 0, nil, object.Refuse(object.CodeObjectMissing, oid.String(), "the mirror is incomplete")
	}
	return typ, body, err
}

func (w *walk) visit(ctx context.Context, oid object.OID) error {
	if _, asked := w.wanted[oid]; asked { // a tag can name a blob
		w.hit(oid)
		return nil
	}
	typ, body, err := w.read(ctx, oid)
	if err != nil {
		return err
	}
	switch typ {
	case object.Tag:
		tag, err := object.ParseTag(body)
		if err != nil {
			return nil // an old tag in a form that is refused today leads nowhere
		}
		if tag.Type != object.Blob {
			w.push(tag.Target)
		} else {
			w.hit(tag.Target)
		}
	case object.Commit:
		tree, parents, _, err := object.CommitLinks(body)
		if err != nil {
			return err
		}
		for _, p := range parents {
			w.push(p)
		}
		return w.tree(ctx, tree)
	case object.Tree:
		return w.entries(ctx, body)
	}
	return nil
}

func (w *walk) tree(ctx context.Context, oid object.OID) error {
	if w.seen[oid] || len(w.wanted) == 0 {
		return nil
	}
	w.seen[oid] = true
	typ, body, err := w.read(ctx, oid)
	if err != nil {
		return err
	}
	if typ != object.Tree {
		return object.Refuse(object.CodeBadObject, oid.String(), "it is named as a tree, but is a %s", typ)
	}
	return w.entries(ctx, body)
}

func (w *walk) entries(ctx context.Context, body []byte) error {
	entries, err := object.ParseKnownTree(body)
	if err != nil {
		return err
	}
	for _, e := range entries {
		switch e.Mode {
		case object.ModeTree:
			if err := w.tree(ctx, e.OID); err != nil {
				return err
			}
		case object.ModeGitlink:
		default:
			w.hit(e.OID)
		}
	}
	return nil
}
