package console_test

import (
	"strings"
	"testing"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/identity"
	"github.com/remit-dev/remit/internal/browser"
	"github.com/remit-dev/remit/sshsig"
)

// A link of a terminal says whom it signs in before it does, leaves nothing in the address, and is good once.
func TestATerminalSignsTheConsoleIn(t *testing.T) {
	h := newHouse(t, remit.Team)
	key := h.Key("ben")
	out, err := h.Client().HandOver(t.Context(), key.PublicKey().Marshal(), func(text []byte) ([]byte, error) { return sshsig.Sign(key, identity.SignInNamespace, text) })
	if err != nil {
		t.Fatal(err)
	}
	b := chromium.New(t)
	p := b.Open(browser.Phone)
	cookie, _ := h.cookie("ada")
	p.Cookie(h.URL, identity.SessionCookie, cookie)
	p.Go(out.Link)
	p.See("This signs this browser in as ben")
	p.See("This browser is signed in as ada; that ends.")
	p.Shot("hand-over-phone", true)
	for _, f := range p.Axe() {
		t.Error(f)
	}
	if strings.Contains(p.Address(), out.Secret) {
		t.Error("the secret stays in the address")
	}
	p.Click("#take")
	p.Until(`location.pathname === "/console/"`)
	p.See("ben")
	p.Go(out.Link)
	p.See("this link was used")
	for _, x := range p.Wrong() {
		if !strings.Contains(x, "401") { // the link that was used
			t.Error(x)
		}
	}
}
