package node_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/api/edv"
	"github.com/cofferhq/coffer/coffertest"
	"github.com/cofferhq/coffer/node"
)

// patience bounds everything that should happen soon.
const patience = 20 * time.Second

// A run is a node that serves.
type run struct {
	*node.Node
	stop func() error // ends it and returns what Serve does
}

// start runs a node until it is stopped, at any free port if c says none.
func start(t *testing.T, c node.Config) *run {
	t.Helper()
	if c.Listen == "" {
		c.Listen = "127.0.0.1:0"
	}
	n, err := node.Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	var served error
	go func() {
		defer close(done)
		served = n.Serve(ctx)
	}()
	r := &run{n, func() error { cancel(); <-done; return served }}
	t.Cleanup(func() { r.stop() })
	return r
}

// vault makes a vault for Alice on the node.
func (r *run) vault(t *testing.T, client *http.Client) *edv.RemoteVault {
	t.Helper()
	alice := coffertest.Person(t, "alice")
	c, err := edv.NewClient(edv.ClientOptions{Base: r.Origin(), Keyring: alice, Now: time.Now, HTTP: client})
	if err != nil {
		t.Fatal(err)
	}
	config, err := c.CreateVault(t.Context(), &coffer.Config{Controller: alice.DID()})
	if err != nil {
		t.Fatal(err)
	}
	v, err := c.Vault(config.ID)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

const jwe = `{"protected":"eyJlbmMiOiJYQzIwUCJ9","recipients":[{"header":{"kid":"urn:example:kak",` +
	`"alg":"ECDH-ES+A256KW"},"encrypted_key":"AAAA"}],"iv":"AAAA","ciphertext":"%s","tag":"AAAA"}`

// put puts a document that waits for chunks.
func put(t *testing.T, v coffer.Vault) *coffer.Document {
	t.Helper()
	id := coffer.NewObjectID()
	body, err := json.Marshal(edv.Document{ID: id, Stream: &edv.StreamRef{}, JWE: fmt.Appendf(nil, jwe, "AAAA")})
	if err != nil {
		t.Fatal(err)
	}
	d := &coffer.Document{ID: id, Stream: &coffer.Stream{Pending: true}, Body: body}
	if _, err := coffer.Put(t.Context(), v, d); err != nil {
		t.Fatal(err)
	}
	return d
}

// chunk returns a chunk of about the size.
func chunk(index uint64, size int) (coffer.ChunkRef, []byte) {
	head := fmt.Appendf(nil, `{"index":%d,"offset":%d,"sequence":0,"jwe":`+jwe+`}`, index, index+1, "")
	b := edv.JoinRaw(head, bytes.Repeat([]byte("c"), size))
	return coffer.ChunkRef{Index: index, Size: int64(len(b)), Sum: sha256.Sum256(b)}, b
}

func putChunk(t *testing.T, v coffer.Vault, id coffer.ObjectID) {
	t.Helper()
	ref, b := chunk(0, 100_000)
	if err := v.PutChunk(t.Context(), id, ref, bytes.NewReader(b)); err != nil {
		t.Fatal(err)
	}
}

// chunkFile returns the file of the only chunk of a document.
func chunkFile(t *testing.T, data string, id coffer.ObjectID) (file string) {
	t.Helper()
	err := filepath.WalkDir(filepath.Join(data, "chunks"), func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() && strings.Contains(path, hex.EncodeToString(id[:])) {
			file = path
		}
		return err
	})
	if err != nil || file == "" {
		t.Fatalf("no file for the chunk: %v", err)
	}
	return file
}

// largest returns the size of the largest file below a folder.
func largest(t *testing.T, folder string) (size int64) {
	t.Helper()
	err := filepath.WalkDir(folder, func(_ string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err == nil && d.Type().IsRegular() {
			size = max(size, info.Size())
		}
		return err
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) { // what is written is renamed
		t.Fatal(err)
	}
	return size
}

func get(t *testing.T, client *http.Client, url string) (int, string) {
	t.Helper()
	resp, err := client.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

// until waits for something to become true.
func until(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !is(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not after %v", what, patience)
		}
	}
}

// certificate writes a self-signed certificate for 127.0.0.1 and its key, and returns a client that trusts it.
func certificate(t *testing.T) (cert, key string, client *http.Client) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, k.Public(), k)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	cert, key = filepath.Join(t.TempDir(), "cert.pem"), filepath.Join(t.TempDir(), "key.pem")
	for file, block := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "PRIVATE KEY", Bytes: pkcs8}} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	roots := x509.NewCertPool()
	roots.AddCert(parsed)
	client = &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, ForceAttemptHTTP2: true}}
	t.Cleanup(client.CloseIdleConnections)
	return cert, key, client
}

