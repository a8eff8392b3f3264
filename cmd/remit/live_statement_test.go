package main

import (
	"context"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"maps"
	"slices"

	intoto "github.com/in-toto/attestation/go/v1"
	"github.com/rogpeppe/go-internal/testscript"
	"github.com/secure-systems-lab/go-securesystemslib/dsse"
	"github.com/secure-systems-lab/go-securesystemslib/signerverifier"
	"google.golang.org/protobuf/encoding/protojson"
)

// cmdInToto has in-toto's own library verify an envelope with a key, and prints what the statement says.
func cmdInToto(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: intoto KEY ENVELOPE")
	}
	s, err := foreignVerify([]byte(ts.ReadFile(args[0])), []byte(ts.ReadFile(args[1])))
	if (err != nil) != neg {
		ts.Fatalf("in-toto says: %v", err)
	}
	if err != nil {
		return
	}
	fmt.Fprintln(ts.Stdout(), s.GetPredicateType())
	for _, sub := range s.GetSubject() {
		for _, kind := range slices.Sorted(maps.Keys(sub.GetDigest())) {
			fmt.Fprintln(ts.Stdout(), sub.GetName(), kind, sub.GetDigest()[kind])
		}
	}
	fmt.Fprintln(ts.Stdout(), protojson.Format(s.GetPredicate()))
}

func foreignVerify(key, envelope []byte) (*intoto.Statement, error) {
	block, _ := pem.Decode(key)
	if block == nil {
		return nil, fmt.Errorf("%s is no key", key)
	}
	pub, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return nil, err
	}
	v, err := signerverifier.NewED25519SignerVerifierFromSSLibKey(&signerverifier.SSLibKey{KeyType: "ed25519", Scheme: "ed25519",
		KeyVal: signerverifier.KeyVal{Public: hex.EncodeToString(pub.(ed25519.PublicKey))}})
	if err != nil {
		return nil, err
	}
	var e dsse.Envelope
	if err := json.Unmarshal(envelope, &e); err != nil {
		return nil, err
	}
	for i := range e.Signatures {
		e.Signatures[i].KeyID = "" // they name keys otherwise
	}
	ev, err := dsse.NewEnvelopeVerifier(v)
	if err != nil {
		return nil, err
	}
	if _, err := ev.Verify(context.Background(), &e); err != nil {
		return nil, err
	}
	body, err := e.DecodeB64Payload()
	if err != nil {
		return nil, err
	}
	s := &intoto.Statement{}
	if err := protojson.Unmarshal(body, s); err != nil {
		return nil, err
	}
	return s, s.Validate()
}
