package server

import (
	"cmp"
	"context"
	"slices"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
)

// identities gives the identity at each of its commitments, and each commitment of an identity: the same (iss, sub) has
// one commitment, so that the authority, which reads no texts, finds it in two records.
func (s *Server) identities(ctx context.Context) (at map[remit.Digest]remit.Identity, of map[remit.Identity]remit.Digest) {
	var all []remit.Digest
	s.view(func(st *authority.State) {
		for _, p := range st.People {
			all = append(all, p.Identities...)
		}
	})
	slices.SortFunc(all, func(a, b remit.Digest) int { return cmp.Compare(string(a[:]), string(b[:])) })
	at, of = map[remit.Digest]remit.Identity{}, map[remit.Identity]remit.Digest{}
	for _, d := range all {
		if body, ok := s.cfg.Engine.Text(ctx, d); ok {
			if i, err := remit.ParseIdentity(body); err == nil {
				at[d], of[i] = i, d
			}
		}
	}
	return at, of
}

// identity is the commitment of what a person is at a provider.
func (d *declaring) identity(i remit.Identity) (remit.Digest, error) {
	if d.known == nil {
		_, d.known = d.s.identities(d.ctx)
	}
	if as, ok := d.known[i]; ok {
		return as, nil
	}
	p, err := d.s.cfg.Engine.NewPayload(i.Body())
	if err != nil {
		return remit.Digest{}, err
	}
	d.payloads = append(d.payloads, p)
	d.known[i] = p.Commitment()
	return d.known[i], nil
}

// declaredPerson is a person as declarations write them: without the keys that they enrolled themselves.
func declaredPerson(p *authority.Person, name string, known map[remit.Digest]remit.Identity) remit.Person {
	out := remit.Person{Name: name, Keys: []string{}}
	for _, k := range p.Keys {
		hash := remit.Hash(k.Public)
		if slices.ContainsFunc(p.Enrolled, func(e authority.Enrolled) bool { return e.Key == hash }) {
			continue
		}
		if line, ok := keyLine(k.Public); ok {
			out.Keys = append(out.Keys, line)
		}
	}
	for _, d := range p.Identities {
		if i, ok := known[d]; ok {
			out.Identities = append(out.Identities, i)
		}
	}
	return out
}
