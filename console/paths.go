package console

import (
	"net/http"
	"net/url"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/console/internal/draw"
)

// shownPaths is how many paths a page asks for, and shownWays how many of them it spells out.
const (
	shownPaths = "50"
	shownWays  = 20
)

type pathsView struct {
	remit.PathsAnswer
	FromText, ToText string // as asked
	Picture          draw.Picture
	Free             int // paths on which nobody is asked
	Rest             int // that are not spelt out
}

// ends are what a page's form asks about, with what is meant where it is empty.
func ends(v *visit) (from, to string, query string) {
	q := v.r.URL.Query()
	if from = q.Get("from"); from == "" {
		from = "untrusted"
	}
	if to = q.Get("to"); to == "" {
		to = "environment"
	}
	return from, to, url.Values{"from": {from}, "to": {to}}.Encode()
}

// pathsPage draws the ways of an attacker, and spells them out.
func pathsPage(v *visit) error {
	if err := v.signedIn(); err != nil {
		return err
	}
	var p pathsView
	var query string
	p.FromText, p.ToText, query = ends(v)
	if err := v.get("/paths?limit="+shownPaths+"&"+query, &p.PathsAnswer); err != nil {
		return err
	}
	p.Picture = draw.Ways(p.Paths, p.Nodes)
	for _, w := range p.Paths {
		if w.Approvals == 0 {
			p.Free++
		}
	}
	if p.Rest = len(p.Paths) - shownWays; p.Rest > 0 {
		p.Paths = p.Paths[:shownWays]
	}
	return v.show(http.StatusOK, "paths", "Attack paths", p)
}

type reachView struct {
	remit.PathsReach
	Node  string // as asked
	Parts []reachPart
}

type reachPart struct {
	Name, Tone string
	Nodes      []remit.PathReached
}

// reachPage shows what whoever holds a node comes to hold.
func reachPage(v *visit) error {
	if err := v.signedIn(); err != nil {
		return err
	}
	p := reachView{Node: v.r.URL.Query().Get("node")}
	if p.Node == "" {
		p.Node = "untrusted"
	}
	if err := v.get("/paths/reach?node="+url.QueryEscape(p.Node), &p.PathsReach); err != nil {
		return err
	}
	p.Parts = []reachPart{{"Nobody is asked", "s-deny", p.Free}, {"After one approval", "s-hold", p.One}, {"After more than one", "s-allow", p.More}}
	return v.show(http.StatusOK, "reach", "Blast radius", p)
}

type cutView struct {
	remit.PathsCut
	FromText, ToText string
	Parts            []cutPart
}

type cutPart struct {
	Name, Says string
	Places     []remit.PathPlace
}

// cutPage shows where approvals would cut every free path, beside where they are.
func cutPage(v *visit) error {
	if err := v.signedIn(); err != nil {
		return err
	}
	var p cutView
	var query string
	p.FromText, p.ToText, query = ends(v)
	if err := v.get("/paths/cut?"+query, &p.PathsCut); err != nil {
		return err
	}
	p.Parts = []cutPart{{"Missing", "Free paths escalate here: an approval belongs on it.", p.Missing}, {"Vacuous", "An approval is asked for, and stops nobody.", p.Vacuous},
		{"Redundant", "Another approval is asked for on every path through it.", p.Redundant}}
	return v.show(http.StatusOK, "cut", "Where approvals cut", p)
}
