package kubernetes

import (
	"strings"
	"testing"
)

func FuzzParse(f *testing.F) {
	f.Add("eyJhbGciOiJub25lIn0.eyJzdWIiOiJ4IiwiZXhwIjoxfQ.c2ln")
	f.Add("e30.eyJleHAiOjFlMzAwfQ.c2ln")
	f.Add("a.b.c")
	f.Add("e30.bnVsbA.c2ln")
	f.Fuzz(func(t *testing.T, token string) {
		c, err := parse(token)
		if err != nil {
			if c != nil || len(token) > 8 && strings.Contains(err.Error(), token) {
				t.Fatalf("%v %v", c, err)
			}
			return
		}
		if strings.Count(token, ".") != 2 || len(token) > maxToken {
			t.Fatalf("%q passes", token)
		}
		if end := c.end(); end.Unix() <= 0 && c.Expires >= 1 || end.Unix() > maxTime {
			t.Fatalf("an end of %v", end)
		}
	})
}
