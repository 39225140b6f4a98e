package hub

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"sync"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/internal/jose"
)

// An Endpoint is where somebody's hub answers, and whose keys it answers with.
type Endpoint struct {
	URL    string             // https, or http
	Host   *coffer.Identity   // who runs it: messages are encrypted to its keys
	Others []*coffer.Identity // who runs the other endpoints of the same hub
}

// Bounds of what an identity document may lead to.
const (
	maxDocument  = 256 << 10
	maxServices  = 64
	maxInstances = 16 // hosts of one hub
	maxEndpoints = 64
)

// serviceType is the type of the services that are hubs.
const serviceType = "IdentityHub"

// Endpoints returns where the hub of an identity answers, in the order in which its document names them: the addresses
// of its services of the type IdentityHub, and the locations of the hosts that are its instances, each of which is
// resolved in turn. Hosts that cannot be resolved are passed over while there are others.
//
// NotExist when the identity names no hub; else the errors are those of [coffer.Resolver].
func Endpoints(ctx context.Context, r coffer.Resolver, did string) ([]Endpoint, error) {
	user, err := r.Resolve(ctx, did)
	if err != nil {
		return nil, err
	}
	services, err := hubServices(user)
	if err != nil {
		return nil, err
	}
	var list []Endpoint
	var failed error
	seen := make(map[string]bool)
	add := func(url string, host *coffer.Identity) {
		if !seen[url] && len(list) < maxEndpoints && isURL(url) {
			seen[url] = true
			list = append(list, Endpoint{URL: url, Host: host})
		}
	}
	hosts := 0
	for _, s := range services {
		for _, u := range append(s.addresses, s.Locations...) {
			if !isDID(u) {
				add(u, user)
			} else {
				s.Instances = append(s.Instances, u)
			}
		}
		for _, id := range s.Instances {
			if hosts++; !isDID(id) || hosts > maxInstances {
				continue
			}
			host, err := r.Resolve(ctx, id)
			if err == nil {
				var at []hubService
				if at, err = hubServices(host); err == nil {
					for _, h := range at {
						for _, u := range append(h.addresses, h.Locations...) {
							add(u, host) // hosts of hosts are not followed: there is no end to them
						}
					}
				}
			}
			if err != nil && (failed == nil || errors.Is(err, coffer.Unavailable)) {
				failed = err
			}
		}
	}
	switch {
	case len(list) > 0:
		acquaint(list)
		return list, nil
	case failed != nil:
		return nil, failed
	}
	return nil, coffer.Errorf("discover hub", coffer.NotExist, "the identity names no hub")
}

// acquaint tells each endpoint who runs the others.
func acquaint(list []Endpoint) {
	for i := range list {
		e := &list[i]
		known := []string{e.Host.ID}
		for _, other := range list {
			if !slices.Contains(known, other.Host.ID) {
				known = append(known, other.Host.ID)
				e.Others = append(e.Others, other.Host)
			}
		}
	}
}

// A hubService is one service entry that is a hub.
type hubService struct {
	Instances []string `json:"instances"` // DIDs of hosts
	Locations []string `json:"locations"` // URLs
	addresses []string // plain strings, where no object stands
}

// hubServices returns the services of an identity that are hubs. What is of another form is passed over.
func hubServices(id *coffer.Identity) ([]hubService, error) {
	if len(id.Document) > maxDocument {
		return nil, coffer.Errorf("discover hub", coffer.Invalid, "the identity document is too long")
	}
	var d struct {
		Services []struct {
			Type     json.RawMessage `json:"type"`
			Endpoint json.RawMessage `json:"serviceEndpoint"`
		} `json:"service"`
	}
	if len(id.Document) == 0 {
		return nil, nil // a key that is its own name
	}
	if err := jose.DecodeOpen(id.Document, &d); err != nil || len(d.Services) > maxServices {
		return nil, coffer.Errorf("discover hub", coffer.Invalid, "the identity document is malformed")
	}
	var found []hubService
	for _, s := range d.Services {
		hub := false
		types, _ := many[string](s.Type, maxDocument)
		for _, t := range types {
			hub = hub || t == serviceType
		}
		if !hub {
			continue
		}
		endpoints, _ := many[json.RawMessage](s.Endpoint, maxDocument)
		for _, e := range endpoints {
			var h hubService
			var text string
			if jose.DecodeOpen(e, &text) == nil {
				h.addresses = []string{text}
			} else if jose.DecodeOpen(e, &h) != nil {
				continue
			}
			found = append(found, h)
		}
	}
	return found, nil
}

func isURL(s string) bool {
	return strings.HasPrefix(s, "https://") || strings.HasPrefix(s, "http://")
}

// Dial finds the hub of an identity and returns it. It dials nothing itself: open returns the client of an endpoint,
// and is called for each instance when it is first needed.
//
// The instances are tried in order. What one cannot do now (Unavailable) is asked of the next, so that a hub answers
// while one of its instances does; the one that answered is asked first the next time. Where a query left off
// ([coffer.ObjectPage], Skip and Watermark) is known to the instance alone that said so: it is not asked of another.
//
// The errors are those of [Endpoints].
func Dial(ctx context.Context, r coffer.Resolver, did string,
	open func(context.Context, Endpoint) (coffer.Hub, error)) (coffer.Hub, error) {
	list, err := Endpoints(ctx, r, did)
	if err != nil {
		return nil, err
	}
	f := &instances{open: open}
	for _, e := range list {
		sum := sha256.Sum256([]byte(e.URL))
		f.list = append(f.list, &instance{at: e, mark: base64.RawURLEncoding.EncodeToString(sum[:9]) + "."})
	}
	return f, nil
}

