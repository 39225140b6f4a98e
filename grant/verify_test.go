package grant

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/cofferhq/coffer"
)

const (
	benchDocument = "/edvs/z1A5sEs297TrgBd1P2m2sm8jB/documents/z19inwPEW2tBULosfqG97hZd8"
	digestOfEmpty = "SHA-256=47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="
)

// A draft is a request to be signed by hand, so that it can be wrong in one thing at a time.
type draft struct {
	in               *Invocation
	who              *person
	keyID            string
	headers          string
	created, expires string
	form             string // of the Authorization header; %[1]s to %[5]s are keyId, headers, signature, created, expires
	spoil            func(*Invocation)
}

const formQuoted = `Signature keyId="%[1]s",headers="%[2]s",signature="%[3]s",created="%[4]s",expires="%[5]s"`

// sign computes the signature as the draft says it, right or wrong.
func (d *draft) sign() *Invocation {
	var lines []string
	for _, name := range strings.Split(d.headers, " ") {
		value := ""
		switch name {
		case "(key-id)":
			value = d.keyID
		case "(created)":
			value = d.created
		case "(expires)":
			value = d.expires
		case "(request-target)":
			value = strings.ToLower(d.in.Method) + " " + d.in.URI
		case "host":
			value = d.in.Host
		default:
			for k, v := range d.in.Header {
				if strings.EqualFold(k, name) {
					value = strings.TrimSpace(strings.Join(v, ", "))
				}
			}
		}
		lines = append(lines, name+": "+value)
	}
	sum, _ := d.who.Sign(context.Background(), coffer.Invocation, []byte(strings.Join(lines, "\n")))
	text := fmt.Sprintf(d.form, d.keyID, d.headers, base64.StdEncoding.EncodeToString(sum), d.created, d.expires)
	d.in.Header["Authorization"] = []string{strings.Split(text, "%!(EXTRA")[0]}
	if d.spoil != nil {
		d.spoil(d.in)
	}
	return d.in
}

const (
	signedAlways = "(key-id) (created) (expires) (request-target) host capability-invocation"
	signedBody   = signedAlways + " content-type digest"
)

// newDraft returns a good request by alice, the vault's controller.
func newDraft() *draft {
	alice := named(0x11)
	return &draft{
		who: alice, keyID: alice.keyID(), headers: signedAlways, created: "1767323045", expires: "1767323645", form: formQuoted,
		in: &Invocation{
			Method: "GET", URI: benchDocument, Host: "vault.example",
			Header: map[string][]string{
				"Capability-Invocation": {`zcap id="` + RootID(benchVault) + `",action="read"`},
			},
		},
	}
}

// body gives the draft a body.
func (d *draft) body() {
	d.in.HasBody = true
	d.in.Header["Content-Type"] = []string{"application/json"}
	d.in.Header["Digest"] = []string{digestOfEmpty}
	d.headers = signedBody
}

func invocationOf(value string) func(*draft) {
	return func(d *draft) { d.in.Header["Capability-Invocation"] = []string{value} }
}

// trailing returns a capability's encoded form with a byte after the gzip.
func trailing() string {
	b, _ := base64.RawURLEncoding.DecodeString(deflate([]byte("{}")))
	return base64.RawURLEncoding.EncodeToString(append(b, 0))
}

