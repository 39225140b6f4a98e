package providerview

import (
	"bytes"
	"crypto/rand"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/agent"
	"github.com/cofferhq/coffer/keyring"
)

// places are the columns of the table, in its order.
var places = []string{"disk", "logs", "metrics", "traffic", "memory"}

// admitted reads a table of doc/leakage.md: for each thing, the places where it may show.
func admitted(t testing.TB, heading string) map[string]map[string]bool {
	out := map[string]map[string]bool{}
	for _, cells := range rowsOf(t, heading) {
		if len(cells) != len(places)+1 {
			t.Fatalf("doc/leakage.md: a row with %d cells", len(cells))
		}
		row := map[string]bool{}
		for i, place := range places {
			switch cells[i+1] {
			case "-", "yes":
				row[place] = cells[i+1] == "yes"
			default:
				t.Fatalf("doc/leakage.md: %q in a row", cells[i+1])
			}
		}
		out[cells[0]] = row
	}
	return out
}

// rowsOf returns the rows of the table of doc/leakage.md whose first heading is this.
func rowsOf(t testing.TB, heading string) (rows [][]string) {
	page, err := os.ReadFile("../../doc/leakage.md")
	if err != nil {
		t.Fatal(err)
	}
	in := false
	for line := range strings.Lines(string(page)) {
		line = strings.TrimSpace(line)
		if !strings.HasPrefix(line, "|") {
			in = false
			continue
		}
		var cells []string
		for c := range strings.SplitSeq(strings.Trim(line, "|"), "|") {
			cells = append(cells, strings.TrimSpace(c))
		}
		switch {
		case cells[0] == heading:
			in = true
		case in && !strings.HasPrefix(cells[0], "---"):
			rows = append(rows, cells)
		}
	}
	if len(rows) == 0 {
		t.Fatalf("doc/leakage.md has no table of %q", heading)
	}
	return rows
}

