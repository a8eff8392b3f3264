package authority_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
)

const provider = "https://id.acme.example"

// from declares that the reviewers are also whom the provider has in those groups.
func (w *world) from(groups ...string) {
	w.t.Helper()
	w.apply(func(s *authority.Set) {
		var from []remit.GroupSource
		for _, g := range groups {
			from = append(from, remit.GroupSource{Issuer: provider, Group: g})
		}
		s.Groups[2].From = from
	})
}

func (w *world) shows(name string, groups ...string) authority.Result {
	w.t.Helper()
	return w.must(&authority.ShowGroups{Person: remit.ID("p-" + name), Issuer: provider, Groups: groups})
}

func TestGroupsOfAProvider(t *testing.T) {
	each(t, remit.Team, []row{
		{"a sign-in makes a member for a day, for what is asked after it", func(t *testing.T, w *world) {
			w.from("eng-review")
			before := w.asks()
			w.shows("sam", "eng-review")
			w.refuse(w.ballot(before, "sam", touch("sam"), true), remit.NotEligible, "none of the groups")
			w.later(authority.GroupsAge)
			late := w.asks()
			w.refuse(w.ballot(late, "sam", touch("sam"), true), remit.NotEligible, "sign in there again")
			w.shows("sam", "eng-review")
			w.vote(late, "sam", touch("sam"), true)
		}},
		{"to the second", func(t *testing.T, w *world) {
			w.from("eng-review")
			w.shows("sam", "eng-review")
			w.later(authority.GroupsAge - 1)
			id := w.asks()
			if why := w.s.MayVote(id, "p-sam", w.now.UnixNano()); why != "" {
				t.Fatal(why)
			}
			if why := w.s.MayVote(id, "p-sam", w.now.UnixNano()+1); !strings.Contains(why, "sign in there again") {
				t.Fatal(why)
			}
		}},
		{"a member at the vote who is none at its use does not count", func(t *testing.T, w *world) {
			w.from("eng-review")
			w.shows("sam", "eng-review")
			for name, leaves := range map[string]func(){
				"the provider says so":     func() { w.shows("sam") },
				"the declarations say so":  func() { w.from("others") },
				"nobody has said so again": func() { w.later(authority.GroupsAge); w.shows("rio") },
			} {
				w.from("eng-review")
				w.shows("sam", "eng-review")
				w.later(authority.GroupsAge - time.Hour)
				c := w.task("coder", "p-mia", func(c *authority.CreateTask) { c.For = int64(authority.TaskLongest) })
				asked := push(c, branch(c, "x"), "1", workflow)
				id := w.hold(asked, remit.PathProtected)
				w.vote(id, "sam", touch("sam"), true)
				w.status(id, remit.AccessMet, "")
				leaves()
				if d := w.ask(w.claim(id, asked)); d.Verdict == remit.Allow {
					t.Fatalf("%s: %+v", name, d)
				}
			}
		}},
		{"who was out of it in between is a new member; who only did not sign in is not", func(t *testing.T, w *world) {
			w.from("eng-review")
			w.shows("sam", "eng-review")
			w.later(3 * authority.GroupsAge)
			id := w.asks()
			w.shows("sam", "eng-review")
			if why := w.s.MayVote(id, "p-sam", w.now.UnixNano()); why != "" {
				t.Fatal(why)
			}
			w.shows("sam")
			w.shows("sam", "eng-review")
			if why := w.s.MayVote(id, "p-sam", w.now.UnixNano()); !strings.Contains(why, "none of the groups") {
				t.Fatal(why)
			}
		}},
		{"a sign-in at one provider says nothing of another", func(t *testing.T, w *world) {
			w.from("eng-review")
			w.apply(func(s *authority.Set) {
				s.Groups[3].From = []remit.GroupSource{{Issuer: "https://other.example", Group: "eng"}}
			})
			w.shows("sam", "eng-review")
			w.must(&authority.ShowGroups{Person: "p-sam", Issuer: "https://other.example", Groups: []string{"eng"}})
			if !w.s.InGroup("reviewers", "p-sam", w.now.UnixNano()) || !w.s.InGroup("release", "p-sam", w.now.UnixNano()) {
				t.Fatalf("%+v", w.s.People["p-sam"].Shown)
			}
		}},
		{"a request is made although the memberships of all have lapsed", func(t *testing.T, w *world) {
			w.apply(func(s *authority.Set) {
				s.Groups[2].Members, s.Groups[2].From = nil, []remit.GroupSource{{Issuer: provider, Group: "eng-review"}}
			})
			c := w.task("coder", "p-mia")
			w.deny(push(c, branch(c, "x"), "1", workflow), remit.NoApprover, "nobody who may")
			w.shows("sam", "eng-review")
			w.later(3 * authority.GroupsAge)
			id := w.asks()
			may, _ := w.s.Eligible(id, w.now.UnixNano())
			if len(may) != 0 {
				t.Fatal(may)
			}
			w.shows("sam", "eng-review")
			w.vote(id, "sam", touch("sam"), true)
		}},
		{"the members that a provider names may request tasks, and whoever changed one is in the closure", func(t *testing.T, w *world) {
			w.apply(func(s *authority.Set) { s.Groups[1].From = []remit.GroupSource{{Issuer: provider, Group: "eng"}} })
			w.refuse(&authority.CreateTask{By: "p-sam", Agent: "coder"}, remit.Forbidden, "may request")
			w.shows("sam", "eng")
			w.must(&authority.CreateTask{By: "p-sam", Agent: "coder"})
			w.later(authority.GroupsAge)
			w.refuse(&authority.CreateTask{By: "p-sam", Agent: "coder"}, remit.Forbidden, "may request")

			w.apply(func(s *authority.Set) { s.Groups[2].Members = append(slices.Clone(s.Groups[2].Members), "p-bob") })
			w.from("eng-review")
			w.shows("sam", "eng-review")
			id := w.asks()
			w.set.People = slices.Clone(w.set.People)
			w.set.People[5].Keys = append(slices.Clone(w.set.People[5].Keys), key(soft("sam 2")))
			asked := w.must(&authority.ApplySet{By: "p-bob", Set: clone(w.set)}).Decision.Access
			w.vote(asked, "ada", touch("ada"), true)
			w.must(&authority.ApplySet{By: "p-bob", Set: clone(w.set), Access: asked})
			w.refuse(w.ballot(id, "bob", touch("bob"), true), remit.NotEligible, "caused or steered")
		}},
		{"a sign-in shows what declarations name, and says nothing twice", func(t *testing.T, w *world) {
			w.from("b", "a", "c")
			if got := fmt.Sprint(w.s.Sources(provider), w.s.Sources("https://other.example")); got != "[a b c] []" {
				t.Fatal(got)
			}
			bad := func(groups ...string) {
				t.Helper()
				w.refuse(&authority.ShowGroups{Person: "p-sam", Issuer: provider, Groups: groups}, remit.BadRequest, "that declarations name")
			}
			bad("x")
			bad("b", "a")
			w.must(&authority.Kill{By: "p-ada", What: "person", ID: "p-tom"})
			w.refuse(&authority.ShowGroups{Person: "p-tom", Issuer: provider, Groups: []string{"a"}}, remit.UnknownPrincipal, "no such person")
			bad("a", "a")
			w.refuse(&authority.ShowGroups{Person: "p-sam", Issuer: "https://other.example", Groups: []string{"a"}}, remit.BadRequest, "that declarations name")
			w.refuse(&authority.ShowGroups{Person: "p-eve", Issuer: provider}, remit.UnknownPrincipal, "no such person")
			n := len(w.log)
			w.shows("sam")
			w.shows("sam", "a")
			w.shows("sam", "a")
			w.later(time.Hour - time.Second)
			w.shows("sam", "a")
			if len(w.log) != n+1 {
				t.Fatalf("%d entries", len(w.log)-n)
			}
			w.later(time.Second)
			w.shows("sam", "a")
			w.shows("sam", "a", "c")
			if len(w.log) != n+3 {
				t.Fatalf("%d entries", len(w.log)-n)
			}
			if !w.s.InGroup("reviewers", "p-sam", w.now.UnixNano()) || w.s.InGroup("release", "p-mia", w.now.UnixNano()) || w.s.InGroup("nobody", "p-sam", 0) {
				t.Fatal("membership")
			}
		}},
		{"a sign-in shows so many, and no more", func(t *testing.T, w *world) {
			var all []string
			w.apply(func(s *authority.Set) {
				for i := range authority.MaxShown + 1 {
					all = append(all, fmt.Sprintf("g%02d", i))
				}
				for n, some := range slices.Collect(slices.Chunk(all, remit.MaxSources)) {
					g := remit.GroupDeclared{Name: fmt.Sprintf("many%d", n)}
					for _, name := range some {
						g.From = append(g.From, remit.GroupSource{Issuer: provider, Group: name})
					}
					s.Groups = append(s.Groups, g)
				}
			})
			w.refuse(&authority.ShowGroups{Person: "p-sam", Issuer: provider, Groups: all}, remit.BadRequest, "at most 64")
			w.shows("sam", all[1:]...)
		}},
		{"a group that is removed takes members from nobody", func(t *testing.T, w *world) {
			w.from("eng-review")
			w.shows("sam", "eng-review")
			w.apply(func(s *authority.Set) {
				s.Groups = slices.Delete(s.Groups, 2, 3)
				for i := range s.Repositories {
					s.Repositories[i].Approvers = nil
				}
			})
			if w.s.InGroup("reviewers", "p-sam", w.now.UnixNano()) {
				t.Fatal("a member of a group that is removed")
			}
		}},
	})
}

