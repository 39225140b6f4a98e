package agent

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/agent/seal"
	"github.com/cofferhq/coffer/agent/tree"
	"github.com/cofferhq/coffer/grant"
	"github.com/cofferhq/coffer/keyring"
)

// sequence returns 32 bytes: the first one, and each one more than the last.
func sequence(first byte) (b [32]byte) {
	for i := range b {
		b[i] = first + byte(i)
	}
	return b
}

// TestVectors computes the known answers of doc/objects.md. Its block of known answers is just what this test makes.
func TestVectors(t *testing.T) {
	ctx := t.Context()
	owner, reader := keyring.Bearer(sequence(0)), keyring.Bearer(sequence(0x80))
	a, err := New(Options{Vault: nowhere{}, Keyring: owner, URL: "https://vault.example/edvs/z19inwPEW2tBULosfqG97hZd8"})
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&out, format+"\n", args...) }
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	line("owner   %s", owner.DID())
	line("reader  %s", reader.DID())
	for _, what := range []string{"head", "box 0", "register 0"} {
		r, err := a.place(ctx, what)
		must(err)
		line("\n%s", what)
		line("  id    %s", hex.EncodeToString(r.ID[:]))
		line("  key   %s", hex.EncodeToString(r.Key[:]))
		line("  write %s", hex.EncodeToString(r.Write[:]))
	}

	var id [16]byte
	key, write := sequence(0x20), sequence(0x40)
	copy(id[:], key[:])
	ref := seal.Ref{ID: id, Key: key, Write: write}
	since := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	until := since.AddDate(0, 1, 0)
	grantID := base64.RawURLEncoding.EncodeToString(id[:])
	statement := func(name string, s stated) {
		t.Helper()
		message, err := s.statement()
		must(err)
		signature, err := a.sign(ctx, s)
		must(err)
		if !ed25519.Verify(owner.Key(coffer.SigningKey).Public, message, signature) {
			t.Errorf("%s is not signed", name)
		}
		label, rest, _ := bytes.Cut(message, []byte{0})
		line("\n%s\n  %s 00\n  %s\n  %s", name, label, rest, base64.RawURLEncoding.EncodeToString(signature))
	}
	g := &grantRecord{
		ID: grantID, Scope: ref.ID, Folder: true, Path: "album", With: reader.DID(), Group: "family",
		Actions: []grant.Action{grant.Read, grant.Write}, Since: since, Until: until, From: 17, By: owner.DID(),
		Box: 3, Slot: 4, Delivered: delivered(ref),
	}
	statement("grant", g)
	e := &ending{At: since.Add(1500 * time.Millisecond), Reason: revoked, To: 21, By: owner.DID()}
	statement("end of the grant", e.of(g))
	c := &certificate{Grant: g.ID, Scope: g.Scope, Writer: g.With, Until: until, By: owner.DID()}
	statement("certificate", c)
	s := &slot{Grant: g.ID, Ref: newRefJSON(ref), Until: until, By: owner.DID()}
	statement("slot", s)
	d := &delivery{
		Type: deliveryType, Version: deliveryVersion, Vault: a.URL, Grant: g.ID, From: owner.DID(), To: reader.DID(),
		Name: "album", Folder: true, Ref: newRefJSON(ref), Actions: []grant.Action{grant.Read}, Since: since, Until: until,
		Seed: key[:], Capability: jsontext.Value(`{"id":"urn:uuid:0"}`), Box: newRefJSON(seal.Ref{ID: id, Key: key}), Slot: 4,
		Above: []coffer.ObjectID{{1}},
	}
	statement("delivery", d)
	r := &requestJSON{
		Type: requestType, Version: askVersion, Vault: a.URL, Token: id[:], Card: "coffer-card:AQ", Reason: "surgery",
		Fields: []string{"blood"}, Reply: placeJSON{id, key[:]}, Time: since,
	}
	statement("request", r)

	line("\nproof of writing, sequence 3, content {}\n  %s",
		base64.RawURLEncoding.EncodeToString(proof(ref, 3, []byte("{}"))))
	line("\ndelivered\n  %s", base64.RawURLEncoding.EncodeToString(delivered(ref)))
	place := openPlace{ID: id, Key: key}
	opened, secret := place.ref(), place.secret()
	line("\nopen place\n  key   %s\n  write %s\n  open  %s", hex.EncodeToString(opened.Key[:]),
		hex.EncodeToString(opened.Write[:]), hex.EncodeToString(secret[:]))
	messages := place.messageRef(ref.ID)
	line("  key of messages %s", hex.EncodeToString(messages.Key[:]))
	line("  tag of messages %s", tokenTag(id[:]))
	line("\npaths\n  %s\n  %s", recordPath(contactFolder, reader.DID()), typePath("Invoice"))
	line("  an object of this type: %q", linkName(tree.Node{Ref: ref, Name: "bill"}))
	note, err := a.noteName(ctx, noteUpload, "album/a")
	must(err)
	cached, err := a.cacheName(ctx, ref.ID)
	must(err)
	line("\nname of a note on an upload to album/a\n  %s", note)
	line("name in the cache\n  %s", cached)

	page, err := os.ReadFile("../doc/objects.md")
	must(err)
	block := "```\n" + out.String() + "```\n"
	if !bytes.Contains(page, []byte(block)) {
		t.Errorf("doc/objects.md has other known answers than\n%s", block)
	}
}

// Nowhere is a vault of which nothing is asked.
type nowhere struct{ coffer.Vault }
