package edv

import (
	"strings"
	"testing"

	"github.com/cofferhq/coffer"
)

// FuzzParseAccess reads anything as the header with a secret. There is one text for each secret.
func FuzzParseAccess(f *testing.F) {
	f.Add(formatAccess(coffer.Secret{1, 2, 3}))
	f.Add(strings.Repeat("A", 42) + "B")
	f.Add(strings.Repeat("A", 41) + "\r\n")
	f.Add("")
	f.Fuzz(func(t *testing.T, text string) {
		s, ok := parseAccess([]string{text})
		if ok && formatAccess(s) != text {
			t.Errorf("%q is not the only text of its secret", text)
		}
		if !ok && s != (coffer.Secret{}) {
			t.Errorf("%q gives a secret and is none", text)
		}
		if _, twice := parseAccess([]string{text, text}); twice {
			t.Error("takes the header twice")
		}
	})
}
