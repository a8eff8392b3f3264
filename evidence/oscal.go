package evidence

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/remit-dev/remit"
)

// Version of the model that OSCAL writes, and the namespace of what is ours in it.
const (
	oscalVersion   = "1.1.2"
	oscalNamespace = "https://remit.dev/ns/oscal"
)

// The parts of an OSCAL assessment-results document that are written (pages.nist.gov/OSCAL, assessment-results JSON
// format). It is made of a log, without an assessment plan or a catalogue in OSCAL: import-ap points to what stands in its place.
type (
	oscalDocument struct {
		Results oscalResults `json:"assessment-results"`
	}
	oscalResults struct {
		UUID     string        `json:"uuid"`
		Metadata oscalMetadata `json:"metadata"`
		Import   oscalHref     `json:"import-ap"`
		Results  []oscalResult `json:"results"`
		Back     oscalBack     `json:"back-matter"`
	}
	oscalMetadata struct {
		Title    string      `json:"title"`
		Modified time.Time   `json:"last-modified"`
		Version  string      `json:"version"`
		OSCAL    string      `json:"oscal-version"`
		Props    []oscalProp `json:"props"`
		Remarks  string      `json:"remarks"`
	}
	oscalProp struct {
		Name  string `json:"name"`
		NS    string `json:"ns"`
		Value string `json:"value"`
	}
	oscalHref struct {
		Href string `json:"href"`
	}
	oscalResult struct {
		UUID         string             `json:"uuid"`
		Title        string             `json:"title"`
		Description  string             `json:"description"`
		Start        time.Time          `json:"start"`
		End          time.Time          `json:"end"`
		Reviewed     oscalReviewed      `json:"reviewed-controls"`
		Observations []oscalObservation `json:"observations"`
		Findings     []oscalFinding     `json:"findings"`
	}
	oscalReviewed struct {
		Selections []oscalSelection `json:"control-selections"`
	}
	oscalSelection struct {
		Include []oscalControl `json:"include-controls"`
	}
	oscalControl struct {
		ID string `json:"control-id"`
	}
	oscalObservation struct {
		UUID        string          `json:"uuid"`
		Title       string          `json:"title"`
		Description string          `json:"description"`
		Props       []oscalProp     `json:"props"`
		Methods     []string        `json:"methods"`
		Types       []string        `json:"types"`
		Relevant    []oscalRelevant `json:"relevant-evidence"`
		Collected   time.Time       `json:"collected"`
	}
	oscalRelevant struct {
		Href        string      `json:"href"`
		Description string      `json:"description"`
		Props       []oscalProp `json:"props"`
	}
	oscalFinding struct {
		UUID        string         `json:"uuid"`
		Title       string         `json:"title"`
		Description string         `json:"description"`
		Props       []oscalProp    `json:"props"`
		Target      oscalTarget    `json:"target"`
		Related     []oscalRelated `json:"related-observations,omitempty"`
		Remarks     string         `json:"remarks"`
	}
	oscalTarget struct {
		Type   string      `json:"type"`
		ID     string      `json:"target-id"`
		Status oscalStatus `json:"status"`
	}
	oscalStatus struct {
		State  string `json:"state"`
		Reason string `json:"reason"`
	}
	oscalRelated struct {
		UUID string `json:"observation-uuid"`
	}
	oscalBack struct {
		Resources []oscalResource `json:"resources"`
	}
	oscalResource struct {
		UUID   string       `json:"uuid"`
		Title  string       `json:"title"`
		RLinks []oscalRLink `json:"rlinks"`
	}
	oscalRLink struct {
		Href   string      `json:"href"`
		Hashes []oscalHash `json:"hashes,omitempty"`
	}
	oscalHash struct {
		Algorithm string `json:"algorithm"`
		Value     string `json:"value"`
	}
)

