package vaulttest

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"strings"
	"time"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/api/edv"
)

// Secrets are what a holder knows.
type secrets map[coffer.ObjectID]map[coffer.Access]coffer.Secret

func (x secrets) find(id coffer.ObjectID, a coffer.Access) (coffer.Secret, bool) {
	s, ok := x[id][a]
	return s, ok
}

// accesses is all that a secret can admit to.
var accesses = []coffer.Access{coffer.ReadAccess, coffer.WriteAccess, coffer.OpenAccess}

// fresh makes new secrets for an object.
func (x secrets) fresh(id coffer.ObjectID) {
	x[id] = make(map[coffer.Access]coffer.Secret)
	for _, a := range accesses {
		var s coffer.Secret
		rand.Read(s[:])
		x[id][a] = s
	}
}

// only returns the secrets for one access.
func (x secrets) only(a coffer.Access) secrets {
	few := make(secrets)
	for id := range x {
		few[id] = map[coffer.Access]coffer.Secret{a: x[id][a]}
	}
	return few
}

// confused returns secrets that are all taken for those of something else.
func (x secrets) confused() secrets {
	odd := make(secrets)
	for id := range x {
		odd[id] = map[coffer.Access]coffer.Secret{
			coffer.ReadAccess: x[id][coffer.WriteAccess], coffer.WriteAccess: x[id][coffer.ReadAccess],
		}
	}
	return odd
}

// entry returns the index entry with the verifiers of an object's secrets.
func (x secrets) entry(id coffer.ObjectID, sequence uint64) edv.Entry {
	e := edv.Entry{HMAC: coffer.KeyRef{ID: coffer.AccessKey, Type: "Sha256HmacKey2019"}, Sequence: sequence}
	e.Attributes = []edv.Attribute{}
	for _, a := range accesses {
		if s, ok := x[id][a]; ok {
			e.Attributes = append(e.Attributes, edv.Attribute{Name: string(a), Value: s.Verifier(id, a)})
		}
	}
	return e
}

// sealed returns a document that admits the secrets, with the tags of [document] besides, of the key key.
func (x secrets) sealed(id coffer.ObjectID, sequence uint64, stream *coffer.Stream, key string, tags ...string) *coffer.Document {
	w := edv.Document{ID: id, Sequence: sequence, Indexed: []edv.Entry{x.entry(id, sequence)}}
	other := edv.Entry{HMAC: coffer.KeyRef{ID: key, Type: "Sha256HmacKey2019"}, Sequence: sequence}
	for _, text := range tags {
		name, value, _ := strings.Cut(text, "=")
		value, unique := strings.CutSuffix(value, "!")
		a := edv.Attribute{Name: name, Value: value, Unique: unique}
		if key == coffer.AccessKey {
			w.Indexed[0].Attributes = append(w.Indexed[0].Attributes, a)
		} else {
			other.Attributes = append(other.Attributes, a)
		}
	}
	if len(other.Attributes) > 0 {
		w.Indexed = append(w.Indexed, other)
	}
	return compose(w, stream)
}

// follow returns a sealed document that replaces d.
func (x secrets) follow(d *coffer.Document, stream *coffer.Stream, tags ...string) *coffer.Document {
	n := x.sealed(d.ID, d.Sequence+1, stream, index, tags...)
	n.Parents = []coffer.Rev{d.Rev()}
	return n
}

// holder returns a vault as who holds secrets sees it. The step is skipped if the vault knows of none.
func (s *script) holder(v coffer.Vault, x secrets) coffer.Vault {
	s.Helper()
	h, ok := v.(coffer.Holder)
	if !ok {
		s.Skip("no Holder")
	}
	return h.Held(x.find)
}

// wantShut checks that nothing of an object can be had or changed: all of it is as if there were none.
func (s *script) wantShut(v coffer.Vault, x secrets, d *coffer.Document, kind coffer.Kind, who string) {
	s.Helper()
	for name, err := range s.heldTries(v, x, d) {
		s.want(err, kind, who+": "+name)
	}
	s.wantSame(s.get(d.ID), d)
}

