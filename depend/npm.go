package depend

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/remit-dev/remit"
)

// manifest is what of a package.json matters here.
type manifest struct {
	Dependencies         map[string]string
	DevDependencies      map[string]string
	OptionalDependencies map[string]string
	PeerDependencies     map[string]string
	Overrides            map[string]any
	Scripts              map[string]string
}

// UnmarshalJSON reads a manifest as npm does: members by their exact names, of two with one name the last.
func (m *manifest) UnmarshalJSON(b []byte) error {
	return exactly(b, map[string]any{"dependencies": &m.Dependencies, "devDependencies": &m.DevDependencies,
		"optionalDependencies": &m.OptionalDependencies, "peerDependencies": &m.PeerDependencies, "overrides": &m.Overrides, "scripts": &m.Scripts})
}

// exactly reads members of an object by their exact names. encoding/json takes a name in any case for the one that a
// struct has: what npm installs could stand in "packages", and what is seen here in "Packages".
func exactly(b []byte, members map[string]any) error {
	var all map[string]json.RawMessage
	if err := json.Unmarshal(b, &all); err != nil {
		return err
	}
	for name, to := range members {
		if v, ok := all[name]; ok {
			if err := json.Unmarshal(v, to); err != nil {
				return err
			}
		}
	}
	return nil
}

// deps is what a manifest asks for.
func (m manifest) deps() map[string]dep {
	out := map[string]dep{}
	for _, group := range []map[string]string{m.PeerDependencies, m.OptionalDependencies, m.DevDependencies, m.Dependencies} {
		for name, spec := range group {
			d := dep{version: spec}
			// A range is looked up in the registry; whatever else stands there names a place (npm package.json, dependencies).
			if strings.ContainsAny(spec, ":/") {
				d.source = host(spec)
			}
			out[name] = d
		}
	}
	return out
}

// runs are the scripts of a package that npm runs when it is installed.
var runs = []string{"preinstall", "install", "postinstall", "prepublish", "preprepare", "prepare", "postprepare"}

// packageJSON compares package.json files.
func packageJSON(_ string, old, new []byte) ([]remit.DependencyChange, error) {
	var was, is manifest
	if old != nil && json.Unmarshal(old, &was) != nil {
		was = manifest{}
	}
	if new != nil {
		if err := json.Unmarshal(new, &is); err != nil {
			return nil, fmt.Errorf("it is no package.json: %.300s", err.Error())
		}
	}
	out := differ("npm", was.deps(), is.deps())
	for _, name := range runs {
		if s := is.Scripts[name]; s != "" && s != was.Scripts[name] {
			c := remit.DependencyChange{Ecosystem: "npm", Name: "script " + name, From: was.Scripts[name], To: s, New: was.Scripts[name] == "", Scripts: true}
			odd(&c, remit.OddScript, "it runs when the package is installed")
			out = append(out, c)
		}
	}
	before, _ := json.Marshal(was.Overrides)
	after, _ := json.Marshal(is.Overrides)
	if string(before) != string(after) {
		c := remit.DependencyChange{Ecosystem: "npm", Name: "overrides", From: string(before), To: string(after)}
		odd(&c, remit.OddReplaced, "it replaces what other packages ask for")
		out = append(out, c)
	}
	return out, nil
}

// lock is a package-lock.json of version 2 or 3 (npm, package-lock.json).
type lock struct {
	Version  int
	Packages map[string]lockedEntry
}

func (l *lock) UnmarshalJSON(b []byte) error {
	return exactly(b, map[string]any{"lockfileVersion": &l.Version, "packages": &l.Packages})
}

type lockedEntry struct {
	manifest  // of the root, ""
	Name      string
	Version   string
	Resolved  string
	Integrity string
	Scripted  bool
	Link      bool
}

// UnmarshalJSON reads the members of a root only where they have its form: entries state other forms of some.
func (e *lockedEntry) UnmarshalJSON(b []byte) error {
	return exactly(b, map[string]any{"name": &e.Name, "version": &e.Version, "resolved": &e.Resolved, "integrity": &e.Integrity,
		"hasInstallScript": &e.Scripted, "link": &e.Link, "dependencies": &e.Dependencies, "devDependencies": &e.DevDependencies,
		"optionalDependencies": &e.OptionalDependencies, "peerDependencies": &e.PeerDependencies})
}

