package agent

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"

	"github.com/cofferhq/coffer/internal/jose"
)

// The kinds of notes in the journal.
const (
	noteUpload   = "upload"
	noteDownload = "download"
	noteHistory  = "history"
	noteMoved    = "moved"
)

// maxNote bounds a note that is read.
const maxNote = 8 << 20

// noteName returns the name under which the note of a kind on something is kept: one that tells nothing of it.
func (a *Agent) noteName(ctx context.Context, kind, what string) (string, error) {
	sum := sha256.Sum256([]byte(a.Space + "\x00" + what))
	mac, err := a.Keyring.MAC(ctx, append([]byte("coffer note 2\x00"+kind+"\x00"), sum[:]...))
	return base64.RawURLEncoding.EncodeToString(mac), err
}

// noteKey returns what notes are sealed with: AES-256-GCM under a key of the owner's. Each has a random nonce.
func (a *Agent) noteKey(ctx context.Context) (cipher.AEAD, error) {
	key, err := a.Keyring.Derive(ctx, "coffer notes 2\x00"+a.Space)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

// save tells the journal. What it cannot keep is done without: a journal that fails ends nothing.
func (a *Agent) save(ctx context.Context, kind, what string, v any) {
	if a.Journal == nil {
		return
	}
	name, err := a.noteName(ctx, kind, what)
	if err != nil {
		return
	}
	aead, err := a.noteKey(ctx)
	if err != nil {
		return
	}
	plain, err := jose.Encode(v)
	if err != nil {
		return
	}
	nonce := make([]byte, aead.NonceSize())
	rand.Read(nonce)
	_ = a.Journal.Save(ctx, name, aead.Seal(nonce, nonce, plain, []byte(name)))
}

// load reads what the journal keeps into v. It reports false when nothing is kept, or nothing that this owner kept: then
// things start anew.
func (a *Agent) load(ctx context.Context, kind, what string, v any) bool {
	if a.Journal == nil {
		return false
	}
	if a.loadNote(ctx, kind, what, v) {
		return true
	}
	for _, before := range a.before() {
		if before.loadNote(ctx, kind, what, v) {
			return true
		}
	}
	return false
}

func (a *Agent) loadNote(ctx context.Context, kind, what string, v any) bool {
	name, err := a.noteName(ctx, kind, what)
	if err != nil {
		return false
	}
	b, err := a.Journal.Load(ctx, name)
	if err != nil || len(b) > maxNote {
		return false
	}
	aead, err := a.noteKey(ctx)
	if err != nil || len(b) < aead.NonceSize() {
		return false
	}
	plain, err := aead.Open(nil, b[:aead.NonceSize()], b[aead.NonceSize():], []byte(name))
	return err == nil && jose.DecodeOpen(plain, v) == nil
}

// forget removes a note.
func (a *Agent) forget(ctx context.Context, kind, what string) {
	if a.Journal == nil {
		return
	}
	if name, err := a.noteName(ctx, kind, what); err == nil {
		_ = a.Journal.Delete(ctx, name)
	}
}
