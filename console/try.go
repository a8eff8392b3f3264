package console

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/remit-dev/remit"
)

type policyView struct {
	remit.PolicyView
	Days       int
	Only       string   // agent, task or rule whose part of the result is shown
	Access     remit.ID // the change that was tried
	File, Text string   // that was tried
	Result     *remit.TryAnswer
	Groups     []asked
	Trials     []remit.TrialView
}

// asked is how often a group was asked in the time of a trial, and would have been.
type asked struct {
	Group      string
	Was, Would int
	Day        string // on which it would have been asked most
	Most       int
}

func policyPage(v *visit) error {
	if err := v.signedIn(); err != nil {
		return err
	}
	p := policyView{Days: 7}
	if err := v.policy(&p); err != nil {
		return err
	}
	return v.show(http.StatusOK, "policy", "Policy", p)
}

func (v *visit) policy(p *policyView) error {
	if err := v.get("/policy", &p.PolicyView); err != nil {
		return err
	}
	return v.get("/policy/trials", &p.Trials)
}

// observePolicy judges the last days again: under the bundle in force, to see what its rules on trial would have said, with
// one file written anew or another, or under declarations that wait for a vote.
func observePolicy(v *visit) error {
	if err := v.signedIn(); err != nil {
		return err
	}
	days, err := strconv.Atoi(v.r.PostFormValue("days"))
	if err != nil || days < 1 || days > 90 {
		return remit.Errorf(remit.BadRequest, "days is a number from 1 to 90")
	}
	p := policyView{Days: days, Only: strings.TrimSpace(v.r.PostFormValue("only")), Access: remit.ID(v.r.PostFormValue("access")), Result: new(remit.TryAnswer)}
	if err := v.policy(&p); err != nil {
		return err
	}
	in := remit.TryRequest{Access: p.Access, Since: v.cfg.Now().Add(-time.Duration(days) * 24 * time.Hour), Record: v.r.PostFormValue("record") != ""}
	if p.Access == "" {
		in.Files = slices.Clone(p.Files)
		if name, text := v.r.PostFormValue("file"), v.r.PostFormValue("text"); strings.TrimSpace(text) != "" {
			i := slices.IndexFunc(in.Files, func(f remit.PolicyFile) bool { return f.Name == name })
			if i < 0 {
				in.Files = append(in.Files, remit.PolicyFile{Name: name})
				i = len(in.Files) - 1
			}
			in.Files[i].Text = strings.ReplaceAll(text, "\r\n", "\n")
			p.File, p.Text = name, in.Files[i].Text
		}
	}
	if err := v.post("/policy/try", in, p.Result); err != nil {
		return err
	}
	p.Groups = groupsOf(p.Result.Questions)
	if p.Only != "" {
		p.Result.By = slices.DeleteFunc(p.Result.By, func(s remit.TryShare) bool { return s.Name != p.Only })
		p.Result.Differences = slices.DeleteFunc(p.Result.Differences, func(d remit.TryDifference) bool {
			return d.Agent != p.Only && string(d.Task) != p.Only && !slices.Contains(d.Rules, p.Only)
		})
	}
	return v.show(http.StatusOK, "policy", "Policy", p)
}

// groupsOf sums the questions to each group, in the order of groups.
func groupsOf(list []remit.TryQuestion) (out []asked) {
	for _, q := range list {
		if len(out) == 0 || out[len(out)-1].Group != q.Group {
			out = append(out, asked{Group: q.Group})
		}
		g := &out[len(out)-1]
		g.Was, g.Would = g.Was+q.Was, g.Would+q.Would
		if q.Would > g.Most {
			g.Day, g.Most = q.Day, q.Would
		}
	}
	return out
}

// notJudged says why requests could not be judged again.
func notJudged(why string) string {
	switch why {
	case "erased":
		return "what was asked was erased"
	case "missing":
		return "what was asked is missing, and nobody erased it"
	case "facts":
		return "what it was judged on cannot be made again from the log"
	case "limit":
		return "it was denied for overload or a time-out"
	case "time-out":
		return "the policy did not answer in time"
	}
	return "it would be no decision at all"
}
