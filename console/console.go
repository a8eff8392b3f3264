// Package console is Remit in the browser: pages for people, made on the server, that work on a phone, by keyboard and
// with a screen reader.
//
// It decides nothing and holds no authority. Each page asks the API, in the same process, as the person whose cookie the
// browser shows, and votes go from the page to the API themselves. So what the console can do is what that person can do
// by any other client, and every rule is kept in one place.
package console

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"html/template"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/console/internal/card"
)

// maxForm bounds what a form can send.
const maxForm = 64 << 10

// Base is where the console lies on its server.
const Base = "/console"

//go:embed pages/*.html
var pageFiles embed.FS

//go:embed console.css
var consoleCSS string

//go:embed console.js
var consoleJS string

//go:embed icon.svg
var icon string

// Config is what a console needs.
type Config struct {
	API  http.Handler     // /v1/orgs/{org}/…
	Org  remit.Org        // whose API it is
	Now  func() time.Time // that of the machine
	Slog *slog.Logger     // discards
	// Suggest drafts a rule from what was approved at least so often, to hold until then; nil: the console drafts none.
	Suggest func(files []remit.PolicyFile, gates []remit.GateView, least int, until time.Time) Suggestion
	// Narrower gives the patch of declarations in force that gives agents what is proposed; nil: the console gives none.
	Narrower func(remit.Declarations, []remit.AgentFit) (string, error)
}

// Console serves the pages. Make one with New.
type Console struct {
	cfg   Config
	mux   *http.ServeMux
	pages map[string]*template.Template
	same  *http.CrossOriginProtection
	files map[string]file
}

type file struct {
	kind string
	body []byte
}

// New is the console of c.
func New(c Config) *Console {
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Slog == nil {
		c.Slog = slog.New(slog.DiscardHandler)
	}
	k := &Console{cfg: c, mux: http.NewServeMux(), pages: map[string]*template.Template{}, same: http.NewCrossOriginProtection(), files: map[string]file{}}
	css, js := k.embed("css", "text/css; charset=utf-8", card.CSS+consoleCSS), k.embed("js", "text/javascript; charset=utf-8", consoleJS)
	funcs := card.Funcs()
	sign := k.embed("svg", "image/svg+xml", icon)
	funcs["css"], funcs["js"], funcs["icon"] = func() string { return css }, func() string { return js }, func() string { return sign }
	for name, f := range k.funcs() {
		funcs[name] = f
	}
	layout := template.Must(template.Must(template.New("layout").Funcs(funcs).Parse(card.Body)).ParseFS(pageFiles, "pages/layout.html"))
	for _, name := range []string{"inbox", "card", "tasks", "task", "agents", "agent", "leases", "agents-inventory", "agents-rightsize", "log", "entry", "policy", "gates", "suggestion", "glass", "channels", "evidence", "paths", "reach", "cut", "reviews", "run", "keys", "invitation", "device", "signin", "handover", "problem", "again"} {
		k.pages[name] = template.Must(template.Must(layout.Clone()).ParseFS(pageFiles, "pages/"+name+".html"))
	}
	for path, f := range k.files {
		k.mux.HandleFunc("GET "+path, f.serve)
	}
	for pattern, h := range k.routes() {
		k.mux.Handle(pattern, k.serve(h))
	}
	return k
}

// embed keeps a file under an address that changes with its content, so that browsers may keep it for good.
func (k *Console) embed(ext, kind, body string) (path string) {
	sum := sha256.Sum256([]byte(body))
	path = Base + "/static/" + hex.EncodeToString(sum[:8]) + "." + ext
	k.files[path] = file{kind, []byte(body)}
	return path
}

func (f file) serve(w http.ResponseWriter, _ *http.Request) {
	h := w.Header()
	h.Set("Content-Type", f.kind)
	h.Set("Cache-Control", "public, max-age=31536000, immutable")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	_, _ = w.Write(f.body) // the client is gone: there is nobody to tell
}

