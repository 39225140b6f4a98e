package providerview

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/agent"
	"github.com/cofferhq/coffer/agent/seal"
	"github.com/cofferhq/coffer/keyring"
)

// TestUC03WhoElseAsks: Alice's object, asked for by its exact address by Bob, who has a capability for something else of
// hers, by nobody in particular, and by the operator.
func TestUC03WhoElseAsks(t *testing.T) {
	t.Parallel()
	p, ctx := newProvider(t), t.Context()
	alice, bob := p.owner(), p.owner()
	secret := alice.put("secret", noise(700), agent.PutOptions{})
	alice.put("shared", noise(700), agent.PutOptions{})
	shares, err := alice.Share(ctx, "shared", agent.ShareOptions{With: alice.knows(bob, "Bob")})
	if err != nil {
		t.Fatal(err)
	}
	in, invitation, asBob := bob.guest(shares[0].Link)
	read(t, in, "")
	other := coffer.NewObjectID()
	held := asBob.Held(func(coffer.ObjectID, coffer.Access) (coffer.Secret, bool) {
		return coffer.Secret(secretShown(t, p)), true // the one that opens what Bob was given
	})
	anonymous := p.dial(keyring.Generate())
	asStranger, err := anonymous.Vault(alice.vault.URL())
	if err != nil {
		t.Fatal(err)
	}
	// Each of these gets the same answer for Alice's object as for one that there is not.
	for name, ask := range map[string]func(coffer.ObjectID) error{
		"Bob, as what is held":      func(id coffer.ObjectID) error { _, err := held.Get(ctx, id); return err },
		"Bob, by his capability":    func(id coffer.ObjectID) error { _, err := asBob.Get(ctx, id); return err },
		"a stranger with some keys": func(id coffer.ObjectID) error { _, err := asStranger.Get(ctx, id); return err },
		"a stranger, as what is open": func(id coffer.ObjectID) error {
			_, err := anonymous.Open(ctx, alice.vault.URL(), id, coffer.Secret{1})
			return err
		},
		"a stranger without keys": func(id coffer.ObjectID) error {
			r, err := http.Get(alice.vault.URL() + "/documents/" + id.String())
			if err != nil {
				return err
			}
			defer r.Body.Close()
			b, err := io.ReadAll(r.Body)
			if err != nil || r.StatusCode < 400 {
				return nil
			}
			return fmt.Errorf("%d %s", r.StatusCode, b)
		},
	} {
		one, two := ask(secret.ID), ask(other)
		if one == nil || two == nil || one.Error() != two.Error() || coffer.KindOf(one) != coffer.KindOf(two) {
			t.Errorf("%s: %v; of what is not there: %v", name, one, two)
		}
	}
	// The operator takes the bytes from the disk. No key but the object's is said to open them, and none of Bob's does.
	d := p.day(alice, 0).Of(secret.ID)
	if got := recipients(t, d.Present.Body); !slices.Equal(got, []string{"urn:coffer:object"}) {
		t.Errorf("recipients: %q", got)
	}
	var key seal.ObjectKey
	rand.Read(key[:])
	for name, key := range map[string]seal.ObjectKey{"random": key, "none": {}, "a secret that was shown": seal.ObjectKey(secretShown(t, p))} {
		if _, err := seal.OpenObject(seal.Ref{ID: secret.ID, Key: key}, d.Present); !errors.Is(err, coffer.Corrupt) {
			t.Errorf("opened by key %s: %v", name, err)
		}
	}
	_ = invitation
}

// recipients returns whom an envelope says that it is for.
func recipients(t *testing.T, body []byte) (list []string) {
	t.Helper()
	var e struct {
		JWE struct {
			Protected  string
			Recipients []struct{ Header struct{ Kid, Alg string } }
		}
	}
	if err := json.Unmarshal(body, &e); err != nil {
		t.Fatal(err)
	}
	for _, r := range e.JWE.Recipients {
		list = append(list, r.Header.Kid)
	}
	return list
}

