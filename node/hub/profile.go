package hub

// Profile: basic, public information of an owner: one object for each context and type, of which the first to come is
// the primary one.

// profileOpen reports whether a profile is open: to everybody, unless the hub is told otherwise.
func profileOpen(s *Service, _ *row, _ string) bool { return s.o.PublicProfile }
