package declare_test

import (
	"strings"
	"testing"
	"testing/fstest"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/declare"
)

const narrowPeople = `people:
  - {name: ana, keys: [ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHZnJcy/TO3Ej+KLvM7myBy1xvEIXWNBE24kS2HdHsDg]}
groups:
  - {name: builders, members: [ana]}
  - {name: writers, members: [ana]}
`

const narrowAgents = `# who works here
agents:
  # the first
  - name: coder
    function: code
    owner: ana # since spring
    purpose: writes code
    requesters: [builders, writers] # who asks
    entitlements:
      # its own work
      - actions: [source.read, source.push] # daily
        resources:
          - repo:forge/acme/payments
          - repo:forge/acme/ledger # old
        max_commits: 100
      # tools
      - actions: [tool.read]
        resources: ["tool:jira/*"]
    may_request: [build, release]

  - name: reviewer # the second
    function: review
    owner: ana
    purpose: reads code
    entitlements:
    - {actions: [source.read], resources: ["repo:forge/acme/payments", "repo:forge/acme/ledger"]}
`

func narrowDir(agents string) fstest.MapFS {
	return fstest.MapFS{"people.yaml": {Data: []byte(narrowPeople)}, "agents.yaml": {Data: []byte(agents)}}
}

var narrowScopes = []remit.Scope{
	{Actions: []remit.Action{"source.read", "source.push"}, Resources: []remit.Pattern{"repo:forge/acme/payments", "repo:forge/acme/ledger"}, MaxCommits: 100},
	{Actions: []remit.Action{"tool.read"}, Resources: []remit.Pattern{"tool:jira/*"}},
}

// Everything that does not change stays as it was written, byte for byte.
func TestNarrowKeepsCommentsAndOrder(t *testing.T) {
	pushes := remit.Scope{Actions: []remit.Action{"source.read", "source.push"}, Resources: []remit.Pattern{"repo:forge/acme/payments"}, MaxBytes: 1 << 20, MaxCommits: 16}
	reads := remit.Scope{Actions: []remit.Action{"source.read"}, Resources: []remit.Pattern{"repo:forge/acme/ledger"}, MaxCommits: 100}
	for name, c := range map[string]struct {
		change   declare.Narrowing
		old, new []string // in turn
	}{
		"one becomes two, the other goes": {
			declare.Narrowing{Agent: "coder", Declared: narrowScopes, Proposed: [][]remit.Scope{{pushes, reads}, nil}, MayRequest: []remit.Function{"build"}},
			[]string{"        resources:\n          - repo:forge/acme/payments\n          - repo:forge/acme/ledger # old\n        max_commits: 100\n      # tools\n      - actions: [tool.read]\n        resources: [\"tool:jira/*\"]\n", "[build, release]"},
			[]string{"        resources: [repo:forge/acme/payments]\n        max_commits: 16\n        max_bytes: 1048576\n      - actions: [source.read]\n        resources: [repo:forge/acme/ledger]\n        max_commits: 100\n", "[build]"},
		},
		"nothing is left": {
			declare.Narrowing{Agent: "coder", Declared: narrowScopes, Proposed: [][]remit.Scope{nil, nil}},
			[]string{narrowAgents[strings.Index(narrowAgents, "    entitlements:"):strings.Index(narrowAgents, "    may_request")], "    may_request: [build, release]\n"},
			[]string{"    entitlements: []\n", ""},
		},
		"a group less": {
			declare.Narrowing{Agent: "coder", Declared: narrowScopes, Proposed: [][]remit.Scope{narrowScopes[:1], narrowScopes[1:]}, MayRequest: []remit.Function{"build", "release"}, Without: []string{"builders"}},
			[]string{"    requesters: [builders, writers] # who asks\n"},
			[]string{"    requesters: [writers] # who asks\n"},
		},
		"no group": {
			declare.Narrowing{Agent: "coder", Declared: narrowScopes, Proposed: [][]remit.Scope{narrowScopes[:1], narrowScopes[1:]}, MayRequest: []remit.Function{"build", "release"}, Without: []string{"writers", "builders"}},
			[]string{"    requesters: [builders, writers] # who asks\n"},
			[]string{""},
		},
		"in braces": {
			declare.Narrowing{Agent: "reviewer", Declared: []remit.Scope{{Actions: []remit.Action{"source.read"}, Resources: narrowScopes[0].Resources}}, Proposed: [][]remit.Scope{{{Actions: []remit.Action{"source.read"}, Resources: []remit.Pattern{"repo:forge/acme/ledger"}}}}},
			[]string{`    - {actions: [source.read], resources: ["repo:forge/acme/payments", "repo:forge/acme/ledger"]}` + "\n"},
			[]string{"    - actions: [source.read]\n      resources: [repo:forge/acme/ledger]\n"},
		},
		"nothing changes": {
			declare.Narrowing{Agent: "coder", Declared: narrowScopes, Proposed: [][]remit.Scope{narrowScopes[:1], narrowScopes[1:]}, MayRequest: []remit.Function{"build", "release"}}, nil, nil,
		},
	} {
		for _, end := range []string{"\n", "\r\n"} {
			got, err := declare.Narrow(narrowDir(strings.ReplaceAll(narrowAgents, "\n", end)), []declare.Narrowing{c.change})
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			want := narrowAgents
			for i := range c.old {
				if !strings.Contains(want, c.old[i]) {
					t.Fatalf("%s: the test has no %q", name, c.old[i])
				}
				want = strings.Replace(want, c.old[i], c.new[i], 1)
			}
			if want == narrowAgents {
				if len(got) > 0 {
					t.Errorf("%s: %s", name, got)
				}
				continue
			}
			if s := string(got["agents.yaml"]); s != strings.ReplaceAll(want, "\n", end) || len(got) != 1 {
				t.Errorf("%s: got\n%s\nwant\n%s", name, s, want)
			}
		}
	}
}

