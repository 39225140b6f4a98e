package merge

import "encoding/base64"

// decode64 reads base64url without padding, one text for each value. The decoder itself would pass over line ends.
func decode64(s string) ([]byte, bool) {
	b, err := base64.RawURLEncoding.Strict().DecodeString(s)
	return b, err == nil && base64.RawURLEncoding.EncodedLen(len(b)) == len(s)
}
