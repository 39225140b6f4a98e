package keyring

import (
	"bytes"
	"encoding/base64"
	"io"
	"runtime/debug"
	"strconv"
	"strings"

	"golang.org/x/crypto/argon2"
	"golang.org/x/crypto/chacha20poly1305"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/internal/jose"
)

// The format on disk, doc/keyring.md to the field: a header of JSON in one line, and the sealed secrets in another.
const (
	formatPrefix = "coffer-keyring/"
	newest       = 2
	maxFile      = 64 << 10
	maxFile1     = 8 << 10 // of version 1
	saltSize     = 16
	keySize      = chacha20poly1305.KeySize
)

// A header is the first line. It is authenticated as it stands, byte for byte.
type header struct {
	Format     string `json:"format"`
	Protection string `json:"protection"`
	KDF        *kdf   `json:"kdf,omitempty"`   // of a passphrase
	Entry      string `json:"entry,omitempty"` // in the keychain
	Nonce      string `json:"nonce"`
}

type kdf struct {
	Name string `json:"name"`
	cost
	Salt string `json:"salt"`
}

// A cost is how much work Argon2id makes (RFC 9106, section 3.1).
type cost struct {
	Memory      uint32 `json:"memory"` // KiB
	Time        uint32 `json:"time"`
	Parallelism uint32 `json:"parallelism"`
}

// defaultCost takes about 0.1 s, and leaves a program that may have 64 MiB in all the half of them.
var defaultCost = cost{Memory: 32 << 10, Time: 4, Parallelism: 2}

// bounded reports whether a cost read from outside may be paid: at most 1 GiB, 64 passes and 16 lanes, and not less
// than what Argon2 needs.
func (c cost) bounded() bool {
	return 1 <= c.Parallelism && c.Parallelism <= 16 && 1 <= c.Time && c.Time <= 64 &&
		8*c.Parallelism <= c.Memory && c.Memory <= 1<<20
}

// key returns the key that a passphrase stands for.
func (c cost) key(passphrase, salt []byte) []byte {
	defer debug.FreeOSMemory() // Argon2's memory is more than all else a small program needs
	return argon2.IDKey(passphrase, salt, c.Time, c.Memory, uint8(c.Parallelism), keySize)
}

// The first byte of the secrets says what follows. The first two are of version 1, the last is of version 2.
const (
	generatedSecrets = 1 // the root alone
	importedSecrets  = 2 // the seed, the HMAC key and the HMAC key's id
	listedSecrets    = 3 // the device's id and secret, and the identity as in a bundle
)

// version returns the version of the file that the Ring needs: the least one, so that older programs can read it.
func (r *Ring) version(s *secrets) int {
	if (s.root != nil || s.imported) && s.device == nil {
		return 1
	}
	return 2
}

// marshal returns the secrets as they are sealed, and the version of the format that they are in. The caller clears
// them.
func (r *Ring) marshal() (b []byte, version int, err error) {
	err = r.use("save keyring", func(s *secrets) error {
		version = r.version(s)
		switch {
		case version == 2:
			b = make([]byte, 0, 1+16+32+r.identitySize()) // never grows, so that no copy is left behind
			b = append(append(append(b, listedSecrets), r.deviceID[:]...), s.device...)
			b = r.appendIdentity(b, s)
		case s.root != nil:
			b = append([]byte{generatedSecrets}, s.root...)
		default:
			b = make([]byte, 0, 1+32+32+len(r.hmacIDs[0]))
			b = append(b, importedSecrets)
			b = append(b, s.seeds[Signing][0]...)
			b = append(b, s.seeds[HMAC][0]...)
			b = append(b, r.hmacIDs[0]...)
		}
		return nil
	})
	return b, version, err
}

func unmarshal(b []byte, version int) (*Ring, error) {
	malformed := coffer.Errorf("load keyring", coffer.Corrupt, "the secrets are malformed")
	switch {
	case len(b) == 0:
	case version == 1 && len(b) == 1+32 && b[0] == generatedSecrets:
		return fromRoot(bytes.Clone(b[1:])), nil
	case version == 1 && len(b) > 1+32+32 && b[0] == importedSecrets:
		return FromSeeds(b[1:33], b[33:65], string(b[65:]))
	case version == 2 && len(b) > 1+16+32 && b[0] == listedSecrets:
		r, rest, ok := parseIdentity(b[1+16+32:])
		if !ok || len(rest) > 0 {
			return nil, malformed
		}
		r.setDevice([16]byte(b[1:]), bytes.Clone(b[1+16:1+16+32]))
		return r, nil
	}
	return nil, malformed
}

