package remit_test

import (
	"strings"
	"testing"

	"github.com/remit-dev/remit"
)

func TestStrictJSONEndsWhereTheStackWould(t *testing.T) {
	for _, c := range []struct {
		name, text string
		ok         bool
	}{
		{"a value", `{"a":[1]}`, true},
		{"as deep as may be", `{"a":` + strings.Repeat("[", 60) + strings.Repeat("]", 60) + `}`, true},
		{"deeper", `{"a":` + strings.Repeat("[", 100) + strings.Repeat("]", 100) + `}`, false},
		{"as deep as a stranger likes", strings.Repeat("[", 8<<20), false},
		{"a member twice", `{"a":1,"a":2}`, false},
		{"a member twice, within", `{"a":{"b":1,"B":2}}`, false},
		{"more than a value", `{"a":1} {}`, false},
		{"an unknown member", `{"b":1}`, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			var v struct {
				A any `json:"a"`
			}
			if err := remit.DecodeStrict(strings.NewReader(c.text), 16<<20, &v); (err == nil) != c.ok {
				t.Fatalf("%v", err)
			}
		})
	}
}