// heldTries is all one can try on an object by its secrets, but to insert it.
func (s *script) heldTries(v coffer.Vault, x secrets, d *coffer.Document) map[string]error {
	_, getErr := v.Get(s.ctx, d.ID)
	_, updateErr := coffer.Put(s.ctx, v, x.follow(d, d.Stream))
	_, eraseErr := coffer.Erase(s.ctx, v, d.ID)
	_, r, chunkErr := v.Chunk(s.ctx, d.ID, 0)
	if chunkErr == nil {
		r.Close()
	}
	ref, b := raw(d.Sequence, 1, "intruder")
	return map[string]error{"get": getErr, "update": updateErr, "erase": eraseErr, "chunk": chunkErr,
		"put chunk":  v.PutChunk(s.ctx, d.ID, ref, bytes.NewReader(b)),
		"drop chunk": v.DropChunk(s.ctx, d.ID, 0)}
}

// insertSealed puts an object with fresh secrets and a chunk.
func (s *script) insertSealed(x secrets, tags ...string) *coffer.Document {
	s.Helper()
	id := coffer.NewObjectID()
	x.fresh(id)
	d := s.put(x.sealed(id, 0, &coffer.Stream{Pending: true}, index, tags...))
	s.putChunk(id, 0, 0, "text")
	return d
}

func (s *script) held() {
	x := make(secrets)
	d, other := s.insertSealed(x), s.insertSealed(x)
	plain := s.insert() // no secret admits to it
	x.fresh(plain.ID)
	owner := s.holder(s.v, x)

	got, err := owner.Get(s.ctx, d.ID)
	if err != nil {
		s.Fatalf("get by a secret: %v", err)
	}
	s.wantSame(got[0], d)
	missing := &coffer.Document{ID: coffer.NewObjectID()}
	for name, err := range s.heldTries(owner, x, missing) {
		s.want(err, coffer.NotExist, "what is not there: "+name)
	}
	s.wantShut(owner, x, plain, coffer.NotExist, "what has no verifiers")
	s.wantShut(s.holder(s.v, secrets{}), x, d, coffer.NotExist, "without secrets")
	s.wantShut(s.holder(s.v, x.confused()), x, d, coffer.NotExist, "with secrets for something else")
	s.wantShut(s.holder(s.v, secrets{d.ID: x[other.ID]}), x, d, coffer.NotExist, "with secrets of another object")
	s.wantShut(s.holder(s.v, x.only(coffer.OpenAccess)), x, d, coffer.NotExist, "with the secret of what is open")
	forged := make(secrets)
	forged.fresh(d.ID)
	s.wantShut(s.holder(s.v, forged), x, d, coffer.NotExist, "with forged secrets")
	for name, err := range s.heldTries(s.holder(s.v, x.only(coffer.ReadAccess)), x, d) {
		if name != "get" && name != "chunk" {
			s.want(err, coffer.NotExist, "a reader's "+name)
		} else if err != nil {
			s.Errorf("a reader's %s: %v", name, err)
		}
	}
	s.wantSame(s.get(d.ID), d)

	// Who may write and not read.
	writer := s.holder(s.v, x.only(coffer.WriteAccess))
	_, err = writer.Get(s.ctx, d.ID)
	s.want(err, coffer.NotExist, "a writer gets")
	s.v = writer
	s.putChunk(d.ID, 0, 1, "more")
	s.putChunk(d.ID, 0, 2, "too much")
	if err := writer.DropChunk(s.ctx, d.ID, 2); err != nil {
		s.Errorf("a writer drops a chunk: %v", err)
	}
	s.want(writer.DropChunk(s.ctx, d.ID, 2), coffer.NotExist, "a writer drops a chunk twice")
	early, b := raw(1, 0, "early")
	s.want(writer.PutChunk(s.ctx, d.ID, early, bytes.NewReader(b)), coffer.Conflict, "a chunk for a sequence to come")
	n := s.put(x.follow(d, &coffer.Stream{Chunks: 2}))
	_, err = coffer.Put(s.ctx, writer, x.follow(d, nil))
	s.want(err, coffer.Conflict, "a writer replaces what has been replaced")
	_, err = coffer.Put(s.ctx, writer, x.sealed(d.ID, 0, nil, index))
	s.want(err, coffer.Conflict, "insert with an id that is taken")
	s.v = s.Alice
	s.wantSame(s.get(d.ID), n)
	reader := s.holder(s.v, x.only(coffer.ReadAccess))
	s.v = reader
	s.wantChunk(d.ID, 0, 1, "more")
	s.wantNoChunk(d.ID, 2)
	s.v = s.Alice

	// The rest is denied.
	_, err = owner.Apply(s.ctx, coffer.Write{Erase: d.ID}, coffer.Write{Erase: other.ID})
	s.want(err, coffer.Denied, "two writes")
	_, err = owner.Count(s.ctx, coffer.Query{})
	s.want(err, coffer.Denied, "count")
	for _, err := range owner.Query(s.ctx, coffer.Query{}) {
		s.want(err, coffer.Denied, "query")
	}
	for _, err := range owner.Changes(s.ctx, "", false) {
		s.want(err, coffer.Denied, "changes")
	}
	if changes, err := owner.Apply(s.ctx); len(changes) != 0 || err != nil {
		s.Errorf("no writes: %v, %v", changes, err)
	}

	before := len(s.changes(""))
	c, err := coffer.Erase(s.ctx, writer, d.ID)
	if err != nil || c.Kind != coffer.Erased || c.ID != d.ID {
		s.Errorf("a writer erases: %+v, %v", c, err)
	}
	s.wantMissing(d.ID)
	_, err = coffer.Erase(s.ctx, writer, d.ID)
	s.want(err, coffer.NotExist, "a writer erases twice")
	if n := len(s.changes("")); n != before+1 {
		s.Errorf("%d changes, want %d", n, before+1)
	}
}

