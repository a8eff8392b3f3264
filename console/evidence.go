package console

import (
	"cmp"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/remit-dev/remit"
)

type evidenceView struct {
	remit.EvidenceReport
	Frameworks []remit.EvidenceFramework
	Days       string // of the period
	Spans      []string
	Pack       string // where the same is had with its proofs
	titles     map[string]string
}

// evidenceSpans are the periods that are offered, in days.
var evidenceSpans = []string{"7", "30", "90", "365"}

// ControlTitle is what a control is called.
func (p evidenceView) ControlTitle(name string) string { return cmp.Or(p.titles[name], name) }

// Mark is the class of a state.
func (p evidenceView) Mark(s remit.EvidenceState) string {
	return "s-" + strings.ReplaceAll(string(s), " ", "-")
}

// evidencePage shows what the log has of a framework's items, ready for paper.
func evidencePage(v *visit) error {
	if err := v.signedIn(); err != nil {
		return err
	}
	p := evidenceView{Days: cmp.Or(v.r.URL.Query().Get("days"), "90"), Spans: evidenceSpans, titles: map[string]string{}}
	if !slices.Contains(evidenceSpans, p.Days) {
		return remit.Errorf(remit.BadRequest, "a period has %s days, not %.16q", strings.Join(evidenceSpans, ", "), p.Days)
	}
	if err := v.get("/evidence/frameworks", &p.Frameworks); err != nil {
		return err
	}
	span, err := time.ParseDuration(p.Days + "h")
	if err != nil {
		return err
	}
	q := url.Values{"framework": {cmp.Or(v.r.URL.Query().Get("framework"), "owasp-asi-2026")}, "since": {v.cfg.Now().Add(-24 * span).UTC().Format(time.RFC3339)}}.Encode()
	if err := v.get("/evidence?"+q, &p.EvidenceReport); err != nil {
		return err
	}
	for _, c := range p.Controls {
		p.titles[c.Name] = c.Title
	}
	p.Pack = v.api("/evidence/pack?" + q)
	return v.show(http.StatusOK, "evidence", "Evidence", p)
}
