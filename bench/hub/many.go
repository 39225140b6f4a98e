package main

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/api/hub"
	"github.com/cofferhq/coffer/grant"
	"github.com/cofferhq/coffer/keyring"
	"github.com/cofferhq/coffer/merge"
)

// batch is how many commits are handed in at once.
const batch = 500

// samples is how often something is timed.
const samples = 200

// median and worst of a hundred, of the times that a call takes.
func timed(call func() error) (median, p99 time.Duration, err error) {
	var took []time.Duration
	for range samples {
		start := time.Now()
		if err := call(); err != nil {
			return 0, 0, err
		}
		took = append(took, time.Since(start))
	}
	slices.Sort(took)
	return took[samples/2].Round(10 * time.Microsecond), took[samples*99/100].Round(10 * time.Microsecond), nil
}

// adopt hands in n commits of the owner's, made one by one.
func adopt(ctx context.Context, h coffer.Hub, owner string, n int, make func(i int) (*coffer.Commit, error)) error {
	for i := 0; i < n; {
		var commits []*coffer.Commit
		for ; len(commits) < batch && i < n; i++ {
			c, err := make(i)
			if err != nil {
				return err
			}
			commits = append(commits, c)
		}
		if _, err := h.Adopt(ctx, owner, commits...); err != nil {
			return err
		}
	}
	return nil
}

// manyObjects times queries of one identity's objects.
func (p *program) manyObjects(ctx context.Context, d *daemon) error {
	who := &person{Requester: hub.KeyringRequester(keyring.Generate())}
	h, err := d.client(ctx, "key", who, http.DefaultTransport)
	if err != nil {
		return err
	}
	fmt.Fprintf(p.out, "\nA page of 100 objects by type, Ed25519 and X25519, %d times (client and node on this machine):\n\n", samples)
	fmt.Fprintln(p.out, "| objects | first page, median | p99 | a page in the middle, median | p99 | handed in, a second |")
	fmt.Fprintln(p.out, "| ---: | ---: | ---: | ---: | ---: | ---: |")
	there := 0
	for _, n := range p.objects {
		start := time.Now()
		more := n - there
		err := adopt(ctx, h, who.DID(), more, func(i int) (*coffer.Commit, error) { return who.commit(ctx, there+i) })
		if err != nil {
			return err
		}
		there = n
		rate := float64(more) / time.Since(start).Seconds()
		q := schema
		page, err := h.Objects(ctx, who.DID(), &q)
		if err != nil {
			return err
		}
		if len(page.Objects) != min(n, coffer.MaxHubPage) {
			return fmt.Errorf("a page has %d objects", len(page.Objects))
		}
		first, first99, err := timed(func() error { _, err := h.Objects(ctx, who.DID(), &schema); return err })
		if err != nil {
			return err
		}
		for range 20 { // some way in
			if page.Skip != "" {
				q.Skip = page.Skip
				if page, err = h.Objects(ctx, who.DID(), &q); err != nil {
					return err
				}
			}
		}
		middle, middle99, err := timed(func() error { _, err := h.Objects(ctx, who.DID(), &q); return err })
		if err != nil {
			return err
		}
		fmt.Fprintf(p.out, "| %d | %v | %v | %v | %v | %.0f |\n", n, first, first99, middle, middle99, rate)
	}
	return nil
}

// manyGrants times a query by one who has a grant, while the owner has given others to many.
func (p *program) manyGrants(ctx context.Context, d *daemon) error {
	owner := &person{Requester: hub.KeyringRequester(keyring.Generate())}
	reader := &person{Requester: hub.KeyringRequester(keyring.Generate())}
	h, err := d.client(ctx, "key", owner, http.DefaultTransport)
	if err != nil {
		return err
	}
	theirs, err := d.client(ctx, "key", reader, http.DefaultTransport)
	if err != nil {
		return err
	}
	if _, err := h.Write(ctx, owner.DID(), must(owner.commit(ctx, 0))); err != nil {
		return err
	}
	give := func(to string) (*coffer.Commit, error) {
		head := merge.Header{
			Alg: owner.Algorithm(), KeyID: owner.KeyID(), Interface: coffer.PermissionsInterface,
			Context: grant.PermissionContext, Type: grant.PermissionType,
			Operation: "create", Strategy: merge.Basic, Sub: owner.DID(), CommittedAt: time.Now(),
		}
		payload := fmt.Appendf(nil, `{"owner":%q,"grantee":%q,"context":%q,"type":%q,"allow":"-R--"}`,
			owner.DID(), to, schema.Context, schema.Type)
		return merge.Build(head, payload, func(in []byte) ([]byte, error) { return owner.SignInput(ctx, coffer.Assertion, in) })
	}
	if _, err := h.Write(ctx, owner.DID(), must(give(reader.DID()))); err != nil {
		return err
	}
	fmt.Fprintf(p.out, "\nA query by one of the grantees, %d times:\n\n", samples)
	fmt.Fprintln(p.out, "| grants | median | p99 |")
	fmt.Fprintln(p.out, "| ---: | ---: | ---: |")
	there := 1
	for _, n := range p.grants {
		err := adopt(ctx, h, owner.DID(), n-there, func(i int) (*coffer.Commit, error) {
			return give(fmt.Sprintf("did:example:%d", there+i))
		})
		if err != nil {
			return err
		}
		there = n
		median, p99, err := timed(func() error { _, err := theirs.Objects(ctx, owner.DID(), &schema); return err })
		if err != nil {
			return err
		}
		fmt.Fprintf(p.out, "| %d | %v | %v |\n", n, median, p99)
	}
	return nil
}