// TestUC04SameNames: nothing that the provider has of two files of one name is the same.
func TestUC04T03SameNames(t *testing.T) {
	t.Parallel()
	p := newProvider(t)
	alice := p.owner()
	content := noise(5000)
	one := alice.put("2025/tax-2025.pdf", content, agent.PutOptions{})
	two := alice.put("copies/tax-2025.pdf", content, agent.PutOptions{})
	d := p.day(alice, 0)
	seen := make(map[string]int)
	for _, o := range d.Documents {
		if o.Present == nil {
			continue
		}
		for _, tag := range o.Present.Tags {
			if tag.Key != coffer.AccessKey || tag.Unique {
				t.Errorf("document %d has a tag that is no verifier", o.Number)
			}
			seen[tag.Value]++
		}
		seen[o.Present.ID.String()]++
	}
	for value, n := range seen {
		if n > 1 {
			t.Errorf("the value %s is there %d times", value, n)
		}
	}
	// Nor do the envelopes share any piece of ciphertext: of equal contents, too.
	a, b := d.Of(one.ID).Present.Body, d.Of(two.ID).Present.Body
	if len(a) != len(b) {
		t.Errorf("the same file has %d and %d bytes", len(a), len(b))
	}
	pieces := make(map[string]bool)
	for i := 0; i+16 <= len(a); i++ {
		pieces[string(a[i:i+16])] = true
	}
	fixed := regexp.MustCompile(`[A-Za-z0-9_-]{16}`)
	for i := 0; i+16 <= len(b); i++ {
		if s := string(b[i : i+16]); pieces[s] && fixed.MatchString(s) && !strings.Contains("Sha256HmacKey2019"+protected, s) {
			t.Errorf("both envelopes have %s", s)
		}
	}
	t.Logf("\n%s", d.Markdown())
}

// protected is the protected header of all native objects: {"enc":"A256GCM"}.
const protected = "eyJlbmMiOiJBMjU2R0NNIn0"

// TestUC05SizeClasses: of lengths, only classes show, and what is stored stays within the bounds of doc/sealing.md and
// doc/streams.md.
func TestUC05T03SizeClasses(t *testing.T) {
	t.Parallel()
	p := newProvider(t)
	alice := p.owner()
	sizes := []int{1, 2, 3, 900, 901, 904, 909, 16_384, 16_385, 1_000_001, 1_000_002, 1_010_000, 3_000_000}
	infos := make(map[int]agent.Info)
	for _, n := range sizes {
		infos[n] = alice.put(fmt.Sprintf("f%07d", n), noise(n), agent.PutOptions{})
	}
	d := p.day(alice, 0)
	var table strings.Builder
	fmt.Fprintf(&table, "\n| bytes of the file | bytes of the document | bytes of the chunks | overhead | bound |\n| --- | --- | --- | --- | --- |\n")
	class := make(map[int][2]int64)
	for _, n := range sizes {
		o := d.Of(infos[n].ID)
		// The bare plaintext, by doc/sealing.md: what the agent seals, with names of known length, and the binding.
		content := fmt.Sprintf(`{"type":"File","name":"f%07d","size":%d,"modified":"2023-11-14T22:13:20Z","mode":416,"data":"%s"}`,
			n, n, strings.Repeat("A", (n*4+2)/3))
		did, key := alice.ring.DID(), alice.ring.Key(coffer.SigningKey).ID
		digits := len(strconv.FormatUint(o.Present.Sequence, 10))
		bare := func(c int) int {
			return c + len("{}") + 270 + len(did) + len(key) + len("2026-01-01T00:00:00Z") + digits
		}
		var chunks int64
		for _, c := range o.Chunks {
			chunks += c
		}
		var bound int64
		if o.Present.Stream == nil {
			plain := seal.Padme(int64(bare(len(content))))
			want := (4*plain+2)/3 + 618 + 2*int64(digits)
			if int64(o.Body) != want {
				t.Errorf("%d bytes make a body of %d, and doc/sealing.md has %d", n, o.Body, want)
			}
			bound = int64(float64(bare(len(content)))*1.494) + 1 + 618 + 2*int64(digits)
		} else {
			// Padmé, and a head for each chunk: less than 400 bytes.
			count := (seal.Padme(int64(n)) + 1<<20 - 1) >> 20
			if int64(len(o.Chunks)) != count {
				t.Errorf("%d bytes have %d chunks, want %d", n, len(o.Chunks), count)
			}
			if padded := seal.Padme(int64(n)); chunks < padded || chunks > padded+400*count {
				t.Errorf("%d bytes have %d of chunks, and are padded to %d", n, chunks, padded)
			}
			if o.Body > 4000 {
				t.Errorf("a document of %d bytes beside a stream of %d chunks", o.Body, count)
			}
			bound = seal.Padme(int64(n)) + 400*count + 4000
		}
		total := int64(o.Body) + chunks
		if total > bound {
			t.Errorf("%d bytes take %d, the bound is %d", n, total, bound)
		}
		class[n] = [2]int64{int64(o.Body), chunks}
		fmt.Fprintf(&table, "| %d | %d | %d | %d | %d |\n", n, o.Body, chunks, total-int64(n), bound-int64(n))
	}
	t.Log(table.String())
	for _, alike := range [][]int{{1, 2}, {901, 904}, {1_000_001, 1_000_002, 1_010_000}} {
		for _, n := range alike[1:] {
			if class[n] != class[alike[0]] {
				t.Errorf("%d and %d bytes are of one class, and show as %d and %d", alike[0], n, class[alike[0]], class[n])
			}
		}
	}
}

