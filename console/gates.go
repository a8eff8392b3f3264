package console

import (
	"net/http"
	"net/url"
	"time"

	"github.com/remit-dev/remit"
)

// Suggestion is a rule that people may review, drafted from what they approve again and again. It changes nothing.
type Suggestion struct {
	Files     []remit.PolicyFile
	Lines     []Line
	Elsewhere []string // rules that no policy takes back
}

// Line is what a rule of a file would have to say to use the draft.
type Line struct{ File, Rule, Text string }

// routine is how often the same has to be approved before a rule is drafted of it, and how long such a draft holds.
const (
	routine      = 5
	routineHolds = 90 * 24 * time.Hour
)

type gatesView struct {
	Gates   []remit.GateView
	Routine bool // something was approved so often that a rule can be drafted
	size    remit.EntryIndex
}

func (p gatesView) followed() remit.EntryIndex { return p.size }

// gatesPage shows how people decide: a gate at which nobody looks protects nothing.
func gatesPage(v *visit) error {
	if err := v.signedIn(); err != nil {
		return err
	}
	var p gatesView
	var err error
	if p.size, err = v.size(); err != nil {
		return err
	}
	if err := v.get("/gates", &p.Gates); err != nil {
		return err
	}
	for _, g := range p.Gates {
		for _, r := range g.Routine {
			p.Routine = p.Routine || r.Approved >= routine && r.Denied == 0
		}
	}
	p.Routine = p.Routine && v.cfg.Suggest != nil
	return v.show(http.StatusOK, "gates", "Gates", p)
}

type suggestionView struct {
	Suggestion
	Days int
	Try  string // the text that judging again is tried with
	Name string
}

// suggestionPage shows the draft of a rule.
func suggestionPage(v *visit) error {
	if err := v.signedIn(); err != nil {
		return err
	}
	if v.cfg.Suggest == nil {
		return remit.Errorf(remit.NotFound, "this console drafts no rules; in a terminal, remit policy suggest does")
	}
	var gates []remit.GateView
	if err := v.get("/gates", &gates); err != nil {
		return err
	}
	var in remit.PolicyView
	if err := v.get("/policy", &in); err != nil {
		return err
	}
	p := suggestionView{Suggestion: v.cfg.Suggest(in.Files, gates, routine, v.cfg.Now().Add(routineHolds)), Days: 7}
	if len(p.Files) > 0 {
		p.Name, p.Try = p.Files[0].Name, p.Files[0].Text
	}
	return v.show(http.StatusOK, "suggestion", "A rule to review", p)
}

// glass is break-glass as it stands now.
type glass struct {
	remit.GlassView
	Open bool
}

// opened lists break-glass, newest first.
func (v *visit) opened() (out []glass, err error) {
	var list []remit.GlassView
	if err := v.get("/break-glass", &list); err != nil {
		return nil, err
	}
	now := v.cfg.Now()
	for _, g := range list {
		out = append(out, glass{g, now.Before(g.Until)})
	}
	return out, nil
}

type glassView struct {
	Opened []glass
	size   remit.EntryIndex
}

func (p glassView) followed() remit.EntryIndex { return p.size }

// glassPage shows what was done past people, by whom, and whether somebody has reviewed it.
func glassPage(v *visit) error {
	if err := v.signedIn(); err != nil {
		return err
	}
	var p glassView
	var err error
	if p.size, err = v.size(); err != nil {
		return err
	}
	if p.Opened, err = v.opened(); err != nil {
		return err
	}
	return v.show(http.StatusOK, "glass", "Break-glass", p)
}

type channelsView struct {
	Channels []remit.ChannelView
	size     remit.EntryIndex
}

func (p channelsView) followed() remit.EntryIndex { return p.size }

// channelsPage shows how the channels do by which people are told.
func channelsPage(v *visit) error {
	if err := v.signedIn(); err != nil {
		return err
	}
	var p channelsView
	var err error
	if p.size, err = v.size(); err != nil {
		return err
	}
	if err := v.get("/notify", &p.Channels); err != nil {
		return err
	}
	return v.show(http.StatusOK, "channels", "Channels", p)
}

// retryChannel tries what is parked in a channel once more, or forgets it.
func retryChannel(v *visit) error {
	if err := v.signedIn(); err != nil {
		return err
	}
	in := remit.RetryRequest{Drop: v.r.PostFormValue("what") == "forget"}
	if !in.Drop && v.r.PostFormValue("what") != "retry" {
		return remit.Errorf(remit.BadRequest, "parked messages can be tried once more or forgotten")
	}
	if err := v.post("/notify/"+url.PathEscape(v.r.PathValue("name"))+"/retry", in, nil); err != nil {
		return err
	}
	http.Redirect(v.w, v.r, Base+"/channels", http.StatusSeeOther)
	return nil
}
