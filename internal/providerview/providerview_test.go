package providerview

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cofferhq/coffer/keyring"
)

// places are the columns of the table, in its order.
var places = []string{"disk", "logs", "metrics", "traffic", "memory"}

// admitted reads the table of doc/leakage.md: for each thing, the places where it may show.
func admitted(t *testing.T) map[string]map[string]bool {
	page, err := os.ReadFile("../../doc/leakage.md")
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]map[string]bool{}
	for line := range strings.Lines(string(page)) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		if len(cells) != len(places)+1 || strings.HasPrefix(cells[0], " what") || strings.HasPrefix(cells[0], " ---") {
			continue
		}
		row := map[string]bool{}
		for i, place := range places {
			row[place] = strings.TrimSpace(cells[i+1]) != "-"
		}
		out[strings.TrimSpace(cells[0])] = row
	}
	return out
}

// A recorder passes connections on to a node and keeps all that goes either way.
type recorder struct {
	mu      sync.Mutex
	traffic bytes.Buffer
}

func (r *recorder) Write(b []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.traffic.Write(b)
}

func (r *recorder) serve(l net.Listener, node string) {
	for {
		in, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer in.Close()
			out, err := net.Dial("tcp", node)
			if err != nil {
				return
			}
			defer out.Close()
			go func() {
				defer out.Close()
				io.Copy(out, io.TeeReader(in, r))
			}()
			io.Copy(in, io.TeeReader(out, r))
		}()
	}
}

func listen(t *testing.T) net.Listener {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// A person runs coffer with a home and a passphrase.
type person struct {
	t          *testing.T
	bin, home  string
	passphrase string
}

func newPerson(t *testing.T, bin string) *person {
	return &person{t, bin, t.TempDir(), "passphrase " + random()}
}

func (p *person) coffer(args ...string) string {
	p.t.Helper()
	cmd := exec.Command(p.bin, args...)
	cmd.Dir = p.home
	cmd.Env = append(os.Environ(), "HOME="+p.home, "COFFER_PASSPHRASE="+p.passphrase, "COFFER_PROFILE=",
		"XDG_CONFIG_HOME="+p.home+"/config", "XDG_DATA_HOME="+p.home+"/data",
		"XDG_STATE_HOME="+p.home+"/state", "XDG_CACHE_HOME="+p.home+"/cache")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		p.t.Fatalf("coffer %s: %v\n%s", args[0], err, stderr.String())
	}
	return string(out)
}

func (p *person) json(args ...string) map[string]any {
	p.t.Helper()
	out := map[string]any{}
	if err := json.Unmarshal([]byte(p.coffer(append(args, "--json")...)), &out); err != nil {
		p.t.Fatalf("coffer %s --json: %v", args[0], err)
	}
	return out
}

func (p *person) write(name string, b []byte) string {
	p.t.Helper()
	path := filepath.Join(p.home, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		p.t.Fatal(err)
	}
	if err := os.WriteFile(path, b, 0o600); err != nil {
		p.t.Fatal(err)
	}
	return path
}

func random() string {
	b := make([]byte, 12)
	rand.Read(b)
	return hex.EncodeToString(b)
}

func build(t *testing.T, dir, name string) string {
	out := filepath.Join(dir, name)
	if b, err := exec.Command("go", "build", "-o", out, "../../cmd/"+name).CombinedOutput(); err != nil {
		t.Fatalf("build %s: %v\n%s", name, err, b)
	}
	return out
}

