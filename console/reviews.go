package console

import (
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/remit-dev/remit"
)

type reviewsView struct {
	remit.ReviewList
	Show      string // mine, all, ended, campaigns
	Waits     int    // items of the page that the person may answer
	NoKey     bool   // they have no passkey for this server: they answer in a terminal
	Campaigns []remit.CampaignView
}

func (p reviewsView) followed() remit.EntryIndex { return p.Size }

// reviewsPage shows what is reviewed, what the person may answer first, each with its evidence.
func reviewsPage(v *visit) error {
	if err := v.signedIn(); err != nil {
		return err
	}
	p := reviewsView{Show: v.r.URL.Query().Get("show")}
	path := "/review-items"
	switch p.Show {
	case "all", "campaigns":
	case "ended":
		path += "?all=true"
	default:
		p.Show = "mine"
	}
	if err := v.get(path, &p.ReviewList); err != nil {
		return err
	}
	p.Items = slices.DeleteFunc(p.Items, func(i remit.ItemView) bool {
		return p.Show == "campaigns" || p.Show == "mine" && !i.YouMay || p.Show == "ended" && i.Status == remit.ItemOpen
	})
	for i := range p.Items {
		p.check(&p.Items[i])
		if p.Items[i].YouMay {
			p.Waits++
		}
	}
	if p.Show == "campaigns" {
		if err := v.get("/campaigns", &p.Campaigns); err != nil {
			return err
		}
	}
	if p.Show == "mine" || p.Show == "all" {
		var err error
		if p.NoKey, err = v.noKey(); err != nil {
			return err
		}
	}
	return v.show(http.StatusOK, "reviews", "Reviews", p)
}

// check takes the ballot from an item that shows one thing and binds another.
func (p *reviewsView) check(i *remit.ItemView) {
	var f remit.FixedItem
	if err := json.Unmarshal([]byte(i.Fixed), &f); err != nil {
		i.YouMay, i.YouMayRemove, i.WhyNot = false, false, "its fixed part cannot be read"
		return
	}
	if err := i.Bound(f.Origin); err != nil {
		i.YouMay, i.YouMayRemove, i.WhyNot = false, false, err.Error()
	}
}

// noKey tells whether the person has no passkey for this server.
func (v *visit) noKey() (bool, error) {
	var org remit.OrgInfo
	if err := v.get("", &org); err != nil {
		return false, err
	}
	var keys []remit.KeyView
	if err := v.get("/keys", &keys); err != nil {
		return false, err
	}
	return !slices.ContainsFunc(keys, func(k remit.KeyView) bool { return k.Passkey != "" && k.Passkey == org.RPID }), nil
}

type runReport struct {
	remit.RunView
	size remit.EntryIndex
}

func (p runReport) followed() remit.EntryIndex { return p.size }

// runPage is the report on one run of a campaign.
func runPage(v *visit) error {
	if err := v.signedIn(); err != nil {
		return err
	}
	var p runReport
	var err error
	if p.size, err = v.size(); err != nil {
		return err
	}
	if err := v.get("/campaign-runs/"+url.PathEscape(v.r.PathValue("id")), &p.RunView); err != nil {
		return err
	}
	return v.show(http.StatusOK, "run", p.Campaign+" "+string(p.ID), p)
}

// regrant asks that what an item took away is given back.
func regrant(v *visit) error {
	if err := v.signedIn(); err != nil {
		return err
	}
	v.back = Base + "/reviews?show=ended"
	return v.comesBack("/review-items/"+url.PathEscape(v.r.PathValue("id"))+"/regrant", v.back)
}

// comesBack asks for something that widens, and shows the request where somebody else has to agree.
func (v *visit) comesBack(path, to string) error {
	var a remit.RegrantAnswer
	if err := v.post(path, struct{}{}, &a); err != nil {
		return err
	}
	if a.Decision.Verdict == remit.Hold {
		to = Base + "/approvals/" + url.PathEscape(string(a.Decision.Access))
	}
	http.Redirect(v.w, v.r, to, http.StatusSeeOther)
	return nil
}

// openCampaign opens a run of a campaign now.
func openCampaign(v *visit) error {
	if err := v.signedIn(); err != nil {
		return err
	}
	var r remit.RunView
	if err := v.post("/campaigns/"+url.PathEscape(v.r.PathValue("name"))+"/open", struct{}{}, &r); err != nil {
		return err
	}
	http.Redirect(v.w, v.r, Base+"/reviews/runs/"+url.PathEscape(string(r.ID)), http.StatusSeeOther)
	return nil
}

// itemCard is an item on a page.
type itemCard struct {
	remit.ItemView
	NoKey bool
	CSRF  string
}

// causeOf is why an item was opened.
func causeOf(i remit.ItemView) string {
	switch i.Cause {
	case remit.CauseCampaign:
		return "campaign " + i.Campaign
	case remit.CauseOwnerLeft:
		return "the owner of the agent left"
	case remit.CauseNewFunction:
		return "the agent had work of this function done for the first time"
	case remit.CauseUnused:
		return "it was not used for long"
	case remit.CauseWide:
		return "it was granted with a pattern that covers whatever comes"
	}
	return i.Cause
}

// usesOf finds the uses that an item counts, as far as words do: the decisions of its agent that passed.
func usesOf(i remit.ItemView) string {
	if i.Entitlement != nil {
		return scoped(i.Agent, *i.Entitlement, string(remit.Allow))
	}
	return words("decision", "agent", i.Agent) + " " + words("", "function", i.MayRequest)
}

// lines joins what a scope lists, as the script of the page does to compare it with what is signed.
func lines(list any) string {
	b, err := json.Marshal(list)
	if err != nil {
		return ""
	}
	var out []string
	if err := json.Unmarshal(b, &out); err != nil {
		return ""
	}
	return strings.Join(out, ", ")
}
