package agent_test

import (
	"bytes"
	"cmp"
	"context"
	"io"
	"iter"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/agent"
	"github.com/cofferhq/coffer/coffertest"
	"github.com/cofferhq/coffer/keyring"
	"github.com/cofferhq/coffer/ledger"
)

// A state is all that a provider stores of one vault, kept in memory by the rules of a vault. A provider who wants to
// go back to it, or to show several, copies it.
type state struct {
	t      testing.TB
	id     coffer.VaultID
	url    string
	signer *ledger.Signer
	now    func() time.Time
	owner  string

	mu      sync.Mutex
	docs    map[coffer.ObjectID]*coffer.Document
	former  map[coffer.ObjectID][]*coffer.Document // every revision there was, for those who want to show it
	chunks  map[coffer.ObjectID]map[uint64]map[uint64][]byte
	changes []coffer.Change
	revoked map[string]bool // capabilities
}

func newState(t testing.TB, owner string, now func() time.Time) *state {
	s := &state{
		t: t, id: coffer.NewVaultID(), now: now, owner: owner, signer: coffertest.LogSigner(t, coffertest.Origin),
		docs: make(map[coffer.ObjectID]*coffer.Document), former: make(map[coffer.ObjectID][]*coffer.Document),
		chunks: make(map[coffer.ObjectID]map[uint64]map[uint64][]byte), revoked: make(map[string]bool),
	}
	s.url = coffertest.Origin + "/edvs/" + s.id.String()
	return s
}

// copy returns a state that shares nothing with s but what never changes.
func (s *state) copy() *state {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := &state{
		t: s.t, id: s.id, url: s.url, signer: s.signer, now: s.now, owner: s.owner, docs: maps.Clone(s.docs),
		former: maps.Clone(s.former), chunks: make(map[coffer.ObjectID]map[uint64]map[uint64][]byte),
		changes: slices.Clone(s.changes), revoked: maps.Clone(s.revoked),
	}
	for id, f := range c.former {
		c.former[id] = slices.Clone(f)
	}
	for id, sets := range s.chunks {
		c.chunks[id] = make(map[uint64]map[uint64][]byte)
		for n, set := range sets {
			c.chunks[id][n] = maps.Clone(set)
		}
	}
	return c
}

// ids returns the ids of all documents, in order.
func (s *state) ids() []coffer.ObjectID {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.SortedFunc(maps.Keys(s.docs), func(a, b coffer.ObjectID) int { return bytes.Compare(a[:], b[:]) })
}

// cloned returns a document whose fields may be changed.
func cloned(d *coffer.Document) *coffer.Document {
	c := *d
	c.Parents, c.Tags, c.Body = slices.Clone(d.Parents), slices.Clone(d.Tags), bytes.Clone(d.Body)
	if d.Stream != nil {
		st := *d.Stream
		c.Stream = &st
	}
	return &c
}

// Get implements [coffer.Vault].
func (s *state) Get(_ context.Context, id coffer.ObjectID) ([]*coffer.Document, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	d := s.docs[id]
	if d == nil {
		return nil, coffer.Errorf("get", coffer.NotExist, "none")
	}
	return []*coffer.Document{cloned(d)}, nil
}

// Apply implements [coffer.Vault].
func (s *state) Apply(_ context.Context, writes ...coffer.Write) ([]coffer.Change, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	seen := make(map[coffer.ObjectID]bool)
	for _, w := range writes {
		there, taken := s.docs[w.ID()], len(s.former[w.ID()]) > 0
		if seen[w.ID()] {
			return nil, coffer.Errorf("apply", coffer.Invalid, "twice the same object")
		}
		seen[w.ID()] = true
		d := w.Document
		switch {
		case d == nil && there == nil:
			return nil, coffer.Errorf("apply", coffer.NotExist, "nothing to erase")
		case d == nil:
		case d.Check() != nil:
			return nil, d.Check()
		case len(d.Parents) == 0 && (taken || d.Sequence != 0):
			return nil, coffer.Errorf("apply", coffer.Conflict, "the id is taken")
		case len(d.Parents) > 0 && (there == nil || !slices.Equal(d.Parents, []coffer.Rev{there.Rev()}) ||
			d.Sequence != there.Sequence+1):
			return nil, coffer.Errorf("apply", coffer.Conflict, "not of what is present")
		}
	}
	var changes []coffer.Change
	for _, w := range writes {
		n := uint64(len(s.changes)) + 1
		c := coffer.Change{
			Cursor: ledger.Cursor(s.id, n), Number: n, Kind: coffer.Accepted, ID: w.ID(), By: s.owner,
			Time: s.now().UTC().Truncate(time.Millisecond),
		}
		if d := w.Document; d != nil {
			d = cloned(d)
			c.Sequence, c.Rev = d.Sequence, d.Rev()
			s.docs[d.ID] = d
			s.former[d.ID] = append(s.former[d.ID], d)
			s.settle(d)
		} else {
			c.Kind, c.Sequence = coffer.Erased, s.docs[w.Erase].Sequence
			delete(s.docs, w.Erase)
			delete(s.chunks, w.Erase)
		}
		s.changes, changes = append(s.changes, c), append(changes, c)
	}
	return changes, nil
}

