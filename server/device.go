package server

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
	"github.com/remit-dev/remit/identity"
	"github.com/remit-dev/remit/identity/signin"
)

// How a terminal signs in that has no key of its person (RFC 8628): it shows a code, and the person confirms it in a
// browser in which they are signed in.

const maxDeviceForm = 4 << 10

// deviceAnswer is RFC 8628 §3.2.
type deviceAnswer struct {
	DeviceCode string `json:"device_code"`
	UserCode   string `json:"user_code"`
	URI        string `json:"verification_uri"`
	Complete   string `json:"verification_uri_complete"`
	ExpiresIn  int    `json:"expires_in"`
	Interval   int    `json:"interval"`
}

// tokenAnswer is RFC 6749 §5.1.
type tokenAnswer struct {
	AccessToken string `json:"access_token"`
	Type        string `json:"token_type"`
	ExpiresIn   int64  `json:"expires_in"`
}

// parseDeviceForm reads a form of a device client. A parameter that stands twice could be read in two ways (RFC 6749
// §3.1).
func parseDeviceForm(body []byte) (url.Values, error) {
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return nil, remit.Errorf(remit.BadRequest, "the form cannot be read")
	}
	for name, v := range form {
		if len(v) > 1 {
			return nil, remit.Errorf(remit.BadRequest, "the form has %.32q twice", name)
		}
	}
	if form.Get("client_id") != signin.Client {
		return nil, remit.Errorf(remit.BadRequest, "client_id is %s; there is no other device client", signin.Client)
	}
	return form, nil
}

// askDevice is the device authorization endpoint.
func askDevice(s *Server, c *call) error {
	c.w.Header().Set("Pragma", "no-cache")
	body, err := io.ReadAll(http.MaxBytesReader(c.w, c.r.Body, maxDeviceForm))
	if err != nil {
		return c.oauth(s, remit.Errorf(remit.BadRequest, "the form has more than %d bytes", maxDeviceForm))
	}
	form, err := parseDeviceForm(body)
	if err != nil {
		return c.oauth(s, err)
	}
	host, _ := s.host(c.r)
	code, w, err := s.devices.Ask(signin.Asking{Name: form.Get("device_name"), Host: host, Address: address(c.r)})
	if err != nil {
		return c.oauth(s, err)
	}
	at := s.cfg.Base + "/console/device"
	return c.answer(deviceAnswer{DeviceCode: code, UserCode: w.Code, URI: at, Complete: at + "?code=" + w.Code,
		ExpiresIn: int(signin.DeviceLife / time.Second), Interval: int(signin.PollEvery / time.Second)})
}

// tokenEndpoint serves what asks for tokens: terminals by the code that they show, and CI jobs by exchange.
func tokenEndpoint(s *Server, c *call) error {
	body, err := io.ReadAll(http.MaxBytesReader(c.w, c.r.Body, identity.MaxExchange+1))
	if err != nil {
		return c.oauth(s, remit.Errorf(remit.BadRequest, "the form cannot be read: %w", err))
	}
	if form, err := url.ParseQuery(string(body)); err == nil && form.Get("grant_type") == signin.GrantType {
		return deviceToken(s, c, body)
	}
	c.r.Body = io.NopCloser(bytes.NewReader(body))
	return exchange(s, c)
}

// deviceToken gives a terminal the session that let it in (RFC 8628 §3.4, §3.5).
func deviceToken(s *Server, c *call, body []byte) error {
	if err := refuseInstances(c.r); err != nil {
		return c.oauth(s, err)
	}
	if err := s.refuseDescent(c.r); err != nil {
		return c.oauth(s, err)
	}
	form, err := parseDeviceForm(body)
	if err != nil {
		return c.oauth(s, err)
	}
	by, reason := s.devices.Take(form.Get("device_code"))
	if reason != "" {
		c.w.Header().Set("Content-Type", "application/json")
		c.w.WriteHeader(http.StatusBadRequest)
		if err := json.NewEncoder(c.w).Encode(oauthProblem{Error: reason, Description: reason, Code: remit.Unauthenticated}); err != nil {
			return errGone
		}
		return nil
	}
	token, session, err := s.cfg.Sessions.Admit(by)
	if err != nil {
		return c.oauth(s, err)
	}
	return c.answer(tokenAnswer{AccessToken: token, Type: "Bearer", ExpiresIn: int64(session.NotAfter.Sub(session.Since) / time.Second)})
}

// lookDevice shows a person which terminal asks, and what speaks against letting it in.
func lookDevice(s *Server, c *call) (out remit.DeviceView, err error) {
	w, err := s.devices.Look(c.r.PathValue("code"), c.person)
	if err != nil {
		return out, err
	}
	mine, _ := s.host(c.r)
	out = remit.DeviceView{UserCode: w.Code, Name: w.Name, Address: w.Address, Here: mine == w.Host, Asked: w.Asked, NotAfter: w.NotAfter}
	now := s.now().UnixNano()
	s.view(func(st *authority.State) {
		for id, t := range st.Tasks {
			if slices.Contains(t.Hosts, w.Host) && st.TaskLive(id, now) {
				out.Agents = append(out.Agents, id)
			}
		}
	})
	slices.Sort(out.Agents)
	return out, nil
}

// answerDevice lets a terminal in, or not.
func answerDevice(letIn bool) func(*Server, *call, none) (none, error) {
	return func(s *Server, c *call, _ none) (none, error) {
		if err := themselves(c.session); err != nil {
			return none{}, err
		}
		return none{}, s.devices.Answer(c.r.PathValue("code"), c.session, letIn)
	}
}
