package evidence_test

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/remit-dev/remit/evidence"
)

// counts are how many items each published framework is listed with, kept apart from the maps: an item that is lost in an
// edit, together with the map's own count, is noticed here.
var counts = map[string]int{"owasp-asi-2026": 10, "owasp-nhi-2025": 10, "maestro": 8, "nist-ai-rmf": 22, "csf-2.0": 36, "slsa-source": 18}

// first and last items, by their published ids.
var ends = map[string][2]string{"owasp-asi-2026": {"ASI01", "ASI10"}, "owasp-nhi-2025": {"NHI1:2025", "NHI10:2025"}, "maestro": {"L1", "X"},
	"nist-ai-rmf": {"GOVERN 1.4", "MANAGE 4.3"}, "csf-2.0": {"GV.RR-02", "RC.RP-05"}, "slsa-source": {"L1", "two-party-review"}}

func TestTheMapsAreWhole(t *testing.T) {
	if names := evidence.Names(); len(names) != len(counts) {
		t.Errorf("there are %v", names)
	}
	used := map[string]bool{}
	for name, n := range counts {
		f, err := evidence.Load(name)
		if err != nil {
			t.Error(err)
			continue
		}
		if len(f.Items) != n || f.Items[0].ID != ends[name][0] || f.Items[n-1].ID != ends[name][1] {
			t.Errorf("%s has %d items, from %s to %s", name, len(f.Items), f.Items[0].ID, f.Items[len(f.Items)-1].ID)
		}
		for _, item := range f.Items {
			for _, c := range item.Controls {
				used[c] = true
			}
		}
	}
	for _, c := range evidence.ControlNames() {
		if !used[c] {
			t.Errorf("no framework asks for control %s", c)
		}
	}
	if _, err := evidence.Load("../control"); err == nil || !strings.Contains(err.Error(), "there are csf-2.0, maestro") {
		t.Errorf("a framework that is none: %v", err)
	}
}

const small = `id: x
title: "X"
publisher: "P"
version: "1"
note: ""
count: 2
sources:
  - title: "S"
    url: https://example.org/x
items:
  - id: "A1"
    title: "First"
    controls: [task-intent, approvals]
    gaps:
      - "Something."
  - id: "A2"
    title: "Second"
    controls: []
    gaps:
      - "All of it."
`

// TestMapErrors: whatever is wrong with a map is said with its file and line.
func TestMapErrors(t *testing.T) {
	if _, err := evidence.Parse("m.yaml", []byte(small)); err != nil {
		t.Fatal(err)
	}
	for name, x := range map[string]struct{ old, new, want string }{
		"an unknown control":        {"approvals]", "aprovals]", `m.yaml:13: items\[0\].controls\[1\]: there is no control "aprovals"`},
		"a control twice":           {"approvals]", "task-intent]", `m.yaml:13: items\[0\].controls\[1\]: task-intent is there twice`},
		"an item twice":             {`"A2"`, `"A1"`, `m.yaml:16: items\[1\].id: A1 is there twice`},
		"a wrong count":             {"count: 2", "count: 3", `m.yaml:6: count: it says 3, and there are 2 items`},
		"no source":                 {"  - title: \"S\"\n    url: https://example.org/x\n", "", `m.yaml:7: .*sources`},
		"a source that is none":     {"https://example.org/x", "http://example.org/x", `m.yaml:9: sources\[0\].url`},
		"no gaps":                   {"    gaps:\n      - \"All of it.\"\n", "", `m.yaml:1[67]: items\[1\]: A2 says nothing of what is not covered`},
		"no title":                  {`"Second"`, `""`, `m.yaml:17: items\[1\].title`},
		"a member nobody knows":     {"count: 2", "counts: 2", `m.yaml:6: .*unknown field`},
		"an anchor":                 {`"Second"`, `&a "Second"`, `m.yaml:17: a map has no anchors`},
		"deeper than a map":         {"[task-intent, approvals]", "[[[[[[x]]]]]]", `m.yaml:13: .*nested deeper`},
		"not YAML":                  {"items:", "items: [", `m.yaml:\d+: `},
		"text that hides something": {`"Something."`, "\"Some\u202ething.\"", `m.yaml:15: items\[0\].gaps\[0\]`},
	} {
		text := strings.Replace(small, x.old, x.new, 1)
		if text == small {
			t.Fatalf("%s: nothing changed", name)
		}
		if _, err := evidence.Parse("m.yaml", []byte(text)); err == nil || !regexp.MustCompile(x.want).MatchString(err.Error()) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// FuzzMap: no bytes break the reader, and what it takes has only items with controls that are there and gaps.
func FuzzMap(f *testing.F) {
	place := regexp.MustCompile(`^m\.yaml:[0-9]+: `)
	// Seeds are short: what is found of a long one is made smaller byte by byte, for minutes.
	f.Add([]byte("id: x\ntitle: X\npublisher: P\nversion: 1\ncount: 1\nsources: [{title: S, url: https://a.b}]\nitems:\n- {id: A, title: F, controls: [approvals], gaps: [G]}\n"))
	f.Add([]byte("count: 2\nitems:\n- id: A\n  gaps: [\"x\"]\n"))
	f.Add([]byte("a: &a [*a]"))
	f.Add([]byte(""))
	f.Add([]byte("# nothing"))
	f.Add([]byte("items:"))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := evidence.Parse("m.yaml", b)
		if err != nil {
			if !place.MatchString(err.Error()) {
				t.Fatalf("no place: %v", err)
			}
			return
		}
		for _, item := range m.Items {
			if item.ID == "" || len(item.Gaps) == 0 || len(m.Sources) == 0 || m.Count != len(m.Items) {
				t.Fatalf("%+v", item)
			}
			for _, c := range item.Controls {
				if !slices.Contains(evidence.ControlNames(), c) {
					t.Fatal(c)
				}
			}
		}
	})
}
