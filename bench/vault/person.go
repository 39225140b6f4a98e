package main

import (
	"context"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/agent"
	"github.com/cofferhq/coffer/api/edv"
	"github.com/cofferhq/coffer/keyring"
	"github.com/cofferhq/coffer/ledger"
)

// A wire counts what goes over a client's connections.
type wire struct {
	http.Transport
	requests, sent, received atomic.Int64
}

func newWire() *wire {
	w := &wire{}
	dialer := net.Dialer{Timeout: 30 * time.Second}
	w.Transport = http.Transport{
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			c, err := dialer.DialContext(ctx, network, address)
			if err != nil {
				return nil, err
			}
			return &countedConn{c, w}, nil
		},
		MaxIdleConns: 2 * writers, MaxIdleConnsPerHost: 2 * writers, DisableCompression: true,
		WriteBufferSize: 64 << 10, ReadBufferSize: 64 << 10,
	}
	return w
}

// RoundTrip implements [http.RoundTripper].
func (w *wire) RoundTrip(r *http.Request) (*http.Response, error) {
	w.requests.Add(1)
	return w.Transport.RoundTrip(r)
}

type countedConn struct {
	net.Conn
	w *wire
}

func (c *countedConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.w.received.Add(int64(n))
	return n, err
}

func (c *countedConn) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	c.w.sent.Add(int64(n))
	return n, err
}

// A traffic is what went over a wire.
type traffic struct{ requests, sent, received int64 }

func (w *wire) traffic() traffic { return traffic{w.requests.Load(), w.sent.Load(), w.received.Load()} }

func (t traffic) since(before traffic) traffic {
	return traffic{t.requests - before.requests, t.sent - before.sent, t.received - before.received}
}

// A countedVault counts what is written to it.
type countedVault struct {
	*edv.RemoteVault
	documents, bytes, erased, chunks atomic.Int64
}

// Apply implements [coffer.Vault].
func (v *countedVault) Apply(ctx context.Context, writes ...coffer.Write) ([]coffer.Change, error) {
	for _, w := range writes {
		if w.Document == nil {
			v.erased.Add(1)
			continue
		}
		v.documents.Add(1)
		v.bytes.Add(int64(len(w.Document.Body)))
	}
	return v.RemoteVault.Apply(ctx, writes...)
}

// PutChunk implements [coffer.Vault].
func (v *countedVault) PutChunk(ctx context.Context, id coffer.ObjectID, ref coffer.ChunkRef, r io.Reader) error {
	v.chunks.Add(1)
	return v.RemoteVault.PutChunk(ctx, id, ref, r)
}

// A written is what was written to a vault.
type written struct{ documents, bytes, erased, chunks int64 }

func (v *countedVault) written() written {
	return written{v.documents.Load(), v.bytes.Load(), v.erased.Load(), v.chunks.Load()}
}

func (w written) since(before written) written {
	w.documents -= before.documents
	w.bytes -= before.bytes
	w.erased -= before.erased
	w.chunks -= before.chunks
	return w
}

// A person has a vault at the node.
type person struct {
	*agent.Agent
	ring   *keyring.Ring
	origin string
	url    string
	wire   *wire
	vault  *countedVault
}

func (p *program) person(ctx context.Context) (*person, error) {
	o := &person{ring: keyring.Generate(), origin: p.origin}
	client, err := o.client(newWire(), o.ring)
	if err != nil {
		return nil, err
	}
	config, err := client.CreateVault(ctx, &coffer.Config{Controller: o.ring.DID()})
	if err != nil {
		return nil, err
	}
	o.url = config.ID
	return o.device(ctx)
}

func (o *person) client(w *wire, as coffer.Keyring) (*edv.Client, error) {
	return edv.NewClient(edv.ClientOptions{
		Base: o.origin, Keyring: as, HTTP: &http.Client{Transport: w}, Now: time.Now, Sessions: true,
	})
}

// device returns the person at another device, which knows nothing but the keyring and the vault's URL.
func (o *person) device(ctx context.Context) (*person, error) {
	d := &person{ring: o.ring, origin: o.origin, url: o.url, wire: newWire()}
	client, err := d.client(d.wire, d.ring)
	if err != nil {
		return nil, err
	}
	remote, err := client.Vault(d.url)
	if err != nil {
		return nil, err
	}
	d.vault = &countedVault{RemoteVault: remote}
	text, err := client.LogKey(ctx)
	if err != nil {
		return nil, err
	}
	key, err := ledger.ParseVerifier(text)
	if err != nil {
		return nil, err
	}
	d.Agent, err = agent.New(agent.Options{
		Vault: d.vault, Keyring: d.ring, URL: d.url, Revoker: remote, Log: remote, LogKey: key, Cache: new(memory),
	})
	return d, err
}

// A memory is a cache of sealed objects. That of a new device is empty.
type memory struct{ m sync.Map }

// Load implements [agent.Cache].
func (c *memory) Load(_ context.Context, name string) ([]byte, error) {
	if b, ok := c.m.Load(name); ok {
		return b.([]byte), nil
	}
	return nil, coffer.Errorf("cache", coffer.NotExist, "not kept")
}

// Save implements [agent.Cache].
func (c *memory) Save(_ context.Context, name string, b []byte) error {
	c.m.Store(name, b)
	return nil
}

// Delete implements [agent.Cache].
func (c *memory) Delete(_ context.Context, name string) error {
	c.m.Delete(name)
	return nil
}

// knows makes somebody a contact.
func (o *person) knows(ctx context.Context, ring *keyring.Ring) error {
	card, err := ring.Card(ctx, "")
	if err != nil {
		return err
	}
	_, err = o.AddContact(ctx, card, "")
	return err
}

// guest returns the agent of a person in what a link shares.
func (o *person) guest(ctx context.Context, link string) (*agent.Agent, error) {
	i, err := o.OpenLink(ctx, link)
	if err != nil {
		return nil, err
	}
	client, err := o.client(newWire(), i.Reader)
	if err != nil {
		return nil, err
	}
	vault, err := client.Vault(i.Vault, i.Capability)
	if err != nil {
		return nil, err
	}
	return o.In(i, vault)
}
