package hub

import (
	"bytes"
	"context"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"strconv"
	"time"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/agent/seal"
	"github.com/cofferhq/coffer/internal/jose"
)

// The form of a sealed payload, which doc/hub-sealing.md describes: a JWE (RFC 7516) of which the content key is
// wrapped once, under the object's key, or for the owner alone when the author does not have that.
const (
	formMember  = "coffer"
	formVersion = "hub 1"
	epochMember = "epoch"
	saltMember  = "salt"

	objectKeyID  = "urn:coffer:hub:object" // the recipient is whoever has the object's key
	objectAlg    = "A256KW"                // RFC 7518, section 4.4
	hybridAlg    = "urn:coffer:hpke:mlkem768-x25519"
	objectLabel  = "coffer hub object 1"
	wrapLabel    = "coffer hub wrap 1"
	messageLabel = "coffer hub message 1"

	maxRecipients = 16
)

// An objectKey opens one object, as of an epoch of its kind.
type objectKey [32]byte

// A salt tells the objects of a kind apart. It is an object's for good.
type salt [16]byte

func newSalt() (s salt) {
	rand.Read(s[:])
	return s
}

// object returns the key of the object with the salt.
func (e epochKey) object(s salt) objectKey { return objectKey(derive(e[:], s[:], objectLabel)) }

func derive(key, salt []byte, label string) [32]byte {
	b, err := hkdf.Key(sha256.New, key, salt, label, 32)
	if err != nil {
		panic("hub: HKDF refuses a fixed length")
	}
	return [32]byte(b)
}

// An inside is what is sealed. A reader compares all but the value with what he asked for and who signed.
type inside struct {
	Owner     string          `json:"owner"`
	Interface string          `json:"interface"`
	Context   string          `json:"context"`
	Type      string          `json:"type"`
	Author    string          `json:"author"`
	Origin    *origin         `json:"origin,omitempty"`
	File      *fileHead       `json:"file,omitempty"`
	Part      *filePart       `json:"part,omitempty"`
	Value     json.RawMessage `json:"value"`
}

// An origin says whose value it is that the owner has sealed anew, as the owner says.
type origin struct {
	Author string    `json:"author"`
	At     time.Time `json:"at"`
}

// binds reports whether what was sealed is for the owner, of the kind, and by the author.
func (i *inside) binds(owner string, k Kind, author string) bool {
	return i.Owner == owner && i.Interface == k.Interface && i.Context == k.Context && i.Type == k.Type &&
		i.Author == author
}

// plaintext returns the text that is sealed, filled up with spaces so that its length is one of few (seal.Padme).
func (i *inside) plaintext() ([]byte, error) {
	b, err := jose.Encode(i)
	if err != nil {
		return nil, coffer.Errorf("seal", coffer.Invalid, "the value is no JSON")
	}
	return append(b, bytes.Repeat([]byte{' '}, int(seal.Padme(int64(len(b))))-len(b))...), nil
}

// maxPlaintext is what fits into a commit's payload when it is sealed.
const maxPlaintext = (1<<20)/4*3 - 4<<10

// sealed returns the envelope for what wrap wraps the content key for.
func (i *inside) sealed(members []jose.Member, wrap func(*jose.ContentKey) (json.RawMessage, error)) ([]byte, error) {
	text, err := i.plaintext()
	if err != nil {
		return nil, err
	}
	if len(text) > maxPlaintext {
		return nil, coffer.Errorf("seal", coffer.Exhausted, "the value is too large for an object of a hub")
	}
	key, err := jose.NewContentKey(jose.A256GCM)
	if err != nil {
		return nil, coffer.E("seal", coffer.Other, err)
	}
	protected, err := key.Protected(append([]jose.Member{{Name: formMember, Value: formVersion}}, members...)...)
	if err != nil {
		return nil, coffer.E("seal", coffer.Other, err)
	}
	recipients, err := wrap(key)
	if err != nil {
		return nil, err
	}
	return key.Encrypt(protected, []byte(recipients), text), nil
}

// sealObject seals under an object's key, which an epoch and a salt lead to.
func (i *inside) sealObject(key objectKey, epoch uint32, s salt) ([]byte, error) {
	return i.sealed([]jose.Member{
		{Name: epochMember, Value: strconv.FormatUint(uint64(epoch), 10)},
		{Name: saltMember, Value: base64.RawURLEncoding.EncodeToString(s[:])},
	}, func(content *jose.ContentKey) (json.RawMessage, error) {
		kek := derive(key[:], nil, wrapLabel)
		return recipientList(recipientHeader{Alg: objectAlg, KeyID: objectKeyID}, jose.WrapKey(kek[:], content.Bytes()))
	})
}

// sealTo seals for one identity alone, who is to be the owner.
func (i *inside) sealTo(to reader) ([]byte, error) {
	return i.sealed(nil, func(content *jose.ContentKey) (json.RawMessage, error) {
		if to.delivery == nil {
			list, err := content.Wrap(jose.Recipient{KeyID: to.agreement.ID, Curve: jose.X25519, Public: to.agreement.Public})
			if err != nil {
				return nil, coffer.Errorf("seal", coffer.Invalid, "the recipient's key is none")
			}
			return json.RawMessage(list), nil
		}
		wrapped, err := seal.Deliver(to.delivery, i.messageInfo(), content.Bytes())
		if err != nil {
			return nil, err
		}
		return recipientList(recipientHeader{Alg: hybridAlg}, wrapped)
	})
}