func TestTLSFromFiles(t *testing.T) {
	cert, key, client := certificate(t)
	r := start(t, node.Config{Data: t.TempDir(), TLSCert: cert, TLSKey: key})
	if want := "https://" + r.Addr().String(); r.Origin() != want {
		t.Errorf("the origin is %s, want %s", r.Origin(), want)
	}
	v := r.vault(t, client)
	d := put(t, v)
	got, err := v.Get(t.Context(), d.ID)
	if err != nil || got[0].Rev() != d.Rev() {
		t.Errorf("get: %v", err)
	}
	if resp, err := http.Get(r.Origin() + "/healthz"); err == nil {
		resp.Body.Close()
		t.Error("a client that does not trust the certificate was answered")
	}
	old := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{
		RootCAs: client.Transport.(*http.Transport).TLSClientConfig.RootCAs, MaxVersion: tls.VersionTLS11}}}
	if resp, err := old.Get(r.Origin() + "/healthz"); err == nil {
		resp.Body.Close()
		t.Error("TLS 1.1 was answered")
	}
	client.CloseIdleConnections()
	if err := r.stop(); err != nil {
		t.Errorf("the end: %v", err)
	}
}

func TestHealthAndMetrics(t *testing.T) {
	r := start(t, node.Config{Data: t.TempDir()})
	client := http.DefaultClient
	for path, want := range map[string]string{"/healthz": "ok\n", "/readyz": "ready\n"} {
		if status, body := get(t, client, r.Origin()+path); status != http.StatusOK || body != want {
			t.Errorf("%s: %d %q", path, status, body)
		}
	}
	v := r.vault(t, nil)
	d := put(t, v)
	putChunk(t, v, d.ID)
	for range 3 {
		if _, err := v.Get(t.Context(), d.ID); err != nil {
			t.Fatal(err)
		}
	}
	get(t, client, r.Origin()+"/no/such/place/as/this")
	get(t, client, r.Origin()+"/metrics/../healthz")
	get(t, client, v.URL()) // without a signature
	status, text := get(t, client, r.Origin()+"/metrics")
	if status != http.StatusOK {
		t.Fatalf("metrics: %d", status)
	}
	for _, want := range []string{
		`coffer_requests_total{route="GET /edvs/{vault}/documents/{id}",status="200"} 3`,
		`coffer_requests_total{route="POST /edvs/{vault}/documents/{id}/chunks/{index}",status="204"} 1`,
		`coffer_requests_total{route="POST /edvs",status="201"} 1`,
		`coffer_requests_total{route="unknown",status="404"}`,
		`coffer_request_seconds_count{route="GET /edvs/{vault}/documents/{id}"} 3`,
		`coffer_sent_bytes_total{route="GET /edvs/{vault}/documents/{id}"}`,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("metrics have no %s in\n%s", want, text)
		}
	}
	id := v.URL()[strings.LastIndex(v.URL(), "/")+1:]
	for name, secret := range map[string]string{
		"vault": id, "object": d.ID.String(), "person": coffertest.Person(t, "alice").DID(), "path": "such/place", "node": r.DID(),
	} {
		if strings.Contains(text, secret) {
			t.Errorf("metrics name the %s", name)
		}
	}
}