// TestUC09Index: a vault that is large enough for its index to be written shows no word, name or value of it.
func TestUC09Index(t *testing.T) {
	t.Parallel()
	p := newProvider(t)
	alice := p.owner()
	marks := map[string][]byte{
		"a word": []byte("word" + random()), "a field": []byte("field" + random()), "a value": []byte("value" + random()),
		"a type": []byte("Type" + random()),
	}
	for i := range 70 {
		alice.value(fmt.Sprintf("o/%d", i), string(marks["a type"]), fmt.Sprintf(`{"%s":"%s","text":"%s number %d"}`,
			marks["a field"], marks["a value"], marks["a word"], i), agent.PutOptions{})
	}
	if n := alice.find(alice.device(nil), string(marks["a word"])); n != 70 {
		t.Fatalf("%d found, want 70", n)
	}
	d := p.day(alice, 0)
	blocks := 0 // parts of the index are written by themselves
	for _, c := range d.Commits {
		if len(c) == 1 && c[0].Act == "insert" && c[0].Body >= 20_000 {
			blocks++
		}
	}
	if blocks == 0 {
		t.Fatal("no part of the index was written: nothing was tested")
	}
	var patterns []Pattern
	for name, b := range marks {
		patterns = append(patterns, NewPattern(name, b))
	}
	found := make(map[string]bool)
	if err := NewScanner(patterns).ScanFolder(p.data, found); err != nil {
		t.Fatal(err)
	}
	if _, err := p.recorder.Scan(NewScanner(patterns), found); err != nil {
		t.Fatal(err)
	}
	for name := range found {
		t.Errorf("%s shows", name)
	}
	t.Logf("\n%d parts of the index\n%s", blocks, d.Markdown())
}

