package server

import (
	"testing"

	"github.com/remit-dev/remit/identity/signin"
)

// A form that is taken has one client, the one there is, and every parameter at most once.
func FuzzDeviceForm(f *testing.F) {
	f.Add([]byte("client_id=remit-cli&device_name=x"))
	f.Add([]byte("client_id=remit-cli&client_id=remit-cli"))
	f.Add([]byte("client_id=%72emit-cli;a=b"))
	f.Fuzz(func(t *testing.T, body []byte) {
		form, err := parseDeviceForm(body)
		if err != nil {
			return
		}
		if form.Get("client_id") != signin.Client {
			t.Fatalf("%q is taken", body)
		}
		for name, v := range form {
			if len(v) != 1 {
				t.Fatalf("%q has %q %d times", body, name, len(v))
			}
		}
	})
}
