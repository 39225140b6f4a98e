package grant

import (
	"bytes"
	"crypto/ecdh"
	"encoding/base64"
	"encoding/hex"
	"os"
	"strings"
	"testing"
)

// TestSessionIsAsSpecified computes the known answer of doc/session.md from both ends.
func TestSessionIsAsSpecified(t *testing.T) {
	page, err := os.ReadFile("../doc/session.md")
	if err != nil {
		t.Fatal(err)
	}
	client, err := ecdh.X25519().NewPrivateKey(bytes.Repeat([]byte{0x55}, 32))
	if err != nil {
		t.Fatal(err)
	}
	server, err := ecdh.X25519().NewPrivateKey(bytes.Repeat([]byte{0x66}, 32))
	if err != nil {
		t.Fatal(err)
	}
	const keyID = "did:key:z6MktULudTtAsAhRegYPiZ6631RV3viv12qd4GQF8z1xB22S#z6MktULudTtAsAhRegYPiZ6631RV3viv12qd4GQF8z1xB22S"
	a, b := &Session{ID: "AAAAAAAAAAAAAAAAAAAAAA", KeyID: keyID}, &Session{ID: "AAAAAAAAAAAAAAAAAAAAAA", KeyID: keyID}
	clientKey, serverKey := client.PublicKey().Bytes(), server.PublicKey().Bytes()
	if err := a.agree(client, serverKey, clientKey, serverKey, "https://vault.example"); err != nil {
		t.Fatal(err)
	}
	if err := b.agree(server, clientKey, clientKey, serverKey, "https://vault.example"); err != nil {
		t.Fatal(err)
	}
	if a.key != b.key {
		t.Error("the two ends have different keys")
	}
	for name, want := range map[string]string{
		"client's public key": hex.EncodeToString(clientKey),
		"server's public key": hex.EncodeToString(serverKey),
		"key":                 hex.EncodeToString(a.key[:]),
		"signature":           base64.StdEncoding.EncodeToString(a.sum([]byte("(key-id): session:AAAAAAAAAAAAAAAAAAAAAA"))),
	} {
		if !strings.Contains(string(page), "`"+want+"`") {
			t.Errorf("doc/session.md does not give the %s as %s", name, want)
		}
	}
}