// settle keeps of the chunks what the document's new revision names.
func (s *state) settle(d *coffer.Document) {
	sets := s.chunks[d.ID]
	if d.Stream == nil {
		delete(s.chunks, d.ID)
		return
	}
	if d.Stream.Pending || sets == nil {
		return
	}
	named := sets[d.Stream.Sequence]
	if d.Stream.Patch != 0 {
		named = maps.Clone(named)
		maps.Copy(named, sets[d.Stream.Patch])
	}
	for i := range named {
		if i >= d.Stream.Chunks {
			delete(named, i)
		}
	}
	s.chunks[d.ID] = map[uint64]map[uint64][]byte{d.Stream.Sequence: named}
}

// Query implements [coffer.Vault].
func (s *state) Query(ctx context.Context, q coffer.Query) iter.Seq2[*coffer.Document, error] {
	return func(yield func(*coffer.Document, error) bool) {
		n := 0
		for _, id := range s.ids() {
			if bytes.Compare(id[:], q.After[:]) <= 0 && q.After != (coffer.ObjectID{}) {
				continue
			}
			docs, err := s.Get(ctx, id)
			if err != nil || !matches(docs[0], q) {
				continue
			}
			if q.IDsOnly {
				docs[0] = &coffer.Document{ID: id, Sequence: docs[0].Sequence}
			}
			if !yield(docs[0], nil) {
				return
			}
			if n++; n == q.Limit {
				return
			}
		}
	}
}

func matches(d *coffer.Document, q coffer.Query) bool {
	for _, name := range q.Has {
		if !slices.ContainsFunc(d.Tags, func(t coffer.Tag) bool { return t.Key == q.Index && t.Name == name }) {
			return false
		}
	}
	return len(q.Equals) == 0
}

// Count implements [coffer.Vault].
func (s *state) Count(ctx context.Context, q coffer.Query) (n int, err error) {
	q.Limit, q.After = 0, coffer.ObjectID{}
	for range s.Query(ctx, q) {
		n++
	}
	return n, nil
}

// Changes implements [coffer.Vault].
func (s *state) Changes(_ context.Context, after coffer.Cursor, _ bool) iter.Seq2[coffer.Change, error] {
	return func(yield func(coffer.Change, error) bool) {
		from := uint64(0)
		if after != "" {
			var err error
			if from, err = ledger.Place(s.id, after); err != nil {
				yield(coffer.Change{}, err)
				return
			}
		}
		s.mu.Lock()
		changes := s.changes[min(from, uint64(len(s.changes))):]
		s.mu.Unlock()
		for _, c := range changes {
			if !yield(c, nil) {
				return
			}
		}
	}
}

// Chunk implements [coffer.Vault].
func (s *state) Chunk(_ context.Context, id coffer.ObjectID, index uint64) (coffer.ChunkRef, io.ReadCloser, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	d := s.docs[id]
	if d != nil && d.Stream != nil {
		set := d.Stream.Sequence
		if b, ok := s.chunks[id][set][index]; ok && (d.Stream.Pending || index < d.Stream.Chunks) {
			return coffer.ChunkRef{Sequence: set, Index: index, Size: int64(len(b)), Sum: sum(b)},
				io.NopCloser(bytes.NewReader(b)), nil
		}
	}
	return coffer.ChunkRef{}, nil, coffer.Errorf("chunk", coffer.NotExist, "none")
}