func TestVerifyRequest(t *testing.T) {
	root := `zcap id="` + RootID(benchVault) + `"`
	const ok = coffer.Kind(255)
	for _, row := range []struct {
		name   string
		change func(*draft)
		kind   coffer.Kind
		reason string
	}{
		{"good", func(*draft) {}, ok, ""},
		{"good with a body", func(d *draft) { d.body() }, ok, ""},
		{"bare times", func(d *draft) {
			d.form = strings.NewReplacer(`"%[4]s"`, "%[4]s", `"%[5]s"`, "%[5]s").Replace(formQuoted)
		}, ok, ""},
		{"known algorithm", func(d *draft) { d.form += `,algorithm="hs2019"` }, ok, ""},
		{"another order", func(d *draft) { d.headers = "host capability-invocation (request-target) (expires) (created) (key-id)" },
			ok, ""},
		{"more signed, repeated header", func(d *draft) {
			d.headers += " x-more"
			d.in.Header["X-More"] = []string{"a", "b"}
			d.spoil = func(in *Invocation) { in.Header["X-More"] = []string{" a", "b\t"} }
		}, ok, ""},
		{"query", func(d *draft) { d.in.URI += "?returnDocuments=false" }, ok, ""},
		{"fresh date", func(d *draft) { d.in.Header["Date"] = []string{when.UTC().Format("Mon, 02 Jan 2006 15:04:05 GMT")} },
			ok, ""},
		{"created at the edge", func(d *draft) { d.created = "1767323405" }, ok, ""},
		{"expires at the edge", func(d *draft) { d.expires = "1767322805" }, ok, ""},
		{"host in capitals", func(d *draft) { d.in.Host = "Vault.Example" }, ok, ""},

		// Authorization.
		{"no header", func(d *draft) { d.spoil = func(in *Invocation) { delete(in.Header, "Authorization") } },
			coffer.NotExist, "no Authorization"},
		{"two headers", func(d *draft) {
			d.spoil = func(in *Invocation) { in.Header["Authorization"] = append(in.Header["Authorization"], "x") }
		}, coffer.NotExist, "repeated or too long"},
		{"too long", func(d *draft) { d.form += `,algorithm="` + strings.Repeat("x", 5000) + `"` },
			coffer.NotExist, "repeated or too long"},
		{"other scheme", func(d *draft) { d.form = "Bearer" + formQuoted[9:] }, coffer.NotExist, "scheme"},
		{"scheme in lower case", func(d *draft) { d.form = "s" + formQuoted[1:] }, coffer.NotExist, "scheme"},
		{"space after comma", func(d *draft) { d.form = strings.Replace(formQuoted, ",", ", ", 1) },
			coffer.NotExist, "malformed"},
		{"comma at the end", func(d *draft) { d.form += "," }, coffer.NotExist, "malformed"},
		{"no closing quote", func(d *draft) { d.form = strings.TrimSuffix(formQuoted, `"`) },
			coffer.NotExist, "malformed"},
		{"digit in a name", func(d *draft) { d.form += `,a1="x"` }, coffer.NotExist, "malformed"},
		{"control character", func(d *draft) { d.form += ",algorithm=\"\x01\"" }, coffer.NotExist, "malformed"},
		{"unknown parameter", func(d *draft) { d.form += `,opaque="x"` }, coffer.NotExist, "unknown parameter"},
		{"unknown algorithm", func(d *draft) { d.form += `,algorithm="rsa-sha1"` },
			coffer.NotExist, "unknown algorithm"},
		{"parameter twice", func(d *draft) { d.form += `,keyId="%[1]s"` }, coffer.NotExist, "repeated"},
		{"empty keyId", func(d *draft) { d.keyID = "" }, coffer.NotExist, "empty"},
		{"bare keyId", func(d *draft) { d.form = strings.Replace(formQuoted, `"%[1]s"`, "12", 1) },
			coffer.NotExist, "not quoted"},
		{"keyId too long", func(d *draft) { d.keyID = "did:x:" + strings.Repeat("a", 1100) },
			coffer.NotExist, "keyId is too long"},
		{"no keyId", func(d *draft) { d.form = strings.Replace(formQuoted, `keyId="%[1]s",`, "", 1) },
			coffer.NotExist, "missing"},
		{"no headers", func(d *draft) { d.form = strings.Replace(formQuoted, `headers="%[2]s",`, "", 1) },
			coffer.NotExist, "missing"},
		{"no signature", func(d *draft) { d.form = strings.Replace(formQuoted, `signature="%[3]s",`, "", 1) },
			coffer.NotExist, "missing"},
		{"not base64", func(d *draft) { d.form = strings.Replace(formQuoted, `%[3]s`, "%[3]s!", 1) },
			coffer.NotExist, "signature is"},
		{"long signature", func(d *draft) { d.form = strings.Replace(formQuoted, `%[3]s`, strings.Repeat("A", 400), 1) },
			coffer.NotExist, "signature is too long"},

		// What is signed.
		{"key-id not signed", func(d *draft) { d.headers = strings.Replace(signedAlways, "(key-id) ", "", 1) },
			coffer.NotExist, "must be signed"},
		{"created not signed", func(d *draft) { d.headers = strings.Replace(signedAlways, "(created) ", "", 1) },
			coffer.NotExist, "must be signed"},
		{"expires not signed", func(d *draft) { d.headers = strings.Replace(signedAlways, "(expires) ", "", 1) },
			coffer.NotExist, "must be signed"},
		{"request-target not signed", func(d *draft) { d.headers = strings.Replace(signedAlways, "(request-target) ", "", 1) },
			coffer.NotExist, "must be signed"},
		{"host not signed", func(d *draft) { d.headers = strings.Replace(signedAlways, "host ", "", 1) },
			coffer.NotExist, "must be signed"},
		{"invocation not signed", func(d *draft) { d.headers = strings.Replace(signedAlways, " capability-invocation", "", 1) },
			coffer.NotExist, "must be signed"},
		{"content-type not signed", func(d *draft) { d.body(); d.headers = signedAlways + " digest" },
			coffer.NotExist, "must be signed"},
		{"digest not signed", func(d *draft) { d.body(); d.headers = signedAlways + " content-type" },
			coffer.NotExist, "must be signed"},
		{"body without both", func(d *draft) { d.in.HasBody = true }, coffer.NotExist, "must be signed"},
		{"content-type alone", func(d *draft) {
			d.in.Header["Content-Type"] = []string{"application/json"}
			d.headers += " content-type"
		}, coffer.NotExist, "must be signed"},
		{"body without digest", func(d *draft) { d.body(); delete(d.in.Header, "Digest") },
			coffer.NotExist, "not there"},
		{"name twice", func(d *draft) { d.headers += " host" }, coffer.NotExist, "repeats a name"},
		{"two spaces", func(d *draft) { d.headers = strings.Replace(signedAlways, " ", "  ", 1) },
			coffer.NotExist, "malformed"},
		{"space at the end", func(d *draft) { d.headers += " " }, coffer.NotExist, "malformed"},
		{"capital", func(d *draft) { d.headers += " Date" }, coffer.NotExist, "lower case"},
		{"signed but absent", func(d *draft) { d.headers += " x-more" }, coffer.NotExist, "not there"},
		{"unknown pseudo header", func(d *draft) { d.headers += " (algorithm)" }, coffer.NotExist, "not there"},
		{"too many names", func(d *draft) {
			for i := range 40 {
				d.headers += fmt.Sprintf(" x-%d", i)
				d.in.Header[fmt.Sprintf("X-%d", i)] = []string{"y"}
			}
		}, coffer.NotExist, "too much"},

		// Times.
		{"created missing", func(d *draft) { d.form = strings.Replace(formQuoted, `,created="%[4]s"`, "", 1) },
			coffer.NotExist, "missing or not a decimal"},
		{"created not a number", func(d *draft) { d.created = "+176732304" },
			coffer.NotExist, "missing or not a decimal"},
		{"expires with a fraction", func(d *draft) { d.expires = "1767323645.5" },
			coffer.NotExist, "missing or not a decimal"},
		{"created in the future", func(d *draft) { d.created = "1767323406" }, coffer.NotExist, "in the future"},
		{"expired", func(d *draft) { d.expires = "1767322804" }, coffer.NotExist, "signature has expired"},
		{"old date", func(d *draft) { d.in.Header["Date"] = []string{"Fri, 02 Jan 2026 02:00:00 GMT"} },
			coffer.NotExist, "date header"},
		{"old x-date", func(d *draft) { d.in.Header["X-Date"] = []string{"Fri, 02 Jan 2026 02:00:00 GMT"} },
			coffer.NotExist, "date header"},
		{"old expires header", func(d *draft) { d.in.Header["Expires"] = []string{"0"} },
			coffer.NotExist, "date header"},

		// Address.
		{"other host", func(d *draft) { d.in.Host = "vault.example.org" }, coffer.NotExist, "another host"},
		{"other port", func(d *draft) { d.in.Host = "vault.example:8443" }, coffer.NotExist, "another host"},
		{"dot segment", func(d *draft) { d.in.URI = benchDocument + "/../x" }, coffer.NotExist, "plain form"},
		{"dot segment at the end", func(d *draft) { d.in.URI = benchDocument + "/." }, coffer.NotExist, "plain form"},
		{"escaped dot", func(d *draft) { d.in.URI = benchDocument + "/%2E%2e/x" }, coffer.NotExist, "plain form"},
		{"escaped slash", func(d *draft) { d.in.URI = benchDocument + "%2fx" }, coffer.NotExist, "plain form"},
		{"empty segment", func(d *draft) { d.in.URI = benchDocument + "//x" }, coffer.NotExist, "plain form"},
		{"absolute form", func(d *draft) { d.in.URI = "https://vault.example" + benchDocument },
			coffer.NotExist, "plain form"},
		{"newline", func(d *draft) { d.in.URI = benchDocument + "\nhost: x" }, coffer.NotExist, "plain form"},

		// Digest.
		{"digest of another algorithm", func(d *draft) { d.body(); d.in.Header["Digest"] = []string{"MD5=abc"} },
			coffer.Invalid, "unknown algorithm"},
		{"short digest", func(d *draft) { d.body(); d.in.Header["Digest"] = []string{"SHA-256=AAAA"} },
			coffer.Invalid, "base64"},
		{"short multihash", func(d *draft) { d.body(); d.in.Header["Digest"] = []string{"mh=uEiAA"} },
			coffer.Invalid, "multihash"},
		{"two digests", func(d *draft) { d.body(); d.in.Header["Digest"] = []string{digestOfEmpty, digestOfEmpty} },
			coffer.Invalid, "repeated"},

		// Capability-Invocation.
		{"no invocation", func(d *draft) { delete(d.in.Header, "Capability-Invocation") }, coffer.Invalid, "missing"},
		{"two invocations", func(d *draft) {
			h := d.in.Header["Capability-Invocation"]
			d.in.Header["Capability-Invocation"] = append(h, h...)
		}, coffer.Invalid, "repeated"},
		{"invocation too long", invocationOf(`zcap capability="` + strings.Repeat("A", 20000) + `",action="read"`),
			coffer.Invalid, "too long"},
		{"other zcap scheme", invocationOf("zcap2" + root[4:] + `,action="read"`), coffer.Invalid, "scheme"},
		{"no action", invocationOf(root), coffer.Invalid, "action is missing"},
		{"no capability", invocationOf(`zcap action="read"`), coffer.Invalid, "either an id"},
		{"both", invocationOf(root + `,capability="AAAA",action="read"`), coffer.Invalid, "either an id"},
		{"id twice", invocationOf(root + "," + root[5:] + `,action="read"`), coffer.Invalid, "repeated"},
		{"bare action", invocationOf(root + `,action=1`), coffer.Invalid, "not quoted"},
		{"unknown zcap parameter", invocationOf(root + `,action="read",x="y"`), coffer.Invalid, "unknown parameter"},
		{"delegated by id", invocationOf(`zcap id="urn:uuid:00000000-0000-4000-8000-000000000001",action="read"`),
			coffer.Invalid, "only a root"},
		{"root id in other escapes", invocationOf(strings.ReplaceAll(root, "%3A", "%3a") + `,action="read"`),
			coffer.Invalid, "only a root"},
		{"root id overlong escapes", invocationOf(strings.ReplaceAll(root, "vault", "%76ault") + `,action="read"`),
			coffer.Invalid, "only a root"},
		{"not base64", invocationOf(`zcap capability="=",action="read"`), coffer.Invalid, "not base64url"},
		{"not gzip", invocationOf(`zcap capability="AAAA",action="read"`), coffer.Invalid, "not gzip"},
		{"cut off", invocationOf(`zcap capability="` + deflate([]byte(strings.Repeat("x1", 99)))[:32] + `",action="read"`),
			coffer.Invalid, "not gzip"},
		{"more after gzip", invocationOf(`zcap capability="` + trailing() + `",action="read"`),
			coffer.Invalid, "not gzip"},
		{"gzip bomb", invocationOf(`zcap capability="` + deflate(make([]byte, 1<<20)) + `",action="read"`),
			coffer.Invalid, "too long"},
		{"not JSON", invocationOf(`zcap capability="` + deflate([]byte("null")) + `",action="read"`),
			coffer.Invalid, "capability"},

		// Authority.
		{"other action", invocationOf(root + `,action="write"`), coffer.Denied, "another action"},
		{"outside the target", func(d *draft) { d.in.URI = "/edvs/z1A5sEs297TrgBd1P2m2sm8jBx" },
			coffer.Denied, "target"},
		{"unknown root", invocationOf(`zcap id="` + RootID(benchVault+"/documents") + `",action="read"`),
			coffer.NotExist, "no authority"},
		{"stranger", func(d *draft) { d.who = named(0x22); d.keyID = d.who.keyID() }, coffer.NotExist, "no authority"},
		{"signed by another", func(d *draft) { d.who = named(0x22) }, coffer.NotExist, "no authority"},
		{"unknown key of the controller", func(d *draft) { d.keyID = d.who.did + "#other" },
			coffer.NotExist, "no authority"},
		{"unknown session", func(d *draft) { d.keyID = "session:AAAA" }, coffer.NotExist, "no authority"},
		{"other method", func(d *draft) { d.spoil = func(in *Invocation) { in.Method = "POST" } },
			coffer.NotExist, "no authority"},
		{"other path", func(d *draft) { d.spoil = func(in *Invocation) { in.URI += "x" } },
			coffer.NotExist, "no authority"},
	} {
		t.Run(row.name, func(t *testing.T) {
			d := newDraft()
			row.change(d)
			v, err := Verify(t.Context(), d.sign(), facts(benchVault, named(0x11).did))
			if row.kind == ok {
				if err != nil {
					t.Fatal(err)
				}
				if v.Caller.Who() != d.who.did {
					t.Error("another caller")
				}
				return
			}
			if v != nil || coffer.KindOf(err) != row.kind || !strings.Contains(err.Error(), row.reason) {
				t.Errorf("got %v, want %v for %q", err, row.kind, row.reason)
			}
		})
	}
}