func (k *Console) routes() map[string]func(*visit) error {
	return map[string]func(*visit) error{
		"GET " + Base + "/{$}":                            inboxPage,
		"GET " + Base + "/approvals/{id}":                 cardPage,
		"GET " + Base + "/tasks":                          tasksPage,
		"GET " + Base + "/tasks/{id}":                     taskPage,
		"GET " + Base + "/agents":                         agentsPage,
		"GET " + Base + "/agents/{name}":                  agentPage,
		"GET " + Base + "/agents/{name}/rightsize":        rightsizePage,
		"POST " + Base + "/agents/{name}/{what}":          changeAgent,
		"GET " + Base + "/leases":                         leasesPage,
		"GET " + Base + "/inventory":                      inventoryPage,
		"GET " + Base + "/log":                            logPage,
		"GET " + Base + "/log/{entry}":                    entryPage,
		"GET " + Base + "/policy":                         policyPage,
		"POST " + Base + "/policy/observe":                observePolicy,
		"GET " + Base + "/gates":                          gatesPage,
		"GET " + Base + "/gates/suggestion":               suggestionPage,
		"GET " + Base + "/break-glass":                    glassPage,
		"GET " + Base + "/reviews":                        reviewsPage,
		"GET " + Base + "/reviews/runs/{id}":              runPage,
		"POST " + Base + "/reviews/items/{id}/regrant":    regrant,
		"POST " + Base + "/reviews/campaigns/{name}/open": openCampaign,
		"GET " + Base + "/channels":                       channelsPage,
		"POST " + Base + "/channels/{name}/retry":         retryChannel,
		"GET " + Base + "/evidence":                       evidencePage,
		"GET " + Base + "/paths":                          pathsPage,
		"GET " + Base + "/paths/reach":                    reachPage,
		"GET " + Base + "/paths/cut":                      cutPage,
		"GET " + Base + "/keys":                           keysPage,
		"POST " + Base + "/keys/remove":                   removeKey,
		"GET " + Base + "/invitation":                     invitationPage,
		"GET " + Base + "/device":                         devicePage,
		"POST " + Base + "/device":                        answerDevice,
		"GET " + Base + "/sign-in":                        signInPage,
		"GET " + Base + "/hand-over":                      handOverPage,
		"POST " + Base + "/sign-out":                      signOut,
		"GET " + Base + "/events":                         events,
		Base + "/":                                        func(*visit) error { return remit.Errorf(remit.NotFound, "there is no such page") },
	}
}

// ServeHTTP answers one request.
func (k *Console) ServeHTTP(w http.ResponseWriter, r *http.Request) { k.mux.ServeHTTP(w, r) }

// policy lets a page have its style sheet and its script, and talk to this server, and nothing else.
const policy = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; " +
	"frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"

// CardPage renders the card of a link: a page that shows and can do nothing, with its Content-Security-Policy.
func CardPage(org remit.Org, v remit.AccessView) (page []byte, policy string, err error) {
	page, err = card.Page(org, v)
	return page, card.Policy, err
}

func secure(h http.Header) {
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Security-Policy", policy)
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Permissions-Policy", "publickey-credentials-get=(self), publickey-credentials-create=(self), camera=(), microphone=(), geolocation=()")
	h.Set("Referrer-Policy", "same-origin")
	h.Set("Strict-Transport-Security", "max-age=31536000")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY") // for what does not know frame-ancestors
}

// visit is one request for a page.
type visit struct {
	*Console
	w       http.ResponseWriter
	r       *http.Request
	session *session // nil: nobody is signed in
	back    string   // the page to come back to after signing in once more
}

// session is who is signed in, as the API says.
type session struct {
	Person   remit.ID  `json:"person"`
	Name     string    `json:"name"`
	Admin    bool      `json:"admin"`
	Method   string    `json:"method"`
	NotAfter time.Time `json:"not_after"`
	CSRF     string    `json:"csrf"`
}

// serve makes the handler of a page: headers, where the request comes from, who asks, the page, in this order.
func (k *Console) serve(h func(*visit) error) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		secure(w.Header())
		v := &visit{Console: k, w: w, r: r}
		err := v.admit()
		if err == nil {
			err = h(v)
		}
		if err != nil {
			v.fail(err)
		}
	})
}

// admit refuses what no person's browser sends, and finds out who is signed in.
func (v *visit) admit() error {
	if v.r.TLS != nil && len(v.r.TLS.PeerCertificates) > 0 || len(v.r.Header.Values("Authorization")) > 0 {
		return remit.Errorf(remit.Forbidden, "the console is for people in a browser; the call shows the credential of a program")
	}
	if err := v.same.Check(v.r); err != nil {
		return remit.Errorf(remit.Forbidden, "the request comes from another site")
	}
	v.r.Body = http.MaxBytesReader(v.w, v.r.Body, maxForm)
	s := new(session)
	err := v.get("/session", s)
	if err == nil {
		v.session = s
		return nil
	}
	var e *remit.Error
	if errors.As(err, &e) && e.Code.Info().HTTP == http.StatusUnauthorized {
		return nil
	}
	return err
}

// signedIn sends whoever is not to where they can. A link from elsewhere does not carry the cookie (SameSite=Strict): the
// page is asked for once more, from here.
func (v *visit) signedIn() error {
	if v.session != nil {
		return nil
	}
	return errSignIn
}

var (
	errSignIn = errors.New("nobody is signed in")
	errFresh  = errors.New("who is signed in has not proved to be there for a while")
)

