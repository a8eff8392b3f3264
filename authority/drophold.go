package authority

import "github.com/remit-dev/remit"

// DropHold takes back what waits for people, in the name of a running instance of the task that asked. It only takes away.
type DropHold struct {
	Instance remit.ID
	Access   remit.ID
}

func (*DropHold) name() string { return "hold.drop" }

func decideDropHold(s *State, now int64, c *DropHold) ([]remit.Event, Result, error) {
	a := s.Accesses[c.Access]
	if i := s.Instances[c.Instance]; a == nil || i == nil || a.Task == "" || i.Task != a.Task || !s.InstanceLive(c.Instance, now) {
		return nil, Result{}, remit.Errorf(remit.NotFound, "there is no access request %.32s of a running task of yours", c.Access)
	}
	if a.Status != remit.AccessOpen {
		return nil, Result{}, remit.Errorf(remit.Conflict, "access request %s is %s; only what waits for votes is taken back", c.Access, a.statusAt(now))
	}
	end := s.ending("")
	end.hold(a.ID, remit.Dropped)
	end.idle(a.Task, a.ID)
	return end.events, Result{ID: a.ID}, nil
}