// What a root controller is, by string comparison.
func TestVerifyControllers(t *testing.T) {
	alice := named(0x11)
	for _, row := range []struct {
		name        string
		controllers []string
		ok          bool
	}{
		{"identifier", []string{alice.did}, true},
		{"method", []string{alice.keyID()}, true},
		{"one of several", []string{"did:example:x", alice.did}, true},
		{"none", nil, false},
		{"empty", []string{""}, false},
		{"prefix", []string{alice.did[:20]}, false},
		{"longer", []string{alice.did + "x"}, false},
		{"other method", []string{alice.did + "#other"}, false},
	} {
		f := facts(benchVault, "")
		f.Roots = func(context.Context, string) ([]string, error) { return row.controllers, nil }
		_, err := Verify(t.Context(), newDraft().sign(), f)
		if row.ok != (err == nil) || !row.ok && coffer.KindOf(err) != coffer.NotExist {
			t.Errorf("%s: %v", row.name, err)
		}
	}
}

// A stranger's request makes us look nothing up, and is answered alike whether the vault exists or not.
func TestVerifyStranger(t *testing.T) {
	alice, mallory := named(0x11), named(0x66)
	own, err := Delegate(t.Context(), mallory, benchVault, DelegateOptions{
		Controller: mallory.did, Created: when, Expires: when.Add(time.Hour),
	})
	if err != nil {
		t.Fatal(err)
	}
	for name, authority := range map[string]string{"root": benchVault, "delegated": string(own)} {
		i, err := NewInvoker(mallory, authority)
		if err != nil {
			t.Fatal(err)
		}
		in := request(t, i)
		var texts []string
		for _, controllers := range [][]string{nil, {alice.did}, {""}} {
			f := facts(benchVault, "")
			asked := 0
			f.Roots = func(context.Context, string) ([]string, error) { asked++; return controllers, nil }
			f.Key = func(context.Context, string, coffer.Purpose) (coffer.Verifier, error) {
				t.Errorf("%s: looked a key up", name)
				return nil, errors.New("no")
			}
			_, err := Verify(t.Context(), in, f)
			if coffer.KindOf(err) != coffer.NotExist || asked != 1 {
				t.Fatalf("%s: %v, asked %d times", name, err, asked)
			}
			texts = append(texts, err.Error())
		}
		if texts[0] != texts[1] || texts[1] != texts[2] {
			t.Errorf("%s: answers differ: %q", name, texts)
		}
	}
}

