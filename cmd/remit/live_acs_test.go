package main

import (
	"bytes"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/gowebpki/jcs"
	"github.com/rogpeppe/go-internal/testscript"
)

var acsCommands = map[string]func(*testscript.TestScript, bool, []string){"acs": cmdACS}

// cmdACS is a host of the Agent Control Standard that knows nothing of Remit: acs TOKEN SESSION METHOD PAYLOAD. It signs
// the request with the key of the instance, and fails unless the answer allows; it does not believe an answer that is not
// signed. With SESSION forged it signs with a key of its own.
func cmdACS(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 4 {
		ts.Fatalf("usage: acs TOKEN SESSION METHOD PAYLOAD")
	}
	send := func(method, path string, body []byte) []byte {
		r, err := http.NewRequest(method, ts.Getenv("REMIT_SERVER")+"/v1/orgs/acme/acs"+path, bytes.NewReader(body))
		ts.Check(err)
		r.Header.Set("Authorization", "Bearer "+args[0])
		r.Header.Set("Prefer", "wait=1")
		answer, err := clientOf(ts).Do(r)
		ts.Check(err)
		defer answer.Body.Close()
		text, err := io.ReadAll(answer.Body)
		ts.Check(err)
		return text
	}
	var key struct {
		ID  string `json:"key_id"`
		Key string `json:"key"`
	}
	if text := send(http.MethodGet, "/key", nil); json.Unmarshal(text, &key) != nil || key.ID == "" {
		fmt.Fprintf(ts.Stdout(), "%s\n", text)
		if !neg {
			ts.Fatalf("there is no key: %s", text)
		}
		return
	}
	shared, err := hex.DecodeString(key.Key)
	ts.Check(err)
	if args[1] == "forged" {
		shared = make([]byte, 32)
	}
	secret, err := hkdf.Key(sha256.New, shared, nil, args[1], 32)
	ts.Check(err)
	seal := func(envelope map[string]any) string {
		raw, err := json.Marshal(envelope)
		ts.Check(err)
		raw, err = jcs.Transform(raw)
		ts.Check(err)
		h := hmac.New(sha256.New, secret)
		h.Write(raw)
		return base64.StdEncoding.EncodeToString(h.Sum(nil))
	}
	id := make([]byte, 16)
	_, err = rand.Read(id)
	ts.Check(err)
	var payload map[string]any
	ts.Check(json.Unmarshal([]byte(args[3]), &payload))
	params := map[string]any{"acs_version": "0.1.0", "request_id": fmt.Sprintf("%x-%x-%x-%x-%x", id[:4], id[4:6], id[6:8], id[8:10], id[10:]),
		"timestamp": time.Now().UTC().Format(time.RFC3339), "metadata": map[string]any{"agent_id": "script", "session_id": args[1]}, "payload": payload}
	envelope := map[string]any{"jsonrpc": "2.0", "id": 1, "method": args[2], "params": params}
	params["signature"] = map[string]any{"algorithm": "HMAC-SHA256", "key_id": key.ID, "value": seal(envelope)}
	body, err := json.Marshal(envelope)
	ts.Check(err)
	text := send(http.MethodPost, "", body)
	fmt.Fprintf(ts.Stdout(), "%s\n", text)
	var answer map[string]any
	ts.Check(json.Unmarshal(text, &answer))
	allowed := false
	for _, part := range []string{"result", "error"} {
		inner, ok := answer[part].(map[string]any)
		if !ok {
			continue
		}
		signature, signed := inner["signature"].(map[string]any)
		delete(inner, "signature")
		if signed != (args[1] != "forged") || signed && signature["value"] != seal(answer) {
			ts.Fatalf("the answer's signature is not that of the session: %s", text)
		}
		allowed = part == "result" && (inner["decision"] == "allow" || strings.HasSuffix(args[2], "hello"))
	}
	if allowed == neg {
		ts.Fatalf("%s: %s", args[2], text)
	}
}
