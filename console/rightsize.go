package console

import (
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/remit-dev/remit"
)

type rightsizeView struct {
	remit.Rightsizing
	Name  string
	Fit   remit.AgentFit
	Days  int
	Patch string
}

// rightsizeDays are the times that the page offers.
var rightsizeDays = []int{7, 30, 90, 365}

// Choices are those times.
func (rightsizeView) Choices() []int { return rightsizeDays }

// rightsizePage shows what an agent may do against what it did, and the smallest declarations that would have covered it.
func rightsizePage(v *visit) error {
	if err := v.signedIn(); err != nil {
		return err
	}
	p := rightsizeView{Name: v.r.PathValue("name"), Days: 30}
	if text := v.r.URL.Query().Get("days"); text != "" {
		days, err := strconv.Atoi(text)
		if err != nil || days < 1 || days > 3650 {
			return remit.Errorf(remit.BadRequest, "days is a number of days, 1 to 3650, not %.32q", text)
		}
		p.Days = days
	}
	ask := url.Values{"agent": {p.Name}, "within": {(time.Duration(p.Days) * 24 * time.Hour).String()}}
	if err := v.get("/rightsize?"+ask.Encode(), &p.Rightsizing); err != nil {
		return err
	}
	if len(p.Agents) != 1 {
		return remit.Errorf(remit.NotFound, "there is no such agent")
	}
	p.Fit = p.Agents[0]
	if v.cfg.Narrower != nil && p.Fit.Changed() {
		var set remit.Declarations
		if err := v.get("/declarations", &set); err != nil {
			return err
		}
		var err error
		if p.Patch, err = v.cfg.Narrower(set, p.Agents); err != nil {
			return err
		}
	}
	return v.show(http.StatusOK, "agents-rightsize", p.Name+": granted against used", p)
}
