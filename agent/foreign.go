package agent

import (
	"context"
	"errors"
	"io"
	"slices"
	"time"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/agent/seal"
	"github.com/cofferhq/coffer/grant"
)

// Other clients of encrypted data vaults know neither the tree nor its keys: they reach a document by its id, and seal
// it to the X25519 keys that its envelope names, for the vault to see. What goes between them and this package goes
// explicitly: [Agent.GetForeign] reads what they wrote for the owner, and [Agent.ShareForeign] lets one of them read an
// object. What they can find at the vault says [PutOptions].Blind.

// A ForeignDocument is what another client of encrypted data vaults wrote for the owner: its content as it is, and its
// stream, if it has one. Who wrote it, nothing proves: whoever knows the owner's public key could have.
type ForeignDocument struct {
	ID       coffer.ObjectID
	Sequence uint64
	Content  []byte   // JSON
	Meta     []byte   // JSON
	Readers  []string // ids of the keys that the envelope names; the vault may have changed the list
	Stream   bool

	agent  *Agent
	opened *seal.Opened
}

// GetForeign returns a document that another client of encrypted data vaults wrote for the owner. NotExist if there is
// none with this id, Denied if it is not sealed for the owner, Corrupt if it is not what its writer made; Conflict if
// writers parted and several revisions are present; Invalid for an object of this package's, which [Agent.Get] reads.
func (a *Agent) GetForeign(ctx context.Context, id coffer.ObjectID) (*ForeignDocument, error) {
	const op = "get"
	docs, err := a.Vault.Get(ctx, id)
	if err != nil {
		return nil, err
	}
	switch {
	case len(docs) == 0 || docs[0] == nil || docs[0].ID != id:
		return nil, coffer.Errorf(op, coffer.Corrupt, "the vault answered with another object")
	case len(docs) > 1:
		return nil, coffer.Errorf(op, coffer.Conflict, "several revisions are present")
	case native(docs[0]):
		return nil, coffer.Errorf(op, coffer.Invalid, "this is no document of another client")
	}
	o, err := seal.Open(ctx, a.Keyring, docs[0])
	if err != nil {
		return nil, err
	}
	return &ForeignDocument{
		ID: id, Sequence: o.Sequence, Content: o.Content, Meta: o.Meta, Readers: o.KeyIDs, Stream: o.Stream != nil, agent: a,
		opened: o,
	}, nil
}

// Open returns a reader of the stream, which the caller closes. If it ends with io.EOF, all chunks that the document
// speaks of were there; that they are those of its writer, and in their order, only programs that bind them to their
// place can make sure. NotExist without a stream, Unavailable while it is being written.
func (d *ForeignDocument) Open(ctx context.Context) (io.ReadCloser, error) {
	if !d.Stream {
		return nil, coffer.Errorf("read", coffer.NotExist, "the document has no stream")
	}
	opener, err := seal.NewChunkOpener(d.agent.Keyring, d.opened)
	if err != nil {
		return nil, err
	}
	return io.NopCloser(seal.NewReader(ctx, opener, func(ctx context.Context, dst []byte, index uint64) ([]byte, error) {
		return fetchChunk(ctx, d.agent.Vault, d.ID, dst, index)
	})), nil
}

// ForeignOptions say which client of encrypted data vaults shall read something.
type ForeignOptions struct {
	Key   coffer.PublicKey // X25519: whom the object is sealed to; its ID stands in the envelope for all to see
	With  string           // identifier of who invokes the capability
	Until time.Time        // at most a year away; zero is a year less a day
}

// A ForeignShare is what such a client needs to read one document. It is handed out in the open: the capability is of
// use to its controller only.
type ForeignShare struct {
	ID         coffer.ObjectID
	URL        string    // of the document
	Key        string    // id of the key that it is sealed to
	With       string    // identifier of the reader
	Until      time.Time // of the capability
	Capability []byte    // its JSON, for reading the document
}

