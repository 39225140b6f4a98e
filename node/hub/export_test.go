package hub

// Scan sets how many objects or changes are looked at for one page.
func (s *Service) Scan(n int) { s.scan = n }
