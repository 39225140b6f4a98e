package jose

import (
	"bytes"
	"encoding/hex"
	"testing"
)

// RFC 3394, section 4.
func TestKeyWrap(t *testing.T) {
	const kek = "000102030405060708090A0B0C0D0E0F101112131415161718191A1B1C1D1E1F"
	const data = "00112233445566778899AABBCCDDEEFF000102030405060708090A0B0C0D0E0F"
	for _, test := range []struct {
		section   string
		kek, data int
		want      string
	}{
		{"4.1", 16, 16, "1FA68B0A8112B447AEF34BD8FB5A7B829D3E862371D2CFE5"},
		{"4.2", 24, 16, "96778B25AE6CA435F92B5B97C050AED2468AB8A17AD84E5D"},
		{"4.3", 32, 16, "64E8C3F9CE0F5BA263E9777905818A2A93C8191E7D6E8AE7"},
		{"4.4", 24, 24, "031D33264E15D33268F24EC260743EDCE1C6C7DDEE725A936BA814915C6762D2"},
		{"4.5", 32, 24, "A8F9BC1612C68B3FF6E6F4FBE30E71E4769C8B80A32CB8958CD5D17D6B254DA1"},
		{"4.6", 32, 32, "28C9F404C4B810F4CBCCB35CFB87F8263F5786E2D80ED326CBC7F0E71A99F43BFB988B9B7A02DD21"},
	} {
		k, d, want := unhex(t, kek)[:test.kek], unhex(t, data)[:test.data], unhex(t, test.want)
		got := WrapKey(k, d)
		if !bytes.Equal(got, want) {
			t.Errorf("%s: wrapped to %x", test.section, got)
		}
		if back, ok := UnwrapKey(k, want); !ok || !bytes.Equal(back, d) {
			t.Errorf("%s: unwrapped to %x, %v", test.section, back, ok)
		}
		for i := range want {
			bad := bytes.Clone(want)
			bad[i] ^= 0x10
			if _, ok := UnwrapKey(k, bad); ok {
				t.Errorf("%s: unwrapped with byte %d changed", test.section, i)
			}
		}
		for n := range len(want) {
			if _, ok := UnwrapKey(k, want[:n]); ok {
				t.Errorf("%s: unwrapped when cut to %d bytes", test.section, n)
			}
		}
	}
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