// TestShutdownLetsUploadsFinish stops a node while a chunk is on its way and a feed is followed.
func TestShutdownLetsUploadsFinish(t *testing.T) {
	data := t.TempDir()
	r := start(t, node.Config{Data: data})
	v := r.vault(t, nil)
	d := put(t, v)

	first, ended := make(chan struct{}, 10), make(chan error, 1)
	following, giveUp := context.WithCancel(t.Context())
	defer giveUp()
	go func() {
		for _, err := range v.Changes(following, "", true) {
			if err != nil {
				ended <- err
				return
			}
			first <- struct{}{}
		}
		ended <- nil
	}()
	<-first

	ref, b := chunk(0, 1_000_000)
	reader, writer := io.Pipe()
	uploaded, served := make(chan error, 1), make(chan error, 1)
	go func() {
		err := v.PutChunk(t.Context(), d.ID, ref, reader)
		reader.CloseWithError(err)
		uploaded <- err
	}()
	if _, err := writer.Write(b[:500_000]); err != nil {
		t.Fatal(err)
	}
	until(t, "the node has a part of the chunk", func() bool { return largest(t, filepath.Join(data, "chunks")) > 100_000 })
	go func() { served <- r.stop() }()
	until(t, "no new connections", func() bool {
		c, err := net.Dial("tcp", r.Addr().String())
		if err == nil {
			c.Close()
		}
		return err != nil
	})
	select {
	case err := <-served:
		t.Fatalf("the node ended with an upload under way: %v", err)
	case err := <-uploaded:
		t.Fatalf("the upload ended early: %v", err)
	default:
	}
	if _, err := writer.Write(b[500_000:]); err != nil {
		t.Fatalf("the rest of the upload: %v", err)
	}
	writer.Close()
	if err := <-uploaded; err != nil {
		t.Errorf("the upload: %v", err)
	}
	begun := time.Now()
	if err := <-served; err != nil {
		t.Errorf("the end: %v", err)
	}
	if took := time.Since(begun); took > 20*time.Second {
		t.Errorf("the node ended %v after the upload: the feed held it up", took)
	}
	giveUp() // the client would go on asking
	<-ended

	again := start(t, node.Config{Data: data, Listen: r.Addr().String()})
	got, body, err := v.Chunk(t.Context(), d.ID, 0)
	if err != nil || got != ref {
		t.Fatalf("after a restart the chunk is %+v, %v", got, err)
	}
	body.Close()
	if again.DID() != r.DID() || again.DID() == "" {
		t.Errorf("the node is now %q, and was %q", again.DID(), r.DID())
	}
}

func TestConfigurationErrorsLeaveNothing(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	cert, key, _ := certificate(t)
	for name, tt := range map[string]struct {
		change func(*node.Config)
		want   coffer.Kind
		says   string
	}{
		"no data folder":       {func(c *node.Config) { c.Data = "" }, coffer.Invalid, "data folder"},
		"origin without host":  {func(c *node.Config) { c.Origin = "https://" }, coffer.Invalid, "https://vault.example"},
		"origin with a path":   {func(c *node.Config) { c.Origin = "https://h.example/x" }, coffer.Invalid, "https://vault.example"},
		"origin with a user":   {func(c *node.Config) { c.Origin = "https://u@h.example" }, coffer.Invalid, "https://vault.example"},
		"origin of no web":     {func(c *node.Config) { c.Origin = "ftp://h.example" }, coffer.Invalid, "https://vault.example"},
		"ACME and files":       {func(c *node.Config) { c.ACMEHost, c.TLSCert, c.TLSKey = "h.example", cert, key }, coffer.Invalid, "not both"},
		"ACME and a key":       {func(c *node.Config) { c.ACMEHost, c.TLSKey = "h.example", key }, coffer.Invalid, "not both"},
		"certificate, no key":  {func(c *node.Config) { c.TLSCert = cert }, coffer.Invalid, "TLS"},
		"key of no such file":  {func(c *node.Config) { c.TLSCert, c.TLSKey = cert, key+"x" }, coffer.Invalid, "no such file"},
		"certificate as key":   {func(c *node.Config) { c.TLSCert, c.TLSKey = cert, cert }, coffer.Invalid, "TLS"},
		"port in use":          {func(c *node.Config) { c.Listen = taken.Addr().String() }, coffer.Unavailable, "in use"},
		"address of no form":   {func(c *node.Config) { c.Listen = "nowhere" }, coffer.Unavailable, "cannot listen"},
		"did:web of no host":   {func(c *node.Config) { c.AllowWeb = []string{"https://h.example/"} }, coffer.Invalid, "host"},
		"data is below a file": {func(c *node.Config) { c.Data = filepath.Join(cert, "data") }, coffer.Unavailable, "not a directory"},
	} {
		t.Run(name, func(t *testing.T) {
			data := filepath.Join(t.TempDir(), "data")
			c := node.Config{Data: data, Listen: "127.0.0.1:0"}
			tt.change(&c)
			n, err := node.Open(t.Context(), c)
			if err == nil {
				n.Close()
			}
			if !errors.Is(err, tt.want) || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("%v, want %v that says %q", err, tt.want, tt.says)
			}
			if _, err := os.Stat(data); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("the data folder was made: %v", err)
			}
		})
	}
}

