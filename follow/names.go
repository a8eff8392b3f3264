package follow

import (
	"context"
	"encoding/json"
	"maps"
	"sync"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
)

// names remembers the texts behind the commitments of names. Names are payloads: the log knows their commitments only.
type names struct {
	mu   *sync.Mutex
	text map[remit.Digest]string
}

func newNames() names { return names{mu: new(sync.Mutex), text: map[remit.Digest]string{}} }

// maxNames bounds the memory of names; beyond it they are read anew each time.
const maxNames = 100_000

// PersonID is the id of a person whose name is the given payload: fresh salt, so that nobody can guess a name from it.
func PersonID(name remit.Payload) remit.ID {
	return remit.ID("p-" + name.Commitment().String()[:12])
}

// NameBody is the body of the payload that is a person's name: a JSON string.
func NameBody(name string) []byte {
	b, err := json.Marshal(name)
	if err != nil {
		panic("follow: a string is JSON: " + err.Error())
	}
	return b
}

// ParseName reads what NameBody writes.
func ParseName(body []byte) (name string, ok bool) {
	err := json.Unmarshal(body, &name)
	return name, err == nil
}

// Directory is the names of the people of a state. It is made for one look at it.
type Directory struct {
	byID   map[remit.ID]string
	byName map[string]remit.ID
}

// Directory reads the names of everybody in people, also of those who left. A person whose name was erased goes by
// their id. Where a name stands twice, it means the person who is still declared.
func (f *Follower) Directory(ctx context.Context, people []authority.Person) Directory {
	d := Directory{byID: map[remit.ID]string{}, byName: map[string]remit.ID{}}
	for _, p := range people {
		name, ok := f.name(ctx, p.Name)
		if !ok {
			d.byID[p.ID] = string(p.ID)
			continue
		}
		d.byID[p.ID] = name
		if _, taken := d.byName[name]; !taken || !p.Removed {
			d.byName[name] = p.ID
		}
	}
	return d
}

func (f *Follower) name(ctx context.Context, commitment remit.Digest) (string, bool) {
	f.names.mu.Lock()
	name, ok := f.names.text[commitment]
	f.names.mu.Unlock()
	if ok {
		return name, true
	}
	b, ok := f.log.Text(ctx, commitment)
	if !ok {
		return "", false
	}
	if name, ok = ParseName(b); !ok {
		return "", false
	}
	f.names.mu.Lock()
	defer f.names.mu.Unlock()
	if len(f.names.text) < maxNames {
		f.names.text[commitment] = name
	}
	return name, true
}

// Forget drops the name behind a commitment, as its erasure asks for.
func (f *Follower) Forget(commitment remit.Digest) {
	f.names.mu.Lock()
	defer f.names.mu.Unlock()
	delete(f.names.text, commitment)
}

// With is d and further people whose names are known from elsewhere, such as those that a set is about to declare. Names
// are looked up in it by id only.
func (d Directory) With(names map[remit.ID]string) Directory {
	out := Directory{byID: map[remit.ID]string{}, byName: d.byName}
	maps.Copy(out.byID, d.byID)
	maps.Copy(out.byID, names)
	return out
}

// Name is what a person goes by; whoever is not in the directory goes by their id.
func (d Directory) Name(id remit.ID) string {
	if name, ok := d.byID[id]; ok {
		return name
	}
	return string(id)
}

// ID finds a person by name.
func (d Directory) ID(name string) (remit.ID, bool) {
	id, ok := d.byName[name]
	return id, ok
}
