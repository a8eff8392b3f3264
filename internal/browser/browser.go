// Package browser is for tests only: a real browser that looks at pages, presses keys and has passkeys.
package browser

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/accessibility"
	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/cdproto/webauthn"
	"github.com/chromedp/chromedp"
)

// patience is how long a page may take for anything. Test machines are slow.
const patience = 60 * time.Second

// Browser is Chromium, for one test.
type Browser struct {
	t   testing.TB
	ctx context.Context
	dir string // of screenshots; empty: nobody looks at any
}

// Process is one process of Chromium for all the tests of a package: it takes longer to start than most pages to look at.
// The zero value starts it when it is first asked for.
type Process struct {
	once sync.Once
	ctx  context.Context
	err  error
	ends []func()
}

// New starts Chromium for one test, or skips the test where there is none.
func New(t testing.TB) *Browser {
	t.Helper()
	p := new(Process)
	t.Cleanup(p.Close)
	return p.New(t)
}

// errNone skips a test.
var errNone = errors.New("there is no chromium on this machine (Debian: apt-get install chromium)")

// New is the browser for a test; windows of several tests share nothing but the process. Certificates are not checked: who
// serves is the test itself.
func (p *Process) New(t testing.TB) *Browser {
	t.Helper()
	p.once.Do(func() { p.err = p.start() })
	if errors.Is(p.err, errNone) {
		t.Skip(p.err)
	}
	if p.err != nil {
		t.Fatalf("starting chromium: %v", p.err)
	}
	return &Browser{t, p.ctx, os.Getenv("REMIT_SCREENSHOTS")}
}

func (p *Process) start() error {
	path, err := exec.LookPath("chromium")
	if err != nil {
		return errNone
	}
	dir, err := os.MkdirTemp("", "chromium")
	if err != nil {
		return err
	}
	p.ends = append(p.ends, func() { _ = os.RemoveAll(dir) })
	opts := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path), chromedp.IgnoreCertErrors, chromedp.UserDataDir(dir),
		chromedp.Flag("lang", "en-GB"), chromedp.Flag("disable-gpu", true), chromedp.WSURLReadTimeout(patience))
	if os.Getuid() == 0 {
		opts = append(opts, chromedp.NoSandbox) // Chromium refuses to sandbox as root
	}
	ctx, cancel := chromedp.NewExecAllocator(context.Background(), opts...)
	p.ends = append(p.ends, cancel)
	var end context.CancelFunc
	p.ctx, end = chromedp.NewContext(ctx)
	p.ends = append(p.ends, end)
	return chromedp.Do(p.ctx)
}

// Close ends the process, if it was started.
func (p *Process) Close() {
	for i := len(p.ends) - 1; i >= 0; i-- {
		p.ends[i]()
	}
}

// Screen is how large a window is, and how bright.
type Screen struct {
	Width, Height int64
	Dark, Touch   bool
}

// Screens that people have.
var (
	Desktop = Screen{Width: 1280, Height: 900}
	Phone   = Screen{Width: 360, Height: 740, Touch: true}
)

// Page is one window with cookies and passkeys of its own.
type Page struct {
	b   *Browser
	ctx context.Context

	screen  Screen
	devices int

	mu    sync.Mutex
	wrong []string // what the page was refused or broke on
}

// Open opens a window.
func (b *Browser) Open(s Screen) *Page {
	b.t.Helper()
	ctx, cancel := chromedp.NewContext(b.ctx, chromedp.WithNewBrowserContext())
	b.t.Cleanup(cancel)
	p := &Page{b: b, ctx: ctx, screen: s}
	if err := chromedp.Listen(ctx, p.hear); err != nil {
		b.t.Fatal(err)
	}
	scheme := "light"
	if s.Dark {
		scheme = "dark"
	}
	send(p, log.Enable, cdp.Empty{})
	p.resize(s)
	send(p, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme},
		{Name: "prefers-reduced-motion", Value: "reduce"}}})
	return p
}

