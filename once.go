package remit

// AnswerKept: what was asked under an Idempotency-Key was done by the command before it. Asked again under that key, it
// is answered from here and not done again.
type AnswerKept struct {
	Key  Digest `cbor:"1,keyasint"` // of who asks and their key; keyed, so that it says nothing of either
	Body Digest `cbor:"2,keyasint"` // of what was asked; keyed
}

func (*AnswerKept) Kind() string { return "answer.kept" }