// TestUC10Queries: what shows of searching is which parts of the index are read, whole objects all of them. The same
// word again shows as the same parts; another word differs in nothing else than in which, and how many.
func TestUC10Queries(t *testing.T) {
	t.Parallel()
	p := newProvider(t)
	alice := p.owner()
	for i := range 60 {
		alice.value(fmt.Sprintf("o/%d", i), "Note", fmt.Sprintf(`{"text":"%s alpha%d zeta%d"}`, prose(9000+i), i%7, i%11),
			agent.PutOptions{})
	}
	type asked struct {
		name        string
		since, till int
	}
	var list []asked
	for _, q := range []struct{ name, query string }{
		{"a word", "text:alpha3"}, {"the same word", "text:alpha3"}, {"another word", "text:zeta5"},
	} {
		a := alice.device(nil) // remembers nothing
		since := p.recorder.Now()
		if alice.find(a, q.query) == 0 {
			t.Errorf("nothing found")
		}
		list = append(list, asked{q.name, since, p.recorder.Now()})
	}
	p.stop()
	var read [][]coffer.ObjectID
	for _, l := range list {
		all, err := p.recorder.Exchanges()
		if err != nil {
			t.Fatal(err)
		}
		all = slices.DeleteFunc(all, func(e *Exchange) bool { return e.At > l.till })
		d, err := Observe(t.Context(), p.data, all, alice.id, l.since)
		if err != nil {
			t.Fatal(err)
		}
		if len(d.Commits) > 0 {
			t.Errorf("%s: %d commits", l.name, len(d.Commits))
		}
		var parts []coffer.ObjectID
		for _, r := range d.Requests {
			switch r.Route {
			case "changes", "checkpoint", "proof/consistency":
			case "documents/{id}":
				if r.Method != "GET" || r.Status != 200 {
					t.Errorf("%s: %+v", l.name, r)
				}
				parts = append(parts, d.Documents[r.Number-1].Present.ID)
			default: // nothing is asked of the vault but whole objects
				t.Errorf("%s: %s %s", l.name, r.Method, r.Route)
			}
		}
		read = append(read, parts)
		t.Logf("\n%s\n%s", l.name, d.Markdown())
	}
	if !slices.Equal(read[0], read[1]) {
		t.Errorf("the same word reads %d and then %d objects, or others", len(read[0]), len(read[1]))
	}
	common := 0
	for _, id := range read[2] {
		if slices.Contains(read[0], id) {
			common++
		}
	}
	t.Logf("one word reads %d objects, another one %d; %d are the same", len(read[0]), len(read[2]), common)
	if common < 3 { // the head, a root and a page at least
		t.Errorf("the reads of two words have %d objects in common", common)
	}
}

// TestUC16Revoking: revoking shows as one revocation of a pseudonym's capability and a commit like others.
func TestUC16Revoking(t *testing.T) {
	t.Parallel()
	p, ctx := newProvider(t), t.Context()
	alice, bob, carol := p.owner(), p.owner(), p.owner()
	info := alice.put("album/picture", noise(900), agent.PutOptions{})
	shares, err := alice.Share(ctx, "album/picture", agent.ShareOptions{With: alice.knows(bob, "Bob")},
		agent.ShareOptions{With: alice.knows(carol, "Carol")})
	if err != nil {
		t.Fatal(err)
	}
	in, _, _ := bob.guest(shares[0].Link)
	read(t, in, "")
	since := p.recorder.Now()
	if _, err := alice.Revoke(ctx, agent.RevokeOptions{With: bob.ring.DID()}); err != nil {
		t.Fatal(err)
	}
	d := p.day(alice, since)
	revocations := 0
	for _, r := range d.Requests {
		if r.Method == "POST" && r.Route == "zcaps/revocations/{capability}" {
			revocations++
		}
	}
	if revocations != 1 || len(d.Commits) != 1 || len(d.Commits[0]) != 4 {
		t.Errorf("%d revocations, commits %+v; want one, and one of object, page, box and head", revocations, d.Commits)
	}
	for _, w := range d.Commits[0] {
		if w.Act != "update" {
			t.Errorf("%s", w.Act)
		}
	}
	if o := d.Of(info.ID); o == nil || o.Revisions != 2 {
		t.Errorf("the object: %+v", o)
	}
	t.Logf("\n%s", d.Markdown())
}