func (s *script) replacedSecret() {
	x, old := make(secrets), make(secrets)
	d := s.insertSealed(x)
	old[d.ID] = x[d.ID]
	x.fresh(d.ID)
	before, after := s.holder(s.v, old), s.holder(s.v, x)
	// The holder of the present secret puts others in its place, and holds them then.
	writer := s.holder(s.v, old.only(coffer.WriteAccess))
	n := x.follow(d, &coffer.Stream{Chunks: 1})
	if _, err := coffer.Put(s.ctx, writer, n); err != nil {
		s.Fatalf("put: %v", err)
	}
	s.wantShut(before, x, n, coffer.NotExist, "with secrets that were replaced")
	if _, err := after.Get(s.ctx, d.ID); err != nil {
		s.Errorf("get by the new secret: %v", err)
	}

	// Of those who erase by the old secret while it is replaced, none erases what admits only the new one.
	for range 8 {
		old[d.ID] = x[d.ID]
		x.fresh(d.ID)
		next := x.follow(n, &coffer.Stream{Chunks: 1})
		errs := make(chan error, 4)
		ref, b := raw(n.Sequence, 0, "late")
		for range cap(errs) {
			go func() { errs <- before.PutChunk(s.ctx, d.ID, ref, bytes.NewReader(b)) }()
		}
		if _, err := coffer.Put(s.ctx, s.v, next); err != nil {
			s.Fatalf("put: %v", err)
		}
		for range cap(errs) {
			if err := <-errs; err != nil && !errors.Is(err, coffer.NotExist) && !errors.Is(err, coffer.Conflict) {
				s.Errorf("put chunk: %v", err)
			}
		}
		_, err := coffer.Erase(s.ctx, before, d.ID)
		s.want(err, coffer.NotExist, "erase by the old secret")
		n = next
		s.wantSame(s.get(d.ID), n)
	}
}