// TestUC02ProviderView plays the day: store, list, read, find, share, be read, revoke; and then looks at the node.
// It covers UC-02, and of UC-04, UC-09 and UC-10 that no name, field, value or query shows.
func TestUC02ProviderView(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("reads the memory of a process by /proc")
	}
	bin := t.TempDir()
	coffer, cofferd := build(t, bin, "coffer"), build(t, bin, "cofferd")

	// The node, with everything between it and its clients recorded.
	front, back := listen(t), listen(t)
	address := back.Addr().String()
	back.Close()
	wire := &recorder{}
	go wire.serve(front, address)
	data := filepath.Join(t.TempDir(), "node")
	node := exec.Command(cofferd, "--listen", address, "--data", data, "--origin", "http://"+front.Addr().String())
	var logs bytes.Buffer
	stderr, stdout := &lockedBuffer{b: &logs}, make(chan string, 1)
	node.Stderr = stderr
	pipe, err := node.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := node.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		node.Process.Kill()
		node.Wait()
	})
	go func() {
		line, _ := bufio.NewReader(pipe).ReadString('\n')
		stdout <- line
	}()
	select {
	case <-stdout:
	case <-time.After(30 * time.Second):
		t.Fatalf("the node does not start:\n%s", stderr.String())
	}

	alice, bob := newPerson(t, coffer), newPerson(t, coffer)
	url := "http://" + front.Addr().String()
	identity, secrets := alice.identity()
	alice.coffer("init", "--node", url, "--keyring", identity)
	bob.coffer("init", "--node", url)

	small, large, file, folder := random(), random(), random(), random()
	kind, field, value, query := random(), random(), random(), random()
	alice.write("in/"+folder+"/"+file+".txt", []byte("a small text with "+small+" in it\n"))
	alice.write("in/"+folder+"/large.bin", bytes.Repeat([]byte("a large file full of "+large+"\n"), 60_000))
	alice.write("offer.json", fmt.Appendf(nil, `{"f%s": "v%s", "price": 7}`, field, value))
	alice.coffer("put", "in", "papers")
	alice.coffer("put", "offer.json", "offers/1", "--type", "T"+kind)
	alice.coffer("ls", "papers/"+folder)
	alice.coffer("get", "papers/"+folder+"/large.bin", "large.out")
	alice.coffer("find", "type:T"+kind, "--json")
	alice.coffer("find", "f"+field+":v"+value, "--json")
	alice.coffer("find", "name:q"+query, "--json")
	name := "papers/" + folder + "/" + file + ".txt"
	reader, owner := bob.json("whoami"), alice.json("whoami")
	share := alice.json("share", name, "--with", reader["did"].(string))
	bob.coffer("get", share["link"].(string), "shared.txt")
	if b, err := os.ReadFile(filepath.Join(bob.home, "shared.txt")); err != nil || !strings.Contains(string(b), small) {
		t.Fatalf("Bob has not read what was shared: %v", err)
	}
	alice.coffer("revoke", name, "--with", reader["did"].(string))

	vault := owner["vault"].(string)
	patterns := []Pattern{
		NewPattern("contents of a small file", []byte(small)),
		NewPattern("contents of a large file", []byte(large)),
		NewPattern("name of a file", []byte(file)),
		NewPattern("name of a folder", []byte(folder)),
		NewPattern("type of an object", []byte(kind)),
		NewPattern("name of a field", []byte(field)),
		NewPattern("value of a field", []byte(value)),
		NewPattern("text of a query", []byte(query)),
		NewPattern("passphrase", []byte(alice.passphrase)),
		NewPattern("identifier of the owner", []byte(owner["did"].(string))),
		NewPattern("identifier of a reader", []byte(reader["did"].(string))),
		NewPattern("id of the vault", []byte(vault[strings.LastIndex(vault, "/")+1:])),
		NewPattern("id of a document", []byte(share["documentId"].(string))),
	}

	for _, b := range secrets {
		patterns = append(patterns, NewPattern("the owner's secrets", b))
	}

	seen := map[string]map[string]bool{}
	for _, place := range places {
		seen[place] = map[string]bool{}
	}
	answer, err := http.Get("http://" + address + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if err := scan(answer.Body, patterns, seen["metrics"]); err != nil {
		t.Fatal(err)
	}
	read, err := ScanMemory(node.Process.Pid, patterns, seen["memory"])
	if err != nil {
		t.Fatalf("memory of the node: %v", err)
	}
	if read < 10<<20 {
		t.Errorf("only %d bytes of the node's memory could be read", read)
	}
	node.Process.Signal(os.Interrupt)
	if err := node.Wait(); err != nil {
		t.Errorf("the node ends with %v", err)
	}
	if err := ScanFolder(data, patterns, seen["disk"]); err != nil {
		t.Fatal(err)
	}
	if err := scan(strings.NewReader(stderr.String()), patterns, seen["logs"]); err != nil {
		t.Fatal(err)
	}
	wire.mu.Lock()
	defer wire.mu.Unlock()
	if wire.traffic.Len() < 1<<20 {
		t.Errorf("only %d bytes of traffic recorded", wire.traffic.Len())
	}
	if err := scan(bytes.NewReader(wire.traffic.Bytes()), patterns, seen["traffic"]); err != nil {
		t.Fatal(err)
	}

	table := admitted(t)
	row := func(cells ...any) string { return fmt.Sprintf("%-26s %-6v %-6v %-8v %-8v %-6v", cells...) }
	t.Log(row("shows", "disk", "logs", "metrics", "traffic", "memory"))
	for _, p := range patterns {
		admits, ok := table[p.Name]
		if !ok {
			t.Errorf("doc/leakage.md has no row %q", p.Name)
		}
		cells := []any{p.Name}
		for _, place := range places {
			cells = append(cells, seen[place][p.Name])
			if seen[place][p.Name] && !admits[place] {
				t.Errorf("%s: shows in %s", p.Name, place)
			}
		}
		t.Log(row(cells...))
	}
	for name := range maps.Keys(table) {
		if !strings.Contains(fmt.Sprint(patterns), name) {
			t.Errorf("doc/leakage.md has a row %q that the test does not look for", name)
		}
	}
	// What is known to be there was found: the search works.
	for place, name := range map[string]string{
		"disk": "identifier of the owner", "traffic": "identifier of the owner", "memory": "identifier of the owner",
	} {
		if !seen[place][name] {
			t.Errorf("%s is not found in %s, where it must be: the search does not work", name, place)
		}
	}
}

