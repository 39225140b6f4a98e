package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/grant"
	"github.com/cofferhq/coffer/keyring"
)

// A tenant has a vault at a node.
type tenant struct {
	Seed []byte // of the signing key
	URL  string // of the vault, once it is made

	ring    *keyring.Ring
	invoker *grant.Invoker
}

func newTenant() (*tenant, error) {
	t := &tenant{Seed: make([]byte, 32)}
	_, _ = rand.Read(t.Seed) // never fails
	return t, t.open()
}

// open makes the keyring from the seed.
func (t *tenant) open() (err error) {
	if t.ring, err = keyring.FromSeeds(t.Seed, t.Seed, tagKey); err != nil || t.URL == "" {
		return err
	}
	t.invoker, err = grant.NewInvoker(t.ring, t.URL)
	return err
}

// sign returns a request that is ready to be sent, and may be sent again.
func sign(i *grant.Invoker, method, url string, action grant.Action, body []byte) ([]byte, error) {
	r := grant.Request{Method: method, URL: url, Action: action, Now: time.Now(), Life: time.Hour}
	if body != nil {
		sum := sha256.Sum256(body)
		r.BodySum, r.ContentType = &sum, "application/json"
	}
	headers, err := i.Sign(context.Background(), r)
	if err != nil {
		return nil, err
	}
	_, rest, _ := strings.Cut(url, "://")
	host, path, _ := strings.Cut(rest, "/")
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s /%s HTTP/1.1\r\nHost: %s\r\n", method, path, host)
	for name, values := range headers {
		fmt.Fprintf(&b, "%s: %s\r\n", name, values[0])
	}
	if body != nil {
		fmt.Fprintf(&b, "Content-Length: %d\r\n", len(body))
	}
	b.WriteString("\r\n")
	b.Write(body)
	return b.Bytes(), nil
}

// create makes the tenant's vault over the connection.
func (t *tenant) create(c *conn) error {
	const collection = nodeOrigin + "/edvs"
	invoker, err := grant.NewInvoker(t.ring, collection)
	if err != nil {
		return err
	}
	config, err := json.Marshal(coffer.Config{Controller: t.ring.DID()})
	if err != nil {
		return err
	}
	request, err := sign(invoker, http.MethodPost, collection, grant.Write, config)
	if err != nil {
		return err
	}
	status, header, err := c.do(request)
	if err == nil && status != http.StatusCreated {
		err = fmt.Errorf("making a vault: status %d", status)
	}
	if err != nil {
		return err
	}
	t.URL = header.Get("Location")
	t.invoker, err = grant.NewInvoker(t.ring, t.URL)
	return err
}

func (t *tenant) insert(n int) ([]byte, error) {
	return sign(t.invoker, http.MethodPost, t.URL+"/documents", grant.Write, envelope(n))
}

func (t *tenant) get(n int) ([]byte, error) {
	return sign(t.invoker, http.MethodGet, t.URL+"/documents/"+idOf(n).String(), grant.Read, nil)
}

func (t *tenant) find(n int) ([]byte, error) {
	query := fmt.Appendf(nil, `{"index":"%s","equals":[{"%s":"%s"}]}`, tagKey, sharedName, sharedValue(n))
	return sign(t.invoker, http.MethodPost, t.URL+"/query", grant.Read, query)
}

// put sends the insertion of the n-th document.
func (t *tenant) put(c *conn, n int) error {
	request, err := t.insert(n)
	if err != nil {
		return err
	}
	status, _, err := c.do(request)
	if err == nil && status/100 != 2 {
		err = fmt.Errorf("insert: status %d", status)
	}
	return err
}

// envelope is the n-th document as an encrypted data vault is sent it, with a body of about 1.5 kB.
func envelope(n int) []byte {
	d := document(n)
	var tags []string
	for _, t := range d.Tags {
		tags = append(tags, fmt.Sprintf(`{"name":"%s","value":"%s","unique":%t}`, t.Name, t.Value, t.Unique))
	}
	return fmt.Appendf(nil, `{"id":"%s","sequence":0,"indexed":[{"hmac":{"id":"%s","type":"Sha256HmacKey2019"},"sequence":0,`+
		`"attributes":[%s]}],"jwe":{"protected":"eyJlbmMiOiJYQzIwUCJ9","recipients":[{"header":{"kid":"urn:example:kak",`+
		`"alg":"ECDH-ES+A256KW"},"encrypted_key":"rUWXf0xEpUrCvFn_TE0yk4IuyEd3qCHhP5a8JDNZR8JzVR5ClaaAMg"}],`+
		`"iv":"hh8e1eb7PyGpkhnhXlZpJzYdXdo8HeMf","ciphertext":"%s","tag":"fIHWJkCUJNy1lZ2WVKnTgw"}}`,
		d.ID, tagKey, strings.Join(tags, ","), base64.RawURLEncoding.EncodeToString(d.Body[:600]))
}

// A conn is a connection to a node.
type conn struct {
	c net.Conn
	r *bufio.Reader
}

func dial(ctx context.Context, address string) (*conn, error) {
	c, err := new(net.Dialer).DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	return &conn{c, bufio.NewReaderSize(c, 16<<10)}, nil
}

// do sends a request, reads the whole answer, and returns its status and headers.
func (c *conn) do(request []byte) (int, http.Header, error) {
	if _, err := c.c.Write(request); err != nil {
		return 0, nil, err
	}
	a, err := http.ReadResponse(c.r, nil)
	if err != nil {
		return 0, nil, err
	}
	_, err = io.Copy(io.Discard, a.Body)
	return a.StatusCode, a.Header, errors.Join(err, a.Body.Close())
}

func (c *conn) Close() error { return c.c.Close() }