// seal returns the file that holds the secrets, of this version, under the key. The header has all but the version and
// the nonce.
func seal(secrets []byte, version int, key []byte, h header, random io.Reader) ([]byte, error) {
	nonce := make([]byte, chacha20poly1305.NonceSizeX)
	if _, err := io.ReadFull(random, nonce); err != nil {
		return nil, coffer.Errorf("save keyring", coffer.Unavailable, "no randomness")
	}
	h.Format, h.Nonce = formatPrefix+strconv.Itoa(version), encode(nonce)
	line, err := jose.Encode(h)
	if err != nil {
		return nil, coffer.E("save keyring", coffer.Other, err)
	}
	aead, err := chacha20poly1305.NewX(key)
	if err != nil {
		return nil, coffer.E("save keyring", coffer.Other, err)
	}
	sealed := encode(aead.Seal(nil, nonce, secrets, line))
	return append(append(append(line, '\n'), sealed...), '\n'), nil
}

// A sealedFile is a file taken apart, with all bounds checked, before any work is done.
type sealedFile struct {
	header
	version int
	line    []byte // the header as it stands
	salt    []byte
	nonce   []byte
	sealed  []byte
}

// parse takes a file apart. It is Corrupt if that is not one, and Invalid if it is of a newer version.
func parse(b []byte) (*sealedFile, error) {
	corrupt := func(reason string) (*sealedFile, error) {
		return nil, coffer.Errorf("load keyring", coffer.Corrupt, reason)
	}
	line, rest, _ := bytes.Cut(b, []byte("\n"))
	body, end, found := bytes.Cut(rest, []byte("\n"))
	if len(b) > maxFile || !found || len(end) > 0 {
		return corrupt("not a keyring file, or cut short")
	}
	f := &sealedFile{line: line}
	var first struct {
		Format string `json:"format"`
	}
	if err := jose.DecodeOpen(line, &first); err != nil || !strings.HasPrefix(first.Format, formatPrefix) {
		return corrupt("not a keyring file")
	}
	number := first.Format[len(formatPrefix):]
	n, err := strconv.ParseUint(number, 10, 32)
	if err == nil && n > newest {
		return nil, coffer.Errorf("load keyring", coffer.Invalid,
			"the file was written by a newer version of this program; update the program to open it")
	}
	f.version = int(n)
	if err != nil || n == 0 || strconv.Itoa(f.version) != number || jose.Decode(line, &f.header) != nil ||
		f.version == 1 && len(b) > maxFile1 {
		return corrupt("the header is malformed")
	}
	var ok bool
	if f.nonce, ok = decode(f.Nonce); !ok || len(f.nonce) != chacha20poly1305.NonceSizeX {
		return corrupt("the header is malformed")
	}
	if f.sealed, ok = decode(string(body)); !ok || len(f.sealed) < chacha20poly1305.Overhead {
		return corrupt("the sealed part is malformed")
	}
	if (f.KDF != nil) != (f.Protection == byPassphrase) || (f.Entry != "") != (f.Protection == byKeychain) {
		return corrupt("the header is malformed")
	}
	switch f.Protection {
	case byPassphrase:
		if f.salt, ok = decode(f.KDF.Salt); !ok || len(f.salt) != saltSize || f.KDF.Name != "argon2id" {
			return corrupt("the header is malformed")
		}
		if !f.KDF.bounded() {
			return nil, coffer.Errorf("load keyring", coffer.Exhausted, "the file asks for more work than any keyring needs")
		}
	case byKeychain:
		if entry, ok := decode(f.Entry); !ok || len(entry) != entrySize {
			return corrupt("the header is malformed")
		}
	case byKeyFile:
	default:
		return corrupt("the header is malformed")
	}
	return f, nil
}

// open returns the Ring in a file. It is Locked if the key is not the right one, or the file was changed: nobody can
// tell which.
func (f *sealedFile) open(key []byte, wrong string) (*Ring, error) {
	aead, err := chacha20poly1305.NewX(key)
	if err != nil {
		return nil, coffer.E("load keyring", coffer.Other, err)
	}
	secrets, err := aead.Open(nil, f.nonce, f.sealed, f.line)
	if err != nil {
		return nil, coffer.Errorf("load keyring", coffer.Locked, wrong)
	}
	defer clear(secrets)
	return unmarshal(secrets, f.version)
}

// encode returns base64url without padding (RFC 4648, section 5).
func encode(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// decode reads what encode writes, and only that: the decoder itself would pass over line breaks and spare bits.
func decode(s string) ([]byte, bool) {
	b, err := base64.RawURLEncoding.DecodeString(s)
	return b, err == nil && encode(b) == s
}
