package hub

import (
	"encoding/hex"
	"encoding/json"
	"flag"
	"os"
	"testing"

	"github.com/cofferhq/coffer"
)

var rewrite = flag.Bool("rewrite", false, "write testdata anew")

// A storedVector is what a hub has kept once, and reads for ever.
type storedVector struct {
	Secret string            `json:"secret"`
	Owner  string            `json:"owner"`
	Vault  string            `json:"vault"`
	Tags   map[string]string `json:"tags"`
	Commit string            `json:"commit"` // id
	Kind   string            `json:"kind"`   // id
	Object string            `json:"object"` // id
	Bodies map[string]string `json:"bodies"` // by id
	Read   map[string]string `json:"read"`   // what is in them
}

// TestStoredVectors reads what was kept by the first version, and derives the same names.
func TestStoredVectors(t *testing.T) {
	const file = "testdata/stored.json"
	secret, owner := [32]byte{1, 2, 3}, "did:example:alice"
	k := newSecrets(secret, owner)
	rev := coffer.CommitRev{4, 5, 6}
	now := storedVector{
		Secret: hex.EncodeToString(secret[:]), Owner: owner, Vault: vaultName(secret, owner),
		Tags: map[string]string{
			"interface Collections":                 k.tag(byInterface, "Collections"),
			"grant did:example:bob schema.org Book": k.tag(byGrant, "did:example:bob", "schema.org", "Book"),
			"waiting":                               k.tag(byWaiting),
		},
		Bodies: map[string]string{}, Read: map[string]string{},
	}
	commit, kind, object := k.commitID(rev), k.kindID("Collections", "schema.org", "Book"), k.objectID(1<<50, rev)
	now.Commit, now.Kind = hex.EncodeToString(commit[:]), hex.EncodeToString(kind[:])
	now.Object = hex.EncodeToString(object[:])
	if *rewrite {
		for _, id := range []coffer.ObjectID{commit, kind, object} {
			text := "what is in " + hex.EncodeToString(id[:1])
			now.Bodies[hex.EncodeToString(id[:])] = hex.EncodeToString(k.body(id, []byte(text)))
			now.Read[hex.EncodeToString(id[:])] = text
		}
		b, err := json.MarshalIndent(now, "", "\t")
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, append(b, '\n'), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var then storedVector
	if err := json.Unmarshal(b, &then); err != nil {
		t.Fatal(err)
	}
	for _, id := range []coffer.ObjectID{commit, kind, object} {
		name := hex.EncodeToString(id[:])
		body, err := hex.DecodeString(then.Bodies[name])
		if err != nil {
			t.Fatal(err)
		}
		got, err := k.read(&coffer.Document{ID: id, Body: body})
		if err != nil || string(got) != then.Read[name] {
			t.Errorf("read %q: %v", got, err)
		}
		for i := range body {
			body[i] ^= 1
			if _, err := k.read(&coffer.Document{ID: id, Body: body}); err == nil {
				t.Fatalf("a body with byte %d altered is read", i)
			}
			body[i] ^= 1
		}
	}
	then.Bodies, then.Read, now.Bodies, now.Read = nil, nil, nil, nil
	x, _ := json.Marshal(then)
	if y, _ := json.Marshal(now); string(x) != string(y) {
		t.Errorf("now %s, then %s", y, x)
	}
}
