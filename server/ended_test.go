package server_test

import (
	"bufio"
	"encoding/json"
	"net/http"
	"testing"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/identity"
	"github.com/remit-dev/remit/internal/world"
)

// Attack: somebody took the cookie of a browser and follows the log with it. Taking away reaches what is under way (R11):
// the answer ends when its person signs out, is killed, or lets the session lie idle.
func TestAnAnswerThatGoesOnEndsWithItsSession(t *testing.T) {
	for what, end := range map[string]func(w *world.World, cleo *tab){
		"signed out": func(w *world.World, cleo *tab) {
			cleo.must("POST", orgPath+"/session/end", struct{}{}, nil)
			w.Task("cleo")
		},
		"killed": func(w *world.World, cleo *tab) {
			ada := newTab(cleo.t, w)
			ada.signIn("ada")
			ada.must("POST", orgPath+"/kill", map[string]string{"what": "person", "id": "cleo"}, nil)
		},
		"idle": func(w *world.World, _ *tab) { w.Clock.Advance(identity.BrowserIdle) },
	} {
		t.Run(what, func(t *testing.T) {
			w := world.New(t, world.Options{Host: "localhost"})
			w.Declare(w.Team())
			cleo := newTab(t, w)
			cleo.signIn("cleo")
			r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, w.URL+orgPath+"/log/entries?follow=true", nil)
			if err != nil {
				t.Fatal(err)
			}
			resp, err := cleo.http.Do(r)
			if err != nil || resp.StatusCode != http.StatusOK {
				t.Fatalf("%v %v", resp, err)
			}
			defer resp.Body.Close()
			head, err := w.Client().LogHead(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			over := make(chan remit.EntryIndex)
			read := make(chan struct{})
			go func() {
				last, lines := remit.EntryIndex(0), bufio.NewScanner(resp.Body)
				lines.Buffer(nil, 1<<20)
				for lines.Scan() {
					var e remit.LogEntry
					if json.Unmarshal(lines.Bytes(), &e) != nil {
						continue // an empty line: the server is there
					}
					if last = e.Entry; uint64(last) == head.Size-1 {
						close(read)
					}
				}
				over <- last
			}()
			<-read
			end(w, cleo)
			select {
			case last := <-over:
				if uint64(last) >= head.Size+1 {
					t.Errorf("it was told of entry %d, after all was over at %d", last, head.Size)
				}
			case <-time.After(20 * time.Second):
				t.Fatal("it goes on")
			}
		})
	}
}

// Attack: a link leads a person's browser to what an upstream or an agent wrote, through a gateway, with the agent's own
// token in its address: a page at the origin of the console, whose scripts would be the person's. It is a page of nobody's.
func TestWhatComesThroughAGatewayIsNoPageOfThisOrigin(t *testing.T) {
	w := world.New(t, world.Options{})
	for _, path := range []string{"/git", "/git/forge/payments.git/info/refs?service=git-upload-pack", "/probe/x"} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, w.URL+orgPath+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := browser(w).Do(r)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if csp := resp.Header.Get("Content-Security-Policy"); csp != "default-src 'none'; frame-ancestors 'none'; sandbox" || resp.Header.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s: %v", path, resp.Header)
		}
	}
}