// TestUC11Reading: of a reader shows a pseudonym, one for each grant, and which objects it reads.
func TestUC11Reading(t *testing.T) {
	t.Parallel()
	p, ctx := newProvider(t), t.Context()
	alice, bob := p.owner(), p.owner()
	for i := range 3 {
		alice.put(fmt.Sprintf("album/%d", i), noise(300), agent.PutOptions{})
	}
	other := alice.put("other", noise(300), agent.PutOptions{})
	with := agent.ShareOptions{With: alice.knows(bob, "Bob")}
	folder, err := alice.Share(ctx, "album", with)
	if err != nil {
		t.Fatal(err)
	}
	single, err := alice.Share(ctx, "other", with)
	if err != nil {
		t.Fatal(err)
	}
	since := p.recorder.Now()
	one, i1, _ := bob.guest(folder[0].Link)
	two, i2, _ := bob.guest(single[0].Link)
	if i1.Reader.DID() == i2.Reader.DID() {
		t.Error("one pseudonym for two grants")
	}
	for i := range 3 {
		read(t, one, fmt.Sprint(i))
	}
	read(t, two, "")
	d := p.day(alice, since)
	if len(d.Commits) != 0 {
		t.Errorf("reading writes: %+v", d.Commits)
	}
	parts := make(map[int]bool)
	for _, r := range d.Requests {
		if r.Method != "GET" || r.Route != "held/{id}" {
			t.Errorf("%s %s", r.Method, r.Route)
		}
		parts[r.Number] = true
	}
	if len(parts) != 5 || d.Of(other.ID) == nil { // the folder's page, three files; the other one
		t.Errorf("%d objects read, want 5", len(parts))
	}
	t.Logf("\n%s", d.Markdown())
}

// TestT11BlindedAttributes: who chooses them shows which objects have an equal value, and just that.
func TestT11BlindedAttributes(t *testing.T) {
	t.Parallel()
	p := newProvider(t)
	alice := p.owner()
	blinder, err := seal.NewBlinder(alice.ring, seal.Index{Attributes: []string{"content.value.city"}})
	if err != nil {
		t.Fatal(err)
	}
	city := random()
	ids := make(map[string]coffer.ObjectID)
	for name, value := range map[string]string{"one": city, "two": city, "three": "another " + city} {
		ids[name] = alice.value("people/"+name, "Person", `{"city":"`+value+`"}`, agent.PutOptions{Blind: blinder}).ID
	}
	plain := alice.value("people/plain", "Person", `{"city":"`+city+`"}`, agent.PutOptions{}).ID
	d := p.day(alice, 0)
	values := func(id coffer.ObjectID) (out []string) {
		for _, tag := range d.Of(id).Present.Tags {
			if tag.Key != coffer.AccessKey {
				out = append(out, tag.Name+"="+tag.Value)
			}
		}
		return out
	}
	common := func(x, y string) (n int) {
		for _, v := range values(ids[x]) {
			if slices.Contains(values(ids[y]), v) {
				n++
			}
		}
		return n
	}
	if got := values(plain); len(got) != 0 {
		t.Errorf("not chosen, and %d tags", len(got))
	}
	for name := range ids {
		if n := len(values(ids[name])); n != 4 {
			t.Errorf("%s has %d attributes, want 4", name, n)
		}
	}
	if common("one", "two") != 1 || common("one", "three") != 0 || common("two", "three") != 0 {
		t.Errorf("in common: %d, %d, %d; want 1, 0, 0", common("one", "two"), common("one", "three"), common("two", "three"))
	}
	found := make(map[string]bool)
	if err := NewScanner([]Pattern{NewPattern("value", []byte(city))}).ScanFolder(p.data, found); err != nil || found["value"] {
		t.Errorf("the value shows, %v", err)
	}
	t.Logf("\n%s", d.Markdown())
}

