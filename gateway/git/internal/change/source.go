package change

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/remit-dev/remit/gateway/git/internal/object"
	"github.com/remit-dev/remit/gateway/git/internal/pack"
)

// cachedEntries bounds the parsed trees that are held: consecutive commits
// share nearly all of theirs.
const cachedEntries = 50_000

// source reads objects from the pack and, where it does not hold them, from
// the base.
type source struct {
	pack   *pack.Pack
	base   Base
	limits Limits

	used    []bool // objects of the pack that a pushed ref was seen to reach
	trees   map[object.OID][]object.Entry
	cached  int
	entries int
}

func newSource(p *pack.Pack, base Base, limits Limits) *source {
	s := &source{pack: p, base: base, limits: limits, trees: map[object.OID][]object.Entry{}}
	if p != nil {
		s.used = make([]bool, p.Len())
	}
	return s
}

// inPack tells whether the pack holds oid, and of which type.
func (s *source) inPack(oid object.OID) (at int, typ object.Type, ok bool) {
	if s.pack == nil {
		return 0, 0, false
	}
	at, typ, _, ok = s.pack.Find(oid)
	return at, typ, ok
}

func (s *source) use(oid object.OID) {
	if at, _, ok := s.inPack(oid); ok {
		s.used[at] = true
	}
}

// object reads an object; brought tells whether it came with the pack.
func (s *source) object(ctx context.Context, oid object.OID) (typ object.Type, body []byte, brought bool, err error) {
	if _, _, ok := s.inPack(oid); ok {
		typ, body, err = s.pack.Object(ctx, oid)
		return typ, body, true, err
	}
	typ, body, err = s.base.Object(ctx, oid)
	if errors.Is(err, ErrNotFound) {
		return 0, nil, false, object.Refuse(object.CodeObjectMissing, oid.String(),
			"the push needs it, but it is neither in the pack nor known upstream; fetch, and push complete history")
	}
	if err != nil {
		return 0, nil, false, fmt.Errorf("read %s from the mirror: %w", oid, err)
	}
	return typ, body, false, nil
}

// tree gives the entries of a tree by name; the zero id is the empty tree.
func (s *source) tree(ctx context.Context, oid object.OID) ([]object.Entry, error) {
	if oid.IsZero() {
		return nil, nil
	}
	entries, ok := s.trees[oid]
	if !ok {
		typ, body, brought, err := s.object(ctx, oid)
		if err != nil {
			return nil, err
		}
		if typ != object.Tree {
			return nil, object.Refuse(object.CodeBadObject, oid.String(), "it is named as a tree, but is a %s", typ)
		}
		// What upstream has already is not judged by today's rules.
		parse := object.ParseKnownTree
		if brought {
			parse = object.ParseTree
		}
		if entries, err = parse(body); err != nil {
			return nil, fmt.Errorf("tree %s: %w", oid, err)
		}
		slices.SortFunc(entries, func(a, b object.Entry) int { return strings.Compare(a.Name, b.Name) })
		if s.cached += len(entries) + 1; s.cached > cachedEntries {
			clear(s.trees)
			s.cached = len(entries) + 1
		}
		s.trees[oid] = entries
	}
	if s.entries += len(entries); s.entries > s.limits.Entries {
		return nil, object.Refuse(object.CodeTooLargeJudge, oid.String(),
			"the push makes more than %d tree entries to be compared; push the history in parts", s.limits.Entries)
	}
	return entries, nil
}

// peel follows an annotated tag to what it names. It takes off one tag only.
func (s *source) peel(ctx context.Context, oid object.OID) (commit object.OID, tag *object.TagInfo, typ object.Type, err error) {
	typ, body, brought, err := s.object(ctx, oid)
	if err != nil || typ != object.Tag {
		return oid, nil, typ, err
	}
	if tag, err = object.ParseTag(body); err != nil {
		if brought {
			return oid, nil, typ, err
		}
		// Upstream can hold a tag that is refused today; it leads nowhere.
		return oid, nil, typ, nil
	}
	s.use(oid)
	typ, _, _, err = s.object(ctx, tag.Target)
	if err == nil && typ != tag.Type {
		err = object.Refuse(object.CodeBadObject, oid.String(), "the tag calls %s a %s, but it is a %s", tag.Target, tag.Type, typ)
	}
	return tag.Target, tag, typ, err
}