// Keys are looked up from the root on, each only after the one before has signed.
func TestVerifyOrder(t *testing.T) {
	capability, who := delegated(t, 3, "")
	i, err := NewInvoker(who, capability)
	if err != nil {
		t.Fatal(err)
	}
	in := request(t, i)
	for good := range 5 {
		f := facts(benchVault, named(0x11).did)
		var asked []string
		f.Key = func(ctx context.Context, id string, p coffer.Purpose) (coffer.Verifier, error) {
			if want := coffer.Delegation; len(asked) < 3 && p != want {
				t.Errorf("purpose %s", p)
			}
			asked = append(asked, id)
			if len(asked) > good {
				return didKey(ctx, named(0x66).keyID(), p) // not the key that signed
			}
			return didKey(ctx, id, p)
		}
		_, err := Verify(t.Context(), in, f)
		if (err == nil) != (good == 4) || len(asked) != min(good+1, 4) {
			t.Errorf("%d good keys: %v, %d asked", good, err, len(asked))
		}
		for n, id := range asked {
			if id != named(byte(0x11+n)).keyID() {
				t.Errorf("key %d is another's", n)
			}
		}
	}
}

func TestVerifyPassesOn(t *testing.T) {
	down := coffer.Errorf("resolve", coffer.Unavailable, "down")
	f := facts(benchVault, named(0x11).did)
	f.Key = func(context.Context, string, coffer.Purpose) (coffer.Verifier, error) { return nil, down }
	if _, err := Verify(t.Context(), newDraft().sign(), f); coffer.KindOf(err) != coffer.Unavailable {
		t.Errorf("key: %v", err)
	}
	f.Roots = func(context.Context, string) ([]string, error) { return nil, down }
	if _, err := Verify(t.Context(), newDraft().sign(), f); coffer.KindOf(err) != coffer.Unavailable {
		t.Errorf("roots: %v", err)
	}
	f.Origin = ""
	if _, err := Verify(t.Context(), newDraft().sign(), f); coffer.KindOf(err) != coffer.Other {
		t.Errorf("no origin: %v", err)
	}
}

