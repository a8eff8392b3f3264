package server

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
	"github.com/remit-dev/remit/server/internal/openapi"
)

// maxArtifacts is how many artifacts are listed.
const maxArtifacts = 500

// listArtifacts are the artifacts that were published through Remit.
func listArtifacts(s *Server, c *call) (remit.ArtifactList, error) {
	only := remit.Resource("artifact:" + c.r.URL.Query().Get("name"))
	list := s.artifacts(c, func(p *authority.Published) bool { return only == "artifact:" || p.Resource == only })
	out := remit.ArtifactList{Artifacts: list[:min(len(list), maxArtifacts)]}
	if s.cfg.Attestor == nil {
		return out, nil
	}
	key, err := s.cfg.Attestor.Key()
	out.Key = string(key)
	return out, err
}

// oneArtifact is one of them. Two names may have the same digest: then the name has to be said.
func oneArtifact(s *Server, c *call) (remit.ArtifactView, error) {
	digest, only := c.r.PathValue("digest"), remit.Resource("artifact:"+c.r.URL.Query().Get("name"))
	if !remit.IsContentDigest(digest) {
		return remit.ArtifactView{}, remit.Errorf(remit.BadRequest, "an artifact is named by sha256: and 64 lower-case hex digits, not by %.100q; a tag moves", digest)
	}
	list := s.artifacts(c, func(p *authority.Published) bool {
		return p.Digest == digest && (only == "artifact:" || p.Resource == only)
	})
	switch len(list) {
	case 0:
		return remit.ArtifactView{}, remit.Errorf(remit.NotFound, "nothing of the digest %s was published through Remit under that name", digest)
	case 1:
		v, err := list[0], error(nil)
		v.Job, err = s.jobOf(c.r.Context(), v)
		return v, err
	}
	var names []string
	for _, v := range list {
		names = append(names, v.Resource.Name())
	}
	return remit.ArtifactView{}, remit.Errorf(remit.Conflict, "%s was published as %s; say which with ?name=", digest, strings.Join(names, ", "))
}

// provenance gives the signed provenance of an artifact.
func provenance(s *Server, c *call) error {
	v, err := oneArtifact(s, c)
	if err != nil {
		return err
	}
	return s.sign(c, func(a Attestor, origin string) ([]byte, error) { return a.Provenance(c.r.Context(), origin, v) })
}

// artifacts are the published ones that which picks, newest first.
func (s *Server) artifacts(c *call, which func(*authority.Published) bool) []remit.ArtifactView {
	d := s.people(c.r.Context())
	out := []remit.ArtifactView{}
	s.view(func(st *authority.State) {
		released := map[remit.Artifact][]string{}
		for env, list := range st.Releases {
			for _, r := range list {
				for _, a := range r.Artifacts {
					if r.Outcome == remit.Done && !slices.Contains(released[a], env) {
						released[a] = append(released[a], env)
					}
				}
			}
		}
		for _, p := range st.Artifacts {
			if !which(p) {
				continue
			}
			v := remit.ArtifactView{Artifact: p.Artifact, Entry: p.Entry, At: time.Unix(0, p.At).UTC(), Task: p.Task, Agent: p.Agent,
				Inputs: some(p.Inputs), Sources: sourcesOf(st, p), Releases: released[p.Artifact]}
			slices.Sort(v.Releases)
			if t := st.Tasks[p.Task]; t != nil {
				v.Requester, v.RequestedBy = d.Name(t.Requester), t.Parent
			}
			out = append(out, v)
		}
	})
	slices.SortFunc(out, func(a, b remit.ArtifactView) int {
		return cmp.Or(cmp.Compare(b.Entry, a.Entry), strings.Compare(a.String(), b.String()))
	})
	return out
}

// sourcesOf are the repositories that an artifact rests on and that declare it.
func sourcesOf(st *authority.State, p *authority.Published) (out []remit.Resource) {
	for _, in := range p.Inputs {
		r := st.Repositories[in.Resource.Name()]
		if in.Resource.Type() == "repo" && r != nil && slices.ContainsFunc(r.Artifacts, func(a remit.Pattern) bool { return a.Match(p.Resource) }) {
			out = append(out, in.Resource)
		}
	}
	return out
}

var nameParam = openapi.Param{Name: "name", Meaning: "only of this name, UPSTREAM/NAME"}
