// Command wire measures what a request costs a node: requests per second and CPU time of the server process, beside a
// bare probe that does the same with as little as possible (net/http, a cached Ed25519 key, a synced Pebble), in the
// same run, in turns. Requests are signed before the clock starts, and the load generator speaks HTTP by hand, so that
// most of the machine is the server's.
//
//	go run ./bench/wire [-documents 20000] [-rounds 3] [-time 3s]
package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"runtime/pprof"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/api/edv"
	"github.com/cofferhq/coffer/grant"
	"github.com/cofferhq/coffer/keyring"
	"github.com/cofferhq/coffer/node"
	"github.com/cofferhq/coffer/store"
	"github.com/cofferhq/coffer/store/pebble"
)

var (
	documents = flag.Int("documents", 20000, "documents to begin with")
	rounds    = flag.Int("rounds", 3, "rounds; the median is printed")
	span      = flag.Duration("time", 3*time.Second, "length of a measurement")
	serve     = flag.String("serve", "", "used by the program itself")
	dir       = flag.String("dir", "", "used by the program itself")
	profile   = flag.String("profile", "", "write a CPU profile of the node to this file")
	only      = flag.String("only", "", "measure only the rows whose names begin so")
)

func main() {
	flag.Parse()
	var err error
	switch *serve {
	case "":
		err = measure()
	case "node":
		err = serveNode(*dir)
	case "probe":
		err = serveProbe(*dir)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "wire:", err)
		os.Exit(1)
	}
}

func serveNode(dir string) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if *profile != "" {
		f, err := os.Create(*profile)
		if err != nil {
			return err
		}
		defer f.Close()
		if err := pprof.StartCPUProfile(f); err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
	}
	n, err := node.Open(ctx, node.Config{Data: dir, Listen: "127.0.0.1:0", Memory: 256 << 20})
	if err != nil {
		return err
	}
	fmt.Println(n.Origin())
	return n.Serve(ctx)
}

// A server is a child process that serves.
type server struct {
	cmd    *exec.Cmd
	dir    string
	origin string
}

func start(kind string) (*server, error) {
	dir, err := os.MkdirTemp("", "coffer-wire-")
	if err != nil {
		return nil, err
	}
	s := &server{dir: dir, cmd: exec.Command(os.Args[0], "-serve", kind, "-dir", dir, "-profile", *profile)}
	s.cmd.Stderr = os.Stderr
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	s.origin = strings.TrimSpace(line)
	return s, err
}

func (s *server) stop() {
	s.cmd.Process.Signal(os.Interrupt)
	s.cmd.Wait()
	os.RemoveAll(s.dir)
}

// cpu returns the CPU time that the server has used.
func (s *server) cpu() time.Duration {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", s.cmd.Process.Pid))
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
	user, _ := strconv.Atoi(fields[11])
	system, _ := strconv.Atoi(fields[12])
	return time.Duration(user+system) * 10 * time.Millisecond
}

// A request is ready to be sent; it may be sent again.
type request []byte

// A person signs requests.
type person struct {
	ring    *keyring.Ring
	invoker *grant.Invoker
}

const index = "urn:example:hmac"

// document returns an encrypted document of about 1.5 kB with three tags, one of them unique.
func document(id coffer.ObjectID) []byte {
	filler := strings.Repeat("QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVowMTIzNDU2Nzg5", 17)
	tag := func(text string) string {
		sum := sha256.Sum256([]byte(text))
		return coffer.Rev(sum).String()
	}
	return fmt.Appendf(nil, `{"id":"%s","sequence":0,"indexed":[{"hmac":{"id":"%s","type":"Sha256HmacKey2019"},"sequence":0,`+
		`"attributes":[{"name":"%s","value":"%s","unique":true},{"name":"%s","value":"%s"},{"name":"%s","value":"%s"}]}],`+
		`"jwe":{"protected":"eyJlbmMiOiJYQzIwUCJ9","recipients":[{"header":{"kid":"urn:example:kak","alg":"ECDH-ES+A256KW"},`+
		`"encrypted_key":"rUWXf0xEpUrCvFn_TE0yk4IuyEd3qCHhP5a8JDNZR8JzVR5ClaaAMg"}],"iv":"hh8e1eb7PyGpkhnhXlZpJzYdXdo8HeMf",`+
		`"ciphertext":"%s","tag":"fIHWJkCUJNy1lZ2WVKnTgw"}}`,
		id, index, tag("a"), tag("a"+id.String()), tag("b"), tag(string(id[:2])), tag("c"), tag(string(id[:1])), filler)
}