func (p *Page) resize(s Screen) {
	p.b.t.Helper()
	send(p, emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{Width: s.Width, Height: s.Height, DeviceScaleFactor: 1, Mobile: s.Touch})
}

func (p *Page) hear(ev any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch ev := ev.(type) {
	case *log.EventEntryAdded:
		if ev.Entry.Level == log.EntryLevelError {
			p.wrong = append(p.wrong, ev.Entry.Text+" "+ev.Entry.URL)
		}
	case *runtime.EventExceptionThrown:
		p.wrong = append(p.wrong, fmt.Sprintf("%s %v", ev.ExceptionDetails.Text, ev.ExceptionDetails.Exception))
	case *runtime.EventConsoleAPICalled:
		if ev.Type == runtime.ConsoleAPICalledTypeError {
			p.wrong = append(p.wrong, fmt.Sprintf("console.error: %v", ev.Args))
		}
	case *page.EventJavascriptDialogOpening: // nothing of ours opens one: it is a script of somebody else
		p.wrong = append(p.wrong, "a dialog opened: "+ev.Message)
		go func() { _, _ = chromedp.Call(p.ctx, page.HandleJavaScriptDialog, page.HandleJavaScriptDialogParams{}) }()
	}
}

// Wrong is what went wrong on the pages since it was last asked: script errors, what a content policy refused, dialogs.
func (p *Page) Wrong() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := p.wrong
	p.wrong = nil
	return out
}

// do takes a step and gives its value; a step that fails, or takes too long, ends the test with what the page says.
func do[T any](p *Page, a chromedp.Action[T]) T {
	p.b.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	v, err := chromedp.Run(ctx, a)
	if err != nil {
		text, _ := chromedp.Run(p.ctx, chromedp.Evaluate[string](`document.title + "\n" + document.body?.innerText`))
		p.b.t.Fatalf("in the browser: %v; the page says:\n%.2000s\n%v", err, text, p.Wrong())
	}
	return v
}

// send gives the debugger a command.
func send[P, R any](p *Page, c cdp.Command[P, R], params P) R {
	p.b.t.Helper()
	return do(p, func(ctx context.Context, t *chromedp.Target) (R, error) { return cdp.Call(ctx, t, c, params) })
}

// Go opens an address and waits until it has loaded.
func (p *Page) Go(url string) { p.b.t.Helper(); do(p, chromedp.Navigate(url)) }

// Cookie gives the window a cookie that no script can read.
func (p *Page) Cookie(url, name, value string) {
	p.b.t.Helper()
	send(p, network.SetCookie, network.SetCookieParams{Name: name, Value: value, URL: url, Path: "/", Secure: new(true), HTTPOnly: new(true), SameSite: network.CookieSameSiteStrict})
}

// Click presses what a selector finds, as a person with a mouse does.
func (p *Page) Click(selector string) {
	p.b.t.Helper()
	do(p, chromedp.Click(chromedp.CSS(selector), chromedp.NodeVisible))
}

// Key presses a key.
func (p *Page) Key(name string) { p.b.t.Helper(); do(p, chromedp.KeyEvent(name)) }

// Type writes into what a selector finds.
func (p *Page) Type(selector, text string) {
	p.b.t.Helper()
	do(p, chromedp.Focus(chromedp.CSS(selector)))
	send(p, input.InsertText, input.InsertTextParams{Text: text})
}

// See waits until the page says text to people.
func (p *Page) See(text string) {
	p.b.t.Helper()
	b, err := json.Marshal(text)
	if err != nil {
		p.b.t.Fatal(err)
	}
	p.Until(`document.body && document.body.innerText.includes(` + string(b) + `)`)
}

