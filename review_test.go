package remit_test

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/remit-dev/remit"
)

func statement(items int) []byte {
	c := remit.Certification{Origin: "log.example"}
	for i := range items {
		c.Answers = append(c.Answers, remit.Certified{Item: remit.ID(fmt.Sprintf("R-%d", i+1)), Answer: remit.Keep, Shown: remit.Hash([]byte{byte(i)})})
	}
	return c.Bytes()
}

func FuzzParseCertification(f *testing.F) {
	f.Add(statement(1))
	f.Add(statement(remit.MaxCertified))
	f.Add([]byte("remit review v1\norigin: \n\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := remit.ParseCertification(b)
		if err != nil {
			var e *remit.Error
			if !errors.As(err, &e) || e.Code != remit.BadVote || len(c.Answers) != 0 {
				t.Fatalf("%v, and %+v", err, c)
			}
			return
		}
		if !bytes.Equal(c.Bytes(), b) || len(c.Answers) == 0 || len(c.Answers) > remit.MaxCertified {
			t.Fatalf("%q is read as %+v", b, c)
		}
	})
}

func TestAStatementOfAReviewHasOneForm(t *testing.T) {
	good := string(statement(2))
	if c, err := remit.ParseCertification([]byte(good)); err != nil || len(c.Answers) != 2 || c.Answers[1].Item != "R-2" {
		t.Fatalf("%+v, %v", c, err)
	}
	if _, err := remit.ParseCertification(statement(remit.MaxCertified)); err != nil {
		t.Fatal(err)
	}
	for what, bad := range map[string]string{
		"nothing":          "",
		"a vote":           strings.Replace(good, "remit review v1", "remit vote v1", 1),
		"no origin":        strings.Replace(good, "origin: ", "", 1),
		"no item":          "remit review v1\norigin: log.example\n",
		"no last newline":  strings.TrimSuffix(good, "\n"),
		"two newlines":     good + "\n",
		"another answer":   strings.Replace(good, " keep ", " approve ", 1),
		"no digest":        good[:len(good)-2] + "x\n",
		"an item twice":    good + strings.Split(good, "\n")[2] + "\n",
		"a carriage":       strings.ReplaceAll(good, "\n", "\r\n"),
		"too many items":   string(statement(remit.MaxCertified + 1)),
		"upper-case digit": strings.ToUpper(good[:3]) + good[3:],
	} {
		if c, err := remit.ParseCertification([]byte(bad)); err == nil {
			t.Errorf("%s is read as %+v", what, c)
		}
	}
}

func TestSpans(t *testing.T) {
	for s, want := range map[string]time.Duration{"14d": 14 * 24 * time.Hour, "90m": 90 * time.Minute, "1h": time.Hour} {
		if got, err := remit.ParseSpan(s); err != nil || got != want {
			t.Errorf("%q is %s, %v", s, got, err)
		}
	}
	for _, s := range []string{"", "d", "14", "0d", "-1d", "+1d", "01d", "1.5h", "14 d", "1w", "99999999999999999999d"} {
		if got, err := remit.ParseSpan(s); err == nil {
			t.Errorf("%q is %s", s, got)
		}
	}
	for n, want := range map[time.Duration]string{14 * 24 * time.Hour: "14d", 36 * time.Hour: "36h", 90 * time.Minute: "90m"} {
		if got := remit.FormatSpan(int64(n)); got != want {
			t.Errorf("%s is written %s, not %s", n, got, want)
		}
	}
}

func TestWhatIsDeclaredOfReviews(t *testing.T) {
	if r, err := (remit.Declarations{}).DeclaredReviews(); r != nil || err != nil {
		t.Fatalf("a set that declares nothing of reviews has %+v, %v", r, err)
	}
	day := int64(24 * time.Hour)
	std := &remit.ReviewsDeclared{SuspendAfter: 14 * day, RetireAfter: 60 * day, UnusedAfter: 30 * day, Due: 7 * day, Fallback: remit.Administrators, Micro: []string{"new-function", "owner-left", "unused", "wide"}}
	for _, d := range []remit.Declarations{{Reviews: &remit.Reviews{}}, {Campaigns: []remit.Campaign{{Name: "all"}}}} {
		if r, err := d.DeclaredReviews(); err != nil || !reflect.DeepEqual(r, std) {
			t.Fatalf("%+v, %v", r, err)
		}
	}
	for _, x := range []remit.Reviews{{}, {SuspendAfter: "off", RetireAfter: "off", Micro: []string{"none"}}, {SuspendAfter: "3d", RetireAfter: "90d", UnusedAfter: "36h", Due: "2h", Fallback: "ops", Micro: []string{"wide"}}} {
		r, err := remit.Declarations{Reviews: &x}.DeclaredReviews()
		if err != nil {
			t.Fatalf("%+v: %v", x, err)
		}
		if back := r.Reviews(); !reflect.DeepEqual(*back, x) {
			t.Errorf("%+v is read back as %+v", x, *back)
		}
	}
	if r, err := (remit.Declarations{Reviews: &remit.Reviews{SuspendAfter: "off"}}).DeclaredReviews(); err != nil || r.SuspendAfter != 0 || r.RetireAfter != 0 {
		t.Fatalf("%+v, %v", r, err)
	}
	for at, x := range map[string]remit.Reviews{"reviews.suspend_after": {SuspendAfter: "1h"}, "reviews.due": {Due: "1y"}, "reviews.unused_after": {UnusedAfter: "off"}, "reviews.micro[0]": {Micro: []string{"boredom"}}} {
		_, err := remit.Declarations{Reviews: &x}.DeclaredReviews()
		var e *remit.DeclarationError
		if !errors.As(err, &e) || e.Path != at {
			t.Errorf("%+v: %v, and not about %s", x, err, at)
		}
	}
	for _, x := range []remit.Campaign{{Name: "all", Cadence: "0 9 1 * *"}, {Name: "p", Agents: []string{"pay*"}, Functions: []remit.Function{remit.FuncDeploy}, Owners: []string{"mia"}, Cadence: "0 9 1 * *", Due: "3d", Reviewers: []string{"ops"}, Fallback: "leads", Canaries: 2}} {
		var ids []remit.ID
		if len(x.Owners) > 0 {
			ids = []remit.ID{"p-mia"}
		}
		c, err := x.Declared("campaigns[0]", ids)
		if err != nil || c.Due == 0 || c.Fallback == "" {
			t.Fatalf("%+v, %v", c, err)
		}
		if back := c.Campaign(x.Owners); !reflect.DeepEqual(back, x) {
			t.Errorf("%+v is read back as %+v", x, back)
		}
	}
}
