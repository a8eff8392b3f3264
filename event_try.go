package remit

type (
	// PolicyTried is the result of a trial on the past, counted. What it shows in full is a payload.
	PolicyTried struct {
		By       ID     `cbor:"1,keyasint"`
		Bundle   Digest `cbor:"2,keyasint,omitzero"` // zero: each request by the one that was in force
		Set      Digest `cbor:"3,keyasint,omitzero"` // of declarations, as authority.TrialDigest has it
		Since    int64  `cbor:"4,keyasint"`          // Unix nanoseconds
		Until    int64  `cbor:"5,keyasint"`
		Size     uint64 `cbor:"6,keyasint"` // entries that were read
		Judged   int    `cbor:"7,keyasint"`
		Unjudged int    `cbor:"8,keyasint,omitempty"`
		// Decisions that would have been denied, held and allowed instead; a hold that would ask others is among Held.
		Denied   int    `cbor:"9,keyasint,omitempty"`
		Held     int    `cbor:"10,keyasint,omitempty"`
		Allowed  int    `cbor:"11,keyasint,omitempty"`
		Asked    int    `cbor:"12,keyasint,omitempty"` // questions that people were asked
		WouldAsk int    `cbor:"13,keyasint,omitempty"`
		Report   Digest `cbor:"14,keyasint"` // commitment of the answer, a TryAnswer
	}
	// ActivationDeclared says what must have been tried before a change comes into force.
	ActivationDeclared struct {
		Of     string `cbor:"1,keyasint"` // policy | declarations
		Within int    `cbor:"2,keyasint"` // hours
		Over   int    `cbor:"3,keyasint"` // hours
		Bound  bool   `cbor:"4,keyasint,omitempty"`
		More   int    `cbor:"5,keyasint,omitempty"` // questions; with Bound
		By     ID     `cbor:"6,keyasint,omitempty"`
	}
)

func (*PolicyTried) Kind() string        { return "policy.tried" }
func (*ActivationDeclared) Kind() string { return "activation.declared" }