// Until waits until an expression is true.
func (p *Page) Until(js string) {
	p.b.t.Helper()
	do(p, func(ctx context.Context, t *chromedp.Target) (chromedp.Void, error) {
		for {
			// While a page goes and the next one comes there is nothing to ask; by the end of patience there is.
			ok, err := chromedp.Evaluate[bool]("!!("+js+")")(ctx, t)
			if ok && err == nil {
				return chromedp.Void{}, nil
			}
			select {
			case <-ctx.Done():
				return chromedp.Void{}, fmt.Errorf("it never was so: %s (%w)", js, errors.Join(err, ctx.Err()))
			case <-time.After(30 * time.Millisecond):
			}
		}
	})
}

// Eval gives the value of an expression, also of a promise.
func Eval[T any](p *Page, js string) T {
	p.b.t.Helper()
	return do(p, chromedp.Evaluate[T](js, chromedp.EvalAwaitPromise))
}

// Run runs a script in the page.
func (p *Page) Run(js string) { p.b.t.Helper(); Eval[chromedp.Void](p, js) }

// Text is what the page says to people.
func (p *Page) Text() string { p.b.t.Helper(); return Eval[string](p, `document.body.innerText`) }

// Address is where the page is.
func (p *Page) Address() string { p.b.t.Helper(); return do(p, chromedp.Location()) }

// Shot takes a picture of the window, and with whole of all of the page, where REMIT_SCREENSHOTS names a directory for them.
func (p *Page) Shot(name string, whole bool) {
	p.b.t.Helper()
	if p.b.dir == "" {
		return
	}
	shot := chromedp.CaptureScreenshot()
	if whole { // in a window that is as high as the page, or what sticks to its end would lie over its middle
		high := p.screen
		high.Height = max(high.Height, Eval[int64](p, `document.documentElement.scrollHeight`))
		p.resize(high)
		defer p.resize(p.screen)
		shot = chromedp.FullScreenshot(100)
	}
	if err := os.WriteFile(filepath.Join(p.b.dir, name+".png"), do(p, shot), 0o644); err != nil {
		p.b.t.Fatal(err)
	}
}

// Overflows tells how much wider the page is than its window, so that people would have to scroll sideways.
func (p *Page) Overflows() int {
	p.b.t.Helper()
	return Eval[int](p, `document.documentElement.scrollWidth - document.documentElement.clientWidth`)
}

// Passkey is an authenticator: a device of one person that holds passkeys and says yes to everything it is asked.
type Passkey struct {
	p  *Page
	id webauthn.AuthenticatorID
}

// Authenticator gives the window a device that verifies its person: the first is built in, further ones are plugged in.
func (p *Page) Authenticator() *Passkey {
	p.b.t.Helper()
	transport := webauthn.AuthenticatorTransportInternal
	if p.devices++; p.devices > 1 {
		transport = webauthn.AuthenticatorTransportUsb
	}
	send(p, webauthn.Enable, webauthn.EnableParams{})
	made := send(p, webauthn.AddVirtualAuthenticator, webauthn.AddVirtualAuthenticatorParams{Options: &webauthn.VirtualAuthenticatorOptions{
		Protocol: webauthn.AuthenticatorProtocolCtap2, Transport: transport, HasResidentKey: true, HasUserVerification: true,
		IsUserVerified: true, AutomaticPresenceSimulation: true}})
	return &Passkey{p, made.AuthenticatorID}
}

// addCredential is webauthn.AddCredential without the members that are newer than this browser.
var addCredential = cdp.Command[credentialParams, cdp.Empty]{Method: webauthn.CommandAddCredential}

type (
	credentialParams struct {
		Authenticator webauthn.AuthenticatorID `json:"authenticatorId"`
		Credential    credential               `json:"credential"`
	}
	credential struct {
		ID        []byte `json:"credentialId"`
		Resident  bool   `json:"isResidentCredential"`
		RPID      string `json:"rpId"`
		User      []byte `json:"userHandle"`
		Private   []byte `json:"privateKey"` // PKCS #8
		SignCount int    `json:"signCount"`
	}
)