func TestOneNodeForOneFolder(t *testing.T) {
	data := filepath.Join(t.TempDir(), "not", "there", "yet")
	r := start(t, node.Config{Data: data})
	v := r.vault(t, nil)
	n, err := node.Open(t.Context(), node.Config{Data: data, Listen: "127.0.0.1:0"})
	if err == nil {
		n.Close()
		t.Fatal("a second node was opened on the folder")
	}
	put(t, v) // the first goes on
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	again, err := node.Open(t.Context(), node.Config{Data: data, Listen: "127.0.0.1:0"})
	if err != nil {
		t.Fatalf("after the first has ended: %v", err)
	}
	again.Close()
}

func TestCheckFindsDamage(t *testing.T) {
	for name, tt := range map[string]struct {
		damage func(file string) error
		want   string
	}{
		"no damage":     {func(string) error { return nil }, ""},
		"no such chunk": {os.Remove, "a chunk is recorded, but not there"},
		"a short chunk": {func(file string) error { return os.Truncate(file, 1000) }, "a chunk is not of its recorded size"},
		"a flipped bit": {func(file string) error {
			b, err := os.ReadFile(file)
			if err == nil {
				b[len(b)/2] ^= 1
				err = os.WriteFile(file, b, 0o600)
			}
			return err
		}, "a chunk does not have its recorded hash"},
		"an orphan": {func(file string) error { return os.WriteFile(file+"0", []byte("x"), 0o600) }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			data := t.TempDir()
			r := start(t, node.Config{Data: data})
			v := r.vault(t, nil)
			d := put(t, v)
			putChunk(t, v, d.ID)
			putChunk(t, v, put(t, v).ID) // stays whole
			if err := r.stop(); err != nil {
				t.Fatal(err)
			}
			if err := tt.damage(chunkFile(t, data, d.ID)); err != nil {
				t.Fatal(err)
			}
			n, err := node.Open(t.Context(), node.Config{Data: data, Listen: "127.0.0.1:0"})
			if err != nil {
				t.Fatal(err)
			}
			defer n.Close()
			var found []string
			if err := n.Check(t.Context(), func(what string) { found = append(found, what) }); err != nil {
				t.Fatal(err)
			}
			if got := strings.Join(found, "; "); got != tt.want {
				t.Errorf("found %q, want %q", got, tt.want)
			}
			ended, end := context.WithCancel(t.Context())
			end()
			if err := n.Check(ended, func(what string) { t.Errorf("an ended check reports %q", what) }); err == nil {
				t.Error("an ended check says that all is well")
			}
		})
	}
}

// TestStartRemovesOrphans plants chunks that nothing names between two runs: other tries at the same chunk, and chunks
// of a set, a document and a vault that do not exist.
func TestStartRemovesOrphans(t *testing.T) {
	data := t.TempDir()
	r := start(t, node.Config{Data: data})
	v := r.vault(t, nil)
	d := put(t, v)
	putChunk(t, v, d.ID)
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	named := chunkFile(t, data, d.ID)
	b, err := os.ReadFile(named)
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Dir(named)
	var orphans []string
	for _, name := range []string{"0-0-" + strings.Repeat("0", 32), "0-0-" + strings.Repeat("f", 32), "0-7-" + strings.Repeat("0", 32), "9-0-" + strings.Repeat("f", 32)} {
		name += filepath.Ext(named)
		orphans = append(orphans, filepath.Join(dir, name), filepath.Join(filepath.Dir(dir), strings.Repeat("f", 32), name))
	}
	for _, o := range orphans {
		if err := os.MkdirAll(filepath.Dir(o), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(o, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	start(t, node.Config{Data: data, Listen: r.Addr().String()})
	for _, o := range orphans {
		until(t, o+" is gone", func() bool { _, err := os.Stat(o); return errors.Is(err, fs.ErrNotExist) })
	}
	if _, body, err := v.Chunk(t.Context(), d.ID, 0); err != nil {
		t.Errorf("the chunk that is named: %v", err)
	} else {
		body.Close()
	}
}

func TestWhatIsKeptIsClosedToOthers(t *testing.T) {
	data := t.TempDir()
	if err := os.Chmod(data, 0o755); err != nil { // as an operator may have made it
		t.Fatal(err)
	}
	coffertest.Node(t, node.Config{Data: data})
	entries, err := os.ReadDir(data)
	if err != nil || len(entries) < 3 {
		t.Fatalf("%d entries, %v", len(entries), err)
	}
	for _, e := range entries {
		if info, err := e.Info(); err != nil || info.Mode().Perm()&0o077 != 0 {
			t.Errorf("one of what the node keeps has the mode %v (%v)", info.Mode(), err)
		}
	}
}
