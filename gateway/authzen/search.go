package authzen

import (
	"crypto/hmac"
	"encoding/base64"
	"encoding/binary"
	"net/http"

	"github.com/remit-dev/remit"
)

// How many results a page has, where the client does not say, and at most.
const (
	defaultPage = 100
	maxPage     = 1000
)

// found is a result as it is written.
type found struct {
	Type string `json:"type,omitempty"`
	ID   string `json:"id,omitempty"`
	Name string `json:"name,omitempty"`
}

// page says where a list goes on (AuthZEN §8.2).
type page struct {
	Next  string `json:"next_token"`
	Count int    `json:"count"`
	Total int    `json:"total"`
}

// search lists what could stand in the part that is looked for (AuthZEN §8). It is no decision: an evaluation is.
func (p *Point) search(w http.ResponseWriter, r *http.Request, c remit.Caller, find Find) error {
	m, err := read(r, maxBody)
	if err != nil {
		return err
	}
	q, err := m.question()
	if err != nil {
		return err
	}
	if err := q.check(find); err != nil {
		return err
	}
	at, paged, err := p.cursor(m, find, c)
	if err != nil {
		return err
	}
	leave, ok := p.seats.Take(c.Instance) // it is as much work as many evaluations
	if !ok {
		return remit.Errorf(remit.Overload, "instance %s searches too often at one time; wait for an answer", c.Instance)
	}
	defer leave()
	all, err := p.PDP.Search(r.Context(), c, find, q)
	if err != nil {
		return err
	}
	from := min(at.offset, len(all))
	to := min(from+at.limit, len(all))
	out := struct {
		Results []found `json:"results"`
		Page    *page   `json:"page,omitempty"`
	}{Results: make([]found, 0, to-from)}
	for _, e := range all[from:to] {
		out.Results = append(out.Results, found{Type: e.Type, ID: e.ID, Name: e.Name})
	}
	if paged || to < len(all) {
		out.Page = &page{Count: to - from, Total: len(all)}
		if at.offset = to; to < len(all) {
			out.Page.Next = p.token(at)
		}
	}
	reply(w, http.StatusOK, out)
	return nil
}

// cursor is a place in the answer to one question of one caller.
type cursor struct {
	offset, limit int
	of            []byte // the question
}

// cursor reads where the client wants to go on, and takes that out of the question.
func (p *Point) cursor(m members, find Find, c remit.Caller) (at cursor, paged bool, err error) {
	var token string
	var limit *int
	var in members
	if paged, err = m.part("page", &in); err != nil {
		return at, paged, err
	}
	delete(m, "page")
	plain, err := canonical(m)
	if err != nil {
		return at, paged, err
	}
	at = cursor{limit: defaultPage, of: append([]byte(string(find)+"\n"+string(c.Instance)+"\n"), plain...)}
	if _, err := in.part("token", &token); err != nil {
		return at, paged, err
	}
	if _, err := in.part("limit", &limit); err != nil {
		return at, paged, err
	}
	if token != "" {
		if err := p.resume(&at, token); err != nil {
			return at, paged, err
		}
	}
	if limit != nil {
		if *limit < 1 {
			return at, paged, remit.Errorf(remit.BadRequest, "page.limit: %d; a page has at least one result", *limit)
		}
		at.limit = min(*limit, maxPage)
	}
	return at, paged, nil
}

// token is at as the client hands it back: offset, limit and a proof that both are of this question and this caller.
func (p *Point) token(at cursor) string {
	b := binary.BigEndian.AppendUint32(nil, uint32(at.offset))
	b = binary.BigEndian.AppendUint32(b, uint32(at.limit))
	return base64.RawURLEncoding.EncodeToString(append(b, p.mac("page", append(b, at.of...))...))
}

// resume goes on where a token says.
func (p *Point) resume(at *cursor, token string) error {
	b, err := base64.RawURLEncoding.Strict().DecodeString(token)
	if err != nil || len(b) != 8+macSize || !hmac.Equal(b[8:], p.mac("page", append(b[:8:8], at.of...))) {
		return remit.Errorf(remit.BadRequest, "page.token: not a token of this search; leave it out to begin again, or send the same search with it")
	}
	at.offset, at.limit = int(binary.BigEndian.Uint32(b)), int(binary.BigEndian.Uint32(b[4:]))
	return nil
}
