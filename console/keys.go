package console

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/remit-dev/remit"
)

type keysView struct {
	Keys     []remit.KeyView
	Passkeys bool // this server has a name that passkeys can be made for
	Older    bool // there is a passkey to confirm a new one with
}

// keysPage shows a person's own keys.
func keysPage(v *visit) error {
	if err := v.signedIn(); err != nil {
		return err
	}
	var p keysView
	if err := v.get("/keys", &p.Keys); err != nil {
		return err
	}
	var org remit.OrgInfo
	if err := v.get("", &org); err != nil {
		return err
	}
	p.Passkeys = org.RPID != ""
	for _, k := range p.Keys {
		p.Older = p.Older || k.Passkey == org.RPID && k.Counts && p.Passkeys
	}
	return v.show(http.StatusOK, "keys", "Your keys", p)
}

// removeKey takes away a key of the person's own.
func removeKey(v *visit) error {
	if err := v.signedIn(); err != nil {
		return err
	}
	v.back = Base + "/keys"
	var key remit.Digest
	if err := key.UnmarshalText([]byte(v.r.PostFormValue("key"))); err != nil {
		return remit.Errorf(remit.BadRequest, "there is no such key: %w", err)
	}
	if err := v.post("/keys/remove", remit.KeyName{Key: key}, nil); err != nil {
		return err
	}
	http.Redirect(v.w, v.r, v.back, http.StatusSeeOther)
	return nil
}

// invitationPage is where somebody who has no key yet makes their first. The secret stands behind the # of its address,
// which no browser sends anywhere; only the script reads it.
func invitationPage(v *visit) error { return v.show(http.StatusOK, "invitation", "Invitation", nil) }

type deviceView struct {
	Code   string
	Device *remit.DeviceView
	Done   string // what was answered
}

// devicePage asks a person whether a terminal is theirs (RFC 8628 §3.3).
func devicePage(v *visit) error {
	if err := v.signedIn(); err != nil {
		return err
	}
	p := deviceView{Code: strings.ToUpper(strings.TrimSpace(v.r.URL.Query().Get("code")))}
	if p.Code != "" {
		p.Device = new(remit.DeviceView)
		if err := v.get("/device/"+url.PathEscape(p.Code), p.Device); err != nil {
			return err
		}
	}
	return v.show(http.StatusOK, "device", "A terminal asks to be let in", p)
}

func answerDevice(v *visit) error {
	if err := v.signedIn(); err != nil {
		return err
	}
	p := deviceView{Code: v.r.PostFormValue("code")}
	v.back = Base + "/device?code=" + url.QueryEscape(p.Code)
	switch v.r.PostFormValue("answer") {
	case "confirm":
		p.Done = "The terminal is let in. It goes on by itself."
		if err := v.post("/device/"+url.PathEscape(p.Code)+"/confirm", struct{}{}, nil); err != nil {
			return err
		}
	case "deny":
		p.Done = "The terminal is not let in."
		if err := v.post("/device/"+url.PathEscape(p.Code)+"/deny", struct{}{}, nil); err != nil {
			return err
		}
	default:
		return remit.Errorf(remit.BadRequest, "the answer is confirm or deny")
	}
	return v.show(http.StatusOK, "device", "A terminal asks to be let in", p)
}