// ShareForeign lets another client of encrypted data vaults read what is at the path as it is now: it is sealed anew
// with the client's key named in the envelope, and the capability admits to it as a document of the vault. The next
// revision, whoever makes it and why, is sealed to nobody else again, so that this is to be repeated then. It is kept
// in no list of grants; [Revoker] ends the capability before its time.
//
// Invalid for a folder; for a key that is no X25519 key; and for what has a stream: its chunks name nobody, and a
// client that does not know their keys' place could not open them. NotExist if nothing is there.
func (a *Agent) ShareForeign(ctx context.Context, path string, o ForeignOptions) (*ForeignShare, error) {
	const op = "share"
	path, err := a.objectPath(path)
	if err != nil {
		return nil, err
	}
	now := a.Now().UTC().Truncate(time.Second)
	if o.Until.IsZero() {
		o.Until = now.Add(maxLife)
	}
	o.Until = o.Until.UTC().Truncate(time.Second)
	switch {
	case a.guest != nil || a.URL == "":
		return nil, coffer.Errorf(op, coffer.Invalid, "needs a vault of one's own, and its URL")
	case o.With == "" || o.Key.ID == "" || len(o.Key.Public) != 32:
		return nil, coffer.Errorf(op, coffer.Invalid, "nobody is named, or the key is no X25519 key")
	case !o.Until.After(now) || o.Until.After(now.Add(maxLife+time.Hour)):
		return nil, coffer.Errorf(op, coffer.Invalid, "it would end before it begins, or in more than a year")
	}
	s := &ForeignShare{Key: o.Key.ID, With: o.With, Until: o.Until}
	if err := a.commit(ctx, func(ctx context.Context, t *txn) error {
		n, err := t.tree.Get(ctx, path)
		if err != nil {
			return err
		}
		if n.Type == TypeFolder {
			return coffer.Errorf(op, coffer.Invalid, "other clients can be given single objects only")
		}
		r, err := t.a.readNode(ctx, t.view, n)
		if err != nil {
			return err
		}
		if r.opened.Stream != nil {
			return coffer.Errorf(op, coffer.Invalid, "the chunks of a long file can be read by this program only")
		}
		opts := seal.ObjectOptions{Origin: r.origin(), Time: t.now, Recipients: []coffer.PublicKey{o.Key}}
		if opts.Blind, opts.Keep, err = t.blinded(ctx, path, r); err != nil {
			return err
		}
		d, err := t.sealAs(ctx, n.Ref, r, seal.Plain{Content: r.opened.Content}, opts)
		if err != nil {
			return err
		}
		t.write(n.Ref, d)
		n.Sequence, n.Rev = d.Sequence, d.Rev()
		if err := t.tree.Put(ctx, path, n); err != nil {
			return err
		}
		s.ID = n.Ref.ID
		return t.relink(ctx, path, n)
	}); err != nil {
		return nil, err
	}
	s.URL = a.URL + "/documents/" + s.ID.String()
	s.Capability, err = grant.Delegate(ctx, a.controller(), a.URL, grant.DelegateOptions{
		Controller: o.With, Target: s.URL, Actions: []grant.Action{grant.Read}, Created: now, Expires: o.Until,
	})
	return s, err
}

// ForeignKey returns the key that an identifier, or the id of one of its keys, stands for, and whose it is. NotExist if
// it has no X25519 key; otherwise the Resolver's own error.
func (a *Agent) ForeignKey(ctx context.Context, who string) (key coffer.PublicKey, did string, err error) {
	if a.Resolver == nil {
		return key, "", coffer.Errorf("share", coffer.Unavailable, "keys cannot be looked up here")
	}
	did = who
	for i, c := range who {
		if c == '#' {
			did = who[:i]
			break
		}
	}
	is, err := a.Resolver.Resolve(ctx, did)
	if err != nil {
		return key, "", err
	}
	i := slices.IndexFunc(is.Agreement, func(k coffer.PublicKey) bool {
		return len(k.Public) == 32 && (who == did || k.ID == who)
	})
	if i < 0 {
		return key, "", coffer.Errorf("share", coffer.NotExist, "there is no such key that could be sealed to")
	}
	return is.Agreement[i], did, nil
}

// isForeign reports whether an error of [seal.Open] says that a document is not for this package to read.
func isForeign(err error) bool {
	return errors.Is(err, coffer.Denied) || errors.Is(err, coffer.Corrupt) || errors.Is(err, coffer.Invalid)
}
