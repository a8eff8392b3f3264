package authority_test

import (
	"reflect"
	"testing"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
)

func TestDroppedNamesWhatNoGrantHas(t *testing.T) {
	type (
		as = []remit.Action
		ps = []remit.Pattern
	)
	granted := []remit.Scope{
		{Actions: as{"source.read", "source.push"}, Resources: ps{"repo:forge/payments"}, Refs: ps{"refs/heads/remit/{task}/**"}, Paths: ps{"docs/**"}},
		{Actions: as{"source.merge"}, Resources: ps{"repo:forge/**"}, Refs: ps{"refs/heads/main"}},
	}
	for what, test := range map[string]struct{ asked, want []remit.Scope }{
		"nothing asked":      {},
		"all is there":       {asked: []remit.Scope{{Actions: as{"source.read", "source.push"}, Resources: ps{"repo:forge/payments"}}}},
		"wider than granted": {asked: []remit.Scope{{Actions: as{"source.read"}, Resources: ps{"repo:forge/**"}}}},
		"an action": {asked: []remit.Scope{{Actions: as{"source.read", "review.submit", "issue.read"}, Resources: ps{"repo:forge/payments"}}},
			want: []remit.Scope{{Actions: as{"review.submit", "issue.read"}, Resources: ps{"repo:forge/payments"}}}},
		"a resource": {asked: []remit.Scope{{Actions: as{"source.read"}, Resources: ps{"repo:forge/payments", "repo:forge/other"}}},
			want: []remit.Scope{{Actions: as{"source.read"}, Resources: ps{"repo:forge/other"}}}},
		"an action of another resource": {asked: []remit.Scope{{Actions: as{"source.merge", "source.push"}, Resources: ps{"repo:forge/other"}}},
			want: []remit.Scope{{Actions: as{"source.push"}, Resources: ps{"repo:forge/other"}}}},
		"a ref": {asked: []remit.Scope{{Actions: as{"source.push"}, Resources: ps{"repo:forge/payments"}, Refs: ps{"refs/heads/remit/{task}/x", "refs/heads/main"}}},
			want: []remit.Scope{{Actions: as{"source.push"}, Resources: ps{"repo:forge/payments"}, Refs: ps{"refs/heads/main"}}}},
		"a path": {asked: []remit.Scope{{Actions: as{"source.push"}, Resources: ps{"repo:forge/payments"}, Paths: ps{"docs/guide.md", "src/**"}}},
			want: []remit.Scope{{Actions: as{"source.push"}, Resources: ps{"repo:forge/payments"}, Paths: ps{"src/**"}}}},
		"a path where all are granted": {asked: []remit.Scope{{Actions: as{"source.merge"}, Resources: ps{"repo:forge/payments"}, Refs: ps{"refs/heads/main"}, Paths: ps{"src/**"}}}},
	} {
		if got := authority.Dropped(test.asked, granted, "T-7"); !reflect.DeepEqual(got, test.want) {
			t.Errorf("%s: %+v, not %+v", what, got, test.want)
		}
	}
}
