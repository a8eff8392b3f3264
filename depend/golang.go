package depend

import (
	"fmt"
	"strings"

	"golang.org/x/mod/modfile"

	"github.com/remit-dev/remit"
)

// goMod compares go.mod files: requirements, replacements and the toolchain.
func goMod(_ string, old, new []byte) ([]remit.DependencyChange, error) {
	was, _, err := readMod(old)
	if err != nil {
		was = nil // a broken file that is mended shows all of what it now states
	}
	is, replaced, err := readMod(new)
	if err != nil {
		return nil, err
	}
	out := differ("go", was, is)
	for i, c := range out {
		if r := replaced[c.Name]; r != "" && c.To != "" {
			odd(&out[i], remit.OddReplaced, "it is replaced by "+r)
		}
	}
	return out, nil
}

// readMod gives what a go.mod requires, and what replaces what.
func readMod(text []byte) (map[string]dep, map[string]string, error) {
	deps, replaced := map[string]dep{}, map[string]string{}
	if text == nil {
		return deps, replaced, nil
	}
	f, err := modfile.Parse("go.mod", text, nil)
	if err != nil {
		return nil, nil, fmt.Errorf("it is no go.mod: %.300s", err.Error())
	}
	for _, r := range f.Require {
		deps[r.Mod.Path] = dep{version: r.Mod.Version}
	}
	for _, r := range f.Replace {
		with := strings.TrimSpace(r.New.Path + " " + r.New.Version)
		d := deps[r.Old.Path]
		if d.version == "" {
			d.version = r.Old.Version
		}
		d.source = with
		deps[r.Old.Path], replaced[r.Old.Path] = d, with
	}
	for _, t := range f.Tool {
		deps["tool "+t.Path] = dep{version: "(runs in builds)"}
	}
	if f.Toolchain != nil {
		deps["toolchain"] = dep{version: f.Toolchain.Name}
	}
	return deps, replaced, nil
}

// goSum only finds a hash that changes under the same version: the rest follows from go.mod.
func goSum(_ string, old, new []byte) ([]remit.DependencyChange, error) {
	was, err := readSum(old)
	if err != nil {
		return nil, err
	}
	is, err := readSum(new)
	if err != nil {
		return nil, err
	}
	var out []remit.DependencyChange
	for key, hash := range is {
		if before, ok := was[key]; ok && before != hash {
			name, version, _ := strings.Cut(key, " ")
			c := remit.DependencyChange{Ecosystem: "go", Name: name, From: version, To: version}
			odd(&c, remit.OddContent, "the version is the same, but its content is another")
			out = append(out, c)
		}
	}
	return out, nil
}

func readSum(text []byte) (map[string]string, error) {
	out := map[string]string{}
	n := 0
	for line := range strings.Lines(string(text)) {
		n++
		f := strings.Fields(line)
		if len(f) == 0 {
			continue
		}
		if len(f) != 3 {
			return nil, fmt.Errorf("it is no go.sum: line %d has %d words", n, len(f))
		}
		key := f[0] + " " + f[1]
		if before, ok := out[key]; ok && before != f[2] {
			return nil, fmt.Errorf("line %d gives %s a second hash", n, key)
		}
		out[key] = f[2]
	}
	return out, nil
}