func TestDecide(t *testing.T) {
	const vault = "https://vault.example/edvs/a"
	never := func(Link) (bool, error) { return false, nil }
	now := when
	owner := Caller{who: "did:a", root: vault, target: vault}
	reader := Caller{
		who: "did:b", root: vault, target: vault + "/documents/1", actions: []Action{Read}, expires: now,
		links: []Link{{ID: "urn:1", Delegator: "did:a"}, {ID: "urn:2", Delegator: "did:c"}},
	}
	act := Act{Root: vault, Action: Read, Targets: []string{vault + "/query", vault + "/documents/1/chunks/0"}}
	change := func(f func(*Act)) Act {
		a := act
		f(&a)
		return a
	}
	broken := errors.New("broken")
	for _, row := range []struct {
		name    string
		caller  Caller
		act     Act
		now     time.Time
		revoked func(Link) (bool, error)
		want    error
	}{
		{"owner", owner, act, now, nil, nil},
		{"reader", reader, act, now, never, nil},
		{"nobody", Caller{}, act, now, never, coffer.NotExist},
		{"nobody and no root", Caller{}, Act{Action: Read, Targets: []string{""}}, now, never, coffer.NotExist},
		{"other root", owner, change(func(a *Act) { a.Root += "b" }), now, never, coffer.NotExist},
		{"empty root", Caller{who: "did:a"}, change(func(a *Act) { a.Root = "" }), now, never, coffer.NotExist},
		{"expired", reader, act, now.Add(1), never, coffer.NotExist},
		{"nil revocations", reader, act, now, nil, coffer.Other},
		{"revoked", reader, act, now, func(l Link) (bool, error) { return l.ID == "urn:2" && l.Delegator == "did:c", nil }, coffer.NotExist},
		{"revocations fail", reader, act, now, func(Link) (bool, error) { return false, broken }, broken},
		{"other action", reader, change(func(a *Act) { a.Action = Write }), now, never, coffer.Denied},
		{"other target", reader, change(func(a *Act) { a.Targets = a.Targets[:1] }), now, never, coffer.Denied},
		{"no target", owner, change(func(a *Act) { a.Targets = nil }), now, never, coffer.Denied},
		{"sibling", reader, change(func(a *Act) { a.Targets = []string{vault + "/documents/12"} }), now, never, coffer.Denied},
	} {
		err := Decide(row.caller, row.act, row.now, row.revoked)
		if row.want == nil && err != nil || row.want != nil && !errors.Is(err, row.want) {
			t.Errorf("%s: %v, want %v", row.name, err, row.want)
		}
	}
}

