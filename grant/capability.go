package grant

// A Capability is a delegated capability whose form, chain and proofs have been verified.
type Capability struct{}
