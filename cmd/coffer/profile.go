package main

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"time"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/internal/jose"
)

// A profile is what config.json holds: whose vault is where. It is written last when an identity is made, so that a
// profile that has one is complete.
type profile struct {
	Version      int    `json:"version"`
	DID          string `json:"did"`
	KeyAgreement string `json:"keyAgreement"` // id of the key that others encrypt to
	HMAC         string `json:"hmac"`         // id of the key that blinds what is indexed
	Node         string `json:"node"`         // origin
	Vault        string `json:"vault"`        // URL
	Personal     bool   `json:"personal,omitempty"`

	// Since version 2.
	Controller string `json:"controller,omitempty"` // by which the provider knows the vault's owner; empty: the DID
	Space      string `json:"space,omitempty"`      // agent.Options.Space; empty: "main", and what is in the vault may be of an earlier format
	LogKey     string `json:"logKey,omitempty"`     // with which the node signs its checkpoints, as it was at first
	Place      string `json:"place,omitempty"`      // where other devices leave new keys for this one
	Keys       string `json:"keys,omitempty"`       // the generations of keys that the vault is known to be under

	// Since version 3, which is written when there is something of it.
	HubAt string `json:"hubAt,omitempty"` // URL of the hub; empty: at the node

	// A pairing that nobody may have joined by, and when it is over.
	Pairing      string    `json:"pairing,omitempty"`
	PairingUntil time.Time `json:"pairingUntil,omitzero"`
}

// profileVersion is the newest version of config.json. Without what is new in it, version 2 is written, so that earlier
// programs can read it.
const profileVersion = 3

// controllerDID returns the identifier by which the provider knows the vault's owner.
func (c *profile) controllerDID() string {
	if c.Controller != "" {
		return c.Controller
	}
	return c.DID
}

// pseudonymous reports whether the provider knows the owner by another name than others do.
func (c *profile) pseudonymous() bool { return c.Controller != "" && c.Controller != c.DID }

// maxProfile bounds config.json.
const maxProfile = 64 << 10

// loadProfile reads the profile's config.json. NotExist if there is none yet.
func (p *program) loadProfile() (*profile, error) {
	l, err := p.places()
	if err != nil {
		return nil, err
	}
	b, err := readSmall(l.config, maxProfile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, failed(coffer.NotExist, `create it with "coffer up", or with "coffer init --node URL"`,
			"there is no identity in profile %s", p.Profile)
	}
	if err != nil {
		return nil, explain(err, "", "cannot read the profile")
	}
	var head struct {
		Version int `json:"version"`
	}
	if err := jose.DecodeOpen(b, &head); err != nil || head.Version < 1 {
		return nil, failed(coffer.Corrupt, "remove "+l.config+` and run "coffer init" with --keyring `+l.keyring,
			"the profile's configuration is damaged")
	}
	if head.Version > profileVersion {
		return nil, failed(coffer.Invalid, "install a newer version of coffer",
			"the profile was written by a newer version of coffer")
	}
	var c profile
	if err := jose.Decode(b, &c); err != nil {
		return nil, failed(coffer.Corrupt, "remove "+l.config+` and run "coffer init" with --keyring `+l.keyring,
			"the profile's configuration is damaged")
	}
	p.early = c.Space == ""
	return &c, nil
}

// saveProfile writes config.json, and makes its folder.
func (p *program) saveProfile(c *profile) error {
	l, err := p.places()
	if err != nil {
		return err
	}
	if c.Version = profileVersion; c.HubAt == "" {
		c.Version = 2
	}
	return explain(writeJSONFile(l.config, c), "", "cannot write the profile")
}

// writeJSONFile writes v as JSON into a file of the owner's alone, and makes its folder.
func writeJSONFile(name string, v any) error {
	b, err := jose.Encode(v)
	if err != nil {
		return err
	}
	return writeFile(name, append(b, '\n'))
}

// readSmall reads a file of at most limit bytes.
func readSmall(name string, limit int64) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(b)) > limit {
		return nil, coffer.Errorf("file", coffer.Corrupt, "too long")
	}
	return b, nil
}
