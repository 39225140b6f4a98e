package grant

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/internal/jose"
)

// draftOf returns the wire form of a delegation from one person to another, as the options would make it.
func draftOf(t testing.TB, from *person, parent string, to *person, change func(*capabilityJSON)) *capabilityJSON {
	t.Helper()
	var d *delegation
	if strings.HasPrefix(parent, "{") {
		var err error
		if d, err = parseCapability([]byte(parent), 100); err != nil {
			t.Fatal(err)
		}
	}
	w, err := unsigned(from.keyID(), parent, d, DelegateOptions{
		Controller: to.did, Created: when.Add(-time.Hour), Expires: when.Add(time.Hour), Actions: []Action{Read, Write},
	})
	if err != nil {
		t.Fatal(err)
	}
	if change != nil {
		change(w)
	}
	return w
}

// forge signs whatever the wire form says, as long as it can be read.
func forge(t testing.TB, who *person, w *capabilityJSON) string {
	t.Helper()
	w.Proof.ProofValue = coffer.Multibase(make([]byte, 64))
	b, err := jose.Encode(w)
	if err != nil {
		t.Fatal(err)
	}
	if d, err := parseCapability(b, 100); err == nil {
		message, err := d.signed()
		if err != nil {
			t.Fatal(err)
		}
		sum, _ := who.Sign(t.Context(), coffer.Delegation, message)
		w.Proof.ProofValue = coffer.Multibase(sum)
	}
	if b, err = jose.Encode(w); err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// invoke has who invoke the capability, bypassing the checks of NewInvoker.
func invoke(t testing.TB, who *person, capability string) *Invocation {
	t.Helper()
	i := &Invoker{
		keyring: who, keyID: who.keyID(), target: benchVault, header: `zcap capability="` + deflate([]byte(capability)) + `",action="`,
	}
	return request(t, i)
}

func TestVerifyCapability(t *testing.T) {
	alice, bob, carol, mallory := named(0x11), named(0x12), named(0x13), named(0x66)
	parent := func(change func(*capabilityJSON)) string {
		return forge(t, alice, draftOf(t, alice, benchVault, bob, change))
	}
	child := func(parent string, change func(*capabilityJSON)) string {
		return forge(t, bob, draftOf(t, bob, parent, carol, change))
	}
	at := func(d time.Duration) string { return formatTime(when.Add(d)) }
	const ok = coffer.Kind(255)
	plainParent := parent(nil)
	for _, row := range []struct {
		name       string
		capability string
		who        *person
		kind       coffer.Kind
		reason     string
	}{
		{"parent", plainParent, bob, ok, ""},
		{"child", child(plainParent, nil), carol, ok, ""},
		{"controller is a method", parent(func(w *capabilityJSON) { w.Controller.list[0] = bob.keyID() }), bob, ok, ""},
		{"two controllers", parent(func(w *capabilityJSON) {
			w.Controller = texts{list: []string{mallory.did, bob.did, bob.did}, array: true}
		}), bob, ok, ""},
		{"child of a method", child(parent(func(w *capabilityJSON) { w.Controller.list[0] = bob.keyID() }), nil), carol,
			ok, ""},
		{"reference id", parent(func(w *capabilityJSON) { s := `a "quoted" \ ü`; w.ReferenceID = &s }), bob, ok, ""},
		{"no actions, then some", child(parent(func(w *capabilityJSON) { w.AllowedAction = texts{} }), nil), carol,
			ok, ""},
		{"one action as string, both", child(
			parent(func(w *capabilityJSON) { w.AllowedAction = texts{list: []string{"read"}} }),
			func(w *capabilityJSON) { w.AllowedAction = texts{list: []string{"read"}} }), carol, ok, ""},
		{"one action as string under array", child(plainParent,
			func(w *capabilityJSON) { w.AllowedAction = texts{list: []string{"read"}} }), carol, ok, ""},
		{"action twice", child(plainParent,
			func(w *capabilityJSON) { w.AllowedAction = texts{list: []string{"read", "read"}, array: true} }), carol, ok, ""},
		{"target below", child(plainParent,
			func(w *capabilityJSON) { w.InvocationTarget += "/documents" }), carol, ok, ""},
		{"expired within the skew", child(plainParent, func(w *capabilityJSON) { w.Expires = at(-200 * time.Second) }), carol,
			ok, ""},
		{"made in the future within the skew", child(plainParent, func(w *capabilityJSON) { w.Proof.Created = at(200 * time.Second) }), carol,
			ok, ""},
		{"offset and fraction in times", child(plainParent, func(w *capabilityJSON) { w.Proof.Created = "2026-01-02T04:04:05.25+01:00" }), carol,
			ok, ""},

		// Who delegates and who invokes.
		{"invoked by its delegator", child(plainParent, nil), bob, coffer.NotExist, "no authority"},
		{"invoked by the root's controller", plainParent, alice, coffer.NotExist, "no authority"},
		{"invoked by a stranger", plainParent, mallory, coffer.NotExist, "no authority"},
		{"controller is another method", parent(func(w *capabilityJSON) { w.Controller.list[0] = bob.did + "#other" }), bob,
			coffer.NotExist, "no authority"},
		{"first delegator is a stranger", forge(t, mallory, draftOf(t, mallory, benchVault, bob, nil)), bob,
			coffer.NotExist, "no authority"},
		{"second delegator is a stranger", forge(t, mallory, draftOf(t, mallory, plainParent, carol, nil)), carol,
			coffer.NotExist, "not signed by a controller"},
		{"second delegator is the grandparent", forge(t, alice, draftOf(t, alice, plainParent, carol, nil)), carol,
			coffer.NotExist, "not signed by a controller"},
		{"first proof by another key", forge(t, mallory, draftOf(t, alice, benchVault, bob, nil)), bob,
			coffer.NotExist, "no authority"},
		{"second proof by another key", forge(t, mallory, draftOf(t, bob, plainParent, carol, nil)), carol,
			coffer.NotExist, "no authority"},
		{"proof inside by another key", child(forge(t, mallory, draftOf(t, alice, benchVault, bob, nil)), nil), carol,
			coffer.NotExist, "no authority"},
		{"other root", forge(t, alice, draftOf(t, alice, benchVault+"x", bob,
			func(w *capabilityJSON) { w.InvocationTarget = benchVault + "x" })), bob,
			coffer.NotExist, "no authority"},

		// Attenuation.
		{"more actions", child(parent(func(w *capabilityJSON) { w.AllowedAction.list = []string{"read"} }), nil), carol,
			coffer.NotExist, "more actions"},
		{"no actions under some", child(plainParent, func(w *capabilityJSON) { w.AllowedAction = texts{} }), carol,
			coffer.NotExist, "more actions"},
		{"array under string", child(parent(func(w *capabilityJSON) { w.AllowedAction = texts{list: []string{"read"}} }),
			func(w *capabilityJSON) { w.AllowedAction = texts{list: []string{"read"}, array: true} }), carol, coffer.NotExist, "more actions"},
		{"other string", child(parent(func(w *capabilityJSON) { w.AllowedAction = texts{list: []string{"read"}} }),
			func(w *capabilityJSON) { w.AllowedAction = texts{list: []string{"write"}} }), carol, coffer.NotExist, "more actions"},
		{"target above", child(parent(func(w *capabilityJSON) { w.InvocationTarget += "/documents" }),
			func(w *capabilityJSON) { w.InvocationTarget = benchVault }), carol, coffer.NotExist, "target is not"},
		{"target beside", child(parent(func(w *capabilityJSON) { w.InvocationTarget += "/documents" }),
			func(w *capabilityJSON) { w.InvocationTarget = benchVault + "/documents2" }), carol, coffer.NotExist, "target is not"},
		{"target above the root's", parent(func(w *capabilityJSON) { w.InvocationTarget = "https://vault.example/edvs" }), bob,
			coffer.NotExist, "target is not"},
		{"outlives its parent", child(plainParent, func(w *capabilityJSON) { w.Expires = at(time.Hour + time.Second) }), carol,
			coffer.NotExist, "outlives"},
		{"older than its parent", child(plainParent, func(w *capabilityJSON) { w.Proof.Created = at(-time.Hour - time.Second) }), carol,
			coffer.NotExist, "older than its parent"},

		// Clock.
		{"expired", parent(func(w *capabilityJSON) { w.Expires = at(-241 * time.Second) }), bob,
			coffer.NotExist, "has expired"},
		{"parent expired", child(parent(func(w *capabilityJSON) { w.Expires = at(-241 * time.Second) }),
			func(w *capabilityJSON) { w.Expires = at(-300 * time.Second) }), carol, coffer.NotExist, "has expired"},
		{"made in the future", parent(func(w *capabilityJSON) { w.Proof.Created = at(361 * time.Second) }), bob,
			coffer.NotExist, "in the future"},
		{"for too long", parent(func(w *capabilityJSON) { w.Expires = at(365*24*time.Hour - 3599*time.Second) }), bob,
			coffer.NotExist, "too long"},
		{"parent for too long", child(parent(func(w *capabilityJSON) { w.Expires = at(365*24*time.Hour - 3599*time.Second) }), nil), carol,
			coffer.NotExist, "too long"},

		// What it covers.
		{"other action only", parent(func(w *capabilityJSON) { w.AllowedAction.list = []string{"write"} }), bob,
			coffer.Denied, "does not allow"},
		{"other target only", parent(func(w *capabilityJSON) { w.InvocationTarget += "/documents/z19other" }), bob,
			coffer.Denied, "does not cover"},
	} {
		t.Run(row.name, func(t *testing.T) {
			f := facts(benchVault, alice.did)
			f.Roots = func(_ context.Context, target string) ([]string, error) {
				if target == benchVault {
					return []string{alice.did}, nil
				}
				return nil, nil
			}
			cache := oneCache{}
			for _, f.Cache = range []Cache{nil, cache, cache} { // not cached, then filled, then hit
				v, err := Verify(t.Context(), invoke(t, row.who, row.capability), f)
				if row.kind == ok {
					if err != nil {
						t.Fatal(err)
					}
					if v.Caller.Who() != row.who.did || len(v.Caller.Links()) == 0 {
						t.Error("another caller")
					}
				} else if coffer.KindOf(err) != row.kind || !strings.Contains(err.Error(), row.reason) {
					t.Errorf("got %v, want %v for %q", err, row.kind, row.reason)
				}
			}
		})
	}
}

// An invocation may not be older than the delegation, clocks aside.
func TestVerifyInvocationAge(t *testing.T) {
	alice, bob := named(0x11), named(0x12)
	capability := forge(t, alice, draftOf(t, alice, benchVault, bob, func(w *capabilityJSON) {
		w.Proof.Created = formatTime(when.Add(time.Hour))
		w.Expires = formatTime(when.Add(2 * time.Hour))
	}))
	for after, ok := range map[time.Duration]bool{0: false, 54 * time.Minute: false, 55 * time.Minute: true} {
		d := newDraft()
		invocationOf(`zcap capability="` + deflate([]byte(capability)) + `",action="read"`)(d)
		d.who, d.keyID = bob, bob.keyID()
		d.created = fmt.Sprint(when.Add(after).Unix())
		d.expires = fmt.Sprint(when.Add(2 * time.Hour).Unix())
		f := facts(benchVault, alice.did)
		f.Now = when.Add(time.Hour)
		_, err := Verify(t.Context(), d.sign(), f)
		if ok != (err == nil) || !ok && !strings.Contains(err.Error(), "older than the delegation") {
			t.Errorf("%v after: %v", after, err)
		}
	}
}

func TestParseCapability(t *testing.T) {
	alice, bob, carol := named(0x11), named(0x12), named(0x13)
	one := forge(t, alice, draftOf(t, alice, benchVault, bob, nil))
	two := forge(t, bob, draftOf(t, bob, one, carol, nil))
	c, err := ParseCapability([]byte(two))
	if err != nil {
		t.Fatal(err)
	}
	p, err := ParseCapability([]byte(one))
	if err != nil {
		t.Fatal(err)
	}
	links := c.Links()
	switch {
	case c.Parent() != p.ID(), p.Parent() != RootID(benchVault), c.RootTarget() != benchVault, c.Target() != benchVault,
		c.Delegator() != bob.did, p.Delegator() != alice.did, !slices.Equal(c.Controllers(), []string{carol.did}),
		!slices.Equal(c.ChainControllers(), []string{bob.did, carol.did}), !slices.Equal(c.Actions(), []Action{Read, Write}),
		!c.Created().Equal(when.Add(-time.Hour)), !c.Expires().Equal(when.Add(time.Hour)),
		len(links) != 2, links[0].ID != p.ID(), links[1].ID != c.ID(), links[0].Delegator != alice.did:
		t.Errorf("%+v", c)
	}

	// Everything that is not of the form, one at a time.
	edit := func(f func(m, proof map[string]any)) string {
		var m map[string]any
		json.Unmarshal([]byte(two), &m)
		f(m, m["proof"].(map[string]any))
		b, _ := json.Marshal(m)
		return string(b)
	}
	set := func(key string, v any) string { return edit(func(m, _ map[string]any) { m[key] = v }) }
	setProof := func(key string, v any) string { return edit(func(_, p map[string]any) { p[key] = v }) }
	chain := func(f func(chain []any) []any) string {
		return edit(func(_, p map[string]any) { p["capabilityChain"] = f(p["capabilityChain"].([]any)) })
	}
	inner := func(f func(m, proof map[string]any)) string {
		return chain(func(c []any) []any {
			m := c[1].(map[string]any)
			f(m, m["proof"].(map[string]any))
			return c
		})
	}
	bad := map[string]string{
		"empty":                "",
		"null":                 "null",
		"array":                "[" + two + "]",
		"string":               `"urn:zcap:root:https%3A%2F%2Fa"`,
		"trailing":             two + "x",
		"duplicate member":     strings.Replace(two, `"id":`, `"id":"urn:x:y","id":`, 1),
		"bad UTF-8":            strings.Replace(two, "urn:uuid", "urn:\xffuid", 1),
		"member in other case": strings.Replace(two, `"id"`, `"ID"`, 1),
		"too long":             strings.Replace(two, `{`, `{`+strings.Repeat(" ", maxCapability), 1),
		"root sent": `{"@context":"https://w3id.org/zcap/v1","id":"` + RootID(benchVault) +
			`","controller":"did:a:b","invocationTarget":"` + benchVault + `"}`,
		"unknown member":           set("caveat", []any{}),
		"unknown member in proof":  setProof("nonce", "x"),
		"unknown member inside":    inner(func(m, _ map[string]any) { m["caveat"] = "x" }),
		"unknown in proof inside":  inner(func(_, p map[string]any) { p["domain"] = "x" }),
		"context string":           set("@context", contextZcap),
		"context order":            set("@context", []string{contextEd25519, contextZcap}),
		"context missing one":      set("@context", []string{contextZcap}),
		"context more":             set("@context", []string{contextZcap, contextEd25519, "https://example.org"}),
		"context inline":           set("@context", []any{contextZcap, map[string]any{"x": "y"}}),
		"context of other suite":   set("@context", []string{contextZcap, contextDataIntegrity}),
		"context null":             set("@context", nil),
		"context in proof":         setProof("@context", []string{contextZcap, contextEd25519}),
		"context inside":           inner(func(m, _ map[string]any) { m["@context"] = []string{contextZcap} }),
		"id missing":               edit(func(m, _ map[string]any) { delete(m, "id") }),
		"id relative":              set("id", "abc"),
		"id blank node":            set("id", "_:b0"),
		"id with bracket":          set("id", "urn:a>b"),
		"id with space":            set("id", "urn:a b"),
		"id of a root":             set("id", RootID(benchVault+"/x")),
		"id not a string":          set("id", 7),
		"controller missing":       edit(func(m, _ map[string]any) { delete(m, "controller") }),
		"controller null":          set("controller", nil),
		"controller empty":         set("controller", ""),
		"controllers none":         set("controller", []string{}),
		"controllers with empty":   set("controller", []string{carol.did, ""}),
		"controllers with null":    set("controller", []any{carol.did, nil}),
		"controller object":        set("controller", map[string]any{"id": carol.did}),
		"controllers too many":     set("controller", strings.Split(strings.Repeat("did:a:b ", 40)+"did:a:b", " ")),
		"parent missing":           edit(func(m, _ map[string]any) { delete(m, "parentCapability") }),
		"parent another":           set("parentCapability", "urn:uuid:1"),
		"parent embedded":          set("parentCapability", map[string]any{"id": p.ID()}),
		"target missing":           edit(func(m, _ map[string]any) { delete(m, "invocationTarget") }),
		"target relative":          set("invocationTarget", "/edvs/a"),
		"target object":            set("invocationTarget", map[string]any{"id": benchVault}),
		"expires missing":          edit(func(m, _ map[string]any) { delete(m, "expires") }),
		"expires a date":           set("expires", "2026-06-01"),
		"expires a number":         set("expires", 1767323045),
		"action empty":             set("allowedAction", ""),
		"actions none":             set("allowedAction", []string{}),
		"action null":              set("allowedAction", nil),
		"action with control":      set("allowedAction", []string{"re\nad"}),
		"action too long":          set("allowedAction", strings.Repeat("x", 300)),
		"reference id empty":       set("referenceId", ""),
		"reference id a number":    set("referenceId", 1),
		"proof missing":            edit(func(m, _ map[string]any) { delete(m, "proof") }),
		"proof null":               set("proof", nil),
		"proof array":              edit(func(m, p map[string]any) { m["proof"] = []any{p} }),
		"two proofs":               edit(func(m, p map[string]any) { m["proof"] = []any{p, p} }),
		"proof type":               setProof("type", "Ed25519Signature2018"),
		"proof suite":              setProof("cryptosuite", "eddsa-rdfc-2022"),
		"proof purpose":            setProof("proofPurpose", "capabilityInvocation"),
		"proof purpose missing":    edit(func(_, p map[string]any) { delete(p, "proofPurpose") }),
		"proof created missing":    edit(func(_, p map[string]any) { delete(p, "created") }),
		"proof created with comma": setProof("created", "2026-01-02T03:04:05,5Z"),
		"proof method missing":     edit(func(_, p map[string]any) { delete(p, "verificationMethod") }),
		"proof method object":      setProof("verificationMethod", map[string]any{"id": bob.keyID()}),
		"proof value missing":      edit(func(_, p map[string]any) { delete(p, "proofValue") }),
		"proof value other base":   setProof("proofValue", "uAAAA"),
		"proof value short":        setProof("proofValue", coffer.Multibase(make([]byte, 63))),
		"proof value long":         setProof("proofValue", coffer.Multibase(make([]byte, 65))),
		"proof value very long":    setProof("proofValue", "z"+strings.Repeat("2", 2000)),
		"chain missing":            edit(func(_, p map[string]any) { delete(p, "capabilityChain") }),
		"chain empty":              setProof("capabilityChain", []any{}),
		"chain a string":           setProof("capabilityChain", RootID(benchVault)),
		"chain without parent":     chain(func(c []any) []any { return c[:1] }),
		"chain parent by id":       chain(func(c []any) []any { return []any{c[0], p.ID()} }),
		"chain null":               chain(func(c []any) []any { return []any{c[0], nil} }),
		"chain root embedded":      chain(func(c []any) []any { return []any{map[string]any{"id": c[0]}, c[1]} }),
		"chain one more":           chain(func(c []any) []any { return []any{c[0], "urn:uuid:9", c[1]} }),
		"chain id twice":           chain(func(c []any) []any { return []any{c[0], c[0], c[1]} }),
		"chain relative id":        chain(func(c []any) []any { return []any{c[0], "abc", c[1]} }),
		"chain other root":         chain(func(c []any) []any { return []any{RootID(benchVault + "x"), c[1]} }),
		"chain no root":            strings.ReplaceAll(two, RootID(benchVault), "urn:uuid:0"),
		"own id in chain":          set("id", p.ID()),
		"parent inside too long":   inner(func(_, q map[string]any) { q["capabilityChain"] = []any{RootID(benchVault), "urn:uuid:9"} }),
	}
	for name, text := range bad {
		if _, err := ParseCapability([]byte(text)); coffer.KindOf(err) != coffer.Invalid {
			t.Errorf("%s: %v", name, err)
		} else if strings.Contains(err.Error(), "did:") || strings.Contains(err.Error(), "urn:") {
			t.Errorf("%s: the error names somebody", name)
		}
	}
}

// longChain returns n delegations with fixed ids and times, so that its hashes are known.
func longChain(t testing.TB, n int, suite func(int) Suite) string {
	t.Helper()
	parent := benchVault
	for i := range n {
		b, err := Delegate(t.Context(), named(byte(0x11+i)), parent, DelegateOptions{
			Controller: named(byte(0x12 + i)).did, Actions: []Action{Read}, Suite: suite(i), ID: fmt.Sprintf("urn:uuid:%d", i+1),
			Created: when.Add(time.Duration(i) * time.Minute), Expires: when.Add(24 * time.Hour),
		})
		if err != nil {
			t.Fatalf("delegation %d: %v", i+1, err)
		}
		parent = string(b)
	}
	return parent
}

// suites are the ways to make a chain: all alike, and mixed.
func suites() map[string]func(int) Suite {
	all := []Suite{Ed25519Signature2020, EddsaJCS2022, EddsaRDFC2022}
	m := map[string]func(int) Suite{"mixed": func(i int) Suite { return all[i%3] }}
	for _, s := range all {
		m[string(s)] = func(int) Suite { return s }
	}
	return m
}

func TestLongestChain(t *testing.T) {
	f := facts(benchVault, named(0x11).did)
	f.Now = when.Add(time.Hour)
	for name, suite := range suites() {
		nine := longChain(t, 9, suite)
		if _, err := VerifyChain(t.Context(), []byte(nine), f); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		ten := DelegateOptions{Controller: "did:a:b", Created: when.Add(time.Hour), Expires: when.Add(2 * time.Hour)}
		if _, err := Delegate(t.Context(), named(0x1a), nine, ten); coffer.KindOf(err) != coffer.Invalid {
			t.Errorf("%s: a tenth delegation: %v", name, err)
		}
		tenth := forge(t, named(0x1a), draftOf(t, named(0x1a), nine, named(0x1b), func(w *capabilityJSON) {
			w.Proof.Created = formatTime(when.Add(time.Hour))
			w.AllowedAction = texts{list: []string{"read"}, array: true}
		}))
		if _, err := VerifyChain(t.Context(), []byte(tenth), f); coffer.KindOf(err) != coffer.Invalid {
			t.Errorf("%s: a forged tenth delegation: %v", name, err)
		}
	}
}

// Whatever is changed in a capability, at any depth, it is no longer verified: every text alone, every text wherever it
// stands, every member left out.
func TestMutations(t *testing.T) {
	v := readVectors(t)
	subjects := map[string][]byte{}
	for name, z := range v.Zcaps {
		subjects[name] = z.Capability
	}
	for name, z := range v.DataIntegrity {
		subjects[string(name)] = z
	}
	for name, suite := range suites() {
		subjects["five of "+name] = []byte(longChain(t, 5, suite))
	}
	for name, capability := range subjects {
		t.Run(name, func(t *testing.T) {
			first, err := ParseCapability(capability)
			if err != nil {
				t.Fatal(err)
			}
			f := facts("", "")
			f.Now = first.Created().Add(time.Hour)
			// Whatever root a change names, its controllers would be the same: proofs must find it.
			f.Roots = func(context.Context, string) ([]string, error) { return []string{first.Links()[0].Delegator}, nil }
			check := func(what string, b []byte) {
				t.Helper()
				if _, err := VerifyChain(t.Context(), b, f); err == nil {
					t.Errorf("still verified after: %s", what)
				}
			}
			if _, err := VerifyChain(t.Context(), capability, f); err != nil {
				t.Fatal(err)
			}
			var tree any
			json.Unmarshal(capability, &tree)
			count := 0
			encode := func() []byte {
				b, err := json.Marshal(tree)
				if err != nil {
					t.Fatal(err)
				}
				count++
				return b
			}
			var walk func(path string, v any, replace func(any))
			walk = func(path string, v any, replace func(any)) {
				switch v := v.(type) {
				case string:
					replace(altered(v))
					check(path, encode())
					replace(v)
					check(path+" everywhere", bytes.ReplaceAll(encode(), []byte(`"`+v+`"`), []byte(`"`+altered(v)+`"`)))
				case []any:
					for i := range v {
						walk(fmt.Sprintf("%s[%d]", path, i), v[i], func(x any) { v[i] = x })
					}
					replace(append(slices.Clone(v), "urn:a:b"))
					check(path+" longer", encode())
					if len(v) > 1 {
						replace(v[:len(v)-1])
						check(path+" shorter", encode())
					}
					replace(v)
				case map[string]any:
					for k, x := range v {
						walk(path+"."+k, x, func(y any) { v[k] = y })
						delete(v, k)
						check(path+"."+k+" left out", encode())
						v[k] = x
					}
					v["extra"] = "urn:a:b"
					check(path+" with more", encode())
					delete(v, "extra")
					if v["referenceId"] == nil && v["parentCapability"] != nil {
						v["referenceId"] = "x"
						check(path+" with a reference id", encode())
						delete(v, "referenceId")
					}
				}
			}
			walk("", tree, func(x any) { tree = x })
			if _, err := VerifyChain(t.Context(), encode(), f); err != nil {
				t.Errorf("the walk changed the capability: %v", err)
			}
			if count < 40 {
				t.Errorf("only %d changes", count)
			}
		})
	}
}

// altered returns a text of the same form that says something else: a character in the middle is another.
func altered(s string) string {
	b := []byte(s)
	for i := len(b) / 2; i < len(b); i++ {
		switch c := b[i]; {
		case '0' <= c && c < '5', 'a' <= c && c < 'f', 'p' <= c && c < 'y', 'A' <= c && c < 'F', 'P' <= c && c < 'Y':
			b[i]++
			return string(b)
		case '5' <= c && c <= '9', 'f' < c && c <= 'z', 'F' < c && c <= 'Z' && c != 'J':
			b[i]--
			return string(b)
		}
	}
	return s + "x"
}

func TestCache(t *testing.T) {
	capability, who := delegated(t, 3, "")
	i, err := NewInvoker(who, capability)
	if err != nil {
		t.Fatal(err)
	}
	in := request(t, i)
	cache := oneCache{}
	f := facts(benchVault, named(0x11).did)
	f.Cache = cache
	var purposes []coffer.Purpose
	f.Key = func(ctx context.Context, id string, p coffer.Purpose) (coffer.Verifier, error) {
		purposes = append(purposes, p)
		return didKey(ctx, id, p)
	}
	verify := func(want coffer.Kind, reason string, keys ...coffer.Purpose) {
		t.Helper()
		purposes = nil
		_, err := Verify(t.Context(), in, f)
		if reason == "" && err != nil || reason != "" && (coffer.KindOf(err) != want || !strings.Contains(err.Error(), reason)) {
			t.Errorf("got %v, want %q", err, reason)
		}
		if !slices.Equal(purposes, keys) {
			t.Errorf("looked up keys for %q, want %q", purposes, keys)
		}
	}
	good, key := f.Roots, f.Key
	f.Roots = func(context.Context, string) ([]string, error) { return []string{named(0x66).did}, nil }
	verify(coffer.NotExist, "no authority")
	f.Roots = good
	f.Key = func(ctx context.Context, id string, p coffer.Purpose) (coffer.Verifier, error) {
		key(ctx, id, p)
		return didKey(ctx, named(0x66).keyID(), p)
	}
	verify(coffer.NotExist, "no authority", coffer.Delegation)
	if len(cache) != 0 {
		t.Error("what was not verified is in the cache")
	}
	f.Key = key
	verify(0, "", coffer.Delegation, coffer.Delegation, coffer.Delegation, coffer.Invocation)
	if len(cache) != 1 {
		t.Errorf("%d in the cache", len(cache))
	}
	verify(0, "", coffer.Invocation)
	f.Roots = func(context.Context, string) ([]string, error) { return []string{named(0x66).did}, nil }
	verify(coffer.NotExist, "no authority")
	f.Roots = good
	f.MaxLife = time.Minute
	verify(coffer.NotExist, "too long")
	f.MaxLife = 0
	in.Header["Capability-Invocation"][0] = strings.Replace(in.Header["Capability-Invocation"][0], "read", "write", 1)
	verify(coffer.NotExist, "no authority", coffer.Invocation) // the signature was over "read"
	in = request(t, i)
	f.Now = when.Add(time.Hour + 301*time.Second)
	in.Header["Authorization"][0] = strings.Replace(in.Header["Authorization"][0], `expires="1767323645"`, `expires="1799999999"`, 1)
	verify(coffer.NotExist, "capability has expired")
}

// Expiry is not VerifyChain's affair; the rest is.
func TestVerifyChain(t *testing.T) {
	alice, bob := named(0x11), named(0x12)
	capability := []byte(forge(t, alice, draftOf(t, alice, benchVault, bob, nil)))
	f := facts(benchVault, alice.did)
	f.Now = when.Add(48 * time.Hour)
	c, err := VerifyChain(t.Context(), capability, f)
	if err != nil || !f.Now.After(c.Expires()) {
		t.Errorf("expired: %v", err)
	}
	f.Now = when.Add(-2 * time.Hour)
	if _, err := VerifyChain(t.Context(), capability, f); coffer.KindOf(err) != coffer.NotExist {
		t.Errorf("from the future: %v", err)
	}
	f = facts(benchVault, bob.did)
	if _, err := VerifyChain(t.Context(), capability, f); coffer.KindOf(err) != coffer.NotExist {
		t.Errorf("other root controller: %v", err)
	}
	if _, err := VerifyChain(t.Context(), []byte("{}"), f); coffer.KindOf(err) != coffer.Invalid {
		t.Errorf("malformed: %v", err)
	}
}

func TestDelegate(t *testing.T) {
	alice, bob, carol := named(0x11), named(0x12), named(0x13)
	good := DelegateOptions{Controller: carol.did, Created: when, Expires: when.Add(time.Hour)}
	parent, err := Delegate(t.Context(), alice, benchVault+"/documents", DelegateOptions{
		Controller: bob.did, Created: when, Expires: when.Add(time.Hour), Actions: []Action{Read},
	})
	if err != nil {
		t.Fatal(err)
	}
	child, err := Delegate(t.Context(), bob, string(parent), good)
	if err != nil {
		t.Fatal(err)
	}
	c, err := ParseCapability(child)
	if err != nil || c.Target() != benchVault+"/documents" || !slices.Equal(c.Actions(), []Action{Read}) || c.ID() == c.Parent() {
		t.Errorf("inherits %+v, %v", c, err)
	}
	for name, change := range map[string]func(*DelegateOptions){
		"no expiry":       func(o *DelegateOptions) { o.Expires = time.Time{} },
		"no creation":     func(o *DelegateOptions) { o.Created = time.Time{} },
		"expires first":   func(o *DelegateOptions) { o.Expires = o.Created },
		"outlives":        func(o *DelegateOptions) { o.Expires = when.Add(time.Hour + time.Second) },
		"older":           func(o *DelegateOptions) { o.Created = when.Add(-time.Second) },
		"no controller":   func(o *DelegateOptions) { o.Controller = "" },
		"bad controller":  func(o *DelegateOptions) { o.Controller = "carol" },
		"other target":    func(o *DelegateOptions) { o.Target = benchVault },
		"relative target": func(o *DelegateOptions) { o.Target = "documents" },
		"more actions":    func(o *DelegateOptions) { o.Actions = []Action{Read, Write} },
		"empty action":    func(o *DelegateOptions) { o.Actions = []Action{""} },
		"unknown suite":   func(o *DelegateOptions) { o.Suite = "rsa" },
		"bad id":          func(o *DelegateOptions) { o.ID = "x" },
		"parent's id":     func(o *DelegateOptions) { o.ID = c.Parent() },
	} {
		o := good
		change(&o)
		if _, err := Delegate(t.Context(), bob, string(parent), o); coffer.KindOf(err) != coffer.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := Delegate(t.Context(), alice, string(parent), good); coffer.KindOf(err) != coffer.Invalid {
		t.Errorf("not a controller: %v", err)
	}
	for _, bad := range []string{"", "{}", "vault", string(parent[:40])} {
		if _, err := Delegate(t.Context(), bob, bad, good); coffer.KindOf(err) != coffer.Invalid {
			t.Errorf("parent %q: %v", bad, err)
		}
	}
	long := good
	long.Expires = when.Add(366 * 24 * time.Hour)
	if _, err := Delegate(t.Context(), alice, benchVault, long); coffer.KindOf(err) != coffer.Invalid {
		t.Errorf("too long: %v", err)
	}
}

// What is remembered is bounded not in number alone: a capability larger than any honest one is verified each time.
func TestCacheSize(t *testing.T) {
	alice, bob := named(0x11), named(0x12)
	for size, want := range map[int]int{1: 1, 8000: 1, 20000: 0} {
		capability := forge(t, alice, draftOf(t, alice, benchVault, bob, func(w *capabilityJSON) {
			w.Controller = texts{list: []string{bob.did}, array: true}
			for left := size; left > 0; left -= 2000 {
				filler := "urn:x:" + strings.Repeat("a", min(left, 2000)) + strconv.Itoa(left)
				w.Controller.list = append(w.Controller.list, filler)
			}
		}))
		cache := oneCache{}
		f := facts(benchVault, alice.did)
		f.Cache = cache
		if _, err := Verify(t.Context(), invoke(t, bob, capability), f); err != nil {
			t.Errorf("%d bytes: %v", len(capability), err)
		}
		if len(cache) != want {
			t.Errorf("of a capability of %d bytes, %d are remembered, want %d", len(capability), len(cache), want)
		}
	}
}
