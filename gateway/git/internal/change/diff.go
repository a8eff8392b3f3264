package change

import (
	"context"
	"slices"
	"strings"

	"github.com/remit-dev/remit/gateway/git/internal/object"
)

// maxPath is Linux's PATH_MAX: nobody can check a longer path out.
const maxPath = 4096

// visitor is told what differs. An Entry with mode 0 stands for absence.
type visitor struct {
	// leaf gets each path at which the new tree differs from every old one,
	// directories not counted. It must not keep olds.
	leaf func(path string, new object.Entry, olds []object.Entry) error
	// added gets each name that no old tree has, with all names beside it.
	added func(path string, new object.Entry, siblings []object.Entry) error
}

// diff compares a tree with one or more others by walking them together;
// subtrees that equal one of the others are not read. Zero ids are empty trees.
func (s *source) diff(ctx context.Context, new object.OID, olds []object.OID, v visitor) error {
	if slices.Contains(olds, new) {
		return nil
	}
	return s.diffAt(ctx, "", new, olds, v)
}

func (s *source) diffAt(ctx context.Context, prefix string, new object.OID, olds []object.OID, v visitor) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	news, err := s.tree(ctx, new)
	if err != nil {
		return err
	}
	s.use(new)
	lists := make([][]object.Entry, len(olds))
	for i, oid := range olds {
		if lists[i], err = s.tree(ctx, oid); err != nil {
			return err
		}
	}
	at, row, sub := news, make([]object.Entry, len(olds)), make([]object.OID, len(olds))
	for {
		name, more := lowest(at, lists)
		if !more {
			return nil
		}
		n := take(&at, name)
		for i := range lists {
			row[i] = take(&lists[i], name)
		}
		if slices.ContainsFunc(row, func(o object.Entry) bool { return o.Mode == n.Mode && o.OID == n.OID }) {
			continue
		}
		path := prefix + name
		if len(path) > maxPath {
			return object.Refuse(object.CodeTooLargeJudge, "", "the push has a path longer than %d bytes", maxPath)
		}
		if v.added != nil && n.Mode != 0 && !slices.ContainsFunc(row, present) {
			if err := v.added(path, n, news); err != nil {
				return err
			}
		}
		recurse := n.Mode == object.ModeTree
		everywhere := true
		for i, o := range row {
			if sub[i] = (object.OID{}); o.Mode == object.ModeTree {
				sub[i] = o.OID
				row[i] = object.Entry{}
			} else {
				everywhere = false
			}
		}
		var below object.OID
		if n.Mode == object.ModeTree {
			below, n = n.OID, object.Entry{}
		}
		if !slices.ContainsFunc(row, func(o object.Entry) bool { return o.Mode == n.Mode && o.OID == n.OID }) {
			if err := v.leaf(path, n, row); err != nil {
				return err
			}
		}
		if recurse || everywhere {
			if err := s.diffAt(ctx, path+"/", below, slices.Clone(sub), v); err != nil {
				return err
			}
		}
	}
}

func present(e object.Entry) bool { return e.Mode != 0 }

// lowest gives the first name that any of the lists begins with.
func lowest(list []object.Entry, lists [][]object.Entry) (name string, found bool) {
	if len(list) > 0 {
		name, found = list[0].Name, true
	}
	for _, l := range lists {
		if len(l) > 0 && (!found || l[0].Name < name) {
			name, found = l[0].Name, true
		}
	}
	return name, found
}

// take removes the entry of that name from the head of the list.
func take(list *[]object.Entry, name string) object.Entry {
	if l := *list; len(l) > 0 && l[0].Name == name {
		*list = l[1:]
		return l[0]
	}
	return object.Entry{}
}

// makeChange describes a leaf against the first of the old trees.
func makeChange(path string, new, old object.Entry) Change {
	c := Change{Path: path, Kind: KindModify, OldMode: old.Mode, NewMode: new.Mode, Old: old.OID, New: new.OID}
	switch {
	case old.Mode == 0:
		c.Kind = KindAdd
	case new.Mode == 0:
		c.Kind = KindDelete
	case old.Mode>>12 != new.Mode>>12:
		c.Kind = KindType
	}
	return c
}

func (s *source) differs(ctx context.Context, tree, trusted object.OID, control Control) ([]Change, error) {
	var out []Change
	err := s.diff(ctx, tree, []object.OID{trusted}, visitor{leaf: func(path string, new object.Entry, olds []object.Entry) error {
		if !control.covers(object.FoldPath(path)) {
			return nil
		}
		if len(out) >= s.limits.Paths {
			return tooManyPaths(s.limits.Paths)
		}
		out = append(out, makeChange(path, new, olds[0]))
		return nil
	}})
	slices.SortFunc(out, byPath)
	return out, err
}

// Differs lists the control paths at which a tree of in.Pack or in.Base
// differs from a trusted one, by path. Zero ids are empty trees.
func Differs(ctx context.Context, in Input, tree, trusted object.OID) ([]Change, error) {
	return newSource(in.Pack, in.Base, in.Limits.withDefaults()).differs(ctx, tree, trusted, in.Control)
}

func tooManyPaths(limit int) error {
	return object.Refuse(object.CodeTooLargeJudge, "", "the push changes more than %d paths; push the history in parts", limit)
}

// byPath orders changes of one path by history last, then result.
func byPath(a, b Change) int {
	if c := strings.Compare(a.Path, b.Path); c != 0 {
		return c
	}
	if a.InHistoryOnly != b.InHistoryOnly {
		if b.InHistoryOnly {
			return -1
		}
		return 1
	}
	if c := a.New.Compare(b.New); c != 0 {
		return c
	}
	return int(a.NewMode) - int(b.NewMode)
}
