package main

type whoamiCommand struct{}

// Run shows the identity. It needs no passphrase and no node.
func (whoamiCommand) Run(p *program) error {
	c, err := p.loadProfile()
	if err != nil {
		return err
	}
	return p.result(newIdentity(p, c), identityText, c.DID, c.KeyAgreement, c.HMAC, c.Vault, c.Node, p.Profile)
}

// An identity is how results describe the profile's.
type identity struct {
	DID          string `json:"did"`
	KeyAgreement string `json:"keyAgreement"`
	HMAC         string `json:"hmac"`
	Vault        string `json:"vault"`
	Node         string `json:"node"`
	Profile      string `json:"profile"`
}

func newIdentity(p *program, c *profile) identity {
	return identity{c.DID, c.KeyAgreement, c.HMAC, c.Vault, c.Node, p.Profile}
}

const identityText = `identity       %s
key agreement  %s
index key      %s
vault          %s
node           %s
profile        %s`