// look searches the node for the patterns, and compares with the table of doc/leakage.md whose first heading is this. It
// stops the node.
func (p *provider) look(patterns []Pattern, heading string) (seen map[string]map[string]bool) {
	t := p.t
	t.Helper()
	scanner := NewScanner(patterns)
	seen = map[string]map[string]bool{}
	for _, place := range places {
		seen[place] = map[string]bool{}
	}
	answer, err := http.Get("http://" + p.address + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	var metrics bytes.Buffer
	if _, err := metrics.ReadFrom(answer.Body); err != nil || metrics.Len() < 100 {
		t.Fatalf("metrics: %d bytes, %v", metrics.Len(), err)
	}
	if err := scanner.Scan(&metrics, seen["metrics"]); err != nil {
		t.Fatal(err)
	}
	n, err := scanner.ScanMemory(p.cmd.Process.Pid, seen["memory"])
	if err != nil {
		t.Fatalf("memory of the node: %v", err)
	}
	if n < 10<<20 {
		t.Errorf("only %d bytes of the node's memory could be read", n)
	}
	p.stop()
	if err := scanner.ScanFolder(p.data, seen["disk"]); err != nil {
		t.Fatal(err)
	}
	if err := scanner.Scan(strings.NewReader(p.stderr.String()), seen["logs"]); err != nil {
		t.Fatal(err)
	}
	if n, err := p.recorder.Scan(scanner, seen["traffic"]); err != nil || n < 10<<10 {
		t.Errorf("%d bytes of traffic recorded, %v", n, err)
	}

	table := admitted(t, heading)
	var b strings.Builder
	line := func(cells ...string) { fmt.Fprintf(&b, "| %s |\n", strings.Join(cells, " | ")) }
	line(append([]string{"shows"}, places...)...)
	looked := map[string]bool{}
	for _, pattern := range patterns {
		name := pattern.Name
		if looked[name] {
			continue
		}
		looked[name] = true
		admits, ok := table[name]
		if !ok {
			t.Errorf("doc/leakage.md has no row %q", name)
		}
		cells := []string{name}
		for _, place := range places {
			cell := "-"
			if seen[place][name] {
				cell = "yes"
			}
			cells = append(cells, cell)
			if seen[place][name] && !admits[place] {
				t.Errorf("%s: shows in %s", name, place)
			}
		}
		line(cells...)
	}
	t.Log("\n" + b.String())
	for name := range table {
		if !looked[name] {
			t.Errorf("doc/leakage.md has a row %q that the test does not look for", name)
		}
	}
	return seen
}

// TestUC02T01ProviderView plays a day: store, list, read, find, share, be read, be asked, answer, revoke; and then looks
// at the node. It covers UC-02 and T-01, and of UC-04, UC-07, UC-09 and UC-10 that no name, reader, field, value or query
// shows.
func TestUC02T01ProviderView(t *testing.T) {
	t.Parallel()
	p, ctx := newProvider(t), t.Context()
	seed, mac := noise(32), noise(32)
	ring, err := keyring.FromSeeds(seed, mac, "urn:example:hmac:"+random())
	if err != nil {
		t.Fatal(err)
	}
	alice, bob := p.ownerOf(ring), p.owner()
	passphrase := "passphrase " + random()
	if err := keyring.Save(filepath.Join(t.TempDir(), "identity"), ring, keyring.Passphrase([]byte(passphrase))); err != nil {
		t.Fatal(err)
	}
	small, large, name, folder := random(), random(), random(), random()
	kind, field, value, query := random(), random(), random(), random()
	contact, group, reason, title, message := random(), random(), random(), random(), random()

	papers := "papers " + folder
	alice.put(papers+"/f"+name+".txt", []byte("a small text with "+small+" in it\n"), agent.PutOptions{})
	alice.put(papers+"/large.bin", bytes.Repeat([]byte("a large file full of "+large+"\n"), 60_000), agent.PutOptions{})
	offer := fmt.Sprintf(`{"f%s": "v%s", "price": 7}`, field, value)
	alice.value("offers/1", "T"+kind, offer, agent.PutOptions{})
	for range alice.List(ctx, papers) {
	}
	read(t, alice.Agent, papers+"/large.bin")
	if n := alice.find(alice.Agent, "type:T"+kind); n != 1 {
		t.Errorf("%d found by type", n)
	}
	if n := alice.find(alice.Agent, "f"+field+":v"+value); n != 1 {
		t.Errorf("%d found by value", n)
	}
	alice.find(alice.Agent, "name:q"+query)
	reader := alice.knows(bob, "c"+contact)
	if err := alice.PutGroup(ctx, agent.Group{Name: "g" + group, Members: []string{reader}}); err != nil {
		t.Fatal(err)
	}
	shares, err := alice.Share(ctx, papers+"/f"+name+".txt", agent.ShareOptions{With: reader, Group: "g" + group})
	if err != nil {
		t.Fatal(err)
	}
	in, invitation, _ := bob.guest(shares[0].Link)
	if b := read(t, in, ""); !bytes.Contains(b, []byte(small)) {
		t.Fatal("Bob has not read what was shared")
	}
	// Something is asked for by its name, and granted.
	text, err := alice.Name(ctx, "offers/1", "t"+title)
	if err != nil {
		t.Fatal(err)
	}
	page, err := bob.OpenName(ctx, text, door{p})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := bob.Ask(ctx, page, agent.AskOptions{Reason: "r" + reason, Name: "c" + contact}, door{p}); err != nil {
		t.Fatal(err)
	}
	asked := 0
	for r, err := range alice.Requests(ctx) {
		if err != nil {
			t.Fatal(err)
		}
		if _, err := alice.Grant(ctx, r, agent.ShareOptions{}, "m"+message); err != nil {
			t.Fatal(err)
		}
		asked++
	}
	for a, err := range bob.Answers(ctx, door{p}) {
		if err != nil || a.Message != "m"+message {
			t.Fatalf("the answer is %+v, %v", a, err)
		}
		asked++
	}
	if asked != 2 {
		t.Fatalf("%d requests and answers, want one each", asked)
	}
	if _, err := alice.Revoke(ctx, agent.RevokeOptions{Path: papers + "/f" + name + ".txt", With: reader}); err != nil {
		t.Fatal(err)
	}
	i, err := alice.Stat(ctx, papers+"/large.bin")
	if err != nil {
		t.Fatal(err)
	}

	agreement := sha512.Sum512(seed)
	patterns := []Pattern{
		NewPattern("contents of a small file", []byte(small)),
		NewPattern("contents of a large file", []byte(large)),
		NewPattern("name of a file", []byte(name)),
		NewPattern("name of a folder", []byte(folder)),
		NewPattern("type of an object", []byte(kind)),
		NewPattern("name of a field", []byte(field)),
		NewPattern("value of a field", []byte(value)),
		NewPattern("text of a query", []byte(query)),
		NewPattern("name of a contact", []byte(contact)),
		NewPattern("name of a group", []byte(group)),
		NewPattern("reason of a request", []byte(reason)),
		NewPattern("answer to a request", []byte(message)),
		NewPattern("title of what can be asked for", []byte(title)),
		NewPattern("text of a link", []byte(strings.TrimPrefix(shares[0].Link, "coffer:")[:80])),
		NewPattern("text of a link", unlinked(t, shares[0].Link)),
		NewPattern("text of a name to ask by", []byte(strings.TrimPrefix(text, "coffer-ask:")[24:88])),
		NewPattern("passphrase", []byte(passphrase)),
		NewPattern("the owner's secrets", seed),
		NewPattern("the owner's secrets", mac),
		NewPattern("the owner's secrets", agreement[:32]),
		NewPattern("identifier of the owner", []byte(ring.DID()[len("did:key:"):])),
		NewPattern("identifier of the owner", ring.Key(coffer.SigningKey).Public),
		NewPattern("identifier of a reader", []byte(reader[len("did:key:"):])),
		NewPattern("identifier of a reader", bob.ring.Key(coffer.SigningKey).Public),
		NewPattern("id of the owner's HMAC key", []byte(ring.Key(coffer.HMACKey).ID)),
		NewPattern("pseudonym that controls the vault", []byte(alice.controller.DID())),
		NewPattern("pseudonym of a reader", []byte(invitation.Reader.DID())),
		NewPattern("id of the vault", []byte(alice.id.String())),
		NewPattern("id of a document", []byte(i.ID.String())),
		NewPattern("address of a client", []byte(client.String())),
	}
	shown := secretShown(t, p)
	patterns = append(patterns, NewPattern("secret that admits to an object", shown))
	seen := p.look(patterns, "what")
	// What is known to be there was found: the search works.
	for place, name := range map[string]string{
		"disk": "pseudonym that controls the vault", "traffic": "secret that admits to an object",
		"memory": "id of the vault",
	} {
		if !seen[place][name] {
			t.Errorf("%s is not found in %s, where it must be: the search does not work", name, place)
		}
	}
}

// unlinked returns some of the bytes that a link is the text of.
func unlinked(t *testing.T, link string) []byte {
	b, err := base64.RawURLEncoding.DecodeString(strings.TrimPrefix(link, "coffer:"))
	if err != nil {
		t.Fatal(err)
	}
	return b[100:140]
}

// secretShown returns a secret that was shown to the node.
func secretShown(t *testing.T, p *provider) []byte {
	exchanges, err := p.recorder.Exchanges()
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range exchanges {
		if text := e.Request.Header.Get("Coffer-Access"); text != "" {
			b, err := base64.RawURLEncoding.DecodeString(text)
			if err != nil || len(b) != 32 {
				t.Fatalf("a secret of %d bytes, %v", len(b), err)
			}
			return b
		}
	}
	t.Fatal("no secret was shown, though somebody read what was shared")
	return nil
}

func TestPatternIsFoundInEveryForm(t *testing.T) {
	text := "marker:/" + random()
	s := NewScanner([]Pattern{NewPattern("x", []byte(text))})
	for name, b := range map[string]string{
		"plain": "..." + text + "...", "hex": hex.EncodeToString([]byte("." + text)),
		"upper hex": strings.ToUpper(hex.EncodeToString([]byte(text))), "backwards": string(reversed([]byte(text))),
		"base64 0": encode(text), "base64 1": encode("x" + text + "yy"), "base64 2": encode("xx" + text + "y"),
		"base64url": base64.URLEncoding.EncodeToString([]byte("\xff\xfe" + text)), "UTF-16": string(wide([]byte(text))),
		"in JSON": strings.ReplaceAll(text, "/", `\/`), "in a URL": strings.NewReplacer(":", "%3A", "/", "%2F").Replace(text),
		"across": strings.Repeat("-", 1<<20-5) + text + "---", "at the end": "-" + text,
	} {
		found := map[string]bool{}
		if err := s.Scan(strings.NewReader(b), found); err != nil || !found["x"] {
			t.Errorf("not found in %s (%v)", name, err)
		}
	}
	found := map[string]bool{}
	if err := s.Scan(strings.NewReader(strings.Repeat("nothing here ", 1<<17)), found); err != nil || found["x"] {
		t.Errorf("found where it is not (%v)", err)
	}
	b := make([]byte, 1<<20)
	rand.Read(b)
	copy(b[1<<19:], text)
	if err := s.Scan(bytes.NewReader(b), found); err != nil || !found["x"] {
		t.Errorf("not found in noise (%v)", err)
	}
}

func encode(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }
