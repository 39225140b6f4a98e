package agent

import (
	"context"
	"errors"
	"slices"
	"sync"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/agent/seal"
	"github.com/cofferhq/coffer/agent/tree"
	"github.com/cofferhq/coffer/internal/jose"
	"github.com/cofferhq/coffer/keyring"
)

func bearer(seed []byte) coffer.Keyring { return keyring.Bearer([32]byte(seed)) }

func (a *Agent) former(did string) bool { return slices.Contains(a.formerDIDs(), did) }

// A guest is a reader in what another owner shared.
type guest struct {
	From        string
	former      []string // what the owner was called before
	Ref         seal.Ref
	Above       []coffer.ObjectID
	Certificate *certificate
	folder      bool
	name        string
	d           *delivery
	box         seal.Ref

	mu    sync.Mutex
	known map[coffer.ObjectID]seal.Ref // of what was met: its secrets open the vault's door
}

// In returns an agent of the same person for what somebody else shared. The vault is the invitation's, as its Reader
// may see it with its Capability, and must be a [coffer.Holder].
//
// If the invitation is for a folder, paths are below that folder; if it is for an object, its path is "". Get, List,
// Walk and Stat work there, and Put, Move, MkdirAll and Remove if it is for writing. When the owner changed the keys,
// the new ones are fetched.
func (a *Agent) In(i *Invitation, vault coffer.Vault) (*Agent, error) {
	holder, ok := vault.(coffer.Holder)
	if !ok {
		return nil, coffer.Errorf("guest", coffer.Invalid, "the vault does not know of secrets")
	}
	ref, err := i.d.Ref.ref()
	if err != nil {
		return nil, err
	}
	box, err := i.d.Box.ref()
	if err != nil {
		return nil, err
	}
	g := &guest{
		From: i.From, Ref: ref, Above: i.d.Above, Certificate: i.d.Certificate, folder: i.Folder, name: i.Name, d: i.d,
		box: box, known: make(map[coffer.ObjectID]seal.Ref),
	}
	if g.former, err = names(i.From, i.d.Former); err != nil {
		return nil, err
	}
	g.meet(ref)
	g.meet(box)
	o := a.Options
	o.Vault, o.URL, o.Revoker, o.Log, o.Cache = holder.Held(g.secret), "", nil, nil, nil
	// What is noted of uploads here is not what is noted of the same path elsewhere: the secrets in it would be shown to
	// another vault.
	o.Space = a.Space + "\x00" + i.d.Vault + "\x00" + i.d.Grant
	in := &Agent{Options: o, guest: g}
	in.commits.turn = make(chan struct{}, 1)
	return in, nil
}

// owners returns the identifiers of the vault's owner.
func (g *guest) owners() []string { return append([]string{g.From}, g.former...) }

// meet remembers the keys of an object.
func (g *guest) meet(r seal.Ref) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.known[r.ID] = r
}

func (g *guest) secret(id coffer.ObjectID, a coffer.Access) (coffer.Secret, bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	r, ok := g.known[id]
	switch {
	case !ok:
		return coffer.Secret{}, false
	case a == coffer.ReadAccess:
		return r.Key.Access(id), true
	case a == coffer.WriteAccess && r.Write != (seal.WriteKey{}):
		return r.Write.Access(id), true
	}
	return coffer.Secret{}, false
}

func (g *guest) root() seal.Ref {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.Ref
}