// instances is a hub that answers at several places.
type instances struct {
	open func(context.Context, Endpoint) (coffer.Hub, error)
	list []*instance

	mu    sync.Mutex
	first int // which answered last
}

// An instance is one of them.
type instance struct {
	at   Endpoint
	mark string // goes before what is known to this one alone

	mu  sync.Mutex
	hub coffer.Hub // nil until it is needed
}

func (i *instance) get(ctx context.Context,
	open func(context.Context, Endpoint) (coffer.Hub, error)) (coffer.Hub, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.hub != nil {
		return i.hub, nil
	}
	h, err := open(ctx, i.at)
	if err == nil {
		i.hub = h
	}
	return h, err
}

// ask asks one instance after the other until one answers.
func ask[T any](ctx context.Context, f *instances, do func(coffer.Hub, *instance) (T, error)) (T, error) {
	f.mu.Lock()
	first := f.first
	f.mu.Unlock()
	var answer T
	var err error
	for n := range f.list {
		at := (first + n) % len(f.list)
		var h coffer.Hub
		if h, err = f.list[at].get(ctx, f.open); err == nil {
			if answer, err = do(h, f.list[at]); !errors.Is(err, coffer.Unavailable) {
				f.mu.Lock()
				f.first = at
				f.mu.Unlock()
				return answer, err
			}
		}
		if ctx.Err() != nil {
			break
		}
	}
	return answer, err
}

// only returns the instance that gave a token, as alone it knows it.
func (f *instances) only(tokens ...*string) (*instance, error) {
	var found *instance
	for _, t := range tokens {
		if *t == "" {
			continue
		}
		at := -1
		for n, i := range f.list {
			if rest, ok := strings.CutPrefix(*t, i.mark); ok {
				at, *t = n, rest
				break
			}
		}
		if at < 0 || found != nil && found != f.list[at] {
			return nil, coffer.Errorf("hub", coffer.Invalid, "goes on where another instance left off")
		}
		found = f.list[at]
	}
	return found, nil
}

// page asks for a page: of the instance that gave the tokens, or of any.
func page[T any](ctx context.Context, f *instances, skip, since *string, do func(coffer.Hub) (T, error),
	tokens func(T) []*string) (T, error) {
	only, err := f.only(skip, since)
	var answer T
	if err != nil {
		return answer, err
	}
	one := func(h coffer.Hub, i *instance) (T, error) {
		p, err := do(h)
		if err == nil {
			for _, t := range tokens(p) {
				if *t != "" {
					*t = i.mark + *t
				}
			}
		}
		return p, err
	}
	if only == nil {
		return ask(ctx, f, one)
	}
	h, err := only.get(ctx, f.open)
	if err != nil {
		return answer, err
	}
	return one(h, only)
}

// Write keeps the contract of coffer.Hub, as the others do.
func (f *instances) Write(ctx context.Context, owner string, c *coffer.Commit) ([]coffer.CommitRev, error) {
	return ask(ctx, f, func(h coffer.Hub, _ *instance) ([]coffer.CommitRev, error) { return h.Write(ctx, owner, c) })
}

func (f *instances) Adopt(ctx context.Context, owner string, commits ...*coffer.Commit) (int, error) {
	return ask(ctx, f, func(h coffer.Hub, _ *instance) (int, error) { return h.Adopt(ctx, owner, commits...) })
}

func (f *instances) Objects(ctx context.Context, owner string, q *coffer.ObjectQuery) (*coffer.ObjectPage, error) {
	c := *q
	return page(ctx, f, &c.Skip, &c.Since,
		func(h coffer.Hub) (*coffer.ObjectPage, error) { return h.Objects(ctx, owner, &c) },
		func(p *coffer.ObjectPage) []*string { return []*string{&p.Skip, &p.Watermark} })
}

func (f *instances) Commits(ctx context.Context, owner string, q *coffer.CommitQuery) (*coffer.CommitPage, error) {
	c := *q
	return page(ctx, f, &c.Skip, &c.Since,
		func(h coffer.Hub) (*coffer.CommitPage, error) { return h.Commits(ctx, owner, &c) },
		func(p *coffer.CommitPage) []*string { return []*string{&p.Skip, &p.Watermark} })
}

// Perform is not asked of another instance once one may have done it: what is added twice is there twice.
func (f *instances) Perform(ctx context.Context, owner string, a *coffer.HubAct) ([]coffer.HubItem, error) {
	if a.Verb == coffer.RequestVerb {
		return ask(ctx, f, func(h coffer.Hub, _ *instance) ([]coffer.HubItem, error) { return h.Perform(ctx, owner, a) })
	}
	f.mu.Lock()
	i := f.list[f.first]
	f.mu.Unlock()
	h, err := i.get(ctx, f.open)
	if err != nil {
		return nil, err
	}
	return h.Perform(ctx, owner, a)
}

func (f *instances) Describe(ctx context.Context, owner string) (*coffer.HubDescription, error) {
	return ask(ctx, f, func(h coffer.Hub, _ *instance) (*coffer.HubDescription, error) {
		return h.Describe(ctx, owner)
	})
}
