package server

import (
	"slices"
	"strings"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
)

// Secrets keeps the values of secrets.
type Secrets interface {
	// Put keeps a value under a version that is not in force yet; it is durable when Put returns.
	Put(name string, version int, value []byte) error
	// Keep removes all versions but one; 0 removes all.
	Keep(name string, version int) error
}

// putSecret keeps a value and then says so in the log: a crash in between leaves a value that nothing names, and the next
// put replaces it.
func putSecret(s *Server, c *call, in remit.SecretValue) (remit.SecretView, error) {
	s.secrets.Lock() // two people who put a value at once must not have one's version with the other's value
	defer s.secrets.Unlock()
	version := 0
	s.view(func(st *authority.State) {
		if x := st.Secrets[in.Name]; x != nil {
			version = x.Version + 1
		}
	})
	if version == 0 {
		return remit.SecretView{}, remit.Errorf(remit.UnknownResource, "no secret %.200q is declared", in.Name)
	}
	may := false
	s.view(func(st *authority.State) { may = st.KeepsSecret(c.person, in.Name) })
	if !may {
		return remit.SecretView{}, remit.Errorf(remit.Forbidden, "the value of secret %s is put by its approvers or an administrator", in.Name)
	}
	if err := s.cfg.Secrets.Put(in.Name, version, in.Value); err != nil {
		return remit.SecretView{}, err
	}
	if _, err := s.cfg.Engine.Do(c.r.Context(), &authority.StoreSecret{By: c.person, Name: in.Name, Version: version}); err != nil {
		return remit.SecretView{}, err
	}
	if err := s.cfg.Secrets.Keep(in.Name, version); err != nil {
		s.cfg.Slog.Error("removing old values of a secret", "secret", in.Name, "err", err)
	}
	return s.secretView(c, in.Name)
}

func removeSecret(s *Server, c *call, in remit.SecretName) (remit.SecretView, error) {
	if _, err := s.cfg.Engine.Do(c.r.Context(), &authority.StoreSecret{By: c.person, Name: in.Name, Removed: true}); err != nil {
		return remit.SecretView{}, err
	}
	if err := s.cfg.Secrets.Keep(in.Name, 0); err != nil {
		return remit.SecretView{}, remit.Errorf(remit.Internal, "the value of secret %s is out of force, and could not be removed from the disk: %w", in.Name, err)
	}
	return s.secretView(c, in.Name)
}

func (s *Server) secretView(c *call, name string) (remit.SecretView, error) {
	all, err := listSecrets(s, c)
	if err != nil {
		return remit.SecretView{}, err
	}
	for _, v := range all {
		if v.Name == name {
			return v, nil
		}
	}
	return remit.SecretView{}, remit.Errorf(remit.UnknownResource, "no secret %.200q is declared", name)
}

// listSecrets are the declared secrets, without their values.
func listSecrets(s *Server, c *call) ([]remit.SecretView, error) {
	d := s.people(c.r.Context())
	out := []remit.SecretView{}
	s.view(func(st *authority.State) {
		for _, x := range st.Secrets {
			v := remit.SecretView{Name: x.Name, Zone: x.Zone, Approvers: some(x.Approvers), Version: x.Version, Stored: x.Stored}
			if x.Version > 0 {
				v.By = d.Name(x.StoredBy)
			}
			out = append(out, v)
		}
	})
	slices.SortFunc(out, func(a, b remit.SecretView) int { return strings.Compare(a.Name, b.Name) })
	return out, nil
}
