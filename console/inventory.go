package console

import (
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/remit-dev/remit"
)

type inventoryView struct {
	remit.Inventory
	Kinds  []string
	Kind   string
	Owner  string
	Unused int // days
	Any    bool
}

func (p inventoryView) followed() remit.EntryIndex { return p.Size }

// Link is the address of the list with another kind, owner or number of days.
func (p inventoryView) Link(kind, owner string, unused int) string {
	v := url.Values{}
	if kind != "" {
		v.Set("kind", kind)
	}
	if owner != "" {
		v.Set("owner", owner)
	}
	if unused > 0 {
		v.Set("unused", strconv.Itoa(unused))
	}
	if len(v) == 0 {
		return Base + "/inventory"
	}
	return Base + "/inventory?" + v.Encode()
}

// Next is the address of the page after this one.
func (p inventoryView) Next() string {
	v := url.Values{"kind": {p.Kind}, "owner": {p.Owner}, "after": {p.After}}
	if p.Unused > 0 {
		v.Set("unused", strconv.Itoa(p.Unused))
	}
	return Base + "/inventory?" + v.Encode()
}

// inventoryPage lists what there is, first what nobody answers for.
func inventoryPage(v *visit) error {
	if err := v.signedIn(); err != nil {
		return err
	}
	q := v.r.URL.Query()
	p := inventoryView{Kinds: remit.AssetKinds(), Kind: q.Get("kind"), Owner: q.Get("owner")}
	ask := url.Values{"kind": {p.Kind}, "owner": {p.Owner}, "after": {q.Get("after")}}
	if text := q.Get("unused"); text != "" {
		days, err := strconv.Atoi(text)
		if err != nil || days < 1 || days > 36500 {
			return remit.Errorf(remit.BadRequest, "unused is a number of days, 1 to 36500, not %.32q", text)
		}
		p.Unused = days
		ask.Set("unused", (time.Duration(days) * 24 * time.Hour).String())
	}
	if err := v.get("/inventory?"+ask.Encode(), &p.Inventory); err != nil {
		return err
	}
	p.Any = p.Kind != "" || p.Owner != "" || p.Unused > 0
	return v.show(http.StatusOK, "agents-inventory", "Inventory", p)
}