// Add puts a passkey into the device: its id, the host that it is for, whose it is, and its private key (PKCS #8, DER).
func (k *Passkey) Add(id []byte, host string, user, private []byte) {
	k.p.b.t.Helper()
	send(k.p, addCredential, credentialParams{k.id, credential{id, true, host, user, private, 1}})
}

// Absent has the device wait for a touch that does not come, or come again.
func (k *Passkey) Absent(absent bool) {
	k.p.b.t.Helper()
	send(k.p, webauthn.SetAutomaticPresenceSimulation, webauthn.SetAutomaticPresenceSimulationParams{AuthenticatorID: k.id, Enabled: !absent})
}

// Finding is something that axe-core found.
type Finding struct {
	ID, Impact, Help string
	Nodes            []struct{ HTML string }
}

func (f Finding) String() string {
	var at []string
	for _, n := range f.Nodes {
		at = append(at, n.HTML)
	}
	return fmt.Sprintf("%s (%s): %s\n\t%s", f.ID, f.Impact, f.Help, strings.Join(at, "\n\t"))
}

// Numbers gives the figures in what a page says that lead nowhere: neither they nor what they stand in is a link. Times,
// names, code, what people wrote and the limits of a plan are no figures; lines of the log stand beside the number of
// their entry, and a summary stands over what it counts.
func (p *Page) Numbers() []string {
	p.b.t.Helper()
	return Eval[[]string](p, `(() => {
		const out = [], walk = document.createTreeWalker(document.querySelector("main"), NodeFilter.SHOW_TEXT);
		for (let n; (n = walk.nextNode()); ) {
			if (n.parentElement.closest("a, code, pre, time, blockquote, label, textarea, button, .words, .id, .entries, .tree, .plan, summary, [data-bind], [data-said]")) continue;
			const text = n.textContent.replace(/[0-9]{1,2} [A-Z][a-z]{2} [0-9]{4} [0-9:]+ UTC/g, "");
			if (/(^|[\s(])[0-9]+([\s,.;:)]|$)/.test(text)) out.push(text.trim());
		}
		return out;
	})()`)
}

// Unnamed gives the controls of a page whose name no screen reader can say.
func (p *Page) Unnamed() []string {
	p.b.t.Helper()
	var out []string
	for _, n := range send(p, accessibility.GetFullAXTree, accessibility.GetFullAXTreeParams{}).Nodes {
		role, name := text(n.Role), text(n.Name)
		switch role {
		case "button", "link", "textbox", "searchbox", "spinbutton", "checkbox", "DisclosureTriangle", "navigation", "region", "table":
			if !n.Ignored && strings.TrimSpace(name) == "" {
				out = append(out, role)
			}
		}
	}
	return out
}

func text(v *accessibility.Value) string {
	var s string
	if v != nil {
		_ = json.Unmarshal(v.Value, &s) // what is no text names nothing
	}
	return s
}

// Axe runs axe-core over the page and gives what it finds serious or critical. It is skipped where REMIT_AXE does not
// name the file axe.min.js (tools/real/build axe).
func (p *Page) Axe() []Finding {
	p.b.t.Helper()
	file := os.Getenv("REMIT_AXE")
	if file == "" {
		return nil
	}
	script, err := os.ReadFile(file)
	if err != nil {
		p.b.t.Fatal(err)
	}
	// By the debugger, not by the page: the page's policy lets no other script in.
	p.Run(string(script))
	text := Eval[string](p, `axe.run(document, {resultTypes: ["violations"]}).then(r => JSON.stringify(r.violations.map(v => ({ID: v.id, Impact: v.impact, Help: v.help, Nodes: v.nodes.map(n => ({HTML: n.html}))}))))`)
	var all, out []Finding
	if err := json.Unmarshal([]byte(text), &all); err != nil {
		p.b.t.Fatal(err)
	}
	for _, f := range all {
		if f.Impact == "serious" || f.Impact == "critical" {
			out = append(out, f)
		}
	}
	return out
}