// renew fetches the present keys from the reader's slot. NotExist if there are none any more.
func (a *Agent) renew(ctx context.Context) error {
	const op = "share"
	g := a.guest
	r, err := a.read(ctx, g.box, a.mine)
	if err != nil {
		return err
	}
	b, err := decodeBox(r.opened.Content)
	if err != nil {
		return err
	}
	if g.d.Slot < 0 || g.d.Slot >= len(b.Slots) {
		return coffer.Errorf(op, coffer.Corrupt, "there is no such slot")
	}
	plain, err := a.Keyring.Receive(ctx, []byte(slotInfo), b.Slots[g.d.Slot])
	if errors.Is(err, coffer.Corrupt) {
		return coffer.Errorf(op, coffer.NotExist, "it is not shared any more")
	} else if err != nil {
		return err
	}
	var s slot
	if plain, err = seal.UnpadDelivery(plain); err != nil || jose.DecodeOpen(plain, &s) != nil || s.Grant != g.d.Grant {
		return coffer.Errorf(op, coffer.NotExist, "it is not shared any more")
	}
	if !a.isOwner(s.By) {
		return coffer.Errorf(op, coffer.Corrupt, "keys that the owner did not send")
	}
	if err := a.signedBy(ctx, s.By, &s, s.Statement); err != nil {
		return err
	}
	ref, err := s.Ref.ref()
	if err != nil || ref.ID != g.root().ID {
		return coffer.Errorf(op, coffer.Corrupt, "keys of something else")
	}
	g.meet(ref)
	g.mu.Lock()
	g.Ref = ref
	g.mu.Unlock()
	return nil
}

// try carries out f, and once more with new keys if those at hand do not open any more.
func (a *Agent) try(ctx context.Context, f func() error) error {
	before := a.guest.root()
	err := f()
	if errors.Is(err, coffer.NotExist) || errors.Is(err, coffer.Corrupt) {
		switch renewed := a.renew(ctx); {
		case errors.Is(renewed, coffer.NotExist): // the vault refuses, or there are no keys
			return renewed
		case renewed != nil || a.guest.root() == before:
			return err
		}
		a.objects.forget()
		return f()
	}
	return err
}

// commit carries out a change in what another owner shared: what is new first, then what replaces, then what goes, for
// the vault takes one write at a time from a guest.
func (g *guest) commit(ctx context.Context, a *Agent, change func(context.Context, *txn) error) (err error) {
	if g.Certificate == nil {
		return coffer.Errorf("put", coffer.Denied, "shared for reading")
	}
	for attempt := range maxAttempts {
		if err = a.try(ctx, func() error { return g.once(ctx, a, change) }); !errors.Is(err, coffer.Conflict) {
			return err
		}
		pause(ctx, attempt)
	}
	return err
}

func (g *guest) once(ctx context.Context, a *Agent, change func(context.Context, *txn) error) error {
	v, err := a.look(ctx)
	if err != nil {
		return err
	}
	t := v.change()
	if err := change(ctx, t); err != nil {
		return err
	}
	pages, drop := t.tree.Dirty()
	for _, p := range pages {
		if err := t.putRecord(ctx, p.Ref(), t.pages[p.Ref().ID], p.Content(), p); err != nil {
			return err
		}
	}
	for _, id := range drop {
		t.erase(id)
	}
	rank := func(w coffer.Write) int {
		switch {
		case w.Document == nil:
			return 2
		case len(w.Document.Parents) > 0:
			return 1
		}
		return 0
	}
	slices.SortStableFunc(t.writes, func(x, y coffer.Write) int { return rank(x) - rank(y) })
	// The secrets that admit to what is replaced are those of before; the new ones count once it is written.
	for _, w := range t.writes {
		changes, err := a.Vault.Apply(ctx, w)
		if err == nil {
			err = acknowledged([]coffer.Write{w}, changes)
		}
		if err != nil {
			return err
		}
		if ref, ok := t.wrote[w.ID()]; ok {
			g.meet(ref)
		}
	}
	return nil
}

// node describes what a guest was given when that is a single object.
func (a *Agent) node(ctx context.Context) (tree.Node, *revision, error) {
	g := a.guest
	var r *revision
	err := a.try(ctx, func() (err error) {
		r, err = a.read(ctx, g.root(), (&view{a: a}).writers(ctx, g.root(), []coffer.ObjectID{}))
		return err
	})
	if err != nil {
		return tree.Node{}, nil, err
	}
	c, err := decodeContent(r.opened.Content)
	if err != nil {
		return tree.Node{}, nil, err
	}
	return tree.Node{
		Ref: g.root(), Name: g.name, Type: c.Type, MIME: c.MIME, Size: c.Size, Modified: c.Modified, Mode: c.mode(),
		Sequence: r.doc.Sequence, Rev: r.rev,
	}, r, nil
}