func uniqueQuery(id coffer.ObjectID) []byte {
	sum, name := sha256.Sum256([]byte("a"+id.String())), sha256.Sum256([]byte("a"))
	return fmt.Appendf(nil, `{"index":"%s","equals":[{"%s":"%s"}]}`, index, coffer.Rev(name), coffer.Rev(sum))
}

// sign returns a request ready to send.
func (p *person) sign(method, url string, action grant.Action, body []byte) request {
	r := grant.Request{Method: method, URL: url, Action: action, Now: time.Now(), Life: time.Hour}
	if body != nil {
		sum := sha256.Sum256(body)
		r.BodySum, r.ContentType = &sum, "application/json"
	}
	headers, err := p.invoker.Sign(context.Background(), r)
	if err != nil {
		panic(err)
	}
	_, rest, _ := strings.Cut(url, "://")
	slash := strings.IndexByte(rest, '/')
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\nHost: %s\r\n", method, rest[slash:], rest[:slash])
	for name, values := range headers {
		fmt.Fprintf(&b, "%s: %s\r\n", name, values[0])
	}
	if body != nil {
		fmt.Fprintf(&b, "Content-Length: %d\r\n", len(body))
	}
	b.WriteString("\r\n")
	b.Write(body)
	return b.Bytes()
}

// A conn is a connection of the load generator.
type conn struct {
	c net.Conn
	r *bufio.Reader
}

func dial(origin string) (*conn, error) {
	c, err := net.Dial("tcp", strings.TrimPrefix(origin, "http://"))
	if err != nil {
		return nil, err
	}
	return &conn{c, bufio.NewReaderSize(c, 16<<10)}, nil
}

// do sends a request and reads the answer; an answer of status 300 and above is an error.
func (c *conn) do(r request) error {
	if _, err := c.c.Write(r); err != nil {
		return err
	}
	length, first := 0, true
	status := ""
	for {
		line, err := c.r.ReadSlice('\n')
		if err != nil {
			return err
		}
		if first {
			status, first = string(line), false
			continue
		}
		if len(line) <= 2 {
			break
		}
		if v, ok := bytes.CutPrefix(line, []byte("Content-Length: ")); ok {
			length, _ = strconv.Atoi(string(bytes.TrimSpace(v)))
		}
	}
	body := length
	if len(status) > 12 && status[9] != '2' {
		text := make([]byte, body)
		io.ReadFull(c.r, text)
		return fmt.Errorf("%s: %s", strings.TrimSpace(status), text)
	}
	_, err := c.r.Discard(body)
	return err
}

// load sends requests over n connections: each once if once is set, and otherwise in turn for the given time. It returns
// how many were answered in how long.
func load(origin string, requests []request, n int, once bool) (count int64, took time.Duration, err error) {
	var next, answered atomic.Int64
	var wg sync.WaitGroup
	var failed atomic.Pointer[error]
	begin := time.Now()
	for range n {
		c, err := dial(origin)
		if err != nil {
			return 0, 0, err
		}
		wg.Go(func() {
			defer c.c.Close()
			for {
				i := int(next.Add(1) - 1)
				if once && i >= len(requests) || !once && time.Since(begin) > *span || failed.Load() != nil {
					return
				}
				if err := c.do(requests[i%len(requests)]); err != nil {
					failed.CompareAndSwap(nil, &err)
					return
				}
				answered.Add(1)
			}
		})
	}
	wg.Wait()
	if p := failed.Load(); p != nil {
		return 0, 0, *p
	}
	return answered.Load(), time.Since(begin), nil
}

// A vault is where the load goes, at one of the servers.
type vault struct {
	*server
	url   string
	owner *person
	ids   []coffer.ObjectID
}

func newOwner(url string) (*person, error) {
	ring := keyring.Generate()
	invoker, err := grant.NewInvoker(ring, url)
	return &person{ring, invoker}, err
}

