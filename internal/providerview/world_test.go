package providerview

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/agent"
	"github.com/cofferhq/coffer/api/edv"
	"github.com/cofferhq/coffer/keyring"
	"github.com/cofferhq/coffer/ledger"
)

// program is the node's, built once for all tests.
var program = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "providerview")
	if err != nil {
		return "", err
	}
	out := filepath.Join(dir, "cofferd")
	if b, err := exec.Command("go", "build", "-o", out, "../../cmd/cofferd").CombinedOutput(); err != nil {
		return dir, fmt.Errorf("build: %w\n%s", err, b)
	}
	return out, nil
})

func TestMain(m *testing.M) {
	code := m.Run()
	if out, _ := program(); out != "" {
		os.RemoveAll(filepath.Dir(out))
	}
	os.Exit(code)
}

// A provider is a node that runs by itself, with everything between it and its clients recorded.
type provider struct {
	t        testing.TB
	cmd      *exec.Cmd
	data     string // its folder
	url      string // under which clients know it: the recorder is there
	address  string // where it listens
	recorder *Recorder
	stderr   *lockedBuffer
	stopped  bool
}

// client is where all clients are, as the node sees it.
var client = net.IPv4(127, 0, 0, 77)

func newProvider(t testing.TB) *provider {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("needs /proc and more than one loopback address")
	}
	bin, err := program()
	if err != nil {
		t.Fatal(err)
	}
	front, back := listen(t), listen(t)
	p := &provider{
		t: t, data: filepath.Join(t.TempDir(), "node"), url: "http://" + front.Addr().String(),
		address: back.Addr().String(), recorder: &Recorder{}, stderr: &lockedBuffer{b: new(bytes.Buffer)},
	}
	back.Close()
	go p.recorder.Serve(front, p.address, client)
	p.cmd = exec.Command(bin, "--listen", p.address, "--data", p.data, "--origin", p.url, "--log-level", "debug")
	p.cmd.Stderr = p.stderr
	pipe, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if !p.stopped {
			p.cmd.Process.Kill()
			p.cmd.Wait()
		}
	})
	ready := make(chan string, 1)
	go func() {
		line, _ := bufio.NewReader(pipe).ReadString('\n')
		ready <- line
	}()
	select {
	case <-ready:
	case <-time.After(30 * time.Second):
		t.Fatalf("the node does not start:\n%s", p.stderr.String())
	}
	return p
}

