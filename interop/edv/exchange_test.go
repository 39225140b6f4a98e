package edv_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/agent"
	"github.com/cofferhq/coffer/agent/seal"
	"github.com/cofferhq/coffer/api/edv"
	"github.com/cofferhq/coffer/grant"
	"github.com/cofferhq/coffer/ident"
	"github.com/cofferhq/coffer/interop"
	"github.com/cofferhq/coffer/keyring"
)

// TestExchange lets one person use our client and the published one on the same vault: what either writes, the other
// reads, finds, changes and hands on.
func TestExchange(t *testing.T) {
	interop.Nodejs(t, client)
	interop.OnEachDisk(t, exchange)
}

func exchange(t *testing.T, base string) {
	alice, bob := newPerson(t, base), newPerson(t, base)
	const attribute = "content.kind"
	blinder, err := seal.NewBlinder(alice.ring, seal.Index{Attributes: []string{attribute}})
	if err != nil {
		t.Fatal(err)
	}
	vault := alice.create(t)
	find := func(kind string) (found []*coffer.Document) {
		t.Helper()
		q, err := blinder.Equals(t.Context(), map[string]any{attribute: kind})
		if err != nil {
			t.Fatal(err)
		}
		for d, err := range vault.Query(t.Context(), q) {
			if err != nil {
				t.Fatal(err)
			}
			found = append(found, d)
		}
		return found
	}

	for _, enc := range []string{"XC20P", "A256GCM"} {
		t.Run("sealed here with "+enc+", read, found and changed there", func(t *testing.T) {
			plain := seal.Plain{
				Content: json.RawMessage(`{"kind":"letter ` + enc + `","text":"Grüße 🍰","n":[1,2.5,null]}`),
				Meta:    json.RawMessage(`{"of":"here"}`),
			}
			o := seal.Options{ID: coffer.NewObjectID(), Enc: enc, Blind: blinder}
			alice.seal(t, vault, plain, o)
			same := func(got read, content string, sequence uint64) {
				t.Helper()
				if got.ID != o.ID.String() || got.Sequence != sequence {
					t.Errorf("it is %s at %d", got.ID, got.Sequence)
				}
				sameJSON(t, got.Content, content)
				sameJSON(t, got.Meta, string(plain.Meta))
			}
			same(alice.read(t, vault, input{"id": o.ID}), string(plain.Content), 0)
			same(alice.read(t, vault, input{
				"equals": input{attribute: "letter " + enc}, "indexes": []string{attribute},
			}), string(plain.Content), 0)

			changed := `{"kind":"changed ` + enc + `"}`
			alice.run(t, "write.mjs", vault, input{
				"id": o.ID, "update": true, "content": json.RawMessage(changed), "indexes": []string{attribute},
			})
			d, opened := alice.open(t, vault, o.ID)
			if opened.Sequence != 1 || opened.Bound {
				t.Errorf("sequence %d, bound %t", opened.Sequence, opened.Bound)
			}
			sameJSON(t, opened.Content, changed)
			sameJSON(t, opened.Meta, string(plain.Meta))
			if n := len(find("letter " + enc)); n != 0 {
				t.Errorf("found %d under what it was", n)
			}
			if found := find("changed " + enc); len(found) != 1 || found[0].Rev() != d.Rev() {
				t.Errorf("found %d under what it is", len(found))
			}

			// And once more from here: what the other wrote is replaced.
			plain.Content = json.RawMessage(`{"kind":"again"}`)
			o.Sequence, o.Parents, o.Keep = 2, []coffer.Rev{d.Rev()}, opened.Entries
			alice.seal(t, vault, plain, o)
			same(alice.read(t, vault, input{"id": o.ID}), string(plain.Content), 2)
		})
	}

	t.Run("written there, opened and found here", func(t *testing.T) {
		id := alice.write(t, vault, input{
			"content": input{"kind": "postcard", "text": "Grüße 🍰"}, "meta": input{"of": "there"},
			"indexes": []string{attribute},
		})
		_, opened := alice.open(t, vault, id)
		keys := []string{alice.ring.Key(coffer.AgreementKey).ID}
		if opened.Bound || opened.Sequence != 0 || !slices.Equal(opened.KeyIDs, keys) {
			t.Errorf("opened %+v", opened)
		}
		sameJSON(t, opened.Content, `{"kind":"postcard","text":"Grüße 🍰"}`)
		sameJSON(t, opened.Meta, `{"of":"there"}`)
		if found := find("postcard"); len(found) != 1 || found[0].ID != id {
			t.Errorf("found %d", len(found))
		}
	})

	const chunkSize = 4096
	for _, size := range []int{0, 1, chunkSize, 3*chunkSize + 17} {
		data := make([]byte, size)
		rand.Read(data)

		t.Run(fmt.Sprintf("a stream of %d bytes sealed here, read there", size), func(t *testing.T) {
			id := alice.upload(t, vault, data, chunkSize)
			if got := alice.read(t, vault, input{"id": id}); got.Stream == nil || !bytes.Equal(*got.Stream, data) {
				t.Error("it is not what was written")
			}
		})
		t.Run(fmt.Sprintf("a stream of %d bytes written there, opened here", size), func(t *testing.T) {
			id := alice.write(t, vault, input{"content": input{}, "stream": data, "chunkSize": chunkSize})
			if got := alice.download(t, vault, id); !bytes.Equal(got, data) {
				t.Error("it is not what was written")
			}
			// A shorter one in its place.
			alice.run(t, "write.mjs", vault, input{
				"id": id, "update": true, "content": input{}, "stream": data[:size/2], "chunkSize": chunkSize,
			})
			if got := alice.download(t, vault, id); !bytes.Equal(got, data[:size/2]) {
				t.Error("it is not what replaced it")
			}
		})
	}

	t.Run("kept by name here, shared with somebody who reads it there", func(t *testing.T) {
		a := alice.agent(t, vault)
		data := make([]byte, 1000)
		rand.Read(data)
		info, err := a.Put(t.Context(), "box/small", agent.Source{Reader: bytes.NewReader(data), Size: 1000}, agent.PutOptions{})
		if err != nil {
			t.Fatal(err)
		}
		// Before, the envelope names nobody, the owner's own key included.
		if out, err := interop.Script(t, alice.input(vault, input{"id": info.ID}), "read.mjs"); err == nil {
			t.Errorf("the published client reads %s", out)
		}
		key, did, err := a.ForeignKey(t.Context(), bob.ring.DID())
		if err != nil {
			t.Fatal(err)
		}
		s, err := a.ShareForeign(t.Context(), "box/small", agent.ForeignOptions{Key: key, With: did})
		if err != nil {
			t.Fatal(err)
		}
		got := bob.read(t, vault, input{"id": s.ID, "capability": json.RawMessage(s.Capability)})
		var content struct {
			Name string
			Size int
			Data string
		}
		if err := json.Unmarshal(got.Content, &content); err != nil || content.Name != "small" || content.Size != len(data) {
			t.Errorf("%s", got.Content)
		}
		if b, err := base64.RawURLEncoding.DecodeString(content.Data); err != nil || !bytes.Equal(b, data) {
			t.Errorf("it has %d other bytes: %v", len(b), err)
		}
		// And it is still the owner's, by name.
		o, err := a.Get(t.Context(), "box/small")
		if err != nil {
			t.Fatal(err)
		}
		if b, err := io.ReadAll(o.Open(t.Context())); err != nil || !bytes.Equal(b, data) {
			t.Errorf("%d bytes, %v", len(b), err)
		}
	})

	t.Run("written there, got here by id", func(t *testing.T) {
		data := []byte(strings.Repeat("chunks and chunks ", 1000))
		id := alice.write(t, vault, input{"content": input{"a": 1}, "stream": data, "chunkSize": chunkSize})
		d, err := alice.agent(t, vault).GetForeign(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		sameJSON(t, d.Content, `{"a":1}`)
		r, err := d.Open(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, data) {
			t.Errorf("%d bytes, %v", len(got), err)
		}
	})

	// A document that both can read, and a right to read it that goes from hand to hand.
	id := coffer.NewObjectID()
	alice.seal(t, vault, seal.Plain{Content: json.RawMessage(`{"for":"two"}`)}, seal.Options{
		ID:         id,
		Recipients: []coffer.PublicKey{alice.ring.Key(coffer.AgreementKey), bob.ring.Key(coffer.AgreementKey)},
	})
	target := vault.URL() + "/documents/" + id.String()
	handedOnHere := func(t *testing.T, from *person, parent string, to *person) json.RawMessage {
		now := time.Now()
		capability, err := grant.Delegate(t.Context(), from.ring, parent, grant.DelegateOptions{
			Controller: to.ring.DID(), Target: target, Actions: []grant.Action{grant.Read},
			Created: now, Expires: now.Add(10 * time.Minute),
		})
		if err != nil {
			t.Fatal(err)
		}
		return capability
	}
	handedOnThere := func(t *testing.T, from *person, more input, to *person) json.RawMessage {
		more["to"], more["target"], more["actions"] = to.ring.DID(), target, []string{"read"}
		return from.run(t, "delegate.mjs", vault, more)
	}
	readsHere := func(t *testing.T, p *person, capability json.RawMessage) {
		t.Helper()
		v, err := p.client.Vault(vault.URL(), capability)
		if err != nil {
			t.Fatal(err)
		}
		_, opened := p.open(t, v, id)
		sameJSON(t, opened.Content, `{"for":"two"}`)
		_, err = v.Get(t.Context(), coffer.NewObjectID())
		if !errors.Is(err, coffer.Denied) && !errors.Is(err, coffer.NotExist) {
			t.Errorf("another document: %v", err)
		}
	}
	readsThere := func(t *testing.T, p *person, capability json.RawMessage) {
		t.Helper()
		sameJSON(t, p.read(t, vault, input{"id": id, "capability": capability}).Content, `{"for":"two"}`)
	}
	t.Run("a right handed on here is used there", func(t *testing.T) {
		readsThere(t, bob, handedOnHere(t, alice, vault.URL(), bob))
	})
	t.Run("a right handed on there is used here", func(t *testing.T) {
		readsHere(t, bob, handedOnThere(t, alice, input{}, bob))
	})
	t.Run("a right handed on here, then there, is used by both", func(t *testing.T) {
		carol := newPerson(t, base)
		first := handedOnHere(t, alice, vault.URL(), carol)
		second := handedOnThere(t, carol, input{"capability": first}, bob)
		readsHere(t, bob, second)
		readsThere(t, bob, second)
	})
	t.Run("and once revoked here, is refused there", func(t *testing.T) {
		capability := handedOnHere(t, alice, vault.URL(), bob)
		readsThere(t, bob, capability)
		if err := vault.Revoke(t.Context(), capability); err != nil {
			t.Fatal(err)
		}
		in := bob.input(vault, input{"id": id, "capability": capability})
		if out, err := interop.Script(t, in, "read.mjs"); err == nil || len(out) > 0 {
			t.Errorf("read %s", out)
		}
	})
}

// A person has keys that both clients can be given.
type person struct {
	seed, hmac []byte
	ring       *keyring.Ring
	client     *edv.Client
}

// input is what a script is told.
type input map[string]any

// read is what read.mjs prints.
type read struct {
	ID       string
	Sequence uint64
	Content  json.RawMessage
	Meta     json.RawMessage
	Stream   *[]byte
}

func newPerson(t *testing.T, base string) *person {
	t.Helper()
	p := &person{seed: make([]byte, 32), hmac: make([]byte, 32)}
	rand.Read(p.seed)
	rand.Read(p.hmac)
	var err error
	if p.ring, err = keyring.FromSeeds(p.seed, p.hmac, "urn:uuid:5c1b2d4e-0000-4000-8000-000000000001"); err != nil {
		t.Fatal(err)
	}
	if p.client, err = edv.NewClient(edv.ClientOptions{Base: base, Keyring: p.ring, Now: time.Now}); err != nil {
		t.Fatal(err)
	}
	return p
}

func (p *person) create(t *testing.T) *edv.RemoteVault {
	t.Helper()
	agreement, hmac := p.ring.Key(coffer.AgreementKey), p.ring.Key(coffer.HMACKey)
	config, err := p.client.CreateVault(t.Context(), &coffer.Config{
		Controller:      p.ring.DID(),
		KeyAgreementKey: &coffer.KeyRef{ID: agreement.ID, Type: agreement.Type},
		HMAC:            &coffer.KeyRef{ID: hmac.ID, Type: hmac.Type},
	})
	if err != nil {
		t.Fatal(err)
	}
	v, err := p.client.Vault(config.ID)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func (p *person) agent(t *testing.T, v *edv.RemoteVault) *agent.Agent {
	t.Helper()
	resolver, err := ident.New(ident.Options{})
	if err != nil {
		t.Fatal(err)
	}
	a, err := agent.New(agent.Options{Vault: v, Keyring: p.ring, URL: v.URL(), Resolver: resolver})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func (p *person) seal(t *testing.T, v coffer.Vault, plain seal.Plain, o seal.Options) *coffer.Document {
	t.Helper()
	d, err := seal.Seal(t.Context(), p.ring, plain, o)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := coffer.Put(t.Context(), v, d); err != nil {
		t.Fatal(err)
	}
	return d
}

func (p *person) open(t *testing.T, v coffer.Vault, id coffer.ObjectID) (*coffer.Document, *seal.Opened) {
	t.Helper()
	present, err := v.Get(t.Context(), id)
	if err != nil || len(present) != 1 {
		t.Fatalf("%d revisions, %v", len(present), err)
	}
	opened, err := seal.Open(t.Context(), p.ring, present[0])
	if err != nil {
		t.Fatal(err)
	}
	return present[0], opened
}

// upload stores a document with a stream, whose chunks name the person as their reader.
func (p *person) upload(t *testing.T, v coffer.Vault, data []byte, chunkSize int) coffer.ObjectID {
	t.Helper()
	stream, err := seal.NewStream(0, chunkSize)
	if err != nil {
		t.Fatal(err)
	}
	o := seal.Options{ID: coffer.NewObjectID()}
	pending := p.seal(t, v, seal.Plain{Stream: stream}, o)
	sealer, err := seal.NewChunkSealer(o.ID, stream, p.ring.Key(coffer.AgreementKey))
	if err != nil {
		t.Fatal(err)
	}
	w := seal.NewWriter(sealer, func(ref coffer.ChunkRef, raw []byte) error {
		return v.PutChunk(t.Context(), o.ID, ref, bytes.NewReader(raw))
	})
	if _, err := w.Write(data); err != nil {
		t.Fatal(err)
	}
	if stream, err = w.Close(); err != nil {
		t.Fatal(err)
	}
	o.Sequence, o.Parents = 1, []coffer.Rev{pending.Rev()}
	p.seal(t, v, seal.Plain{Stream: stream}, o)
	return o.ID
}

// download reads the stream of a document.
func (p *person) download(t *testing.T, v coffer.Vault, id coffer.ObjectID) []byte {
	t.Helper()
	_, opened := p.open(t, v, id)
	chunks, err := seal.NewChunkOpener(p.ring, opened)
	if err != nil {
		t.Fatal(err)
	}
	get := func(ctx context.Context, dst []byte, index uint64) ([]byte, error) {
		_, r, err := v.Chunk(ctx, id, index)
		if err != nil {
			return dst, err
		}
		defer r.Close()
		raw, err := io.ReadAll(r)
		return append(dst, raw...), err
	}
	data, err := io.ReadAll(seal.NewReader(t.Context(), chunks, get))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// input returns what a script is told about the person, the vault and more.
func (p *person) input(v *edv.RemoteVault, more input) []byte {
	all := input{
		"vault": v.URL(), "signing": hex.EncodeToString(p.seed), "hmac": hex.EncodeToString(p.hmac),
		"hmacId": p.ring.Key(coffer.HMACKey).ID,
	}
	for name, value := range more {
		all[name] = value
	}
	b, err := json.Marshal(all)
	if err != nil {
		panic(err)
	}
	return b
}

func (p *person) run(t *testing.T, name string, v *edv.RemoteVault, more input) []byte {
	t.Helper()
	out, err := interop.Script(t, p.input(v, more), name)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// read reads a document with the published client.
func (p *person) read(t *testing.T, v *edv.RemoteVault, what input) (r read) {
	t.Helper()
	if err := json.Unmarshal(p.run(t, "read.mjs", v, what), &r); err != nil {
		t.Fatal(err)
	}
	return r
}

// write inserts a document with the published client.
func (p *person) write(t *testing.T, v *edv.RemoteVault, what input) coffer.ObjectID {
	t.Helper()
	var r struct{ ID coffer.ObjectID }
	if err := json.Unmarshal(p.run(t, "write.mjs", v, what), &r); err != nil {
		t.Fatal(err)
	}
	return r.ID
}

func sameJSON(t *testing.T, got []byte, want string) {
	t.Helper()
	var a, b any
	if err := errors.Join(json.Unmarshal(got, &a), json.Unmarshal([]byte(want), &b)); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(a, b) {
		t.Errorf("got %s, want %s", got, want)
	}
}
