package notify_test

import (
	"net/http"
	"testing"

	webhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/gateway/git"
	"github.com/remit-dev/remit/notify"
)

// TestCallbacksGoWhereTheyAreDeclared: to the very URL of a webhook whose events name them, signed, once; nowhere else.
func TestCallbacksGoWhereTheyAreDeclared(t *testing.T) {
	at := newEndpoint(t, nil)
	h := newHouse(t)
	h.secrets["s"] = newSecret()
	secret := remit.Source{From: "file", Name: "s"}
	o, err := notify.New(notify.Config{Org: "acme", Dir: t.TempDir(), Log: h, House: h, Reviews: h, Reach: func(url, ca string, insecure bool) (http.RoundTripper, error) {
		return git.NewRemote(git.RemoteConfig{URL: url, Insecure: insecure})
	}, Link: func(remit.ID) string { return "" }})
	if err != nil {
		t.Fatal(err)
	}
	h.declare([]remit.Channel{{Name: "people", Kind: remit.ChannelWebhook, URL: at.URL + "/people", Insecure: true, Secret: secret},
		{Name: "point", Kind: remit.ChannelWebhook, URL: at.URL + "/point", Insecure: true, Secret: secret, Events: []string{remit.TellCallback}}})
	for _, endpoint := range []string{at.URL + "/people", at.URL + "/point/", at.URL + "/point?x", at.URL, "", "http://169.254.169.254/"} {
		if o.Callable(t.Context(), endpoint) {
			t.Errorf("%s is called", endpoint)
		}
		if err := o.Callback(t.Context(), endpoint, "id-1", []byte("{}")); err == nil {
			t.Errorf("%s was called", endpoint)
		}
	}
	if !o.Callable(t.Context(), at.URL+"/point") {
		t.Fatal("it is not called where it is declared")
	}
	if err := o.Callback(t.Context(), at.URL+"/point", "id-1", []byte(`{"task":{}}`)); err != nil {
		t.Fatal(err)
	}
	at.mu.Lock()
	all := at.all
	at.mu.Unlock()
	if len(all) != 1 || all[0].path != "/point" || all[0].id != "id-1" || string(all[0].body) != `{"task":{}}` {
		t.Fatalf("%+v", all)
	}
	judge, err := webhooks.NewWebhook(h.secrets["s"])
	if err != nil {
		t.Fatal(err)
	}
	if err := judge.VerifyIgnoringTimestamp(all[0].body, all[0].header); err != nil {
		t.Errorf("its signature is not believed: %v", err)
	}
	for _, s := range []int{http.StatusInternalServerError, http.StatusFound} {
		at.set(func(got) int { return s })
		if err := o.Callback(t.Context(), at.URL+"/point", "id-2", []byte("{}")); err == nil {
			t.Errorf("%d is taken for an answer", s)
		}
	}
	h.declare(nil)
	if err := o.Callback(t.Context(), at.URL+"/point", "id-3", []byte("{}")); err == nil {
		t.Error("it is called though it is no longer declared")
	}
}
