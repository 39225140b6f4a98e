package keyring

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write testdata/v1.keyring anew")

// formatPage returns doc/keyring.md.
func formatPage(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("..", "doc", "keyring.md"))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestVector makes the file that doc/keyring.md shows from the same inputs, to the byte, and opens it.
func TestVector(t *testing.T) {
	count := func(from, n int) []byte {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(from + i)
		}
		return b
	}
	r := fromRoot(count(0x00, 32))
	secrets, version, err := r.marshal()
	if err != nil {
		t.Fatal(err)
	}
	key, h, err := Passphrase([]byte("correct horse battery staple")).newKey(bytes.NewReader(count(0x20, saltSize)))
	if err != nil {
		t.Fatal(err)
	}
	made, err := seal(secrets, version, key, h, bytes.NewReader(count(0x30, 24)))
	if err != nil {
		t.Fatal(err)
	}
	const path = "testdata/v1.keyring"
	if *update {
		if err := os.WriteFile(path, made, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	kept, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(made, kept) {
		t.Errorf("made\n%sbut %s is\n%s", made, path, kept)
	}
	if !strings.Contains(formatPage(t), "```\n"+string(made)+"```\n") {
		t.Errorf("doc/keyring.md does not show\n%s", made)
	}
	again, err := Load(path, say("correct horse battery staple"))
	if err != nil {
		t.Fatal(err)
	}
	same(t, r, again)
}