func listen(t testing.TB) net.Listener {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// stop ends the node, so that its disk can be looked at.
func (p *provider) stop() {
	p.t.Helper()
	if p.stopped {
		return
	}
	p.stopped = true
	p.cmd.Process.Signal(os.Interrupt)
	if err := p.cmd.Wait(); err != nil {
		p.t.Errorf("the node ends with %v:\n%s", err, p.stderr.String())
	}
}

// day returns what showed of an owner's vault since a time of the recorder's clock. It stops the node.
func (p *provider) day(o *owner, since int) *Day {
	p.t.Helper()
	p.stop()
	exchanges, err := p.recorder.Exchanges()
	if err != nil {
		p.t.Fatal(err)
	}
	d, err := Observe(p.t.Context(), p.data, exchanges, o.id, since)
	if err != nil {
		p.t.Fatal(err)
	}
	if len(d.Commits)+len(d.Requests) == 0 {
		p.t.Fatal("nothing shows: the capture is not of this day")
	}
	return d
}

// An owner is somebody with a vault at the provider, under a pseudonym.
type owner struct {
	*agent.Agent
	at         *provider
	ring       *keyring.Ring
	controller coffer.Keyring
	vault      *edv.RemoteVault
	id         coffer.VaultID
	logKey     *ledger.Verifier
}

func (p *provider) owner() *owner { return p.ownerOf(keyring.Generate()) }

func (p *provider) ownerOf(ring *keyring.Ring) *owner {
	t := p.t
	t.Helper()
	t.Cleanup(func() { ring.Close() })
	o := &owner{at: p, ring: ring}
	var err error
	if o.controller, err = ring.Pseudonym(t.Context(), "vault main"); err != nil {
		t.Fatal(err)
	}
	c := p.dial(o.controller)
	config, err := c.CreateVault(t.Context(), &coffer.Config{Controller: o.controller.DID()})
	if err != nil {
		t.Fatal(err)
	}
	if o.vault, err = c.Vault(config.ID); err != nil {
		t.Fatal(err)
	}
	if o.id, err = coffer.ParseVaultID(config.ID[strings.LastIndex(config.ID, "/")+1:]); err != nil {
		t.Fatal(err)
	}
	key, err := c.LogKey(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if o.logKey, err = ledger.ParseVerifier(key); err != nil {
		t.Fatal(err)
	}
	o.Agent = o.device(nil)
	return o
}

// dial returns a client that connects by itself, as somebody.
func (p *provider) dial(as coffer.Keyring) *edv.Client {
	p.t.Helper()
	c, err := edv.NewClient(edv.ClientOptions{Base: p.url, Keyring: as, Now: time.Now, Sessions: true})
	if err != nil {
		p.t.Fatal(err)
	}
	return c
}

// device returns another agent of the same owner.
func (o *owner) device(change func(*agent.Options)) *agent.Agent {
	o.at.t.Helper()
	options := agent.Options{
		Vault: o.vault, Keyring: o.ring, Controller: o.controller, URL: o.vault.URL(), Revoker: o.vault,
		Log: o.vault, LogKey: o.logKey, Now: seconds,
	}
	if change != nil {
		change(&options)
	}
	a, err := agent.New(options)
	if err != nil {
		o.at.t.Fatal(err)
	}
	return a
}

// knows makes somebody a contact.
func (o *owner) knows(other *owner, name string) string {
	o.at.t.Helper()
	card, err := other.ring.Card(o.at.t.Context(), name)
	if err != nil {
		o.at.t.Fatal(err)
	}
	c, err := o.AddContact(o.at.t.Context(), card, name)
	if err != nil {
		o.at.t.Fatal(err)
	}
	return c.DID
}

// guest returns the owner's agent in what a link shares, and the vault as its pseudonym sees it.
func (o *owner) guest(link string) (*agent.Agent, *agent.Invitation, *edv.RemoteVault) {
	t := o.at.t
	t.Helper()
	i, err := o.OpenLink(t.Context(), link)
	if err != nil {
		t.Fatal(err)
	}
	v, err := o.at.dial(i.Reader).Vault(i.Vault, i.Capability)
	if err != nil {
		t.Fatal(err)
	}
	in, err := o.In(i, v)
	if err != nil {
		t.Fatal(err)
	}
	return in, i, v
}

// put keeps a file.
func (o *owner) put(path string, content []byte, options agent.PutOptions) agent.Info {
	o.at.t.Helper()
	i, err := o.Put(o.at.t.Context(), path, file(content), options)
	if err != nil {
		o.at.t.Fatalf("put: %v", err)
	}
	return i
}

func file(content []byte) agent.Source {
	return agent.Source{
		Reader: bytes.NewReader(content), Size: int64(len(content)), Modified: time.Unix(1_700_000_000, 0), Mode: 0o640,
	}
}

// value keeps a typed object.
func (o *owner) value(path, typ, value string, options agent.PutOptions) agent.Info {
	o.at.t.Helper()
	i, err := o.Put(o.at.t.Context(), path, agent.Source{
		Value: []byte(value), Type: typ, Modified: time.Unix(1_700_000_000, 0),
	}, options)
	if err != nil {
		o.at.t.Fatalf("put: %v", err)
	}
	return i
}

// find returns how many objects meet a query.
func (o *owner) find(a *agent.Agent, query string) (n int) {
	o.at.t.Helper()
	for _, err := range a.Find(o.at.t.Context(), query) {
		if err != nil {
			o.at.t.Fatalf("find: %v", err)
		}
		n++
	}
	return n
}

func read(t testing.TB, a *agent.Agent, path string) []byte {
	t.Helper()
	o, err := a.Get(t.Context(), path)
	if err != nil {
		t.Fatalf("get: %v", err)
	}
	r := o.Open(t.Context())
	defer r.Close()
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatalf("read: %v", err)
	}
	return b
}

// A door leads to the vaults of a provider.
type door struct{ *provider }

// Open implements [agent.Door].
func (d door) Open(ctx context.Context, vault string, id coffer.ObjectID, secret coffer.Secret) (*coffer.Document, error) {
	return d.dial(keyring.Generate()).Open(ctx, vault, id, secret)
}

// Drop implements [agent.Door].
func (d door) Drop(ctx context.Context, vault string, by coffer.Keyring, capability []byte, m *coffer.Document) error {
	v, err := d.dial(by).Vault(vault, capability)
	if err != nil {
		return err
	}
	return v.Drop(ctx, m)
}

// random returns a text that is nowhere else.
func random() string {
	b := make([]byte, 12)
	rand.Read(b)
	return hex.EncodeToString(b)
}

// noise returns bytes that nothing compresses.
func noise(n int) []byte {
	b := make([]byte, n)
	rand.Read(b)
	return b
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

// seconds is the time in whole seconds: what stands in an object of when it was sealed has always the same length then.
func seconds() time.Time { return time.Now().Truncate(time.Second) }
