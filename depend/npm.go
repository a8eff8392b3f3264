package depend

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// manifest is what of a package.json matters here.
type manifest struct {
	Dependencies         map[string]string `json:"dependencies"`
	DevDependencies      map[string]string `json:"devDependencies"`
	OptionalDependencies map[string]string `json:"optionalDependencies"`
	PeerDependencies     map[string]string `json:"peerDependencies"`
	Overrides            map[string]any    `json:"overrides"`
	Scripts              map[string]string `json:"scripts"`
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
func packageJSON(_ string, old, new []byte) ([]Change, error) {
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
			out = append(out, Change{Ecosystem: "npm", Name: "script " + name, From: was.Scripts[name], To: s, New: was.Scripts[name] == "", Scripts: true, Finding: "it runs when the package is installed"})
		}
	}
	before, _ := json.Marshal(was.Overrides)
	after, _ := json.Marshal(is.Overrides)
	if string(before) != string(after) {
		out = append(out, Change{Ecosystem: "npm", Name: "overrides", From: string(before), To: string(after), Finding: "it replaces what other packages ask for"})
	}
	return out, nil
}

// lock is a package-lock.json of version 2 or 3 (npm, package-lock.json).
type lock struct {
	Version  int                    `json:"lockfileVersion"`
	Packages map[string]lockedEntry `json:"packages"`
}

type lockedEntry struct {
	manifest         // of the root, ""
	Name      string `json:"name"`
	Version   string `json:"version"`
	Resolved  string `json:"resolved"`
	Integrity string `json:"integrity"`
	Scripted  bool   `json:"hasInstallScript"`
	Link      bool   `json:"link"`
}

// UnmarshalJSON reads the members of a root only where they have its form: entries state other forms of some.
func (e *lockedEntry) UnmarshalJSON(b []byte) error {
	var raw struct {
		Name      string          `json:"name"`
		Version   string          `json:"version"`
		Resolved  string          `json:"resolved"`
		Integrity string          `json:"integrity"`
		Scripted  bool            `json:"hasInstallScript"`
		Link      bool            `json:"link"`
		Deps      json.RawMessage `json:"dependencies"`
		Dev       json.RawMessage `json:"devDependencies"`
		Optional  json.RawMessage `json:"optionalDependencies"`
		Peer      json.RawMessage `json:"peerDependencies"`
	}
	if err := json.Unmarshal(b, &raw); err != nil {
		return err
	}
	e.Name, e.Version, e.Resolved, e.Integrity, e.Scripted, e.Link = raw.Name, raw.Version, raw.Resolved, raw.Integrity, raw.Scripted, raw.Link
	for _, m := range []struct {
		from json.RawMessage
		to   *map[string]string
	}{{raw.Deps, &e.Dependencies}, {raw.Dev, &e.DevDependencies}, {raw.Optional, &e.OptionalDependencies}, {raw.Peer, &e.PeerDependencies}} {
		if len(m.from) > 0 {
			if err := json.Unmarshal(m.from, m.to); err != nil {
				return err
			}
		}
	}
	return nil
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
func packageLock(_ string, old, new []byte) ([]Change, error) {
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
	var out []Change
	for at, n := range is.Packages {
		o, known := was.Packages[at]
		if at == "" || n.Link && o.Link || known && o.Version == n.Version && o.Resolved == n.Resolved && o.Integrity == n.Integrity && o.Scripted == n.Scripted && o.Name == n.Name {
			continue
		}
		c := Change{Ecosystem: "npm", Name: packageName(at), From: o.Version, To: n.Version, New: !known, Scripts: n.Scripted}
		if h := host(n.Resolved); n.Resolved != "" && h != registry {
			c.Source = h
		}
		var odd []string
		say := func(s string) { odd = append(odd, s) }
		if known && o.Version == n.Version {
			if o.Integrity != n.Integrity {
				say("the version is the same, but its content is another")
			}
			if o.Resolved != n.Resolved {
				say("the version is the same, but it comes from elsewhere")
			}
		}
		switch {
		case n.Integrity == "" && strings.HasPrefix(n.Resolved, "http"):
			say("nothing binds its content (no integrity)")
		case strings.HasPrefix(n.Resolved, "http:"):
			say("it is fetched without TLS")
		case strings.HasPrefix(n.Resolved, "git"):
			say("it comes from a repository, not from a registry")
		}
		if n.Name != "" && n.Name != c.Name {
			say("it is really " + n.Name)
		}
		if n.Resolved != "" && !strings.Contains(n.Resolved, "/"+packageBase(c.Name, n.Name)) && registry != "" && strings.HasPrefix(n.Resolved, "https://"+registry+"/") {
			say("the address is that of another package: " + n.Resolved)
		}
		if same {
			say("the manifest asks for nothing new")
		}
		c.Finding = strings.Join(odd, "; ")
		out = append(out, c)
	}
	for at, o := range was.Packages {
		if _, still := is.Packages[at]; !still && at != "" {
			out = append(out, Change{Ecosystem: "npm", Name: packageName(at), From: o.Version})
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