// fail is the one way in which an error reaches a person.
func (v *visit) fail(err error) {
	if v.r.Context().Err() != nil {
		return
	}
	if errors.Is(err, errSignIn) {
		v.askToSignIn()
		return
	}
	if errors.Is(err, errFresh) { // RFC 9470: whoever does this proves once more who they are
		http.Redirect(v.w, v.r, Base+"/sign-in?fresh=1&return="+url.QueryEscape(cmp.Or(v.back, Base+"/")), http.StatusSeeOther)
		return
	}
	var e *remit.Error
	if !errors.As(err, &e) {
		v.cfg.Slog.Error("a page failed", "path", v.r.URL.Path, "err", err)
		e = &remit.Error{Code: remit.Internal, Sentence: remit.Internal.Info().Meaning}
	}
	info := e.Code.Info()
	if v.session == nil && e.Code == remit.Unauthenticated {
		v.askToSignIn()
		return
	}
	p := struct{ Code, Meaning, Sentence, Next string }{string(e.Code), info.Meaning, e.Sentence, next[e.Code]}
	if err := v.show(info.HTTP, "problem", "Not possible", p); err != nil {
		v.cfg.Slog.Error("the page of an error failed", "path", v.r.URL.Path, "err", err)
		http.Error(v.w, "internal error", http.StatusInternalServerError)
	}
}

// next is what somebody does about an error, where the console knows.
var next = map[remit.Code]string{
	remit.NotFound:   "It may have been there: ids are never used twice, and the log remembers. Search for it there.",
	remit.Forbidden:  "Whoever administers Remit here can say who may.",
	remit.Internal:   "It is written down on the server. Try again; if it stays so, tell whoever runs the server.",
	remit.BadRequest: "Go back, and change what you sent.",
}

func (v *visit) askToSignIn() {
	here := v.r.URL.RequestURI()
	if v.r.Method != http.MethodGet {
		here = Base + "/"
	}
	if v.r.Header.Get("Sec-Fetch-Site") == "cross-site" {
		if err := v.show(http.StatusOK, "again", "One moment", here); err != nil {
			v.cfg.Slog.Error("a page failed", "path", v.r.URL.Path, "err", err)
		}
		return
	}
	http.Redirect(v.w, v.r, Base+"/sign-in?return="+url.QueryEscape(here), http.StatusSeeOther)
}

// local is a path of the console, for where to go on after signing in: anything else is the inbox.
func local(path string) string {
	u, err := url.Parse(path)
	if err != nil || u.Scheme != "" || u.Host != "" || u.User != nil || !strings.HasPrefix(u.Path, Base+"/") || strings.ContainsAny(path, "\\\t\r\n") || strings.Contains(u.Path, "..") || strings.HasPrefix(u.Path, Base+"/sign-in") {
		return Base + "/"
	}
	return u.RequestURI()
}

// view is what every page is given.
type view struct {
	Title   string
	Here    string // which part of the console it is
	Session *session
	Org     remit.Org
	API     string
	Live    bool             // it follows the log
	Size    remit.EntryIndex // from here on
	Kinds   string           // prefixes of the kinds of entries that change it; empty: all do
	Page    any
	Refresh string // where the page goes by itself
}

// parts are the parts of the console that pages of another name lie in.
var parts = map[string]string{"card": "inbox", "entry": "log", "gates": "policy", "suggestion": "policy", "glass": "policy", "channels": "policy", "evidence": "policy", "paths": "policy", "reach": "policy", "cut": "policy", "run": "reviews"}

// kinds are the entries that change a page. The inbox waits for what changes what waits and who may decide, so that the
// work of agents does not have it made anew all the time.
var kinds = map[string]string{"inbox": "access.opened access.moved vote. break-glass. group person. key. agent. task.ended attempt. payloads. log. review. campaign.", "reviews": "review. campaign. agent. reviews.", "run": "review. campaign."}

// show renders a page.
func (v *visit) show(status int, name, title string, page any) error {
	d := view{Title: title, Here: cmp.Or(parts[name], name), Session: v.session, Org: v.cfg.Org, API: v.api(""), Page: page}
	if name == "again" {
		d.Refresh, _ = page.(string)
	}
	if l, ok := page.(interface{ followed() remit.EntryIndex }); ok {
		d.Live, d.Size, d.Kinds = true, l.followed(), kinds[name]
	}
	var b bytes.Buffer
	if err := v.pages[name].ExecuteTemplate(&b, "layout", d); err != nil {
		return err
	}
	v.w.Header().Set("Content-Type", "text/html; charset=utf-8")
	v.w.WriteHeader(status)
	_, _ = v.w.Write(b.Bytes()) // the client is gone: there is nobody to tell
	return nil
}
