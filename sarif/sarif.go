// Package sarif writes findings in the Static Analysis Results Interchange Format 2.1.0 (OASIS, errata 01), which code
// hosts and editors read. It has the members that Remit fills, and knows nothing of what is found.
package sarif

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
)

// Version and Schema are what every log of this package says of itself.
const (
	Version = "2.1.0"
	Schema  = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
)

// Levels of rules and results (§3.27.10).
const (
	Error   = "error"
	Warning = "warning"
	Note    = "note"
	None    = "none"
)

// What a suppression of a finding is that somebody accepts in a file apart from it.
const (
	External = "external"
	Accepted = "accepted"
)

type (
	// Log is a whole file: one run for each look at something.
	Log struct {
		Runs []Run
	}
	// Run is what one tool found in one go (§3.14).
	Run struct {
		Tool Tool `json:"tool"`
		// ID names the run among those of the same kind, with slashes: remit/scan/forge/ (§3.17.3). Empty: none.
		ID          string       `json:"-"`
		Invocations []Invocation `json:"invocations,omitempty"`
		Results     []Result     `json:"results"`
	}
	// Tool is who looked.
	Tool struct {
		Driver Driver `json:"driver"`
	}
	// Driver is a tool's name, version and rules (§3.19).
	Driver struct {
		Name           string `json:"name"`
		Version        string `json:"version,omitempty"`
		InformationURI string `json:"informationUri,omitempty"`
		Rules          []Rule `json:"rules,omitempty"`
	}
	// Rule is what results refer to by its id (§3.49).
	Rule struct {
		ID      string         `json:"id"`
		Name    string         `json:"name,omitempty"`
		Short   Message        `json:"shortDescription"`
		Help    Message        `json:"help,omitzero"`
		Default Configuration  `json:"defaultConfiguration,omitzero"`
		More    map[string]any `json:"properties,omitempty"`
	}
	// Configuration is a rule's level where a result says none.
	Configuration struct {
		Level string `json:"level,omitempty"`
	}
	// Message is a text for people; its plain text is never empty in what Write takes.
	Message struct {
		Text string `json:"text"`
	}
	// Invocation says how the run went (§3.20). What could not be looked at is a notification, and then Successful is false.
	Invocation struct {
		Successful    bool           `json:"executionSuccessful"`
		EndUTC        string         `json:"endTimeUtc,omitempty"` // RFC 3339, UTC
		Notifications []Notification `json:"toolExecutionNotifications,omitempty"`
	}
	// Notification is something about the run itself (§3.58).
	Notification struct {
		Level   string         `json:"level,omitempty"`
		Message Message        `json:"message"`
		More    map[string]any `json:"properties,omitempty"`
	}
	// Result is one finding (§3.27).
	Result struct {
		RuleID    string     `json:"ruleId"`
		RuleIndex int        `json:"ruleIndex"` // Write sets it
		Level     string     `json:"level,omitempty"`
		Message   Message    `json:"message"`
		Locations []Location `json:"locations,omitempty"`
		// Fingerprints tell whether two runs found the same thing; the name has its version: subject/v1.
		Fingerprints map[string]string `json:"partialFingerprints,omitempty"`
		// Suppressions say that somebody knows of it. Of the results of a run they are there, if only empty, for all or for none
		// (§3.27.23).
		Suppressions []Suppression  `json:"suppressions,omitzero"`
		More         map[string]any `json:"properties,omitempty"`
	}
	// Suppression is why a result is not to be shown (§3.35).
	Suppression struct {
		Kind          string         `json:"kind"`             // External, or inSource
		Status        string         `json:"status,omitempty"` // Accepted, underReview or rejected
		Justification string         `json:"justification,omitempty"`
		More          map[string]any `json:"properties,omitempty"`
	}
	// Location is where: a file, or a thing that has no file (§3.28).
	Location struct {
		Physical *Physical `json:"physicalLocation,omitempty"`
		Logical  []Logical `json:"logicalLocations,omitempty"`
	}
	// Physical is a place in a file (§3.29).
	Physical struct {
		Artifact Artifact `json:"artifactLocation"`
		Region   *Region  `json:"region,omitempty"`
	}
	// Artifact is a file, by its address or its path in the repository.
	Artifact struct {
		URI string `json:"uri"`
	}
	// Region is a place in a file's text; lines count from 1.
	Region struct {
		StartLine int `json:"startLine,omitempty"`
	}
	// Logical is a thing such as an identity or a credential (§3.33).
	Logical struct {
		Name      string `json:"name,omitempty"`
		Qualified string `json:"fullyQualifiedName"`
		Kind      string `json:"kind,omitempty"`
	}
)

