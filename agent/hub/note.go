package hub

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/base64"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/internal/jose"
)

// maxNote bounds a note that is read.
const maxNote = 1 << 20

const noteLabel = "coffer hub note 1"

// note returns the name and the seal of a note in the journal: AES-256-GCM with a random nonce.
func note(ctx context.Context, o coffer.Owner, label string) (name string, aead cipher.AEAD, err error) {
	key, err := o.Derive(ctx, noteLabel+"\x00"+label)
	if err != nil {
		return "", nil, err
	}
	id := derive(key, nil, "name")
	block, err := aes.NewCipher(key)
	if err != nil {
		return "", nil, err
	}
	aead, err = cipher.NewGCM(block)
	return base64.RawURLEncoding.EncodeToString(id[:]), aead, err
}

// saveNote tells the journal. What it cannot keep is done without.
func (h *Hub) saveNote(ctx context.Context, label string, v any) {
	if h.o.Journal == nil {
		return
	}
	name, aead, err := note(ctx, h.owners[0], label)
	if err != nil {
		return
	}
	plain, err := jose.Encode(v)
	if err != nil {
		return
	}
	nonce := make([]byte, aead.NonceSize())
	rand.Read(nonce)
	_ = h.o.Journal.Save(ctx, name, aead.Seal(nonce, nonce, plain, []byte(name)))
}

// loadNote reads what the journal keeps into v, which stays as it is when nothing is kept.
func (h *Hub) loadNote(ctx context.Context, label string, v any) {
	if h.o.Journal == nil {
		return
	}
	for _, o := range h.owners {
		name, aead, err := note(ctx, o, label)
		if err != nil {
			return
		}
		b, err := h.o.Journal.Load(ctx, name)
		if err != nil || len(b) > maxNote || len(b) < aead.NonceSize() {
			continue
		}
		plain, err := aead.Open(nil, b[:aead.NonceSize()], b[aead.NonceSize():], []byte(name))
		if err == nil && jose.DecodeOpen(plain, v) == nil {
			return
		}
	}
}
