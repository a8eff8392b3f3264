package remit

// UpstreamScanned: somebody had Remit look for authority outside it at an upstream. What was found names people there, so
// it is a payload.
type UpstreamScanned struct {
	Upstream string `cbor:"1,keyasint"`
	By       ID     `cbor:"2,keyasint"`
	Looked   string `cbor:"3,keyasint"` // what it was taken for: gitea | github | kubernetes | registry, or its kind
	Spec     Digest `cbor:"4,keyasint"` // commitment of the declaration by which it was looked at
	// Report is the commitments of the parts of the report: a ScanReport as JSON, gzip (RFC 1952), cut into payloads.
	Report   []Digest `cbor:"5,keyasint"`
	Errors   int      `cbor:"6,keyasint,omitempty"`
	Warnings int      `cbor:"7,keyasint,omitempty"`
	Notes    int      `cbor:"8,keyasint,omitempty"`
	Reach    int      `cbor:"9,keyasint,omitempty"`
	Unseen   int      `cbor:"10,keyasint,omitempty"` // what could not be seen; without it no scan is clean
}

// Kind is part of Event.
func (*UpstreamScanned) Kind() string { return "upstream.scanned" }

// MaxScanParts is how many payloads a report takes at most.
const MaxScanParts = 16
