package engine

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"sync"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
)

// kills are those that the log has not taken yet. Taking away never waits for the log (R11): what they end is ended from
// here on, and they are kept in a file beside the log until it takes them.
//
// The file has one kill in each of its slots, or spaces. Its blocks are written when it is made, so a full disk does not
// stop a kill, and a slot is written on its own, within one block of the disk, so a crash spoils no other.
type kills struct {
	mu      sync.Mutex // of pending: never held while the disk is waited for
	pending []authority.Kill

	disk  sync.Mutex // of what follows; taken before mu
	path  string
	slots []authority.Kill // as they stand in the file; zero is free
}

const (
	killSlot  = 1 << 10 // bytes, a line feed included
	killSlots = 256
)

// errKilled is what a pending kill says to what it ends.
var errKilled = remit.Errorf(remit.NotLive, "the task, its agent or a person behind it was killed, or the plan that it passes by was withdrawn")

func (k *kills) all() []authority.Kill {
	k.mu.Lock()
	defer k.mu.Unlock()
	return slices.Clone(k.pending)
}

func (k *kills) add(kill authority.Kill) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if !slices.Contains(k.pending, kill) {
		k.pending = append(k.pending, kill)
	}
}

// ends tells whether a kill ends what the grant of a task gives to who was launched by a person.
func ends(k authority.Kill, s *authority.State, task, launcher remit.ID) bool {
	if k.What == "person" && launcher == k.ID {
		return true
	}
	for t := s.Tasks[task]; t != nil; t = s.Tasks[t.Parent] {
		agent := s.Agents[t.Agent]
		if k.What == "task" && t.ID == k.ID || k.What == "agent" && t.Agent == string(k.ID) ||
			k.What == "person" && (t.Requester == k.ID || agent != nil && agent.Owner == k.ID) {
			return true
		}
	}
	return false
}

// killed tells whether a pending kill ends what a command asks for.
func killed(s *authority.State, pending []authority.Kill, c authority.Command) bool {
	if len(pending) == 0 {
		return false
	}
	var task, launcher, plan remit.ID
	switch c := c.(type) {
	case *authority.Authorize:
		task = c.Request.Caller.Task
		if i := s.Instances[c.Request.Caller.Instance]; i != nil {
			task, launcher = i.Task, i.Launcher
		}
		if a := s.Accesses[c.Request.Access]; a != nil {
			task, launcher = a.Task, a.Launcher
		}
	case *authority.Redeem:
		if p := s.Permits[c.Permit]; p != nil {
			task, launcher = p.Task, p.Launcher
			if p.Plan.Used != nil {
				plan = p.Plan.In
			}
		}
	case *authority.StartInstance:
		task, launcher = c.Task, c.By
	default:
		return false
	}
	return slices.ContainsFunc(pending, func(k authority.Kill) bool {
		return ends(k, s, task, launcher) || k.What == "plan" && k.ID == plan
	})
}

// Kill ends a task's, an agent's or a person's authority at once: from here on nothing of it is decided or redeemed and
// its streams are cut, whether or not the log can be written. If it cannot, the kill is kept beside the log and drained
// into it later; then the error says so.
func (e *Engine) Kill(k authority.Kill) error {
	var err error
	e.View(func(s *authority.State) {
		if _, _, err = authority.Decide(s, e.Now(), &k); err == nil {
			e.kills.add(k)
			e.end(s, e.Now())
		}
	})
	if err != nil {
		return err
	}
	if err = e.drain(k); err == nil {
		return nil
	}
	if kerr := e.kills.keep(k); kerr != nil {
		return remit.Errorf(remit.LedgerDown, "killed, but neither the log nor the list of pending kills can be written, so a restart would forget it: %w", errors.Join(err, kerr))
	}
	return remit.Errorf(remit.LedgerDown, "killed; the log cannot be written now, so it is recorded when it can: %w", err)
}

