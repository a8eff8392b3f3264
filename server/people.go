package server

import (
	"context"
	"fmt"
	"regexp"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
	"github.com/remit-dev/remit/follow"
)

// people is the directory of everybody the organisation knows, and of extra people whom it is about to know.
func (s *Server) people(ctx context.Context, extra ...authority.Person) follow.Directory {
	list := extra
	s.view(func(st *authority.State) {
		for _, p := range st.People {
			list = append(list, authority.Person{ID: p.ID, Name: p.Name, Removed: p.Removed})
		}
	})
	return s.cfg.Follow.Directory(ctx, list)
}

// personID is how ids of people stand in sentences of the authority, which knows no names.
var personID = regexp.MustCompile(`\bp-[0-9a-f]{12}\b`)

// named puts names in the place of ids.
func named(d follow.Directory, text string) string {
	return personID.ReplaceAllStringFunc(text, func(id string) string { return d.Name(remit.ID(id)) })
}

func namedAll(d follow.Directory, texts []string) []string {
	out := make([]string, len(texts))
	for i, t := range texts {
		out[i] = named(d, t)
	}
	return out
}

func namesOf(d follow.Directory, ids []remit.ID) []string {
	out := make([]string, len(ids))
	for i, id := range ids {
		out[i] = d.Name(id)
	}
	return out
}

// text is the payload of a commitment; what was erased says so.
func (s *Server) text(ctx context.Context, commitment remit.Digest) string {
	if commitment.IsZero() {
		return ""
	}
	b, ok := s.cfg.Engine.Text(ctx, commitment)
	if !ok {
		if by := s.erasedBy(commitment); by != 0 {
			return fmt.Sprintf("(erased by entry %d)", by)
		}
		return "(erased)"
	}
	return string(b)
}
