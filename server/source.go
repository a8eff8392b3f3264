package server

import (
	"strings"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/evidence"
	"github.com/remit-dev/remit/ledger"
)

// sourceRevision says what the log justifies of a revision.
func sourceRevision(s *Server, c *call) (v remit.SourceView, err error) {
	q := c.r.URL.Query()
	in := remit.Input{Resource: remit.Resource("repo:" + q.Get("repository")), ID: q.Get("commit")}
	if err := in.Check(); err != nil {
		return v, remit.Errorf(remit.BadRequest, "%w", err)
	}
	done, err := s.work(c.r.Context())
	if err != nil {
		return v, err
	}
	defer done()
	h := evidence.NewHistory(in.Resource)
	if err := s.leaseEntries(c.r.Context(), 0, func(i remit.EntryIndex, l ledger.Leaf) bool {
		h.Entry(i, l)
		return true
	}); err != nil {
		return v, err
	}
	return h.Record(in.ID, q.Get("ref"))
}

// signedSource gives the statement on a revision.
func signedSource(s *Server, c *call) error {
	v, err := sourceRevision(s, c)
	if err != nil {
		return err
	}
	var leaves []remit.Digest
	for _, want := range v.Entries {
		for e, err := range s.cfg.Engine.Read(c.r.Context(), want) {
			if err != nil {
				return err
			}
			leaves = append(leaves, remit.Hash(e.Leaf))
			break
		}
	}
	if len(leaves) != len(v.Entries) {
		return remit.Errorf(remit.Internal, "the log lacks an entry of %v", v.Entries)
	}
	v.At = v.At.Truncate(time.Second)
	repository := "git+" + strings.TrimSuffix(s.cfg.Base, "/") + strings.ReplaceAll(org, "{org}", c.r.PathValue("org")) + "/git/" + v.Repository.Name() + ".git"
	return s.sign(c, func(a Attestor, origin string) ([]byte, error) {
		return a.Source(c.r.Context(), origin, repository, v, leaves)
	})
}
