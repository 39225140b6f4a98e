package agent_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/agent"
	"github.com/cofferhq/coffer/agent/seal"
	"github.com/cofferhq/coffer/coffertest"
	"github.com/cofferhq/coffer/grant"
	"github.com/cofferhq/coffer/keyring"
	"github.com/cofferhq/coffer/ledger"
)

// An estate is somebody's vault, which several machines use.
type estate struct {
	at  *coffertest.Vaults
	id  coffer.VaultID
	url string
}

// A machine is one of somebody's devices, with its keyring file and what it keeps beside it.
type machine struct {
	*agent.Agent
	t     testing.TB
	e     *estate
	ring  *keyring.Ring // what is in the file
	place string
	notes notes
	wrap  func(coffer.Vault) coffer.Vault
}

// newEstate makes a vault with one machine.
func newEstate(t testing.TB, at *coffertest.Vaults) *machine {
	t.Helper()
	ring := must(keyring.Generate().WithDevice())
	first := must(agent.Controllers(t.Context(), ring, "vault"))[0]
	e := &estate{at: at}
	e.id, e.url = at.NewVault(t, first)
	return e.machine(t, ring)
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func (e *estate) machine(t testing.TB, ring *keyring.Ring) *machine {
	t.Helper()
	m := &machine{t: t, e: e, ring: ring, notes: notes{}}
	if err := m.open(); err != nil {
		t.Fatalf("a machine: %v", err)
	}
	return m
}

// notes is a journal in memory.
type notes map[string][]byte

func (n notes) Load(_ context.Context, name string) ([]byte, error) {
	if b, ok := n[name]; ok {
		return b, nil
	}
	return nil, coffer.Errorf("notes", coffer.NotExist, "none")
}

func (n notes) Save(_ context.Context, name string, note []byte) error {
	n[name] = bytes.Clone(note)
	return nil
}

func (n notes) Delete(_ context.Context, name string) error {
	delete(n, name)
	return nil
}

// open makes an agent as a program does that starts: as the newest controller that the vault knows.
func (m *machine) open() error {
	all, err := agent.Controllers(context.Background(), m.ring, "vault")
	if err != nil {
		return err
	}
	for _, c := range all {
		view := m.e.at.As(m.e.at.Caller(m.t, c, m.e.url, nil), m.e.id)
		if _, err := view.Config(context.Background()); errors.Is(err, coffer.NotExist) {
			continue
		}
		var vault coffer.Vault = view
		if m.wrap != nil {
			vault = m.wrap(view)
		}
		m.Agent, err = agent.New(agent.Options{
			Vault: vault, Keyring: m.ring, Controller: c, URL: m.e.url, Log: coffer.Vault(view).(ledger.Log),
			LogKey: coffertest.LogSigner(m.t, coffertest.Origin).Verifier(), Now: m.e.at.Now, Journal: m.notes,
		})
		return err
	}
	return coffer.Errorf("open", coffer.NotExist, "the vault refuses all controllers")
}

// Configure implements [agent.Configurer].
func (m *machine) Configure(ctx context.Context, controller string) error {
	all := must(agent.Controllers(ctx, m.ring, "vault"))
	for _, c := range all {
		view := m.e.at.As(m.e.at.Caller(m.t, c, m.e.url, nil), m.e.id)
		config, err := view.Config(ctx)
		if errors.Is(err, coffer.NotExist) {
			continue
		} else if err != nil {
			return err
		}
		config.Sequence++
		config.Controller = controller
		return view.Configure(ctx, config)
	}
	return coffer.Errorf("configure", coffer.NotExist, "no vault")
}

// rotate begins a rotation.
func (m *machine) rotate(uses ...keyring.Use) error {
	next, err := m.Rotate(m.t.Context(), func(r *keyring.Ring) error {
		m.ring = r
		return nil
	}, uses...)
	if err == nil {
		m.Agent = next
	}
	return err
}

// settle ends it.
func (m *machine) settle() (agent.Settled, error) {
	c := must(agent.Controllers(m.t.Context(), m.ring, "vault"))[0]
	done, err := m.Settle(m.t.Context(), c, m)
	if err == nil && done.Handed {
		err = m.open()
	}
	return done, err
}

// catchUp takes the keys that another machine left.
func (m *machine) catchUp() error {
	next, err := agent.CatchUp(m.t.Context(), hatch{m.e.at}, m.e.url, m.ring, m.place)
	if err != nil {
		return err
	}
	m.ring = next
	return m.open()
}

// hatch opens what is open.
type hatch struct{ at *coffertest.Vaults }

func (d hatch) Open(ctx context.Context, url string, id coffer.ObjectID, secret coffer.Secret) (*coffer.Document,
	error) {
	v, err := coffer.ParseVaultID(url[len(coffertest.Origin+"/edvs/"):])
	if err != nil {
		return nil, err
	}
	return d.at.As(grant.Caller{}, v).Opened(ctx, id, secret)
}

func (d hatch) Drop(context.Context, string, coffer.Keyring, []byte, *coffer.Document) error {
	return coffer.Errorf("drop", coffer.Denied, "no messages here")
}

// join adds a machine by a pairing.
func (m *machine) join(t testing.TB, name string) *machine {
	t.Helper()
	ctx := t.Context()
	code, p := keyring.NewPairing()
	if err := m.OfferPairing(ctx, p, coffertest.Origin); err != nil {
		t.Fatalf("offer: %v", err)
	}
	typed := must(keyring.ParsePairing(code))
	l, err := agent.OpenPairing(ctx, hatch{m.e.at}, m.e.url, typed, m.e.at.Now())
	if err != nil {
		t.Fatalf("open pairing: %v", err)
	}
	if l.Vault != m.e.url || l.Space != "main" || l.Node != coffertest.Origin || l.LogKey == "" {
		t.Errorf("what was left: %+v", l)
	}
	n := m.e.machine(t, l.Ring)
	if err := n.Hear(ctx, l.Seen); err != nil {
		t.Fatalf("hear: %v", err)
	}
	if d, err := m.Joined(ctx, p); err != nil || d != nil {
		t.Errorf("joined before it did: %v, %v", d, err)
	}
	if n.place, err = n.Join(ctx, typed, name); err != nil {
		t.Fatalf("join: %v", err)
	}
	if d, err := m.Joined(ctx, p); err != nil || d == nil || d.Name != name || d.This {
		t.Errorf("joined: %+v, %v", d, err)
	}
	_, err = agent.OpenPairing(ctx, hatch{m.e.at}, m.e.url, typed, m.e.at.Now())
	expect(t, err, coffer.NotExist)
	return n
}

// register notes the first machine.
func (m *machine) register(t testing.TB, name string) {
	t.Helper()
	var err error
	if m.place, err = m.AddDevice(t.Context(), name); err != nil {
		t.Fatal(err)
	}
}

func deviceNames(t testing.TB, m *machine) (list []string) {
	t.Helper()
	devices, err := m.Devices(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range devices {
		list = append(list, d.Name)
	}
	return list
}

func TestTwoDevices(t *testing.T) {
	one := newEstate(t, provider(t))
	ctx := t.Context()
	put(t, one.Agent, "a", []byte("one"))
	one.register(t, "desk")
	two := one.join(t, "laptop")
	if got := get(t, two.Agent, "a"); string(got) != "one" {
		t.Errorf("got %q", got)
	}
	put(t, two.Agent, "b", []byte("two"))
	if got := get(t, one.Agent, "b"); string(got) != "two" {
		t.Errorf("got %q", got)
	}
	if got := deviceNames(t, two); !slices.Equal(got, []string{"desk", "laptop"}) {
		t.Errorf("devices %q", got)
	}
	if _, err := two.AddDevice(ctx, "desk"); !errors.Is(err, coffer.Conflict) {
		t.Errorf("a name that is taken: %v", err)
	}
	expect(t, two.LoseDevice(ctx, "laptop"), coffer.Conflict)
	expect(t, two.LoseDevice(ctx, "phone"), coffer.NotExist)
	_, err := agent.CatchUp(ctx, hatch{one.e.at}, one.e.url, two.ring, two.place)
	expect(t, err, coffer.NotExist)
}

func TestPairingIsOver(t *testing.T) {
	m := newEstate(t, provider(t))
	ctx := t.Context()
	put(t, m.Agent, "a", nil)
	_, p := keyring.NewPairing()
	_, other := keyring.NewPairing()
	if err := m.OfferPairing(ctx, p, coffertest.Origin); err != nil {
		t.Fatal(err)
	}
	_, err := agent.OpenPairing(ctx, hatch{m.e.at}, m.e.url, other, m.e.at.Now())
	expect(t, err, coffer.NotExist)
	_, err = agent.OpenPairing(ctx, hatch{m.e.at}, m.e.url, p, m.e.at.Now().Add(agent.PairingTime))
	expect(t, err, coffer.NotExist)
	if err := m.Withdraw(ctx, p.ID()); err != nil {
		t.Fatal(err)
	}
	if err := m.Withdraw(ctx, p.ID()); err != nil {
		t.Errorf("withdrawn twice: %v", err)
	}
	_, err = agent.OpenPairing(ctx, hatch{m.e.at}, m.e.url, p, m.e.at.Now())
	expect(t, err, coffer.NotExist)
}

// TestRotate rotates each use, and all, with two machines, a reader and a phrase: all go on.
func TestRotate(t *testing.T) {
	for name, uses := range map[string][]keyring.Use{
		"signing": {keyring.Signing}, "delivery": {keyring.Delivery}, "hmac": {keyring.HMAC}, "vault": {keyring.Vault},
		"all": nil,
	} {
		t.Run(name, func(t *testing.T) {
			at := provider(t)
			one, bob := newEstate(t, at), newPerson(t, at, "bob")
			ctx := t.Context()
			large := noise(7, 2<<20)
			put(t, one.Agent, "album/a", []byte("a"))
			put(t, one.Agent, "large", large)
			one.register(t, "desk")
			two := one.join(t, "laptop")
			card := must(bob.ring.Card(ctx, "Bob"))
			if _, err := one.AddContact(ctx, card, ""); err != nil {
				t.Fatal(err)
			}
			if _, err := one.Share(ctx, "album", agent.ShareOptions{With: bob.ring.DID()}); err != nil {
				t.Fatal(err)
			}
			old := one.ring
			if err := one.rotate(uses...); err != nil {
				t.Fatal(err)
			}
			done, err := one.settle()
			if err != nil || !done.Moved || done.Sent != 1 {
				t.Fatalf("settle: %+v, %v", done, err)
			}
			if done, err := one.settle(); err != nil || done != (agent.Settled{}) {
				t.Errorf("settled again: %+v, %v", done, err)
			}
			if err := one.Work(ctx, nil); err != nil {
				t.Fatal(err)
			}
			put(t, one.Agent, "album/later", []byte("later"))
			links, err := one.Links(ctx)
			if err != nil || len(links) != 1 {
				t.Fatalf("links: %v, %v", links, err)
			}
			g := bob.guest(t, links[0].Link)
			if got := get(t, g, "a"); string(got) != "a" {
				t.Errorf("a reader: %q", got)
			}
			if got := get(t, g, "later"); string(got) != "later" {
				t.Errorf("a reader: %q", got)
			}
			// Who comes back with keys from before cannot write.
			if _, err := two.Put(ctx, "late", file(nil), agent.PutOptions{}); err == nil {
				t.Error("written with keys from before")
			} else if name == "delivery" || name == "hmac" {
				expect(t, err, coffer.Denied)
			}
			if err := two.catchUp(); err != nil {
				t.Fatalf("catch up: %v", err)
			}
			if !bytes.Equal(get(t, two.Agent, "large"), large) || string(get(t, two.Agent, "album/later")) != "later" {
				t.Error("it came back as another")
			}
			if got := found(t, two.Agent, "later"); !slices.Equal(got, []string{"album/later"}) {
				t.Errorf("found %q", got)
			}
			put(t, two.Agent, "two", []byte("two"))
			if got := get(t, one.Agent, "two"); string(got) != "two" {
				t.Errorf("got %q", got)
			}
			if _, err := one.Forget(ctx); !errors.Is(err, coffer.Invalid) {
				t.Errorf("forgetting nothing: %v", err)
			}
			if uses == nil {
				behind := &machine{t: t, e: one.e, ring: old, notes: notes{}}
				expect(t, behind.open(), coffer.NotExist)
				if one.ring, err = one.Forget(ctx, keyring.Vault, keyring.HMAC); err != nil {
					t.Fatal(err)
				}
				if err := one.open(); err != nil {
					t.Fatal(err)
				}
				if done, err := one.settle(); err != nil || done.Sent != 1 || done.Handed {
					t.Fatalf("settle: %+v, %v", done, err)
				}
				if err := two.catchUp(); err != nil {
					t.Fatalf("catch up: %v", err)
				}
				if string(get(t, two.Agent, "album/later")) != "later" {
					t.Error("it came back as another")
				}
				if _, err := two.ring.At(keyring.Vault, 0); !errors.Is(err, coffer.NotExist) {
					t.Errorf("forgotten, and there: %v", err)
				}
			}
		})
	}
}

// crashing is a vault in which the nth write fails: before it is done, or after, when only the answer is lost.
type crashing struct {
	coffer.Vault
	left  *int
	after bool
}

func (f crashing) Apply(ctx context.Context, w ...coffer.Write) ([]coffer.Change, error) {
	*f.left--
	if *f.left > 0 {
		return f.Vault.Apply(ctx, w...)
	}
	if f.after && *f.left == 0 {
		_, _ = f.Vault.Apply(ctx, w...)
	}
	return nil, coffer.Errorf("apply", coffer.Unavailable, "the machine is off")
}

// TestRotateInterrupted ends the machine that rotates at each of its writes. Then it, or another one, goes on.
func TestRotateInterrupted(t *testing.T) {
	for _, after := range []bool{false, true} {
		for n, ended := 1, false; !ended; n++ {
			ended = interrupted(t, n, after)
			if n > 40 {
				t.Fatal("it never ends")
			}
		}
	}
}

func interrupted(t *testing.T, n int, after bool) (through bool) {
	at := provider(t)
	one, bob := newEstate(t, at), newPerson(t, at, "bob")
	ctx := t.Context()
	content := make(map[string][]byte)
	for i := range 20 {
		path := fmt.Sprintf("album/%d", i)
		content[path] = noise(uint64(i), 100)
		put(t, one.Agent, path, content[path])
	}
	one.register(t, "desk")
	two, three := one.join(t, "laptop"), one.join(t, "phone")
	phrase := must(keyring.ParsePhrase(keyring.NewPhrase()))
	if err := one.SetRecovery(ctx, phrase, coffertest.Origin); err != nil {
		t.Fatal(err)
	}
	if _, err := one.AddContact(ctx, must(bob.ring.Card(ctx, "Bob")), ""); err != nil {
		t.Fatal(err)
	}
	if _, err := one.Share(ctx, "album", agent.ShareOptions{With: bob.ring.DID()}); err != nil {
		t.Fatal(err)
	}
	if err := one.LoseDevice(ctx, "phone"); err != nil {
		t.Fatal(err)
	}
	left := n
	one.wrap = func(v coffer.Vault) coffer.Vault { return crashing{v, &left, after} }
	if err := one.open(); err != nil {
		t.Fatal(err)
	}
	if err := one.rotate(); err != nil {
		t.Fatal(err)
	}
	_, err := one.settle()
	if err == nil {
		err = one.Work(ctx, nil)
	}
	what := fmt.Sprintf("write %d lost, done %v", n, after)
	through = left > 0
	if err == nil && !through {
		t.Errorf("%s: it went through", what)
	}
	// Whichever comes next: the other one, if the keys were left for it, or else the same.
	next, last := two, one
	one.wrap = nil
	err = two.catchUp()
	if errors.Is(err, coffer.NotExist) {
		next, last = one, two
		err = one.open()
	}
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	if _, err := next.settle(); err != nil {
		t.Fatalf("%s: settle: %v", what, err)
	}
	if err := next.Work(ctx, nil); err != nil {
		t.Fatalf("%s: work: %v", what, err)
	}
	put(t, next.Agent, "album/new", []byte("new"))
	if last == two {
		err = two.catchUp()
	} else {
		err = one.open()
	}
	if err != nil {
		t.Fatalf("%s: the other: %v", what, err)
	}
	if stale, err := last.Stale(ctx); err != nil || stale {
		t.Errorf("%s: stale %v, %v", what, stale, err)
	}
	for _, m := range []*machine{one, two} {
		for path, want := range content {
			if !bytes.Equal(get(t, m.Agent, path), want) {
				t.Fatalf("%s: it came back as another", what)
			}
		}
		if string(get(t, m.Agent, "album/new")) != "new" {
			t.Errorf("%s: it came back as another", what)
		}
		if got := deviceNames(t, m); !slices.Equal(got, []string{"desk", "laptop"}) {
			t.Errorf("%s: devices %q", what, got)
		}
	}
	links, err := two.Links(ctx)
	if err != nil || len(links) != 1 {
		t.Fatalf("%s: links: %v, %v", what, links, err)
	}
	if got := get(t, bob.guest(t, links[0].Link), "new"); string(got) != "new" {
		t.Errorf("%s: a reader: %q", what, got)
	}
	// The lost one is refused, nothing is left for it, and with a provider on its side it opens nothing new.
	expect(t, three.catchUp(), coffer.NotExist)
	expect(t, (&machine{t: t, e: one.e, ring: three.ring, notes: notes{}}).open(), coffer.NotExist)
	helped := must(agent.New(agent.Options{
		Vault:   at.As(at.Caller(t, must(agent.Controllers(ctx, one.ring, "vault"))[0], one.e.url, nil), one.e.id),
		Keyring: three.ring, URL: one.e.url, Now: at.Now,
	}))
	if _, err := helped.Get(ctx, "album/new"); err == nil {
		t.Errorf("%s: a lost device read something new", what)
	}
	if _, err := helped.Put(ctx, "x", file(nil), agent.PutOptions{}); err == nil {
		t.Errorf("%s: a lost device wrote", what)
	}
	// And when all machines are lost, the phrase brings everything back.
	l, err := agent.Recover(ctx, hatch{at}, one.e.url, phrase)
	if err != nil {
		t.Fatalf("%s: recover: %v", what, err)
	}
	four := one.e.machine(t, l.Ring)
	if string(get(t, four.Agent, "album/new")) != "new" {
		t.Errorf("%s: it came back as another", what)
	}
	return through
}

func TestRecovery(t *testing.T) {
	m := newEstate(t, provider(t))
	ctx := t.Context()
	put(t, m.Agent, "a", []byte("a"))
	words := keyring.NewPhrase()
	phrase := must(keyring.ParsePhrase(words))
	_, err := m.Recovery(ctx)
	expect(t, err, coffer.NotExist)
	expect(t, m.EndRecovery(ctx), coffer.NotExist)
	if err := m.SetRecovery(ctx, phrase, coffertest.Origin); err != nil {
		t.Fatal(err)
	}
	if since, err := m.Recovery(ctx); err != nil || time.Since(since) > time.Hour {
		t.Errorf("since %v, %v", since, err)
	}
	again := must(keyring.ParsePhrase(words))
	l, err := agent.Recover(ctx, hatch{m.e.at}, m.e.url, again)
	if err != nil {
		t.Fatal(err)
	}
	if l.Ring.DID() != m.ring.DID() || l.Node != coffertest.Origin {
		t.Errorf("recovered %+v", l)
	}
	if got := get(t, m.e.machine(t, l.Ring).Agent, "a"); string(got) != "a" {
		t.Errorf("got %q", got)
	}
	other := must(keyring.ParsePhrase(keyring.NewPhrase()))
	_, err = agent.Recover(ctx, hatch{m.e.at}, m.e.url, other)
	expect(t, err, coffer.NotExist)
	// A new phrase takes the place of the old one.
	if err := m.SetRecovery(ctx, other, coffertest.Origin); err != nil {
		t.Fatal(err)
	}
	_, err = agent.Recover(ctx, hatch{m.e.at}, m.e.url, again)
	expect(t, err, coffer.NotExist)
	if err := m.EndRecovery(ctx); err != nil {
		t.Fatal(err)
	}
	_, err = agent.Recover(ctx, hatch{m.e.at}, m.e.url, other)
	expect(t, err, coffer.NotExist)
}

// TestBothRotate lets two machines make new keys at once: the second is told, and changes nothing.
func TestBothRotate(t *testing.T) {
	one := newEstate(t, provider(t))
	put(t, one.Agent, "a", []byte("a"))
	one.register(t, "desk")
	two := one.join(t, "laptop")
	for _, m := range []*machine{one, two} {
		if err := m.rotate(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := one.settle(); err != nil {
		t.Fatal(err)
	}
	if _, err := two.settle(); err == nil {
		t.Error("both went through")
	}
	expect(t, two.catchUp(), coffer.Conflict)
	if got := get(t, one.Agent, "a"); string(got) != "a" {
		t.Errorf("got %q", got)
	}
}

func TestContactGoesOn(t *testing.T) {
	at := provider(t)
	alice, bob := newEstate(t, at), newEstate(t, at)
	ctx := t.Context()
	put(t, alice.Agent, "a", []byte("a"))
	if _, err := alice.AddContact(ctx, must(bob.ring.Card(ctx, "Bob")), "Robert"); err != nil {
		t.Fatal(err)
	}
	before := bob.ring.DID()
	if _, err := alice.Share(ctx, "a", agent.ShareOptions{With: before}); err != nil {
		t.Fatal(err)
	}
	next := must(bob.ring.Rotated())
	// Somebody else's statement takes over nobody.
	stranger := must(must(keyring.Generate().WithDevice()).Rotated())
	forged := must(stranger.Card(ctx, "")) + " " + must(next.Succession(before))
	if _, err := alice.AddContact(ctx, forged, ""); !errors.Is(err, coffer.Invalid) {
		t.Errorf("a forged succession: %v", err)
	}
	card := must(agent.CardText(ctx, next, "Bob"))
	c, err := alice.AddContact(ctx, card, "")
	if err != nil || c.Name != "Robert" || c.DID != next.DID() {
		t.Fatalf("contact %+v, %v", c, err)
	}
	count := 0
	for c, err := range alice.Contacts(ctx) {
		if err != nil || c.DID != next.DID() {
			t.Errorf("contact %+v, %v", c, err)
		}
		count++
	}
	if count != 1 {
		t.Errorf("%d contacts", count)
	}
	links, err := alice.Links(ctx)
	if err != nil || len(links) != 1 {
		t.Fatalf("links %v, %v", links, err)
	}
	// The link is sealed to the new key, and for him by whichever name.
	bob.ring = next
	if err := bob.open(); err != nil {
		t.Fatal(err)
	}
	i, err := bob.OpenLink(ctx, links[0].Link)
	if err != nil || i.Name != "a" {
		t.Errorf("invitation %+v, %v", i, err)
	}
}

func TestAttributes(t *testing.T) {
	m := newEstate(t, provider(t))
	ctx := t.Context()
	type invoice struct {
		Customer string `json:"customer"`
		Total    int    `json:"total"`
	}
	for i, c := range []string{"ada", "bob", "ada"} {
		if _, err := agent.Put(ctx, m.Agent, fmt.Sprintf("i/%d", i), invoice{c, 10 * i}); err != nil {
			t.Fatal(err)
		}
	}
	at := func(values map[string]any) (list []string) {
		t.Helper()
		for i, err := range m.FindAtProvider(ctx, values) {
			if err != nil {
				t.Fatal(err)
			}
			list = append(list, i.Path)
		}
		slices.Sort(list)
		return list
	}
	for _, a := range []agent.Attribute{{Path: "customer"}, {Path: "total", Match: seal.Numbers}} {
		if err := m.AddAttribute(ctx, a); err != nil {
			t.Fatal(err)
		}
		expect(t, m.AddAttribute(ctx, a), coffer.Conflict)
	}
	if got := at(map[string]any{"customer": "ada"}); got != nil {
		t.Errorf("before they were stored anew: %q", got)
	}
	if err := m.Reblind(ctx, nil); err != nil {
		t.Fatal(err)
	}
	check := func(what string) {
		t.Helper()
		if got := at(map[string]any{"customer": "ada"}); !slices.Equal(got, []string{"i/0", "i/2"}) {
			t.Errorf("%s: found %q", what, got)
		}
		if got := at(map[string]any{"total": seal.Range{From: 5, To: 15}}); !slices.Equal(got, []string{"i/1"}) {
			t.Errorf("%s: found %q", what, got)
		}
	}
	check("before")
	old := m.ring.Key(coffer.HMACKey).ID
	if err := m.rotate(keyring.HMAC); err != nil {
		t.Fatal(err)
	}
	if _, err := m.settle(); err != nil {
		t.Fatal(err)
	}
	if err := m.Work(ctx, nil); err != nil {
		t.Fatal(err)
	}
	check("after")
	for id := range ids(t, m) {
		docs := must(m.Options.Vault.Get(ctx, id))
		for _, tag := range docs[0].Tags {
			if tag.Key == old {
				t.Fatal("an entry of the old key is left")
			}
		}
	}
	if err := m.RemoveAttribute(ctx, "customer"); err != nil {
		t.Fatal(err)
	}
	for _, err := range m.FindAtProvider(ctx, map[string]any{"customer": "ada"}) {
		expect(t, err, coffer.Invalid)
	}
}

// ids returns the ids of what is in the vault.
func ids(t testing.TB, m *machine) map[coffer.ObjectID]bool {
	t.Helper()
	all := make(map[coffer.ObjectID]bool)
	for c, err := range m.Options.Vault.Changes(t.Context(), "", false) {
		if err != nil {
			t.Fatal(err)
		}
		all[c.ID] = true
	}
	for id := range all {
		if _, err := m.Options.Vault.Get(t.Context(), id); errors.Is(err, coffer.NotExist) {
			delete(all, id)
		}
	}
	return all
}
