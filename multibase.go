package coffer

// Multibase returns b as multibase base58btc: "z" and the digits (draft-multiformats-multibase).
func Multibase(b []byte) string { return "z" + base58(b) }

// ParseMultibase reads what [Multibase] writes. Other bases are Invalid, and so is text beyond 1 KiB: nothing that
// this module names is longer, and base58 is quadratic.
func ParseMultibase(s string) ([]byte, error) {
	if len(s) > 1024 {
		return nil, Errorf("multibase", Invalid, "too long")
	}
	if len(s) < 2 || s[0] != 'z' {
		return nil, Errorf("multibase", Invalid, "not base58btc")
	}
	b, ok := parseBase58(s[1:])
	if !ok {
		return nil, Errorf("multibase", Invalid, "not base58btc")
	}
	return b, nil
}

const base58Digits = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"

var base58Values = func() (v [256]int8) {
	for i := range v {
		v[i] = -1
	}
	for i, c := range []byte(base58Digits) {
		v[c] = int8(i)
	}
	return v
}()

func base58(b []byte) string {
	zeros := 0
	for zeros < len(b) && b[zeros] == 0 {
		zeros++
	}
	// One byte is log(256)/log(58) = 1.366 digits. Little-endian digits, reversed at the end.
	digits := make([]byte, 0, len(b)*137/100+1)
	for _, c := range b[zeros:] {
		carry := int(c)
		for i := range digits {
			carry += int(digits[i]) << 8
			digits[i] = byte(carry % 58)
			carry /= 58
		}
		for carry > 0 {
			digits = append(digits, byte(carry%58))
			carry /= 58
		}
	}
	out := make([]byte, zeros+len(digits))
	for i := range zeros {
		out[i] = '1'
	}
	for i, d := range digits {
		out[len(out)-1-i] = base58Digits[d]
	}
	return string(out)
}

func parseBase58(s string) ([]byte, bool) {
	zeros := 0
	for zeros < len(s) && s[zeros] == '1' {
		zeros++
	}
	bytes := make([]byte, 0, len(s)*74/100+1) // little-endian
	for i := zeros; i < len(s); i++ {
		carry := int(base58Values[s[i]])
		if carry < 0 {
			return nil, false
		}
		for j := range bytes {
			carry += int(bytes[j]) * 58
			bytes[j] = byte(carry)
			carry >>= 8
		}
		for carry > 0 {
			bytes = append(bytes, byte(carry))
			carry >>= 8
		}
	}
	out := make([]byte, zeros+len(bytes))
	for i, c := range bytes {
		out[len(out)-1-i] = c
	}
	return out, true
}
