package vault

import "github.com/cofferhq/coffer/store"

// LimitRevocations sets how many revocations a vault's list may hold after a delegate, or the controller, has added to
// it.
func (s *Service) LimitRevocations(delegates, owner int64) {
	s.revocations = listLimit{store.Usage{Documents: delegates}, store.Usage{Documents: owner}}
}