// PutChunk implements [coffer.Vault].
func (s *state) PutChunk(_ context.Context, id coffer.ObjectID, ref coffer.ChunkRef, r io.Reader) error {
	b, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	if int64(len(b)) != ref.Size || sum(b) != ref.Sum {
		return coffer.Errorf("put chunk", coffer.Invalid, "other bytes")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if d := s.docs[id]; d == nil || d.Sequence != ref.Sequence {
		return coffer.Errorf("put chunk", coffer.Conflict, "another sequence")
	}
	if s.chunks[id] == nil {
		s.chunks[id] = make(map[uint64]map[uint64][]byte)
	}
	if s.chunks[id][ref.Sequence] == nil {
		s.chunks[id][ref.Sequence] = make(map[uint64][]byte)
	}
	s.chunks[id][ref.Sequence][ref.Index] = b
	return nil
}

// DropChunk implements [coffer.Vault].
func (s *state) DropChunk(context.Context, coffer.ObjectID, uint64) error {
	return coffer.Errorf("drop chunk", coffer.NotExist, "none")
}

// source returns the tiles of the log.
func (s *state) source() ledger.Source {
	var e ledger.Edge
	tiles := make(map[ledger.Tile][]ledger.Hash)
	for _, c := range s.changes {
		e.Append(ledger.LeafHash(c), func(t ledger.Tile, h []ledger.Hash) { tiles[t] = slices.Clone(h) })
	}
	return e.Source(func(t ledger.Tile, _ int) ([]ledger.Hash, error) { return tiles[t], nil })
}

// Checkpoint implements [ledger.Log].
func (s *state) Checkpoint(context.Context) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	size := uint64(len(s.changes))
	root, err := ledger.RootAt(size, s.source())
	if err != nil {
		return nil, err
	}
	return ledger.Sign(s.signer, ledger.Checkpoint{Origin: ledger.Origin(s.url), Size: size, Root: root})
}

// Consistency implements [ledger.Log].
func (s *state) Consistency(_ context.Context, from, to uint64) ([][32]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if to > uint64(len(s.changes)) {
		return nil, coffer.Errorf("log", coffer.Invalid, "shorter")
	}
	return ledger.ProveConsistency(from, to, s.source())
}

// Inclusion implements [ledger.Log].
func (s *state) Inclusion(_ context.Context, index, size uint64) ([][32]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if size > uint64(len(s.changes)) {
		return nil, coffer.Errorf("log", coffer.Invalid, "shorter")
	}
	return ledger.ProveInclusion(index, size, s.source())
}

// A villain is a provider that answers as it pleases, out of what it stores: where a hook is set, with what that makes
// of the answer. What it is asked by others than the owner goes the same way.
type villain struct {
	*state
	get        func(id coffer.ObjectID, docs []*coffer.Document, err error) ([]*coffer.Document, error)
	query      func(found []*coffer.Document) []*coffer.Document
	change     func(c *coffer.Change) bool // false: left out
	feed       func(changes iter.Seq2[coffer.Change, error]) iter.Seq2[coffer.Change, error]
	chunk      func(id coffer.ObjectID, index uint64, ref *coffer.ChunkRef, b []byte) []byte // nil: none
	apply      func(writes []coffer.Write) ([]coffer.Change, error)
	putChunk   func(ref coffer.ChunkRef) error
	checkpoint func(note []byte, err error) ([]byte, error)
	proof      func(p [][32]byte) [][32]byte
}

// honest takes the hooks away.
func (v *villain) honest() { *v = villain{state: v.state} }

func (v *villain) Get(ctx context.Context, id coffer.ObjectID) ([]*coffer.Document, error) {
	docs, err := v.state.Get(ctx, id)
	if v.get != nil {
		return v.get(id, docs, err)
	}
	return docs, err
}

func (v *villain) Query(ctx context.Context, q coffer.Query) iter.Seq2[*coffer.Document, error] {
	if v.query == nil {
		return v.state.Query(ctx, q)
	}
	return func(yield func(*coffer.Document, error) bool) {
		var found []*coffer.Document
		for d := range v.state.Query(ctx, q) {
			found = append(found, d)
		}
		for _, d := range v.query(found) {
			if !yield(d, nil) {
				return
			}
		}
	}
}

func (v *villain) Changes(ctx context.Context, after coffer.Cursor, follow bool) iter.Seq2[coffer.Change, error] {
	changes := v.state.Changes(ctx, after, follow)
	if v.feed != nil {
		changes = v.feed(changes)
	}
	if v.change == nil {
		return changes
	}
	return func(yield func(coffer.Change, error) bool) {
		for c, err := range changes {
			if err == nil && !v.change(&c) {
				continue
			}
			if !yield(c, err) {
				return
			}
		}
	}
}

