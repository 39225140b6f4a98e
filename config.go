package coffer

import (
	"encoding/json"
	"time"
)

// A Config is the configuration of a vault, as encrypted data vaults have it.
type Config struct {
	ID              string          `json:"id,omitempty"` // the vault's URL; chosen by the server
	Sequence        uint64          `json:"sequence"`     // counts the configuration's own revisions, from 0
	Controller      string          `json:"controller"`   // whose vault it is: the controller of its root capability
	ReferenceID     string          `json:"referenceId,omitempty"`
	KeyAgreementKey *KeyRef         `json:"keyAgreementKey,omitempty"`
	HMAC            *KeyRef         `json:"hmac,omitempty"`
	Invoker         json.RawMessage `json:"invoker,omitempty"`   // kept, not used
	Delegator       json.RawMessage `json:"delegator,omitempty"` // kept, not used
	IPAllowList     []string        `json:"ipAllowList,omitempty"`
	MeterID         string          `json:"meterId,omitempty"` // kept, not used
}

// A KeyRef names a key that the server never sees.
type KeyRef struct {
	ID   string `json:"id"`
	Type string `json:"type"`
}

// A Revocation says that a delegated capability is good no more.
type Revocation struct {
	Capability json.RawMessage `json:"capability"` // as it was delegated
	Delegator  string          `json:"delegator"`  // who had delegated it
	By         string          `json:"by"`         // whose authority revoked it
	Time       time.Time       `json:"time"`       // when it was revoked
	Expires    time.Time       `json:"expires"`    // when the capability would have ended by itself
}
