package merge

import (
	"encoding/base64"
	"encoding/json"
	"time"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/internal/jose"
)

// Build makes a signed commit. Of the header it needs all but Issuer, ObjectID of creates, and Meta; CommittedText is
// made from CommittedAt, with digits beyond milliseconds if it has any: they count for nothing but the revision. sign signs
// the input with the key that the header names; what it fails with is returned. Otherwise errors are those of [Parse]:
// Build makes nothing that Parse refuses.
func Build(h Header, payload []byte, sign func(input []byte) ([]byte, error)) (*coffer.Commit, error) {
	if h.Meta != nil && jose.Valid(h.Meta) != nil {
		return nil, fault("commit.protected.meta", "not JSON")
	}
	form := "2006-01-02T15:04:05.000Z"
	if h.CommittedAt.Nanosecond()%int(time.Millisecond) != 0 {
		form = "2006-01-02T15:04:05.000000000Z"
	}
	j := jose.NewJWS(struct {
		Interface   string          `json:"interface"`
		Context     string          `json:"context"`
		Type        string          `json:"type"`
		Strategy    string          `json:"commit_strategy"`
		Sub         string          `json:"sub"`
		Operation   string          `json:"operation"`
		CommittedAt string          `json:"committed_at"`
		ObjectID    string          `json:"object_id,omitempty"`
		Meta        json.RawMessage `json:"meta,omitempty"`
		Issuer      string          `json:"iss,omitempty"`
		Alg         string          `json:"alg"`
		KeyID       string          `json:"kid"`
	}{
		h.Interface, h.Context, h.Type, h.Strategy, h.Sub, h.Operation,
		h.CommittedAt.UTC().Format(form), h.ObjectID, h.Meta, h.Issuer, h.Alg, h.KeyID,
	}, payload)
	signature, err := sign(j.Input())
	if err != nil {
		return nil, err
	}
	c := &coffer.Commit{
		Protected: j.Protected,
		Payload:   j.Payload,
		Signature: base64.RawURLEncoding.EncodeToString(signature),
	}
	if _, err := Parse(c); err != nil {
		return nil, err
	}
	return c, nil
}