// TestT13OneForm: all native objects have one and the same form; another client as recipient is chosen, and shows.
func TestT13OneForm(t *testing.T) {
	t.Parallel()
	p := newProvider(t)
	alice, bob := p.owner(), p.owner()
	native := alice.put("native", noise(500), agent.PutOptions{})
	foreign := alice.put("foreign", noise(500), agent.PutOptions{
		Foreign: []coffer.PublicKey{bob.ring.Key(coffer.AgreementKey)},
	})
	d := p.day(alice, 0)
	for _, o := range d.Documents {
		if o.Present == nil {
			continue
		}
		got := recipients(t, o.Present.Body)
		if o.Present.ID == foreign.ID {
			if !slices.Equal(got, []string{"urn:coffer:object", bob.ring.Key(coffer.AgreementKey).ID}) {
				t.Errorf("chosen recipient: %q", got)
			}
			continue
		}
		if !slices.Equal(got, []string{"urn:coffer:object"}) || !bytes.Contains(o.Present.Body, []byte(protected)) {
			t.Errorf("document %d has another form: %q", o.Number, got)
		}
	}
	if d.Of(native.ID) == nil {
		t.Error("nothing was looked at")
	}
}

// TestT22PatchedStream: of a change within a long file, which chunks it touches shows.
func TestT22PatchedStream(t *testing.T) {
	t.Parallel()
	p := newProvider(t)
	alice := p.owner()
	content := noise(5 << 20)
	alice.put("disk image", content, agent.PutOptions{})
	content[3<<20] ^= 1
	since := p.recorder.Now()
	alice.put("disk image", content, agent.PutOptions{})
	d := p.day(alice, since)
	var sent []string
	for _, r := range d.Requests {
		if r.In > 0 {
			sent = append(sent, r.Method+" "+r.Route)
		}
	}
	if !slices.Equal(sent, []string{"POST documents/{id}/chunks/3"}) {
		t.Errorf("sent: %q", sent)
	}
	t.Logf("\n%s", d.Markdown())
}

// TestUC46Inbox: of asking and answering shows that an open object is read, a message of a fixed size comes, and an open
// object is written.
func TestUC46Inbox(t *testing.T) {
	t.Parallel()
	p, ctx := newProvider(t), t.Context()
	alice, bob := p.owner(), p.owner()
	alice.put("plan", noise(300), agent.PutOptions{})
	since := p.recorder.Now()
	name, err := alice.Name(ctx, "plan", "the plan")
	if err != nil {
		t.Fatal(err)
	}
	for _, reason := range []string{"", strings.Repeat("because ", 100)} {
		page, err := bob.OpenName(ctx, name, door{p})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := bob.Ask(ctx, page, agent.AskOptions{Reason: reason}, door{p}); err != nil {
			t.Fatal(err)
		}
	}
	p.stop()
	all, err := p.recorder.Exchanges()
	if err != nil {
		t.Fatal(err)
	}
	messages := make(map[int]int)
	for _, e := range all {
		if e.At >= since && strings.HasSuffix(e.Request.URL.Path, "/inbox") {
			messages[len(e.In)]++
		}
	}
	if len(messages) != 1 {
		t.Errorf("messages have the lengths %v: what is asked for, or why, shows", messages)
	}
	t.Logf("\n%s", p.day(alice, since).Markdown())
}

// TestT15EveryFeatureHasAnEntry: each row of the table of features names the tests that look at it, and there are such
// tests.
func TestT15EveryFeatureHasAnEntry(t *testing.T) {
	there := make(map[string]bool)
	sources, err := filepath.Glob("*_test.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range sources {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`(?m)^func (Test\w+)\(`).FindAllSubmatch(b, -1) {
			there[string(m[1])] = true
		}
	}
	named := make(map[string]bool)
	for _, cells := range rowsOf(t, "feature") {
		if len(cells) != 3 || len(cells[1]) < 20 {
			t.Errorf("doc/leakage.md: a feature without an entry: %q", cells)
			continue
		}
		for test := range strings.FieldsSeq(strings.NewReplacer(",", " ", "`", " ").Replace(cells[2])) {
			if named[test] = true; test != "-" && !there[test] {
				t.Errorf("doc/leakage.md names a test that there is not: %s", test)
			}
		}
	}
	for test := range there {
		if regexp.MustCompile(`^Test(UC|T)\d`).MatchString(test) && !named[test] && !strings.HasPrefix(test, "TestT15") &&
			!strings.HasPrefix(test, "TestUC02") {
			t.Errorf("doc/leakage.md does not name %s", test)
		}
	}
}
