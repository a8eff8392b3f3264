package server

import (
	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/identity"
)

// signedIn is what a vote records of its voter's session: codes only, whatever the provider wrote.
func signedIn(of identity.Session) remit.SignedIn {
	return remit.SignedIn{Method: string(of.Method), Provider: of.Provider, ACR: of.ACR, AMR: of.AMR}.Plain()
}

// proved is when a voter proved to be there, Unix time in nanoseconds; 0: nobody said.
func proved(of identity.Session) int64 {
	if of.AuthTime.IsZero() {
		return 0
	}
	return of.AuthTime.UnixNano()
}

// signatureOf is the signature of a vote.
func (s *Server) signatureOf(c *call, in remit.VoteRequest) ([]byte, error) {
	return s.signedAs(c, remit.VoteNamespace, "vote", in.Statement, in.Signature, in.Credential)
}

// signedAs is the signature of a statement of the caller's: as an SSH key made it, or made of what a passkey signed. A
// passkey signed it on a page of this very server: one of another origin under the same domain cannot have got it out of
// anybody.
func (s *Server) signedAs(c *call, namespace, what string, statement, signature []byte, credential *remit.Assertion) ([]byte, error) {
	if credential == nil {
		return signature, s.ownOrigin(signature)
	}
	if len(signature) > 0 {
		return nil, remit.Errorf(remit.BadRequest, "a %s has a signature or a credential, not both", what)
	}
	armored, err := s.asserted(s.passkeys(c.person), namespace, statement, *credential)
	if err != nil {
		return nil, remit.Errorf(remit.BadVote, "no passkey of yours signed this %s: %w", what, err)
	}
	return armored, nil
}