func TestCovers(t *testing.T) {
	for _, row := range []struct {
		base, target string
		want         bool
	}{
		{"https://a/b", "https://a/b", true},
		{"https://a/b", "https://a/b/c", true},
		{"https://a/b", "https://a/b?c", true},
		{"https://a/b", "https://a/bc", false},
		{"https://a/b", "https://a/b&c", false},
		{"https://a/b", "https://a/b#c", false},
		{"https://a/b", "https://a/", false},
		{"https://a/b/", "https://a/b", false},
		{"https://a/b?c", "https://a/b?c", true},
		{"https://a/b?c", "https://a/b?c&d", true},
		{"https://a/b?c", "https://a/b?cd", false},
		{"https://a/b?c", "https://a/b?c/d", false},
		{"https://a/b?c", "https://a/b?c?d", false},
		{"", "", false},
		{"", "/a", false},
	} {
		if got := covers(row.base, row.target); got != row.want {
			t.Errorf("covers(%q, %q) = %v", row.base, row.target, got)
		}
	}
}

func TestRootID(t *testing.T) {
	for target, id := range map[string]string{
		"https://a/b":               "urn:zcap:root:https%3A%2F%2Fa%2Fb",
		"https://a/-_.!~*'()":       "urn:zcap:root:https%3A%2F%2Fa%2F-_.!~*'()",
		"https://a/?x=1&y=+$,;@%20": "urn:zcap:root:https%3A%2F%2Fa%2F%3Fx%3D1%26y%3D%2B%24%2C%3B%40%2520",
		"https://a/ü€😀":             "urn:zcap:root:https%3A%2F%2Fa%2F%C3%BC%E2%82%AC%F0%9F%98%80",
	} {
		if got := RootID(target); got != id {
			t.Errorf("RootID(%q) = %s", target, got)
		}
		if got, ok := ParseRootID(id); !ok || got != target {
			t.Errorf("ParseRootID(%q) = %q, %v", id, got, ok)
		}
	}
	for _, id := range []string{
		"", "urn:zcap:root:", "urn:zcap:root:a", "urn:zcap:root:https%3a%2f%2fa", "urn:zcap:root:https://a", "urn:zcap:root:https%3A%2",
		"urn:zcap:root:https%3A%2F%2F%61", "urn:zcap:root:https%3A%2F%2Fa%FF", "urn:zcap:root:https%3A%2F%2Fa%20b", "urn:zcap:roothttps%3Aa",
		"urn:zcap:root:_%3Aa", "urn:zcap:root:https%3A%2F%2Fa%3Cb", "URN:zcap:root:https%3A%2F%2Fa",
	} {
		if target, ok := ParseRootID(id); ok {
			t.Errorf("ParseRootID(%q) = %q", id, target)
		}
	}
}
