package depend

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/remit-dev/remit"
)

var (
	// PEP 508: a name, extras, and what follows.
	requirement = regexp.MustCompile(`^([A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)\s*(\[[^\]]*\])?\s*(.*)$`)
	separators  = regexp.MustCompile(`[-_.]+`)
)

// requirementsTxt compares files of pip's requirements format: pins, other files, editable installs, addresses, indexes.
func requirementsTxt(_ string, old, new []byte) ([]remit.DependencyChange, error) {
	was, err := readRequirements(old)
	if err != nil {
		was = nil
	}
	is, err := readRequirements(new)
	if err != nil {
		return nil, err
	}
	out := differ("pypi", was, is)
	for i, c := range out {
		switch {
		case c.To == "":
		case strings.HasPrefix(c.Name, "--index-url"), strings.HasPrefix(c.Name, "--extra-index-url"), strings.HasPrefix(c.Name, "--find-links"):
			odd(&out[i], remit.OddIndex, "it says where all packages come from")
		case strings.HasPrefix(c.Name, "--trusted-host"):
			odd(&out[i], remit.OddPlain, "the host is not checked")
		case strings.HasPrefix(c.Name, "-e "):
			odd(&out[i], remit.OddDirect, "it runs the setup of that directory or repository")
			out[i].Scripts = true
		case c.Elsewhere && c.Text == "":
			odd(&out[i], remit.OddDirect, "it comes from an address, not from an index")
		case c.Text == "" && !strings.HasPrefix(c.Name, "-") && !strings.HasPrefix(c.To, "=="):
			odd(&out[i], remit.OddUnpinned, "it is not pinned to one version")
		}
	}
	return out, nil
}

// options that a file may hold on lines of their own, and what pip calls them in full.
var options = map[string]string{"-i": "--index-url", "--index-url": "--index-url", "--extra-index-url": "--extra-index-url", "-f": "--find-links",
	"--find-links": "--find-links", "--trusted-host": "--trusted-host", "-r": "-r", "--requirement": "-r", "-c": "-c", "--constraint": "-c",
	"-e": "-e", "--editable": "-e", "--no-index": "--no-index", "--pre": "--pre", "--require-hashes": "--require-hashes", "--no-binary": "--no-binary",
	"--only-binary": "--only-binary", "--prefer-binary": "--prefer-binary", "--use-feature": "--use-feature"}

func readRequirements(text []byte) (map[string]dep, error) {
	out := map[string]dep{}
	// A backslash at its end continues a line.
	joined := strings.NewReplacer("\\\r\n", " ", "\\\n", " ").Replace(string(text))
	n := 0
	for line := range strings.Lines(joined) {
		n++
		line = strings.TrimSpace(line)
		if i := strings.Index(line, " #"); i >= 0 {
			line = strings.TrimSpace(line[:i])
		}
		if line == "" || line[0] == '#' {
			continue
		}
		if line[0] == '-' {
			name, value := line, ""
			if i := strings.IndexAny(line, "= \t"); i >= 0 {
				name, value = line[:i], line[i+1:]
			}
			full, ok := options[name]
			if !ok {
				return nil, fmt.Errorf("line %d has the option %.40q, which is not understood", n, name)
			}
			value = strings.TrimSpace(value)
			out[full+" "+value] = dep{version: value}
			continue
		}
		// Hashes follow the requirement as options.
		spec, hashes, _ := strings.Cut(line, " --")
		spec = strings.TrimSpace(spec)
		if strings.Contains(spec, "://") && !strings.Contains(spec, "@ ") && !strings.Contains(spec, " @") {
			out[spec] = dep{version: "(address)", source: host(spec)}
			continue
		}
		m := requirement.FindStringSubmatch(spec)
		if m == nil {
			return nil, fmt.Errorf("line %d is no requirement: %.60q", n, spec)
		}
		name := strings.ToLower(separators.ReplaceAllString(m[1], "-")) // PEP 503
		d := dep{version: strings.ReplaceAll(m[3], " ", "")}
		if at, ok := strings.CutPrefix(strings.TrimSpace(m[3]), "@"); ok {
			at = strings.TrimSpace(at)
			d = dep{version: at, source: host(at)}
		}
		if d.version == "" {
			d.version = "(any)"
		}
		if hashes != "" {
			d.version += " with hashes " + short(hashes)
		}
		if before, ok := out[name]; ok {
			d.version = before.version + ", " + d.version
		}
		out[name] = d
	}
	return out, nil
}

// short is the beginning of the first hash, which is enough to see that it changes.
func short(hashes string) string {
	_, hash, _ := strings.Cut(hashes, ":")
	return hash[:min(len(hash), 12)]
}
