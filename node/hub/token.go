package hub

import (
	"encoding/base64"
	"encoding/json"

	"github.com/cofferhq/coffer"
)

// A place is where a listing goes on. It is handed out sealed, as a skip token, and as a watermark.
type place struct {
	After  coffer.ObjectID `json:"a,omitzero"` // documents after this one
	Cursor coffer.Cursor   `json:"c,omitzero"` // changes after it
	Key    *sortKey        `json:"k,omitempty"`
	Stamp  int64           `json:"s,omitzero"` // arrivals after it
	End    coffer.Cursor   `json:"e,omitzero"` // end of the feed when the first page was asked for
}

// maxToken bounds tokens from outside.
const maxToken = 4 << 10

// token returns the place as a text that nobody can read, change or use for another owner, as another caller, or with
// another query.
func (v *view) token(owner, use string, query any, p *place) (string, error) {
	key, bound, err := v.tokenKey(owner, use, query)
	if err != nil {
		return "", err
	}
	b, err := json.Marshal(p)
	if err != nil {
		return "", corrupt()
	}
	return base64.RawURLEncoding.EncodeToString(seal(key, b, bound)), nil
}

// place reads what token returned. Invalid for anything else.
func (v *view) place(owner, use string, query any, token, target string) (*place, error) {
	key, bound, err := v.tokenKey(owner, use, query)
	if err != nil {
		return nil, err
	}
	p := new(place)
	if len(token) <= maxToken {
		if b, ok := decode64(token); ok {
			if b, ok := open(key, b, bound); ok && json.Unmarshal(b, p) == nil {
				return p, nil
			}
		}
	}
	return nil, invalid(target, "not a token of this hub for this query and caller")
}

func (v *view) tokenKey(owner, use string, query any) (key [32]byte, bound []byte, err error) {
	q, err := json.Marshal(query)
	if err != nil {
		return key, nil, invalid("query", "not in Unicode")
	}
	sum := mac(v.s.o.Secret[:], "coffer hub query 1", owner, v.who, use, string(q))
	return mac(v.s.o.Secret[:], "coffer hub tokens 1"), sum[:], nil
}

// The uses of tokens.
const (
	skipObjects  = "objects"
	skipCommits  = "commits"
	newerObjects = "objects since"
	newerCommits = "commits since"
)

// decode64 returns the bytes of unpadded base64url, and false for a text that is not the one of its bytes.
func decode64(s string) ([]byte, bool) {
	b, err := base64.RawURLEncoding.Strict().DecodeString(s)
	return b, err == nil && base64.RawURLEncoding.EncodedLen(len(b)) == len(s) // the decoder passes over line ends
}