// What cannot be changed by lines, or is not what is in force, is refused with its place.
func TestNarrowRefusesWhatItDoesNotUnderstand(t *testing.T) {
	other := declare.Narrowing{Agent: "coder", Declared: narrowScopes[:1], Proposed: [][]remit.Scope{nil}}
	none := declare.Narrowing{Agent: "nobody"}
	fit := declare.Narrowing{Agent: "coder", Declared: narrowScopes, Proposed: [][]remit.Scope{nil, narrowScopes[1:]}, MayRequest: []remit.Function{"build", "release"}}
	braces := `agents: [{name: coder, function: code, owner: ana, purpose: x, may_request: [build, release], entitlements: [{actions: [source.read, source.push], resources: ["repo:forge/acme/payments", "repo:forge/acme/ledger"], max_commits: 100}, {actions: [tool.read], resources: ["tool:jira/*"]}]}]` + "\n"
	for _, c := range []struct {
		agents string
		change declare.Narrowing
		says   string
	}{
		{narrowAgents, other, "agents.yaml:4: agents[0].entitlements: they are not those in force"},
		{narrowAgents, none, `no agent "nobody"`},
		{braces, fit, "agents.yaml:1: agents[0]: it is written in braces"},
	} {
		got, err := declare.Narrow(narrowDir(c.agents), []declare.Narrowing{c.change})
		if err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%v, which does not say %q; %s", err, c.says, got)
		}
	}
}

// However a file is written: Narrow either says why not, or gives files that declare exactly what was asked for. It never
// panics, and what it does not give out is not given out for a reason that names a place, or says that it was read again.
func FuzzNarrow(f *testing.F) {
	f.Add(narrowAgents, uint8(0))
	f.Add(strings.ReplaceAll(narrowAgents, "\n", "\r\n"), uint8(3))
	f.Add("agents:\n- name: a\n  function: code\n  owner: ana\n  purpose: x\n  entitlements:\n  - actions:\n    - source.read\n    resources:\n    - repo:forge/a\n    - repo:forge/b\n", uint8(1))
	f.Add("agents:\n  - entitlements:\n      -\n        actions: [source.read]\n        resources: [\"repo:forge/a\",\n          \"repo:forge/b\"]\n    name: a\n    function: code\n    owner: ana\n    purpose: |\n      entitlements:\n        - actions: none\n", uint8(2))
	f.Add("agents:\n  - {name: a, function: code, owner: ana, purpose: x, entitlements: [{actions: [source.read], resources: [\"repo:forge/a\"]}]}\n", uint8(1))
	f.Fuzz(func(t *testing.T, agents string, how uint8) {
		dir := narrowDir(agents)
		set, _, err := declare.Read(dir)
		if err != nil {
			return
		}
		var list []declare.Narrowing
		var want [][]remit.Scope
		for _, a := range set.Agents {
			n := declare.Narrowing{Agent: a.Name, Declared: a.Entitlements, MayRequest: a.MayRequest, Without: a.Requesters[min(int(how)/4, len(a.Requesters)):]}
			var all []remit.Scope
			for i, sc := range a.Entitlements {
				less := sc
				less.Resources, less.MaxBytes = sc.Resources[len(sc.Resources)-1:], 1<<20
				p := [][]remit.Scope{nil, {sc}, {less}, {less, sc}}[(int(how)+i)%4]
				n.Proposed, all = append(n.Proposed, p), append(all, p...)
			}
			list, want = append(list, n), append(want, all)
		}
		changed, err := declare.Narrow(dir, list)
		if err != nil {
			return
		}
		for name, b := range changed {
			dir[name] = &fstest.MapFile{Data: b}
		}
		got, _, err := declare.Read(dir)
		if err != nil {
			t.Fatalf("%v\n%s", err, changed)
		}
		for i, a := range got.Agents {
			if len(a.Requesters) > int(how)/4 {
				t.Fatalf("%v may request it\n%s", a.Requesters, changed)
			}
			if len(a.Entitlements) != len(want[i]) {
				t.Fatalf("%+v, want %+v\n%s", a.Entitlements, want[i], changed)
			}
			for k, sc := range a.Entitlements {
				if sc.Line() != want[i][k].Line() {
					t.Fatalf("%+v, want %+v\n%s", sc, want[i][k], changed)
				}
			}
		}
	})
}