func TestIdentitiesAndSources(t *testing.T) {
	one, two := remit.Hash([]byte("one")), remit.Hash([]byte("two"))
	each(t, remit.Team, []row{
		{"an identity is one person's, and a new one widens", func(t *testing.T, w *world) {
			w.apply(func(s *authority.Set) { s.People[2].Identities = []remit.Digest{one} })
			if got := w.s.People["p-mia"].Identities; !slices.Equal(got, []remit.Digest{one}) {
				t.Fatal(got)
			}
			widens := func(words string, change func(*authority.Set)) {
				t.Helper()
				s := clone(w.set)
				change(&s)
				changes, err := authority.Diff(w.s, &s)
				if err != nil || len(changes) != 1 || !strings.Contains(changes[0].Widens, words) || words == "" && changes[0].Widens != "" {
					t.Fatalf("%+v, %v", changes, err)
				}
			}
			wrong := func(path, words string, change func(*authority.Set)) {
				t.Helper()
				s := clone(w.set)
				change(&s)
				if _, err := authority.Diff(w.s, &s); err == nil || !strings.Contains(err.Error(), path+": ") || !strings.Contains(err.Error(), words) {
					t.Fatal(err)
				}
			}
			widens("gets an identity", func(s *authority.Set) { s.People[2].Identities = []remit.Digest{two, one} })
			widens("gets an identity", func(s *authority.Set) { s.People[2].Identities = []remit.Digest{two} })
			widens("", func(s *authority.Set) { s.People[2].Identities = nil })
			wrong("people[3].identities[0]", "also people[2]'s", func(s *authority.Set) { s.People[3].Identities = []remit.Digest{one} })
			wrong("people[2].identities[1]", "also people[2]'s", func(s *authority.Set) { s.People[2].Identities = []remit.Digest{one, one} })
			wrong("people[3].identities[0]", "another person (p-mia)", func(s *authority.Set) {
				s.People[2].Identities, s.People[3].Identities = nil, []remit.Digest{one}
			})
			wrong("people[2].identities[0]", "commitment", func(s *authority.Set) { s.People[2].Identities = []remit.Digest{{}} })
			wrong("people[2].identities", "at most 8", func(s *authority.Set) { s.People[2].Identities = make([]remit.Digest, remit.MaxIdentities+1) })

			widens("from a provider", func(s *authority.Set) { s.Groups[2].From = []remit.GroupSource{{Issuer: provider, Group: "g"}} })
			wrong("groups[0].from", "one by one", func(s *authority.Set) { s.Groups[0].From = []remit.GroupSource{{Issuer: provider, Group: "g"}} })
			wrong("groups[2].from[1]", "twice", func(s *authority.Set) {
				s.Groups[2].From = []remit.GroupSource{{Issuer: provider, Group: "g"}, {Issuer: provider, Group: "g"}}
			})
			wrong("groups[2].from[0]", "issuer", func(s *authority.Set) {
				s.Groups[2].From = []remit.GroupSource{{Issuer: "http://id.example", Group: "g"}}
			})
			wrong("groups[2].from[0]", "group", func(s *authority.Set) { s.Groups[2].From = []remit.GroupSource{{Issuer: provider}} })
			wrong("groups[2].from", "at most 16", func(s *authority.Set) { s.Groups[2].From = make([]remit.GroupSource, remit.MaxSources+1) })
			w.from("g")
			widens("", func(s *authority.Set) { s.Groups[2].From = nil })
		}},
		{"whoever left leaves their identity to others, unless they were killed", func(t *testing.T, w *world) {
			w.apply(func(s *authority.Set) {
				s.People[6].Identities, s.People[5].Identities = []remit.Digest{one}, []remit.Digest{two}
			})
			w.must(&authority.Kill{By: "p-ada", What: "person", ID: "p-sam"})
			w.apply(func(s *authority.Set) { without2("p-sam", true)(s); without("p-tom")(s) })
			s := clone(w.set)
			s.People[2].Identities = []remit.Digest{one}
			if _, err := authority.Diff(w.s, &s); err != nil {
				t.Fatal(err)
			}
			s.People[2].Identities = []remit.Digest{two}
			if _, err := authority.Diff(w.s, &s); err == nil || !strings.Contains(err.Error(), "another person (p-sam)") {
				t.Fatal(err)
			}
		}},
		{"a key that waits for a vote is none of an administrator who stays", func(t *testing.T, w *world) {
			w.newcomer()
			w.must(w.invite("ada", "zoe", "secret"))
			id := w.must(w.enrolment("zoe", newPasskey(), "secret", nil)).Decision.Access
			s := clone(w.set)
			s.Groups[0].Members = []remit.ID{"p-zoe"}
			if _, err := authority.Diff(w.s, &s); err == nil || !strings.Contains(err.Error(), "who has a key") {
				t.Fatal(err)
			}
			w.must(w.ballot(id, "bob", touch("bob"), true))
			if _, err := authority.Diff(w.s, &s); err != nil {
				t.Fatal(err)
			}
		}},
		{"nor is one of somebody who was killed, or who left and comes back without", func(t *testing.T, w *world) {
			w.must(w.enrolment("bob", newPasskey(), "", touch("bob")))
			refused := func(s authority.Set) {
				t.Helper()
				s.Groups[0].Members = []remit.ID{"p-bob"}
				if _, err := authority.Diff(w.s, &s); err == nil || !strings.Contains(err.Error(), "who has a key") {
					t.Fatal(err)
				}
			}
			bare := clone(w.set)
			bare.People[1].Keys = nil
			w.apply(func(s *authority.Set) {
				s.People = slices.DeleteFunc(slices.Clone(s.People), func(p remit.PersonDeclared) bool { return p.ID == "p-bob" })
				for i := range s.Groups {
					s.Groups[i].Members = slices.DeleteFunc(slices.Clone(s.Groups[i].Members), func(m remit.ID) bool { return m == "p-bob" })
				}
			})
			refused(clone(bare))
			w.must(&authority.Kill{By: "p-ada", What: "person", ID: "p-noa"})
			killed := clone(w.set)
			killed.Groups[0].Members = []remit.ID{"p-noa"}
			if _, err := authority.Diff(w.s, &killed); err == nil || !strings.Contains(err.Error(), "who has a key") {
				t.Fatal(err)
			}
		}},
		{"an administrator who stays has a key", func(t *testing.T, w *world) {
			s := clone(w.set)
			s.Groups[0].Members = []remit.ID{"p-zoe"}
			s.People = append(s.People, person("zoe"))
			if _, err := authority.Diff(w.s, &s); err == nil || !strings.Contains(err.Error(), "who has a key") {
				t.Fatal(err)
			}
			s = clone(w.set)
			s.People[0].Keys, s.People[1].Keys = nil, nil
			if _, err := authority.Diff(w.s, &s); err == nil || !strings.Contains(err.Error(), "who has a key") {
				t.Fatal(err)
			}
			k := newPasskey()
			w.must(w.enrolment("bob", k, "", touch("bob")))
			if _, err := authority.Diff(w.s, &s); err != nil {
				t.Fatal(err)
			}
		}},
	})
}
