package main

import (
	"net/http"
	"strings"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/console"
	"github.com/remit-dev/remit/policy"
)

// pages is what people and programs see of the server: the API, and the console, which asks the API of this very process.
func (h *House) pages() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/", h.api)
	mux.Handle(console.Base+"/", console.New(console.Config{API: h.api, Org: h.Org, Slog: h.Log, Suggest: suggest, Narrower: rightsizeInForce}))
	mux.Handle("GET /{$}", http.RedirectHandler(console.Base+"/", http.StatusSeeOther)) // who types in the server's name is a person
	return mux
}

// suggest drafts a rule for people to review.
func suggest(files []remit.PolicyFile, gates []remit.GateView, least int, until time.Time) (s console.Suggestion) {
	d := policy.Suggest(files, gates, least, until)
	s.Files, s.Elsewhere = d.Files, d.Elsewhere
	for _, e := range d.Edits {
		s.Lines = append(s.Lines, console.Line{File: e.File, Rule: e.Rule, Text: e.Line})
	}
	return s
}

// cardPage renders the page of a card's link.
func cardPage(org remit.Org, v remit.AccessView) (page []byte, policy string, err error) {
	return console.CardPage(org, v)
}

// approve is the address to which clients of tools and messages send people: the card is in the console. It says nothing
// of the request to whoever has not signed in.
func approve(w http.ResponseWriter, r *http.Request) {
	access := r.URL.Path[strings.LastIndexByte(r.URL.Path, '/')+1:]
	number, ok := strings.CutPrefix(access, "A-")
	if r.Method != http.MethodGet && r.Method != http.MethodHead || !ok || number == "" || len(number) > 20 || strings.Trim(number, "0123456789") != "" {
		http.NotFound(w, r)
		return
	}
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("Referrer-Policy", "no-referrer")
	http.Redirect(w, r, console.Base+"/approvals/"+access, http.StatusSeeOther)
}
