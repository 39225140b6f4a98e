package coffer

import "context"

// A Keyring holds the private keys of one identity, uses them on request, and hands none of them out.
type Keyring interface {
	// DID returns the identity's identifier.
	DID() string
	// Key returns the public part of the identity's key for a use; for HMACKey there is only an id and a type.
	Key(use KeyUse) PublicKey
	// Sign signs with the signing key, an Ed25519 key. The purpose says what is being signed; a keyring may refuse
	// purposes that it was not opened for.
	Sign(ctx context.Context, purpose Purpose, message []byte) ([]byte, error)
	// Agree returns the X25519 shared secret of the agreement key and the peer's public key of 32 bytes. Invalid if
	// the peer's key is malformed or of low order.
	Agree(ctx context.Context, peer []byte) ([]byte, error)
	// MAC returns the HMAC-SHA256 of the message under the HMAC key.
	MAC(ctx context.Context, message []byte) ([]byte, error)
}

// An Owner is a Keyring that keeps things for itself, too: an optional second interface.
type Owner interface {
	Keyring
	// Derive returns a secret of 32 bytes that only this identity's devices can compute: the same for the same label.
	Derive(ctx context.Context, label string) ([]byte, error)
	// Pseudonym returns an identity that nobody can link to this one: the same for the same label. It can do what a
	// Keyring can.
	Pseudonym(ctx context.Context, label string) (Keyring, error)
	// Receive opens what was sealed to the identity's DeliveryKey by HPKE (RFC 9180, base mode, MLKEM768-X25519,
	// HKDF-SHA256, ChaCha20-Poly1305) with this info and no associated data: encapsulated key, then ciphertext. Corrupt if it was not.
	Receive(ctx context.Context, info, sealed []byte) ([]byte, error)
}

// A KeyUse says what a key is for.
type KeyUse uint8

// The uses of keys.
const (
	SigningKey   KeyUse = 1 // Ed25519: invoking and delegating capabilities
	AgreementKey KeyUse = 2 // X25519: receiving envelopes
	HMACKey      KeyUse = 3 // HMAC-SHA256: blinding what is indexed
	DeliveryKey  KeyUse = 4 // HPKE with MLKEM768-X25519: receiving keys; 1216 bytes
)

// A Purpose names what a signature is for, so that one cannot be passed off as another.
type Purpose string

// The purposes of signatures.
const (
	Invocation     Purpose = "capabilityInvocation" // an HTTP request
	Delegation     Purpose = "capabilityDelegation" // a capability handed on
	Authorship     Purpose = "cofferAuthorship"     // a revision, inside its seal
	Statement      Purpose = "cofferStatement"      // who was given what from when until when; cards, requests and answers
	Authentication Purpose = "authentication"       // a message to a hub
	Assertion      Purpose = "assertionMethod"      // a statement for anybody: a commit to a hub, a credential
)

// A PublicKey is a key that others may know.
type PublicKey struct {
	ID         string // URI
	Controller string // identifier of whose key it is
	Type       string // as in identity documents: Ed25519VerificationKey2020, X25519KeyAgreementKey2020, Sha256HmacKey2019, …
	Public     []byte // raw public key; nil for an HMAC key
}

// A Resolver finds out which keys and addresses stand behind an identifier.
type Resolver interface {
	// Resolve returns what the identifier stands for. Invalid when it is malformed or of an unknown method,
	// NotExist when there is nothing behind it, Denied when this resolver may not look, Unavailable when it could not.
	Resolve(ctx context.Context, id string) (*Identity, error)
}

// An Identity is what an identifier stands for.
type Identity struct {
	ID           string
	Document     []byte      // the identity document as JSON
	Assert       []PublicKey // may sign statements
	Invoke       []PublicKey // may invoke capabilities
	Delegate     []PublicKey // may delegate capabilities
	Authenticate []PublicKey // may sign messages
	Agreement    []PublicKey // may be encrypted to
	Services     []Endpoint
}

// An Endpoint is an address that an identity names.
type Endpoint struct {
	ID   string
	Type string
	URL  string
}

// A Verifier checks signatures by one key.
type Verifier interface {
	// Verify reports whether signature is the key's over message.
	Verify(message, signature []byte) bool
}