func (i *inside) messageInfo() []byte { return info(messageLabel, i.Owner, i.Author) }

// info returns a label and texts, each after its length in 8 bytes.
func info(label string, texts ...string) []byte {
	b := append([]byte(label), 0)
	for _, t := range texts {
		b = append(binary.BigEndian.AppendUint64(b, uint64(len(t))), t...)
	}
	return b
}

type recipientHeader struct {
	Alg   string `json:"alg"`
	KeyID string `json:"kid,omitempty"`
}

type recipient struct {
	Header recipientHeader `json:"header"`
	Key    string          `json:"encrypted_key"`
}

func recipientList(h recipientHeader, wrapped []byte) (json.RawMessage, error) {
	b, err := jose.Encode([]recipient{{h, base64.RawURLEncoding.EncodeToString(wrapped)}})
	return b, err
}

// An envelope is a sealed payload that was read, not opened.
type envelope struct {
	jwe        *jose.JWE
	recipients []recipient
	keyed      bool // under an object's key, with this epoch and salt
	epoch      uint32
	salt       salt
	former     bool // opened by a key from before the vault secret was rotated
}

// parseEnvelope reads a sealed payload. It is nil for a payload that is none, which then is plaintext.
func parseEnvelope(payload []byte) (*envelope, error) {
	j, err := jose.Parse(payload)
	if err != nil {
		return nil, nil
	}
	version, ok := j.Member(formMember)
	if !ok {
		return nil, nil
	}
	e := &envelope{jwe: j}
	if version != formVersion || jose.DecodeOpen(j.Recipients, &e.recipients) != nil ||
		len(e.recipients) == 0 || len(e.recipients) > maxRecipients {
		return nil, errSealed
	}
	if text, ok := j.Member(epochMember); ok {
		n, err := strconv.ParseUint(text, 10, 32)
		if err != nil || strconv.FormatUint(n, 10) != text || n > maxEpoch {
			return nil, errSealed
		}
		text, _ = j.Member(saltMember)
		b, ok := jose.Decode64(text)
		if !ok || len(b) != len(e.salt) {
			return nil, errSealed
		}
		e.keyed, e.epoch, e.salt = true, uint32(n), salt(b)
	}
	return e, nil
}

// under is how an object with the salt is sealed, for what is to be sealed alike.
func under(s salt) *envelope { return &envelope{keyed: true, salt: s} }

// stale reports whether what is sealed so is to be sealed anew when its kind has come to an epoch.
func (e *envelope) stale(epoch uint32) bool { return !e.keyed || e.former || e.epoch < epoch }

var errSealed = coffer.Errorf("open", coffer.Corrupt, "not sealed as it should be, or by a newer version")

// open opens what sealObject sealed. Corrupt if this is not the key.
func (e *envelope) open(key objectKey) (*inside, error) {
	kek := derive(key[:], nil, wrapLabel)
	for _, r := range e.recipients {
		if r.Header.Alg != objectAlg || r.Header.KeyID != objectKeyID {
			continue
		}
		if wrapped, ok := jose.Decode64(r.Key); ok {
			if content, ok := jose.UnwrapKey(kek[:], wrapped); ok {
				return e.decrypt(content)
			}
		}
	}
	return nil, errSealed
}

// openFrom opens what sealTo sealed to the owner of the ring. Corrupt if it was not for him.
func (e *envelope) openFrom(ctx context.Context, ring coffer.Keyring, owner, author string) (*inside, error) {
	for _, r := range e.recipients {
		switch r.Header.Alg {
		case hybridAlg:
			o, ok := ring.(coffer.Owner)
			wrapped, good := jose.Decode64(r.Key)
			if !ok || !good {
				continue
			}
			content, err := o.Receive(ctx, info(messageLabel, owner, author), wrapped)
			if errors.Is(err, coffer.Corrupt) {
				continue
			}
			if err != nil {
				return nil, err
			}
			return e.decrypt(content)
		case jose.AgreementAlg:
			content, err := e.jwe.Unwrap(jose.Reader{
				KeyID: r.Header.KeyID, Curve: jose.X25519,
				Agree: func(peer []byte) ([]byte, error) { return ring.Agree(ctx, peer) },
			})
			if err == nil {
				return e.decrypt(content.Bytes())
			}
			if k := coffer.KindOf(err); k == coffer.Locked || k == coffer.Unavailable {
				return nil, err
			}
		}
	}
	return nil, errSealed
}

func (e *envelope) decrypt(content []byte) (*inside, error) {
	key, err := jose.ContentKeyOf(e.jwe.Enc, content)
	if err != nil {
		return nil, errSealed
	}
	text, err := e.jwe.Decrypt(nil, key)
	if err != nil {
		return nil, errSealed
	}
	return parseInside(text)
}

func parseInside(text []byte) (*inside, error) {
	var i inside
	if jose.Decode(text, &i) != nil || i.File != nil && !i.File.valid() {
		return nil, errSealed
	}
	return &i, nil
}
