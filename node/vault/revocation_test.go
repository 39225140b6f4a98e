package vault_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/coffertest"
	"github.com/cofferhq/coffer/grant"
	"github.com/cofferhq/coffer/node/vault"
)

// revoke revokes as somebody at the URL of the revocation.
func (s *story) revoke(who coffer.Keyring, capability []byte) error {
	s.Helper()
	caller, at := s.vaults.Revoker(s, who, capability)
	return s.vaults.As(caller, s.id).Revoke(s.Context(), at, s.vaults.Chain(s, capability), capability)
}

func TestOfAChainEveryoneCutsWhatTheyTookPartIn(t *testing.T) {
	s := tell(t, vault.Limits{})
	dave := coffertest.Person(t, "dave")
	d := s.put(document(10))
	toBob := s.delegate(s.alice, "", s.bob, "/documents", grant.Read)
	toCarol := s.delegate(s.bob, string(toBob), s.carol, "/documents", grant.Read)
	toDave := s.delegate(s.carol, string(toCarol), dave, "/documents", grant.Read)
	asBob, asCarol, asDave := s.as(s.bob, toBob), s.as(s.carol, toCarol), s.as(dave, toDave)
	reads := func(when string, want map[string]bool) {
		t.Helper()
		for who, v := range map[string]*vault.View{"Alice": s.v, "Bob": asBob, "Carol": asCarol, "Dave": asDave} {
			kind := coffer.NotExist
			if want[who] {
				kind = works
			}
			_, err := v.Get(t.Context(), d.ID)
			s.want(err, kind, when+", as "+who)
		}
	}
	everybody := map[string]bool{"Alice": true, "Bob": true, "Carol": true, "Dave": true}
	reads("at first", everybody)
	s.want(s.revoke(s.carol, toBob), coffer.NotExist, "as Carol, revoke what hers rests on")
	s.want(s.revoke(dave, toCarol), coffer.NotExist, "as Dave, revoke what his rests on")
	// The URL of what one may revoke opens nothing else.
	caller, at := s.vaults.Revoker(t, s.carol, toCarol)
	err := s.vaults.As(caller, s.id).Revoke(t.Context(), at, s.vaults.Chain(t, toBob), toBob)
	s.want(err, coffer.NotExist, "as Carol, revoke what hers rests on, at the URL for hers")
	reads("after attempts", everybody)

	s.want(s.revoke(s.carol, toCarol), works, "as Carol, give up her own")
	reads("with the middle cut", map[string]bool{"Alice": true, "Bob": true})
	s.want(s.revoke(s.alice, toDave), coffer.NotExist, "revoke what rests on what is revoked")
	s.want(s.revoke(s.bob, toBob), works, "as Bob, give up his own")
	reads("with the first cut", map[string]bool{"Alice": true})

	for who, c := range map[string][]byte{"Bob": toBob, "Carol": toCarol, "Dave": toDave} {
		is, err := s.v.Revoked(t.Context(), s.vaults.Chain(t, c).Links())
		if !is || err != nil {
			t.Errorf("%s's is not called revoked (%v)", who, err)
		}
	}
	other := s.delegate(s.alice, "", s.bob, "/documents", grant.Read)
	if is, err := s.v.Revoked(t.Context(), s.vaults.Chain(t, other).Links()); is || err != nil {
		t.Errorf("another capability is called revoked (%v)", err)
	}
	_, err = s.as(s.bob, other).Get(t.Context(), d.ID)
	s.want(err, works, "as Bob, by another capability")
}

// TestNobodyRevokesForOthersByTheirID has a capability with the id of another's.
func TestDelegatesRevokeWithinTheirRate(t *testing.T) {
	s := tell(t, vault.Limits{Rate: 1})
	toBob := s.delegate(s.alice, "", s.bob, "/documents", grant.Read)
	var last error
	for range 12 { // ten seconds' worth may come at once
		own := s.delegate(s.bob, string(toBob), s.carol, "/documents", grant.Read)
		last = s.revoke(s.bob, own)
	}
	s.want(last, coffer.Exhausted, "as Bob, revoke without end")
}

