package edv_test

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"testing"

	"github.com/cofferhq/coffer/interop"
	"github.com/cofferhq/coffer/keyring"
)

// TestProgram lets the owner's program and the published client work on the same vault with the same keys.
func TestProgram(t *testing.T) {
	interop.Nodejs(t, client)
	base := interop.Serve(t)
	alice := newPerson(t, base)
	dir := t.TempDir()
	bin := interop.Program(t, "coffer")
	const passphrase = "of the story"
	coffer := func(args ...string) []byte {
		t.Helper()
		cmd := exec.Command(bin, args...)
		cmd.Env = append(os.Environ(), "HOME="+dir, "XDG_CONFIG_HOME=", "XDG_DATA_HOME=", "XDG_STATE_HOME=",
			"COFFER_PROFILE=", "COFFER_PASSPHRASE="+passphrase)
		out, err := cmd.Output()
		if err != nil {
			var exit *exec.ExitError
			errors.As(err, &exit)
			t.Fatalf("coffer %q: %v\n%s", args, err, exit.Stderr)
		}
		return out
	}
	keys := filepath.Join(dir, "keyring.json")
	if err := keyring.Save(keys, alice.ring, keyring.Passphrase([]byte(passphrase))); err != nil {
		t.Fatal(err)
	}
	var identity struct{ DID, Vault string }
	if err := json.Unmarshal(coffer("init", "--json", "--node", base, "--keyring", keys, "--as-myself"), &identity); err != nil {
		t.Fatal(err)
	}
	if identity.DID != alice.ring.DID() {
		t.Fatalf("the program is %s", identity.DID)
	}
	vault, err := alice.client.Vault(identity.Vault)
	if err != nil {
		t.Fatal(err)
	}

	for name, size := range map[string]int{"letter.txt": 1000, "film.bin": 3 << 20} {
		data := make([]byte, size)
		rand.Read(data)
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, data, 0o600); err != nil {
			t.Fatal(err)
		}
		t.Run(name+" written there, got by the program", func(t *testing.T) {
			id := alice.write(t, vault, input{"content": input{}, "stream": data})
			if got := coffer("get", "--id", id.String(), "-"); !bytes.Equal(got, data) {
				t.Errorf("%d bytes are not the %d written", len(got), size)
			}
		})
	}
	t.Run("put by the program, shared with somebody who reads it there", func(t *testing.T) {
		bob := newPerson(t, base)
		data := make([]byte, 1000)
		rand.Read(data)
		file := filepath.Join(dir, "note")
		if err := os.WriteFile(file, data, 0o600); err != nil {
			t.Fatal(err)
		}
		coffer("put", file, "box/note")
		var shared struct {
			URL        string
			Capability json.RawMessage
		}
		if err := json.Unmarshal(coffer("share", "box/note", "--edv", bob.ring.DID()), &shared); err != nil {
			t.Fatal(err)
		}
		got := bob.read(t, vault, input{"id": path.Base(shared.URL), "capability": shared.Capability})
		var content struct{ Name, Data string }
		if err := json.Unmarshal(got.Content, &content); err != nil || content.Name != "note" {
			t.Errorf("%s", got.Content)
		}
		if b, err := base64.RawURLEncoding.DecodeString(content.Data); err != nil || !bytes.Equal(b, data) {
			t.Errorf("it has %d other bytes: %v", len(b), err)
		}
	})
	t.Run("an object written there, got by the program", func(t *testing.T) {
		id := alice.write(t, vault, input{"content": input{"kind": "note", "text": "Grüße"}})
		sameJSON(t, coffer("get", "--id", id.String(), "-"), `{"kind":"note","text":"Grüße"}`)
	})
}
