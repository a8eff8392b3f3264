package remit_test

import (
	"strings"
	"testing"

	"github.com/remit-dev/remit"
)

func TestIdentitiesAndSourcesSayWhatIsWrong(t *testing.T) {
	for issuer, ok := range map[string]bool{"https://id.example": true, "https://id.example/realms/a": true, "https://id.example:8443/": true, "http://localhost:9998": true,
		"": false, "id.example": false, "http://id.example": false, "https://": false, "https://u@id.example": false, "https://id.example?x": false, "https://id.example#x": false,
		"https://id.example/" + strings.Repeat("x", 512): false, "http://%zz": false} {
		if why := (remit.Identity{Issuer: issuer, Subject: "u1"}).Wrong(); (why == "") != ok {
			t.Errorf("issuer %q: %q", issuer, why)
		}
	}
	for name, ok := range map[string]bool{"u1": true, "a|b c": true, "é": true, "": false, "a\nb": false, "a\x7fb": false, strings.Repeat("x", 256): false} {
		if why := (remit.GroupSource{Issuer: "https://id.example", Group: name}).Wrong(); (why == "") != ok || !ok && !strings.Contains(why, "group") {
			t.Errorf("group %q: %q", name, why)
		}
	}
}

func FuzzParseIdentity(f *testing.F) {
	f.Add(remit.Identity{Issuer: "https://id.example", Subject: "u1"}.Body())
	f.Add([]byte(`{"issuer":"a","Subject":"b"}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		i, err := remit.ParseIdentity(b)
		if err != nil {
			return
		}
		if again, err := remit.ParseIdentity(i.Body()); err != nil || again != i {
			t.Fatalf("%q is read as %+v, and then as %+v, %v", b, i, again, err)
		}
	})
}