// Write writes l with two spaces of indent and a line feed at its end. It refuses what the standard does not allow: a tool
// without a name, a rule twice, a result whose rule is not declared, an unknown level, an empty message.
func Write(w io.Writer, l Log) error {
	type run struct {
		Run
		Automation map[string]string `json:"automationDetails,omitempty"`
	}
	runs := make([]run, 0, len(l.Runs)) // §3.13.4: an array, even if empty
	for i, r := range l.Runs {
		checked, err := r.check()
		if err != nil {
			return fmt.Errorf("runs[%d]: %w", i, err)
		}
		out := run{Run: checked}
		if r.ID != "" {
			out.Automation = map[string]string{"id": r.ID}
		}
		runs = append(runs, out)
	}
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(struct {
		Schema  string `json:"$schema"`
		Version string `json:"version"`
		Runs    []run  `json:"runs"`
	}{Schema, Version, runs})
}

// check gives r with the indexes of its rules, which are sorted by id.
func (r Run) check() (Run, error) {
	d := &r.Tool.Driver
	if d.Name == "" {
		return r, errors.New("tool.driver.name is missing")
	}
	d.Rules = slices.SortedFunc(slices.Values(d.Rules), func(a, b Rule) int { return cmp.Compare(a.ID, b.ID) })
	index := map[string]int{}
	for i, rule := range d.Rules {
		_, twice := index[rule.ID]
		switch {
		case rule.ID == "" || twice:
			return r, fmt.Errorf("rule %q: an id is there once, and not empty", rule.ID)
		case rule.Short.Text == "":
			return r, fmt.Errorf("rule %s: shortDescription is missing", rule.ID)
		case !level(rule.Default.Level):
			return r, fmt.Errorf("rule %s: level %q; write error, warning, note or none", rule.ID, rule.Default.Level)
		}
		index[rule.ID] = i
	}
	for i, v := range r.Invocations {
		for j, n := range v.Notifications {
			if n.Message.Text == "" || !level(n.Level) {
				return r, fmt.Errorf("invocations[%d].toolExecutionNotifications[%d]: a message, and level error, warning, note or none, not %q", i, j, n.Level)
			}
		}
	}
	r.Results = append(make([]Result, 0, len(r.Results)), r.Results...) // §3.14.23: an empty array says that nothing was found
	for i := range r.Results {
		res := &r.Results[i]
		at, ok := index[res.RuleID]
		switch {
		case !ok:
			return r, fmt.Errorf("results[%d]: rule %q is not among the tool's rules", i, res.RuleID)
		case res.Message.Text == "":
			return r, fmt.Errorf("results[%d]: its message is missing", i)
		case (res.Suppressions == nil) != (r.Results[0].Suppressions == nil):
			return r, fmt.Errorf("results[%d]: suppressions are there for all results, or for none", i)
		case !level(res.Level):
			return r, fmt.Errorf("results[%d]: level %q; write error, warning, note or none", i, res.Level)
		}
		res.RuleIndex = at
	}
	return r, nil
}

func level(s string) bool {
	return s == "" || s == Error || s == Warning || s == Note || s == None
}