func (s *script) heldTags() {
	x := make(secrets)
	d := s.insertSealed(x, "color=red", "serial=1!")
	holder := s.holder(s.v, x)
	refuse := func(d *coffer.Document, what string) {
		s.Helper()
		_, err := coffer.Put(s.ctx, holder, d)
		s.want(err, coffer.Denied, what)
	}
	refuse(x.follow(d, nil, "color=blue"), "another value")
	refuse(x.follow(d, nil, "color=red!"), "a tag made unique")
	refuse(x.follow(d, nil, "serial=2!"), "another unique value")
	refuse(x.follow(d, nil, "serial=1!", "size=9"), "one more tag")
	verifier := strings.Repeat("A", 43)
	for what, tag := range map[string]string{
		"unique verifier": "read=" + verifier + "!", "unknown access": "list=" + verifier, "no verifier": "read=x",
		"not base64url": "read=" + strings.Repeat("=", 43),
	} {
		id := coffer.NewObjectID()
		x.fresh(id)
		refuse(x.sealed(id, 0, nil, coffer.AccessKey, tag), "insert, "+what)
		s.wantMissing(id)
		n := x.sealed(d.ID, 1, nil, coffer.AccessKey, tag)
		n.Parents = []coffer.Rev{d.Rev()}
		refuse(n, "update, "+what)
	}
	for _, key := range []string{index, edv.InboxKey} {
		refuse(secrets{}.sealed(coffer.NewObjectID(), 0, nil, key, "message=x"), "insert with a tag of another key")
	}
	s.wantSame(s.get(d.ID), d)

	d2 := x.follow(d, nil, "color=red", "serial=1!") // carried over
	if _, err := coffer.Put(s.ctx, holder, d2); err != nil {
		s.Fatalf("put with the tags that were there: %v", err)
	}
	s.wantFound(coffer.Query{Index: index, Equals: []map[string]string{{"color": "red"}}}, d2)
	d3 := x.follow(d2, nil)
	if _, err := coffer.Put(s.ctx, holder, d3); err != nil {
		s.Fatalf("put without them: %v", err)
	}
	fresh := coffer.NewObjectID()
	x.fresh(fresh)
	if _, err := coffer.Put(s.ctx, holder, x.sealed(fresh, 0, nil, index)); err != nil {
		s.Fatalf("insert: %v", err)
	}
	if _, err := holder.Get(s.ctx, fresh); err != nil {
		s.Errorf("get what was inserted: %v", err)
	}
}

func (s *script) heldByDelegates() {
	x := make(secrets)
	d := s.insertSealed(x)
	s.holder(s.v, x)
	s.wantShut(s.holder(s.Bob(s.T, nil), x), x, d, coffer.NotExist, "a stranger with all secrets")
	soon := time.Now().Add(time.Hour)
	documents := s.Bob(s.T, s.Delegate(s.T, coffer.ObjectID{}, soon, "read", "write"))
	s.wantShut(s.holder(documents, x), x, d, coffer.Denied, "a delegate for documents")
	if s.DelegateAt == nil {
		return
	}
	capability := s.DelegateAt(s.T, "/held", soon, "read")
	bob := s.Bob(s.T, capability)
	reader := s.holder(bob, x)
	got, err := reader.Get(s.ctx, d.ID)
	if err != nil {
		s.Fatalf("a reader gets: %v", err)
	}
	s.wantSame(got[0], d)
	for name, err := range s.heldTries(reader, x, d) {
		if name != "get" && name != "chunk" {
			s.want(err, coffer.Denied, "a reader's "+name)
		}
	}
	_, err = coffer.Put(s.ctx, reader, x.sealed(coffer.NewObjectID(), 0, nil, index))
	s.want(err, coffer.Denied, "a reader inserts")
	for name, err := range s.tries(bob, d) { // without the secret it opens nothing
		s.want(err, coffer.Denied, "by the capability for what is held: "+name)
	}
	for name, err := range s.heldTries(s.holder(bob, secrets{}), x, d) {
		if name == "get" || name == "chunk" {
			s.want(err, coffer.NotExist, "a reader without secrets: "+name)
		}
	}
	for _, err := range reader.Query(s.ctx, coffer.Query{}) {
		s.want(err, coffer.Denied, "a reader's query")
	}

	capability = s.DelegateAt(s.T, "/held", soon, "read", "write")
	bob = s.Bob(s.T, capability)
	s.wantShut(s.holder(bob, secrets{}), x, d, coffer.NotExist, "a delegate without secrets")
	s.wantShut(s.holder(bob, x.confused()), x, d, coffer.NotExist, "a delegate with secrets for something else")
	writer := s.holder(bob, x)
	n := x.follow(d, &coffer.Stream{Chunks: 1})
	if _, err := coffer.Put(s.ctx, writer, n); err != nil {
		s.Fatalf("a writer's update: %v", err)
	}
	id := coffer.NewObjectID()
	x.fresh(id)
	if _, err := coffer.Put(s.ctx, writer, x.sealed(id, 0, nil, index)); err != nil {
		s.Fatalf("a writer inserts: %v", err)
	}
	if err := s.Revoke(s.ctx, capability); err != nil {
		s.Fatalf("revoke: %v", err)
	}
	s.wantShut(writer, x, n, coffer.NotExist, "a delegate after revocation")
	_, err = coffer.Put(s.ctx, writer, x.sealed(coffer.NewObjectID(), 0, nil, index))
	s.want(err, coffer.NotExist, "a delegate inserts after revocation")
	if _, err := reader.Get(s.ctx, d.ID); err != nil {
		s.Errorf("another capability for the same: %v", err)
	}
}