func readLock(text []byte) (lock, error) {
	var l lock
	if text == nil {
		return l, nil
	}
	if err := json.Unmarshal(text, &l); err != nil {
		return l, fmt.Errorf("it is no package-lock.json: %.300s", err.Error())
	}
	if l.Version != 2 && l.Version != 3 {
		return l, fmt.Errorf("it is a lock file of version %d; 2 and 3 are understood (npm install --lockfile-version 3)", l.Version)
	}
	return l, nil
}

// usual is the host that most packages of a lock file come from, the first by name of those with as many; empty if it has
// none. Whatever comes from elsewhere is named.
func (l lock) usual() string {
	count := map[string]int{}
	for _, n := range l.Packages {
		if n.Resolved != "" {
			count[host(n.Resolved)]++
		}
	}
	best := ""
	for _, h := range slices.Sorted(maps.Keys(count)) {
		if count[h] > count[best] {
			best = h
		}
	}
	return best
}

// packageLock compares lock files. What changes although the manifest asks for the same is a finding: so is a swap seen
// that stands in the lock file alone.
func packageLock(_ string, old, new []byte) ([]remit.DependencyChange, error) {
	was, err := readLock(old)
	if err != nil {
		was = lock{}
	}
	is, err := readLock(new)
	if err != nil {
		return nil, err
	}
	same := old != nil && maps.Equal(was.Packages[""].deps(), is.Packages[""].deps())
	registry := was.usual()
	var out []remit.DependencyChange
	for at, n := range is.Packages {
		o, known := was.Packages[at]
		if at == "" || n.Link && o.Link || known && o.Version == n.Version && o.Resolved == n.Resolved && o.Integrity == n.Integrity && o.Scripted == n.Scripted && o.Name == n.Name {
			continue
		}
		c := remit.DependencyChange{Ecosystem: "npm", Name: packageName(at), From: o.Version, To: n.Version, New: !known, Scripts: n.Scripted}
		if n.Resolved != "" {
			c.Registry = host(n.Resolved)
			c.Elsewhere = c.Registry != registry
		}
		say := func(kind, text string) { odd(&c, kind, text) }
		if known && o.Version == n.Version {
			if o.Integrity != n.Integrity {
				say(remit.OddContent, "the version is the same, but its content is another")
			}
			if o.Resolved != n.Resolved {
				say(remit.OddSource, "the version is the same, but it comes from elsewhere")
			}
		}
		switch {
		case n.Integrity == "" && strings.HasPrefix(n.Resolved, "http"):
			say(remit.OddUnbound, "nothing binds its content (no integrity)")
		case strings.HasPrefix(n.Resolved, "http:"):
			say(remit.OddPlain, "it is fetched without TLS")
		case strings.HasPrefix(n.Resolved, "git"):
			say(remit.OddDirect, "it comes from a repository, not from a registry")
		}
		if n.Name != "" && n.Name != c.Name {
			say(remit.OddAlias, "it is really "+n.Name)
		}
		if n.Resolved != "" && !strings.Contains(n.Resolved, "/"+packageBase(c.Name, n.Name)) && registry != "" && strings.HasPrefix(n.Resolved, "https://"+registry+"/") {
			say(remit.OddAddress, "the address is that of another package: "+n.Resolved)
		}
		if same {
			say(remit.OddUnasked, "the manifest asks for nothing new")
		}
		out = append(out, c)
	}
	for at, o := range was.Packages {
		if _, still := is.Packages[at]; !still && at != "" {
			out = append(out, remit.DependencyChange{Ecosystem: "npm", Name: packageName(at), From: o.Version})
		}
	}
	return out, nil
}

// packageName is what a place in a tree of modules is called: a/node_modules/@x/y is @x/y.
func packageName(at string) string {
	if i := strings.LastIndex(at, "node_modules/"); i >= 0 {
		return at[i+len("node_modules/"):]
	}
	return at
}

// packageBase is the last part of a package's name, which its address in the registry repeats.
func packageBase(name, alias string) string {
	if alias != "" {
		name = alias
	}
	return name[strings.LastIndexByte(name, '/')+1:]
}