func (v *villain) Chunk(ctx context.Context, id coffer.ObjectID, index uint64) (coffer.ChunkRef, io.ReadCloser, error) {
	ref, r, err := v.state.Chunk(ctx, id, index)
	serve := v.chunk
	if serve == nil {
		return ref, r, err
	}
	var b []byte
	if err == nil {
		b, _ = io.ReadAll(r)
	}
	if b = serve(id, index, &ref, bytes.Clone(b)); b == nil {
		return coffer.ChunkRef{}, nil, coffer.Errorf("chunk", coffer.NotExist, "none")
	}
	return ref, io.NopCloser(bytes.NewReader(b)), nil
}

func (v *villain) PutChunk(ctx context.Context, id coffer.ObjectID, ref coffer.ChunkRef, r io.Reader) error {
	if v.putChunk != nil {
		if err := v.putChunk(ref); err != nil {
			return err
		}
	}
	return v.state.PutChunk(ctx, id, ref, r)
}

func (v *villain) Apply(ctx context.Context, writes ...coffer.Write) ([]coffer.Change, error) {
	if v.apply != nil {
		return v.apply(writes)
	}
	return v.state.Apply(ctx, writes...)
}

func (v *villain) Checkpoint(ctx context.Context) ([]byte, error) {
	note, err := v.state.Checkpoint(ctx)
	if v.checkpoint != nil {
		return v.checkpoint(note, err)
	}
	return note, err
}

func (v *villain) Consistency(ctx context.Context, from, to uint64) ([][32]byte, error) {
	p, err := v.state.Consistency(ctx, from, to)
	if v.proof != nil {
		p = v.proof(p)
	}
	return p, err
}

// An entrance is the villain's vault as a guest sees it.
type entrance struct {
	coffer.Vault
	v       *villain
	secret  func(coffer.ObjectID, coffer.Access) (coffer.Secret, bool)
	revoked func() bool
	lax     *bool // everybody is let in
}

// Held implements [coffer.Holder].
func (d entrance) Held(secret func(coffer.ObjectID, coffer.Access) (coffer.Secret, bool)) coffer.Vault {
	d.Vault, d.secret = d.v, secret
	return d
}

// admits reports whether the guest may, by what the vault really stores.
func (d entrance) admits(id coffer.ObjectID, a coffer.Access) bool {
	if *d.lax {
		return true
	}
	docs, err := d.v.state.Get(context.Background(), id)
	s, ok := d.secret(id, a)
	return !d.revoked() && err == nil && ok && docs[0].Admits(a, s)
}

func (d entrance) Get(ctx context.Context, id coffer.ObjectID) ([]*coffer.Document, error) {
	if !d.admits(id, coffer.ReadAccess) {
		return nil, coffer.Errorf("get", coffer.NotExist, "none")
	}
	return d.v.Get(ctx, id)
}

func (d entrance) Chunk(ctx context.Context, id coffer.ObjectID, index uint64) (coffer.ChunkRef, io.ReadCloser, error) {
	if !d.admits(id, coffer.ReadAccess) {
		return coffer.ChunkRef{}, nil, coffer.Errorf("chunk", coffer.NotExist, "none")
	}
	return d.v.Chunk(ctx, id, index)
}

func (d entrance) PutChunk(ctx context.Context, id coffer.ObjectID, ref coffer.ChunkRef, r io.Reader) error {
	if !d.admits(id, coffer.WriteAccess) {
		return coffer.Errorf("put chunk", coffer.NotExist, "none")
	}
	return d.v.PutChunk(ctx, id, ref, r)
}

func (d entrance) Apply(ctx context.Context, writes ...coffer.Write) ([]coffer.Change, error) {
	if len(writes) != 1 {
		return nil, coffer.Errorf("apply", coffer.Denied, "one at a time")
	}
	if w := writes[0]; d.revoked() && !*d.lax || (w.Document == nil || len(w.Document.Parents) > 0) && !d.admits(w.ID(),
		coffer.WriteAccess) {
		return nil, coffer.Errorf("apply", coffer.NotExist, "none")
	}
	return d.v.Apply(ctx, writes...)
}

func (d entrance) Query(context.Context, coffer.Query) iter.Seq2[*coffer.Document, error] {
	return func(yield func(*coffer.Document, error) bool) { yield(nil, coffer.Errorf("query", coffer.Denied, "")) }
}

func (d entrance) Changes(context.Context, coffer.Cursor, bool) iter.Seq2[coffer.Change, error] {
	return func(yield func(coffer.Change, error) bool) {
		yield(coffer.Change{}, coffer.Errorf("changes", coffer.Denied, ""))
	}
}

