package graphfile_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/graphfile"
)

const trick = "tool:x\"];a->b[label=<<b>>\\N\u202e\nevil"

func some() (remit.PathGraph, []remit.PathWay) {
	free := remit.PathEdge{From: "untrusted:page", To: "agent:coder", How: "steers", Verdict: remit.Allow, Why: "it reads \u202eit"}
	held := remit.PathEdge{From: "agent:coder", To: trick, How: "break-glass", Action: "tool.call", Verdict: remit.Hold, Rules: []string{"R6"}, Needs: []remit.Need{{Group: "ops", N: 2}}, Why: "it waits"}
	g := remit.PathGraph{Org: "acme", Nodes: []remit.PathNode{{ID: "untrusted:page", Kind: "untrusted"}, {ID: "agent:coder", Kind: "agent", Zone: "S", Entry: 4}, {ID: "agent:Coder", Kind: "agent"}, {ID: trick, Kind: "tool", Zone: "P"}},
		Edges: []remit.PathEdge{free, held}}
	return g, []remit.PathWay{{Edges: g.Edges[:1]}, {Edges: g.Edges, Approvals: 1}}
}

// No name comes out of its quotes, and Graphviz, where it is there, reads the file.
func TestDOT(t *testing.T) {
	g, _ := some()
	var b bytes.Buffer
	if err := graphfile.DOT(&b, g.Nodes, g.Edges); err != nil {
		t.Fatal(err)
	}
	quoted := regexp.MustCompile(`"(\\.|[^"\\\n])*"`)
	for l := range strings.Lines(b.String()) {
		if rest := quoted.ReplaceAllString(l, "Q"); strings.ContainsAny(rest, "\"<>") && !strings.Contains(rest, " -> ") || strings.Contains(rest, "evil") || strings.ContainsRune(l, '\u202e') {
			t.Errorf("%q leaves %q outside of quotes", l, rest)
		}
	}
	if n := strings.Count(b.String(), " -> "); n != 2 {
		t.Errorf("%d lines with an edge:\n%s", n, b.String())
	}
	dot, err := exec.LookPath("dot")
	if err != nil {
		t.Skip("dot is missing (Debian: apt-get install graphviz)")
	}
	cmd := exec.CommandContext(t.Context(), dot, "-Tdot")
	cmd.Stdin = &b
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// What BloodHound's schema asks of nodes and edges (packages/go/chow/payload/jsonschema in its repository) holds.
func TestOpenGraph(t *testing.T) {
	g, _ := some()
	var b bytes.Buffer
	if err := graphfile.OpenGraph(&b, g); err != nil {
		t.Fatal(err)
	}
	type end struct {
		MatchBy string `json:"match_by"`
		Value   string `json:"value"`
	}
	var doc struct {
		Metadata struct {
			SourceKind string `json:"source_kind"`
		} `json:"metadata"`
		Graph struct {
			Nodes []struct {
				ID         string         `json:"id"`
				Kinds      []string       `json:"kinds"`
				Properties map[string]any `json:"properties"`
			} `json:"nodes"`
			Edges []struct {
				Kind       string         `json:"kind"`
				Start, End end            `json:"-"`
				S          end            `json:"start"`
				E          end            `json:"end"`
				Properties map[string]any `json:"properties"`
			} `json:"edges"`
		} `json:"graph"`
	}
	dec := json.NewDecoder(&b)
	dec.DisallowUnknownFields()
	if err := dec.Decode(&doc); err != nil || doc.Metadata.SourceKind == "" || len(doc.Graph.Nodes) != 4 || len(doc.Graph.Edges) != 2 {
		t.Fatalf("%v %+v", err, doc)
	}
	kind := regexp.MustCompile(`^[A-Za-z0-9_]+$`)
	properties := func(p map[string]any) {
		for name, v := range p {
			if name == "objectid" || name != strings.ToLower(name) {
				t.Errorf("property %q", name)
			}
			switch v := v.(type) {
			case string, float64, bool:
			case []any:
				for _, x := range v {
					if _, ok := x.(string); !ok {
						t.Errorf("%s is a list of other than text", name)
					}
				}
			default:
				t.Errorf("%s is %T", name, v)
			}
		}
	}
	ids := map[string]bool{}
	for _, n := range doc.Graph.Nodes {
		if up := strings.ToUpper(n.ID); ids[up] {
			t.Errorf("%s: BloodHound has one node for two", n.ID)
		} else {
			ids[up] = true
		}
		if len(n.Kinds) == 0 || len(n.Kinds) > 3 || !kind.MatchString(n.Kinds[0]) {
			t.Errorf("%v", n.Kinds)
		}
		properties(n.Properties)
	}
	for _, e := range doc.Graph.Edges {
		if !kind.MatchString(e.Kind) || e.S.MatchBy != "id" || e.E.MatchBy != "id" || !ids[strings.ToUpper(e.S.Value)] || !ids[strings.ToUpper(e.E.Value)] {
			t.Errorf("%+v", e)
		}
		properties(e.Properties)
	}
	if doc.Graph.Edges[1].Kind != "RemitBreakGlass" {
		t.Errorf("%s", doc.Graph.Edges[1].Kind)
	}
	g.Edges[0].To = "agent:nobody"
	if err := graphfile.OpenGraph(&b, g); err == nil {
		t.Error("an edge to a node that is not there is written")
	}
}

func TestSARIF(t *testing.T) {
	_, ways := some()
	write := func(found []graphfile.Finding) string {
		var b bytes.Buffer
		place := func(node string) (string, int, bool) { return "declarations/agents.yaml", 7, node == "agent:coder" }
		if err := graphfile.SARIF(&b, "1", found, []string{"No scan looked at forge."}, place); err != nil {
			t.Fatal(err)
		}
		return b.String()
	}
	out := write(graphfile.Paths(ways))
	for _, want := range []string{`"ruleId": "free-path"`, `"ruleId": "asked-path"`, `"uri": "declarations/agents.yaml"`, `"startLine": 7`, "No scan looked at forge.",
		"whoever holds untrusted:page comes to hold agent:coder and nobody is asked: steers agent:coder"} {
		if !strings.Contains(out, want) {
			t.Errorf("it does not say %s:\n%s", want, out)
		}
	}
	if strings.ContainsRune(out, '\u202e') || out != write(graphfile.Paths(ways)) {
		t.Error("it hides something, or is another one each time")
	}
	change := write(graphfile.Change(remit.PathsChange{New: []remit.PathNew{{PathWay: ways[0], Before: -1}, {PathWay: ways[1], Before: 2}}}))
	cut := write(graphfile.Cut(remit.PathsCut{Missing: []remit.PathPlace{{Edge: ways[0].Edges[0], Why: "here"}}, Vacuous: []remit.PathPlace{{Edge: ways[1].Edges[1], Why: "nobody", Path: &ways[1]}}}))
	if !strings.Contains(change, `"new-path"`) || !strings.Contains(change, `"new-asked-path"`) || !strings.Contains(cut, `"missing-approval"`) || !strings.Contains(cut, `"vacuous-approval"`) {
		t.Errorf("%s\n%s", change, cut)
	}
	var many []remit.PathWay
	for i := range 5001 {
		many = append(many, remit.PathWay{Edges: []remit.PathEdge{{From: "untrusted:page", To: fmt.Sprintf("agent:%d", i), How: "steers", Verdict: remit.Allow, Why: "it reads"}}})
	}
	if out := write(graphfile.Paths(many)); strings.Count(out, `"ruleId"`) != 5000 || !strings.Contains(out, "There are more findings") {
		t.Error("what is left out is not said")
	}
}
