package authority

import (
	"slices"

	"github.com/remit-dev/remit"
)

// decideStoreSecret notes that a person put a value into the sealed store, or took it out. Whoever did is in the closure
// of what uses it from then on.
func decideStoreSecret(s *State, c *StoreSecret) ([]remit.Event, Result, error) {
	x := s.Secrets[c.Name]
	if x == nil {
		return nil, Result{}, remit.Errorf(remit.UnknownResource, "no secret %q is declared", c.Name)
	}
	if !s.keeps(c.By, x) {
		return nil, Result{}, remit.Errorf(remit.Forbidden, "the value of secret %s is put by its approvers or an administrator", c.Name)
	}
	e := &remit.SecretStored{Name: c.Name, Version: x.Version, Removed: c.Removed, By: c.By}
	switch {
	case !c.Removed && c.Version != x.Version+1:
		return nil, Result{}, remit.Errorf(remit.Conflict, "secret %s is at version %d by now; put the value again", c.Name, x.Version)
	case !c.Removed:
		e.Version = c.Version
	case !x.Stored:
		return nil, Result{}, remit.Errorf(remit.NotFound, "secret %s has no value", c.Name)
	}
	return []remit.Event{e}, Result{}, nil
}

// keeps tells whether p may put and remove the value of a secret: an administrator, or one of its approvers.
func (s *State) keeps(p remit.ID, x *Secret) bool {
	return s.IsAdmin(p) || s.personLive(p) && slices.ContainsFunc(secretApprovers(x.SecretDeclared), func(n remit.Need) bool {
		return s.InGroup(n.Group, p, s.Now)
	})
}

// KeepsSecret tells whether p may put and remove the value of a declared secret.
func (s *State) KeepsSecret(p remit.ID, name string) bool {
	x := s.Secrets[name]
	return x != nil && s.keeps(p, x)
}

// SecretVersion is the version of a secret's value that is in force; 0 for none.
func (s *State) SecretVersion(name string) int {
	if x := s.Secrets[name]; x != nil && x.Stored {
		return x.Version
	}
	return 0
}
