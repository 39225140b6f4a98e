package seal

import (
	"encoding/hex"
	"testing"

	"github.com/cofferhq/coffer/internal/jose"
)

// The known answers were computed by other implementations of HKDF and RFC 3394.
func TestWrapContentKey(t *testing.T) {
	var k ObjectKey
	for i := range k {
		k[i] = byte(i)
	}
	content := [jose.KeySize]byte(unhex(t, "00112233445566778899aabbccddeeff000102030405060708090a0b0c0d0e0f"))
	kek := derive(k[:], wrapLabel)
	if got := hex.EncodeToString(kek[:]); got != knownKEK {
		t.Errorf("key-encryption key is %s", got)
	}
	w := k.wrap(content)
	if got := hex.EncodeToString(w[:]); got != knownWrapped {
		t.Errorf("wrapped to %s", got)
	}
	back, ok := k.unwrap(w)
	if !ok || back != content {
		t.Errorf("unwrapped to %x, %v", back, ok)
	}
	for i := range w {
		bad := w
		bad[i] ^= 4
		if _, ok := k.unwrap(bad); ok {
			t.Errorf("unwrapped with byte %d changed", i)
		}
	}
	k[0]++
	if _, ok := k.unwrap(w); ok {
		t.Error("unwrapped by another key")
	}
}

// Known answers of doc/sealing.md.
const (
	knownKEK     = "52e9ee061ff2675cc29a3dbef718e511dab77059cdd7ca00dfefef78f24c8287"
	knownWrapped = "d773d76b48730c63a2b338089ff277e1b2ab8f59ae0485f0834866d719fee30903d1c3f97330f1b7"
)
