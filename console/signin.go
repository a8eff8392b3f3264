package console

import (
	"errors"
	"net/http"
	"net/url"

	"github.com/remit-dev/remit"
)

// provider is somebody who can say who a person is, as the API lists them.
type provider struct {
	Name  string `json:"name"`
	Title string `json:"title"`
}

type signInView struct {
	Return    string
	Fresh     bool
	Providers []struct{ Title, Link string }
}

// signInPage offers the ways in. With fresh, somebody who is signed in proves once more who they are.
func signInPage(v *visit) error {
	p := signInView{Return: local(v.r.URL.Query().Get("return")), Fresh: v.r.URL.Query().Get("fresh") != ""}
	if v.session != nil && !p.Fresh {
		http.Redirect(v.w, v.r, p.Return, http.StatusSeeOther)
		return nil
	}
	var list []provider
	var e *remit.Error
	if err := v.get("/sign-in/providers", &list); err != nil && (!errors.As(err, &e) || e.Code != remit.NotFound) {
		return err
	}
	for _, x := range list {
		to := v.api("/sign-in/providers/"+url.PathEscape(x.Name)+"/begin") + "?return=" + url.QueryEscape(p.Return)
		if p.Fresh {
			to += "&fresh=true"
		}
		p.Providers = append(p.Providers, struct{ Title, Link string }{x.Title, to})
	}
	return v.show(http.StatusOK, "signin", "Sign in", p)
}

// handOverPage signs in the browser of somebody whose terminal proved their key, once they have read who that is. The
// secret stands behind the # of its address, which no browser sends anywhere.
func handOverPage(v *visit) error {
	return v.show(http.StatusOK, "handover", "Sign in", local(v.r.URL.Query().Get("return")))
}

// signOut ends the session.
func signOut(v *visit) error {
	if v.session != nil {
		if err := v.post("/session/end", struct{}{}, nil); err != nil {
			return err
		}
	}
	http.Redirect(v.w, v.r, Base+"/sign-in", http.StatusSeeOther)
	return nil
}
