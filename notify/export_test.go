package notify

import "github.com/remit-dev/remit"

// Render is a card in every form.
func Render(v remit.AccessView, diff bool) (title, text, mrkdwn, html string, err error) {
	m := message{id: "acme:1:x", what: remit.TellOpened, org: "acme", link: "https://remit.example/approve/A-1"}
	m.ofAccess(item{What: remit.TellOpened, Access: v.ID}, v, diff)
	html, err = m.html()
	return m.title, m.text(), m.mrkdwn(), html, err
}