func TestNobodyRevokesForOthersByTheirID(t *testing.T) {
	s := tell(t, vault.Limits{})
	d := s.put(document(10))
	toBob := s.delegate(s.alice, "", s.bob, "/documents", grant.Read)
	toCarol := s.delegate(s.alice, "", s.carol, "/documents", grant.Read)
	now := time.Now()
	twin, err := grant.Delegate(t.Context(), s.carol, string(toCarol), grant.DelegateOptions{
		Controller: s.carol.DID(), Created: now, Expires: now.Add(time.Minute), ID: s.vaults.Chain(t, toBob).ID()})
	if err != nil {
		t.Fatal(err)
	}
	s.want(s.revoke(s.carol, twin), works, "as Carol, revoke her own, which has the id of Bob's")
	_, err = s.as(s.bob, toBob).Get(t.Context(), d.ID)
	s.want(err, works, "as Bob, by what Alice delegated")
}

func TestRevocationsAreListedWhileTheyMatter(t *testing.T) {
	s := tell(t, vault.Limits{})
	list := func(v *vault.View) (all []coffer.Revocation, err error) {
		for r, err := range v.Revocations(t.Context()) {
			if err != nil {
				return nil, err
			}
			all = append(all, r)
		}
		return all, nil
	}
	first := s.delegate(s.alice, "", s.bob, "/documents", grant.Read) // expires in an hour
	s.vaults.Advance(time.Minute)
	second := s.delegate(s.alice, "", s.carol, "/documents", grant.Read)
	s.want(s.revoke(s.carol, second), works, "as Carol")
	s.vaults.Advance(time.Second)
	s.want(s.revoke(s.alice, first), works, "as Alice")
	all, err := list(s.v)
	if err != nil || len(all) != 2 {
		t.Fatalf("%d revocations, %v; want 2", len(all), err)
	}
	for i, want := range []struct {
		capability []byte
		by         coffer.Keyring
	}{{second, s.carol}, {first, s.alice}} {
		r := all[i]
		if !json.Valid(r.Capability) || string(r.Capability) != string(want.capability) || r.By != want.by.DID() ||
			r.Delegator != s.alice.DID() || !r.Expires.Equal(s.vaults.Chain(t, want.capability).Expires()) {
			t.Errorf("revocation %d is %+v", i, r)
		}
	}
	reader := s.delegate(s.alice, "", s.bob, "/documents", grant.Read)
	_, err = list(s.as(s.bob, reader))
	s.want(err, coffer.Denied, "as Bob, who may read documents")

	left := func(after time.Duration, want int) {
		t.Helper()
		s.vaults.Advance(after)
		s.v = s.as(s.alice, nil) // a signature is good for minutes
		if all, err := list(s.v); err != nil || len(all) != want {
			t.Errorf("%d revocations, %v; want %d", len(all), err, want)
		}
	}
	left(24*time.Hour, 2)             // both capabilities have ended less than a day ago
	left(time.Hour-30*time.Second, 1) // the first more than a day ago
	left(time.Minute, 0)              // and the second
}

// TestAFollowerIsCutOffAtOnce ends a followed feed by a revocation alone: nothing is written.
func TestAFollowerIsCutOffAtOnce(t *testing.T) {
	for name, end := range map[string]func(s *story, capability []byte) error{
		"revoked": func(s *story, capability []byte) error { return s.revoke(s.alice, capability) },
		"handed over": func(s *story, _ []byte) error {
			c := s.config()
			c.Sequence, c.Controller = c.Sequence+1, s.carol.DID()
			return s.v.Configure(s.Context(), c)
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := tell(t, vault.Limits{})
			s.put(document(10))
			capability := s.delegate(s.alice, "", s.bob, "/changes", grant.Read)
			v := s.as(s.bob, capability)
			got, ended := make(chan coffer.Change, 10), make(chan error, 1)
			go func() {
				var last error
				for c, err := range v.Changes(t.Context(), "", true) {
					if last = err; err == nil {
						got <- c
					}
				}
				ended <- last
			}()
			await(t, got)
			s.put(document(10))
			await(t, got)
			s.want(end(s, capability), works, "the end")
			s.want(await(t, ended), coffer.NotExist, "the feed")
		})
	}
}

func await[T any](t *testing.T, c <-chan T) (v T) {
	t.Helper()
	select {
	case v = <-c:
	case <-time.After(20 * time.Second):
		t.Fatal("nothing came")
	}
	return v
}
