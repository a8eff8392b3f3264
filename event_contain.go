package remit

// UpstreamContained: an administrator has everything that Remit made at an upstream ended, and nothing is made or done
// there until one of them lifts it.
type UpstreamContained struct {
	Upstream string `cbor:"1,keyasint"`
	By       ID     `cbor:"2,keyasint"`
	Lifted   bool   `cbor:"3,keyasint,omitempty"`
}

// Kind is part of Event.
func (*UpstreamContained) Kind() string { return "upstream.contained" }