// A victim keeps a vault at a villain's.
type victim struct {
	*agent.Agent
	*villain
	t       testing.TB
	ring    *keyring.Ring
	clock   time.Time
	journal *memory
	lax     bool
}

// newVictim makes somebody a vault with an honest villain. Time is standing still unless it is moved.
func newVictim(t testing.TB, name string) *victim {
	t.Helper()
	p := &victim{t: t, ring: coffertest.Person(t, name), clock: time.Now(), journal: &memory{}}
	p.villain = &villain{state: newState(t, p.ring.DID(), func() time.Time { return p.clock })}
	p.Agent = p.device(p.villain, p.journal)
	return p
}

// again returns the victim of a villain as they are now, who have no part in what is done to them from then on. The new
// victim has no agent.
func (p *victim) again(t testing.TB) *victim {
	c := *p
	c.t, c.villain, c.journal, c.Agent = t, &villain{state: p.state.copy()}, p.journal.copy(), nil
	return &c
}

// device returns an agent of the victim's, with what it remembers; a nil journal forgets.
func (p *victim) device(v *villain, journal *memory) *agent.Agent {
	p.t.Helper()
	o := agent.Options{
		Vault: v, Keyring: p.ring, URL: v.url, Revoker: revoking{v}, Log: v, LogKey: v.signer.Verifier(), Workers: 2,
		Now: func() time.Time { return p.clock },
	}
	if journal != nil {
		o.Journal = journal
	}
	a, err := agent.New(o)
	if err != nil {
		p.t.Fatal(err)
	}
	return a
}

// revoking marks capabilities as revoked.
type revoking struct{ v *villain }

func (r revoking) Revoke(_ context.Context, capability []byte) error {
	r.v.mu.Lock()
	defer r.v.mu.Unlock()
	r.v.revoked[string(capability)] = true
	return nil
}

// guest returns somebody's agent in what the victim shared.
func (p *victim) guest(who *keyring.Ring, link string) *agent.Agent {
	p.t.Helper()
	return p.guestAt(p.villain, who, link)
}

func (p *victim) guestAt(v *villain, who *keyring.Ring, link string) *agent.Agent {
	p.t.Helper()
	a, err := agent.New(agent.Options{Vault: v, Keyring: who, Workers: 2, Now: func() time.Time { return p.clock }})
	if err != nil {
		p.t.Fatal(err)
	}
	i, err := a.OpenLink(p.t.Context(), link)
	if err != nil {
		p.t.Fatal(err)
	}
	capability := string(i.Capability)
	in, err := a.In(i, entrance{v: v, lax: &p.lax, revoked: func() bool {
		v.mu.Lock()
		defer v.mu.Unlock()
		return v.revoked[capability]
	}})
	if err != nil {
		p.t.Fatal(err)
	}
	return in
}

// knows makes somebody a contact.
func (p *victim) knows(who *keyring.Ring) string {
	p.t.Helper()
	card, err := who.Card(p.t.Context(), "")
	if err != nil {
		p.t.Fatal(err)
	}
	if _, err := p.AddContact(p.t.Context(), card, ""); err != nil {
		p.t.Fatal(err)
	}
	return who.DID()
}

// memory is a journal in memory.
type memory struct {
	mu    sync.Mutex
	notes map[string][]byte
}

func (m *memory) Load(_ context.Context, name string) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	b, ok := m.notes[name]
	if !ok {
		return nil, coffer.Errorf("journal", coffer.NotExist, "no such note")
	}
	return bytes.Clone(b), nil
}

func (m *memory) Save(_ context.Context, name string, note []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.notes == nil {
		m.notes = make(map[string][]byte)
	}
	m.notes[name] = bytes.Clone(note)
	return nil
}

func (m *memory) Delete(_ context.Context, name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.notes, name)
	return nil
}

func (m *memory) copy() *memory {
	m.mu.Lock()
	defer m.mu.Unlock()
	return &memory{notes: maps.Clone(m.notes)}
}

func (m *memory) len() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.notes)
}

// biggest returns the documents by the length of their bodies, the longest first.
func (s *state) biggest() (list []*coffer.Document) {
	s.mu.Lock()
	defer s.mu.Unlock()
	list = slices.Collect(maps.Values(s.docs))
	slices.SortFunc(list, func(a, b *coffer.Document) int { return cmp.Compare(len(b.Body), len(a.Body)) })
	return list
}
