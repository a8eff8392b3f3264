package git

import (
	"encoding/json"

	"github.com/remit-dev/remit"
)

// PackOf tells which blob a work order needs, so that it is kept as long as the order may be carried out.
func PackOf(body []byte) (_ remit.Digest, ok bool) {
	var o order
	if err := json.Unmarshal(body, &o); err != nil || o.Pack.IsZero() {
		return remit.Digest{}, false
	}
	return o.Pack, true
}