// A dropper is a vault that has an inbox.
type dropper interface {
	Drop(ctx context.Context, d *coffer.Document) error
}

func (s *script) inbox() {
	owner, ok := s.v.(dropper)
	if !ok {
		s.Skip("no inbox")
	}
	x := make(secrets)
	message := func(tags ...string) *coffer.Document {
		id := coffer.NewObjectID()
		x.fresh(id)
		return x.sealed(id, 0, nil, edv.InboxKey, tags...)
	}
	first := message("message=hello")
	if err := owner.Drop(s.ctx, first); err != nil {
		s.Fatalf("drop: %v", err)
	}
	s.wantSame(s.get(first.ID), first)
	waiting := coffer.Query{Index: edv.InboxKey, Has: []string{edv.MessageName}}
	s.wantFound(waiting, first)
	s.want(owner.Drop(s.ctx, first), coffer.Conflict, "drop twice")

	later, streamed, long := message("message=x"), message("message=x"), message("message=x")
	later = x.sealed(later.ID, 1, nil, edv.InboxKey, "message=x")
	streamed = x.sealed(streamed.ID, 0, &coffer.Stream{Pending: true}, edv.InboxKey, "message=x")
	reply := x.sealed(first.ID, 0, nil, edv.InboxKey, "message=x")
	reply.Parents = []coffer.Rev{first.Rev()}
	for what, d := range map[string]*coffer.Document{
		"no tag": message(), "two tags": message("message=x", "message=y"), "another name": message("color=x"),
		"a name more": message("message=x", "color=x"), "unique": message("message=x!"),
		"long value": message("message=" + strings.Repeat("x", 65)), "another key": x.sealed(long.ID, 0, nil, index, "message=x"),
		"not first": later, "with a stream": streamed, "with a parent": reply,
	} {
		s.want(owner.Drop(s.ctx, d), coffer.Invalid, what)
		if d != reply {
			s.wantMissing(d.ID)
		}
	}
	long.Body = bytes.Replace(long.Body, []byte(`"ciphertext":"`),
		append([]byte(`"ciphertext":"`), bytes.Repeat([]byte("A"), edv.MaxMessage)...), 1)
	s.want(owner.Drop(s.ctx, long), coffer.Exhausted, "too large")
	s.wantFound(waiting, first)

	if s.DelegateAt == nil {
		return
	}
	d := s.target()
	capability := s.DelegateAt(s.T, "/inbox", time.Now().Add(time.Hour), "write")
	bob := s.Bob(s.T, capability)
	before := len(s.changes(""))
	for name, err := range s.tries(bob, d) {
		s.want(err, coffer.Denied, "who may leave messages: "+name)
	}
	if h, ok := bob.(coffer.Holder); ok {
		s.wantShut(h.Held(x.find), x, first, coffer.Denied, "who may leave messages, by a secret")
	}
	if n := len(s.changes("")); n != before {
		s.Errorf("%d changes, want %d", n, before)
	}
	second := message("message=from bob")
	if err := bob.(dropper).Drop(s.ctx, second); err != nil {
		s.Fatalf("bob drops: %v", err)
	}
	s.wantFound(waiting, first, second)
	s.want(s.Bob(s.T, nil).(dropper).Drop(s.ctx, message("message=x")), coffer.NotExist, "a stranger drops")
	reader := s.Bob(s.T, s.Delegate(s.T, coffer.ObjectID{}, time.Now().Add(time.Hour), "read", "write"))
	s.want(reader.(dropper).Drop(s.ctx, message("message=x")), coffer.Denied, "a delegate for documents drops")
	if _, err := coffer.Erase(s.ctx, s.v, first.ID); err != nil { // it has been read
		s.Fatalf("erase: %v", err)
	}
	s.wantFound(waiting, second)
	if err := s.Revoke(s.ctx, capability); err != nil {
		s.Fatalf("revoke: %v", err)
	}
	s.want(bob.(dropper).Drop(s.ctx, message("message=x")), coffer.NotExist, "bob drops after revocation")
}