// drain records one pending kill. Only what the rules say of it takes it off the list otherwise: that what it would end
// has ended, or that who killed may no longer.
func (e *Engine) drain(k authority.Kill) error {
	if _, err := e.Do(e.background(), &k); err != nil {
		var refused *remit.Error
		if !errors.As(err, &refused) || !slices.Contains([]remit.Code{remit.NotFound, remit.Forbidden, remit.Conflict, remit.BadRequest}, refused.Code) {
			return err
		}
		e.cfg.Log.Warn("a pending kill is no longer one", "what", k.What, "id", k.ID, "err", err)
	}
	return e.kills.drop(k)
}

// DrainKills records what could not be recorded when it was done. It is called at start and about once a second.
func (e *Engine) DrainKills() {
	for _, k := range e.kills.all() {
		if err := e.drain(k); err != nil && passing(err) {
			return // one that the log refuses for good holds up no other
		}
	}
}

// drop takes a kill that the log has off the list, and then out of the file.
func (k *kills) drop(kill authority.Kill) error {
	k.mu.Lock()
	k.pending = slices.DeleteFunc(k.pending, func(p authority.Kill) bool { return p == kill })
	k.mu.Unlock()
	k.disk.Lock()
	defer k.disk.Unlock()
	if at := slices.Index(k.slots, kill); at >= 0 {
		return k.write(at, authority.Kill{})
	}
	return nil
}

// keep writes a kill to the file, durably.
func (k *kills) keep(kill authority.Kill) error {
	k.disk.Lock()
	defer k.disk.Unlock()
	if k.path == "" {
		return errors.New("there is no file for pending kills")
	}
	if slices.Contains(k.slots, kill) {
		return nil
	}
	at := slices.Index(k.slots, authority.Kill{})
	if at < 0 {
		return fmt.Errorf("%d kills are pending, as many as %s takes", killSlots, k.path)
	}
	return k.write(at, kill)
}

// write puts a kill into a slot, durably; the zero kill frees it.
func (k *kills) write(at int, kill authority.Kill) error {
	slot := bytes.Repeat([]byte{' '}, killSlot)
	slot[killSlot-1] = '\n'
	if kill != (authority.Kill{}) {
		b, err := json.Marshal(kill)
		if err != nil {
			return err
		}
		if len(b) >= killSlot {
			return fmt.Errorf("the kill takes %d bytes and a slot has %d", len(b), killSlot)
		}
		copy(slot, b)
	}
	f, err := os.OpenFile(k.path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(slot, int64(at)*killSlot)
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		k.slots[at] = kill
	}
	return err
}

// load reads the kills that an earlier run could not record, before anything is decided, and makes the file if there is
// none.
func (k *kills) load(path string) error {
	if path == "" {
		return nil
	}
	k.path, k.slots = path, make([]authority.Kill, killSlots)
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("opening the pending kills: %w", err)
	}
	defer f.Close()
	body, err := io.ReadAll(io.LimitReader(f, killSlot*killSlots+1))
	if err != nil {
		return fmt.Errorf("reading the pending kills: %w", err)
	}
	if len(body) > killSlot*killSlots {
		return remit.Errorf(remit.Internal, "%s is larger than a file of pending kills is", path)
	}
	for at := range killSlots {
		slot := bytes.TrimSpace(body[min(at*killSlot, len(body)):min((at+1)*killSlot, len(body))])
		if len(slot) == 0 {
			continue
		}
		var kill authority.Kill
		if err := remit.DecodeStrict(bytes.NewReader(slot), killSlot, &kill); err != nil || kill == (authority.Kill{}) {
			return remit.Errorf(remit.Internal, "%s line %d is not a pending kill (%v); if you know what it was to end, blank it with spaces", path, at+1, err)
		}
		k.slots[at] = kill
		k.add(kill)
	}
	if n := len(body); n < killSlot*killSlots {
		// What is written here is allocated: a later write of a slot needs no space.
		rest := bytes.Repeat(append(bytes.Repeat([]byte{' '}, killSlot-1), '\n'), killSlots)
		if _, err := f.WriteAt(rest[n:], int64(n)); err != nil {
			return fmt.Errorf("making the file of pending kills: %w", err)
		}
		if err := f.Sync(); err != nil {
			return fmt.Errorf("making the file of pending kills: %w", err)
		}
	}
	return nil
}
