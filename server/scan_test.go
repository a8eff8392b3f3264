package server_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"reflect"
	"testing"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
	"github.com/remit-dev/remit/internal/world"
)

// A scan is an administrator's, one at a time; its report is kept whole, however large, until it is erased, and the log has
// its numbers.
func TestScans(t *testing.T) {
	var w *world.World
	begun, goOn := make(chan struct{}), make(chan struct{})
	report := remit.ScanReport{Upstream: "forge", Kind: "gitea", Seen: []remit.ScanSeen{{What: "accounts", Count: 2}}, Unseen: []remit.ScanGap{{What: "tokens", Why: "403", Code: "forbidden"}}, Reach: []remit.ScanReach{}}
	random := rand.New(rand.NewPCG(1, 2))
	for i := range 1200 { // some 200 KiB that compress badly
		noise := make([]byte, 128)
		for j := range noise {
			noise[j] = byte(random.Uint32())
		}
		report.Findings = append(report.Findings, remit.ScanFinding{Rule: "write-outside", Level: []remit.ScanLevel{remit.ScanError, remit.ScanWarning, remit.ScanNote}[i%3],
			Subject: fmt.Sprint("gitea:deploy_key/", i), Text: base64.StdEncoding.EncodeToString(noise)})
	}
	w = world.New(t, world.Options{Host: "localhost", Scan: func(_ context.Context, name string) (remit.ScanReport, remit.Digest, error) {
		close(begun)
		<-goOn
		var spec remit.Digest
		w.Engine.View(func(s *authority.State) { spec = s.Upstreams[name].Spec })
		return report, spec, nil
	}})
	team := w.Team()
	team.Groups[0].Members = []string{"ada"} // nobody else decides on what is erased
	w.Declare(team)
	ada := newTab(t, w)
	ada.signIn("ada")
	name := w.Team().Upstreams[0].Name
	at := orgPath + "/upstreams/" + name + "/scan"
	cleo := newTab(t, w)
	cleo.signIn("cleo")
	cleo.refuses(remit.Forbidden, "POST", at, remit.ScanRequest{})
	cleo.refuses(remit.Forbidden, "GET", at, nil)
	ada.refuses(remit.NotFound, "GET", at, nil)
	ada.refuses(remit.NotFound, "POST", orgPath+"/upstreams/nowhere/scan", remit.ScanRequest{})

	done := make(chan remit.ScanView)
	other := newTab(t, w)
	other.signIn("ada")
	go func() {
		var v remit.ScanView
		status, _, body := other.send("POST", at, remit.ScanRequest{})
		if status != http.StatusOK {
			t.Errorf("%d %s", status, body)
		} else {
			if err := json.Unmarshal(body, &v); err != nil {
				t.Error(err)
			}
		}
		done <- v
	}()
	<-begun
	ada.refuses(remit.Conflict, "POST", at, remit.ScanRequest{}) // not two at a time
	close(goOn)
	first := <-done
	var last remit.ScanView
	ada.must("GET", at, nil, &last)
	if !reflect.DeepEqual(first, last) || !reflect.DeepEqual(last.Report, report) || last.Stale {
		t.Fatalf("kept is %d findings of %d, stale %t", len(last.Report.Findings), len(report.Findings), last.Stale)
	}
	w.Engine.View(func(s *authority.State) {
		got := s.Scans[name]
		if got == nil || got.Entry != last.Entry || got.Errors != 400 || got.Warnings != 400 || got.Notes != 400 || got.Unseen != 1 || len(got.Report) < 2 {
			t.Errorf("the state has %+v", got)
		}
	})
	ada.must("POST", orgPath+"/erase", remit.EraseRequest{Entry: &last.Entry, Reason: "it names people"}, nil)
	ada.refuses(remit.NotFound, "GET", at, nil)
}