// open starts a server and fills it.
func open(kind string) (*vault, error) {
	s, err := start(kind)
	if err != nil {
		return nil, err
	}
	v := &vault{server: s}
	collection := s.origin + "/edvs"
	creator, err := newOwner(collection)
	if err != nil {
		return nil, err
	}
	v.url = collection + "/" + coffer.NewVaultID().String()
	if kind == "node" {
		config, _ := json.Marshal(coffer.Config{Controller: creator.ring.DID()})
		if v.url, err = create(creator.sign("POST", collection, grant.Write, config), s.origin); err != nil {
			return nil, err
		}
	}
	invoker, err := grant.NewInvoker(creator.ring, v.url)
	if err != nil {
		return nil, err
	}
	v.owner = &person{creator.ring, invoker}
	_, _, err = load(s.origin, v.inserts(*documents), 64, true)
	return v, err
}

func create(r request, origin string) (string, error) {
	c, err := dial(origin)
	if err != nil {
		return "", err
	}
	defer c.c.Close()
	if _, err := c.c.Write(r); err != nil {
		return "", err
	}
	answer, err := http.ReadResponse(c.r, nil)
	if err != nil {
		return "", err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusCreated {
		return "", errors.New(answer.Status)
	}
	return answer.Header.Get("Location"), nil
}

func (v *vault) inserts(n int) []request {
	out := make([]request, n)
	for i := range out {
		id := coffer.NewObjectID()
		v.ids = append(v.ids, id)
		out[i] = v.owner.sign("POST", v.url+"/documents", grant.Write, document(id))
	}
	return out
}

const pool = 4000 // distinct requests of a kind

func (v *vault) gets(p *person) []request {
	out := make([]request, pool)
	for i := range out {
		out[i] = p.sign("GET", v.url+"/documents/"+v.ids[i*7919%len(v.ids)].String(), grant.Read, nil)
	}
	return out
}

func (v *vault) finds() []request {
	out := make([]request, pool)
	for i := range out {
		out[i] = v.owner.sign("POST", v.url+"/query", grant.Read, uniqueQuery(v.ids[i*7919%len(v.ids)]))
	}
	return out
}

// delegate returns somebody who may read all documents.
func (v *vault) delegate() (*person, error) {
	ring := keyring.Generate()
	capability, err := grant.Delegate(context.Background(), v.owner.ring, v.url, grant.DelegateOptions{
		Controller: ring.DID(), Target: v.url + "/documents", Actions: []grant.Action{grant.Read},
		Created: time.Now(), Expires: time.Now().Add(24 * time.Hour),
	})
	if err != nil {
		return nil, err
	}
	invoker, err := grant.NewInvoker(ring, string(capability))
	return &person{ring, invoker}, err
}

// session returns the owner, signing under a session (doc/http-api.md, "Sessions").
func (v *vault) session() (*person, error) {
	url := v.origin + "/sessions"
	opening, err := grant.OpenSession()
	if err != nil {
		return nil, err
	}
	invoker, err := grant.NewInvoker(v.owner.ring, url)
	if err != nil {
		return nil, err
	}
	offer := fmt.Appendf(nil, `{"publicKey":"%s"}`, base64.RawURLEncoding.EncodeToString(opening.Public()))
	c, err := dial(v.origin)
	if err != nil {
		return nil, err
	}
	defer c.c.Close()
	if _, err := c.c.Write((&person{v.owner.ring, invoker}).sign("POST", url, grant.Write, offer)); err != nil {
		return nil, err
	}
	answer, err := http.ReadResponse(c.r, nil)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	var a struct {
		ID        string    `json:"id"`
		PublicKey string    `json:"publicKey"`
		Expires   time.Time `json:"expires"`
	}
	if err := json.NewDecoder(answer.Body).Decode(&a); err != nil {
		return nil, fmt.Errorf("session: %s: %w", answer.Status, err)
	}
	key, err := base64.RawURLEncoding.DecodeString(a.PublicKey)
	if err != nil {
		return nil, err
	}
	s, err := opening.Session(key, a.ID, v.owner.ring.Key(coffer.SigningKey).ID, v.origin, a.Expires)
	if err != nil {
		return nil, err
	}
	return &person{v.owner.ring, v.owner.invoker.Under(s)}, nil
}

// A row is what is measured: the requests of one kind, made anew each round when they can be used but once.
type row struct {
	name  string
	conns int
	once  bool
	make  func() ([]request, error)
	at    *vault
	rates []float64
	costs []float64
}

func measure() error {
	v, err := open("node")
	if err != nil {
		return fmt.Errorf("node: %w", err)
	}
	defer v.stop()
	p, err := open("probe")
	if err != nil {
		return fmt.Errorf("probe: %w", err)
	}
	defer p.stop()
	second, err := open("node") // so that no server takes more inserts than another
	if err != nil {
		return fmt.Errorf("node: %w", err)
	}
	defer second.stop()
	delegate, err := v.delegate()
	if err != nil {
		return err
	}
	session, err := second.session()
	if err != nil {
		return err
	}
	fixed := func(r []request) func() ([]request, error) {
		return func() ([]request, error) { return r, nil }
	}
	// As many as a server can take in a measurement.
	inserts := func(v *vault) func() ([]request, error) {
		return func() ([]request, error) { return v.inserts(int(span.Seconds() * 8000)), nil }
	}
	under := *second
	under.owner = session
	rows := []*row{
		{name: "get, probe", conns: 16, at: p, make: fixed(p.gets(p.owner))},
		{name: "get", conns: 16, at: v, make: fixed(v.gets(v.owner))},
		{name: "get, delegated", conns: 16, at: v, make: fixed(v.gets(delegate))},
		{name: "get, session", conns: 16, at: second, make: fixed(second.gets(session))},
		{name: "find, probe", conns: 16, at: p, make: fixed(p.finds())},
		{name: "find", conns: 16, at: v, make: fixed(v.finds())},
		{name: "insert, probe", conns: 64, once: true, at: p, make: inserts(p)},
		{name: "insert", conns: 64, once: true, at: v, make: inserts(v)},
		{name: "insert, session", conns: 64, once: true, at: second, make: inserts(&under)},
	}
	var stores []float64
	for range *rounds {
		for _, r := range rows {
			if !strings.HasPrefix(r.name, *only) {
				continue
			}
			requests, err := r.make()
			if err != nil {
				return err
			}
			before := r.at.cpu()
			n, took, err := load(r.at.origin, requests, r.conns, r.once)
			if err != nil {
				return fmt.Errorf("%s: %w", r.name, err)
			}
			r.rates = append(r.rates, float64(n)/took.Seconds())
			r.costs = append(r.costs, float64((r.at.cpu()-before).Microseconds())/float64(n))
		}
		rate, err := bareStore()
		if err != nil {
			return err
		}
		stores = append(stores, rate)
	}
	fmt.Printf("%-18s %5s %12s %14s\n", "", "conns", "requests/s", "server CPU µs")
	for _, r := range rows {
		if len(r.rates) == 0 {
			continue
		}
		fmt.Printf("%-18s %5d %12.0f %14.0f\n", r.name, r.conns, median(r.rates), median(r.costs))
	}
	fmt.Printf("%-18s %5d %12.0f %14s\n", "insert, store only", 64, median(stores), "")
	return nil
}

func median(v []float64) float64 {
	v = slices.Sorted(slices.Values(v))
	return v[len(v)/2]
}

// bareStore inserts the same documents straight into a store, from 64 goroutines.
func bareStore() (perSecond float64, err error) {
	dir, err := os.MkdirTemp("", "coffer-wire-")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	s, err := pebble.Open(dir, pebble.Options{Memory: 256 << 20})
	if err != nil {
		return 0, err
	}
	defer s.Close()
	v := coffer.NewVaultID()
	docs := make([]*coffer.Document, int(span.Seconds()*20000))
	for i := range docs {
		if docs[i], err = edv.DecodeDocument(document(coffer.NewObjectID())); err != nil {
			return 0, err
		}
	}
	var next, done atomic.Int64
	var wg sync.WaitGroup
	begin := time.Now()
	for range 64 {
		wg.Go(func() {
			for time.Since(begin) < *span {
				i := int(next.Add(1) - 1)
				if i >= len(docs) {
					return
				}
				w := store.Write{Vault: v, By: "did:example", Time: begin, Document: docs[i]}
				if _, err := s.Apply(context.Background(), w); err != nil {
					panic(err)
				}
				done.Add(1)
			}
		})
	}
	wg.Wait()
	return float64(done.Load()) / time.Since(begin).Seconds(), nil
}