type lockedBuffer struct {
	mu sync.Mutex
	b  *bytes.Buffer
}

func (l *lockedBuffer) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func TestPatternIsFoundInEveryForm(t *testing.T) {
	text := "marker-" + random()
	p := NewPattern("x", []byte(text))
	for name, b := range map[string]string{
		"plain": "..." + text + "...", "hex": hex.EncodeToString([]byte("." + text)),
		"base64 0": encode(text), "base64 1": encode("x" + text + "yy"), "base64 2": encode("xx" + text + "y"),
		"across": strings.Repeat("-", 1<<20-5) + text + "---",
	} {
		found := map[string]bool{}
		if err := scan(strings.NewReader(b), []Pattern{p}, found); err != nil || !found["x"] {
			t.Errorf("not found in %s (%v)", name, err)
		}
	}
	found := map[string]bool{}
	if err := scan(strings.NewReader(strings.Repeat("nothing here ", 1<<17)), []Pattern{p}, found); err != nil || found["x"] {
		t.Errorf("found where it is not (%v)", err)
	}
}

func encode(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

// identity makes the person's keyring file and returns its path and every secret in it.
func (p *person) identity() (path string, secrets [][]byte) {
	p.t.Helper()
	seed, mac := make([]byte, 32), make([]byte, 32)
	rand.Read(seed)
	rand.Read(mac)
	ring, err := keyring.FromSeeds(seed, mac, "urn:example:hmac")
	if err != nil {
		p.t.Fatal(err)
	}
	defer ring.Close()
	path = filepath.Join(p.home, "identity.json")
	if err := keyring.Save(path, ring, keyring.Passphrase([]byte(p.passphrase))); err != nil {
		p.t.Fatal(err)
	}
	agreement := sha512.Sum512(seed)
	return path, [][]byte{seed, mac, agreement[:32]}
}
