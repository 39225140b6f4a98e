package grant

// A Session is a short-lived key that stands in for an invoker's signing key: requests under it carry an HMAC over the
// same signing string. It is bound to the verification method that signed its negotiation.
type Session struct {
	ID    string
	KeyID string // the invoker's verification method
	key   [32]byte
}