// OSCAL is a report as an OSCAL assessment-results document, JSON. An item is satisfied only where all of its controls are
// in force and something of the period speaks of them; what is not covered stands in its remarks. Equal reports give equal
// bytes.
func OSCAL(r remit.EvidenceReport) ([]byte, error) {
	seed, err := json.Marshal(r)
	if err != nil {
		return nil, remit.Errorf(remit.Internal, "encoding a report: %w", err)
	}
	id := func(parts ...string) string { return uuid(remit.Hash(append([][]byte{seed}, bytesOf(parts)...)...)) }
	prop := func(name, value string) oscalProp { return oscalProp{name, oscalNamespace, value} }
	mapped := id("map")
	doc := oscalResults{UUID: id("document"), Import: oscalHref{"#" + mapped},
		Metadata: oscalMetadata{Title: r.Framework.Title + ": " + string(r.Org), Modified: r.Until, Version: fmt.Sprint(r.Size), OSCAL: oscalVersion,
			Props:   []oscalProp{prop("log-origin", r.Origin), prop("log-size", fmt.Sprint(r.Size)), prop("profile", string(r.Profile)), prop("compiled-rules", fmt.Sprint(r.Rules))},
			Remarks: "Made of a log by Remit, without an assessment plan in OSCAL: in its place stands the map of items to controls. " + r.Framework.Note}}
	result := oscalResult{UUID: id("result"), Title: r.Framework.Title, Description: "What the log has of the controls that answer each item, in this period.",
		Start: r.Since, End: r.Until, Reviewed: oscalReviewed{[]oscalSelection{{}}}}
	silent := map[string]bool{}
	for _, c := range r.Controls {
		silent[c.Name] = c.Silent
		result.Observations = append(result.Observations, observation(r, c, id("observation", c.Name), prop))
	}
	for _, item := range r.Items {
		result.Reviewed.Selections[0].Include = append(result.Reviewed.Selections[0].Include, oscalControl{token(item.ID)})
		f := oscalFinding{UUID: id("finding", item.ID), Title: item.ID + " " + item.Title, Description: "State by its controls: " + string(item.State) + ".",
			Props: []oscalProp{prop("state", token(string(item.State)))}, Remarks: "Not covered: " + strings.Join(item.Gaps, " "),
			Target: oscalTarget{Type: "objective-id", ID: token(item.ID), Status: oscalStatus{State: "not-satisfied", Reason: "other"}}}
		spoken := len(item.Controls) > 0
		for _, name := range item.Controls {
			f.Related, spoken = append(f.Related, oscalRelated{id("observation", name)}), spoken && !silent[name]
		}
		if item.State == remit.EvidenceInForce && spoken {
			f.Target.Status = oscalStatus{State: "satisfied", Reason: "pass"}
		}
		result.Findings = append(result.Findings, f)
	}
	doc.Results = []oscalResult{result}
	doc.Back.Resources = []oscalResource{{UUID: mapped, Title: "Map of items to controls", RLinks: []oscalRLink{{Href: "https://remit.dev/evidence/frameworks/" + r.Framework.ID + ".yaml", Hashes: []oscalHash{{"SHA-256", r.Framework.Map.String()}}}}}}
	for n, s := range r.Framework.Sources {
		doc.Back.Resources = append(doc.Back.Resources, oscalResource{UUID: id("source", fmt.Sprint(n)), Title: s.Title, RLinks: []oscalRLink{{Href: s.URL}}})
	}
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(oscalDocument{doc}); err != nil {
		return nil, remit.Errorf(remit.Internal, "encoding a report: %w", err)
	}
	return out.Bytes(), nil
}

// observation is a control with its figures.
func observation(r remit.EvidenceReport, c remit.EvidenceControl, id string, prop func(name, value string) oscalProp) oscalObservation {
	o := oscalObservation{UUID: id, Title: c.Title, Description: c.Claim, Props: []oscalProp{prop("control", c.Name), prop("state", token(string(c.State)))},
		Methods: []string{"EXAMINE"}, Types: []string{"control-objective"}, Relevant: []oscalRelevant{}, Collected: r.Until}
	if c.Silent {
		o.Props = append(o.Props, prop("evidence", "none-in-period"))
	}
	relevant := func(text string, e remit.EvidenceEntries, more ...oscalProp) {
		x := oscalRelevant{Href: fmt.Sprintf("urn:remit:%s", token(r.Origin)), Description: text, Props: append(more, prop("entries", fmt.Sprint(e.Count)))}
		if e.Count > 0 {
			x.Props = append(x.Props, prop("entries-listed", strings.Trim(fmt.Sprint(e.Listed), "[]")), prop("entries-digest", e.Digest.String()))
		}
		o.Relevant = append(o.Relevant, x)
	}
	for _, w := range c.Why {
		relevant(w.Text, w.Entries, prop("state", token(string(w.State))))
	}
	for _, x := range c.Figures {
		relevant(x.Text, x.Entries, prop("figure", x.Name), prop("value", fmt.Sprint(x.Value)), prop("unit", x.Unit))
	}
	return o
}

var noToken = regexp.MustCompile(`[^A-Za-z0-9_.-]`)

// token is s as OSCAL's datatype of that name has it: a letter or _, then letters, digits, dots, hyphens and _.
func token(s string) string {
	s = noToken.ReplaceAllString(s, "-")
	if s == "" || strings.Trim(s[:1], "0123456789.-") == "" {
		s = "_" + s
	}
	return s
}

// uuid is the first 16 bytes of a digest as a UUID of version 5 in form; OSCAL's datatype takes versions 4 and 5.
func uuid(d remit.Digest) string {
	d[6], d[8] = d[6]&0x0f|0x50, d[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", d[0:4], d[4:6], d[6:8], d[8:10], d[10:16])
}

func bytesOf(parts []string) (out [][]byte) {
	for _, p := range parts {
		out = append(out, []byte("\n"+p))
	}
	return out
}
