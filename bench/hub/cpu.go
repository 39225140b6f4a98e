package main

import (
	"bytes"
	"context"
	"crypto"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"syscall"
	"time"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/api/hub"
	"github.com/cofferhq/coffer/keyring"
	"github.com/cofferhq/coffer/merge"
)

// schema is what is written.
var schema = coffer.ObjectQuery{Interface: coffer.CollectionsInterface, Context: "http://schema.org", Type: "MusicPlaylist"}

// A person writes to the own hub.
type person struct {
	method string // of the hub's identifier that requests are encrypted to
	name   string
	hub.Requester
	crypto func(commit bool) // what a request costs of cryptography at the hub, with a commit or without
}

// people returns one person for each kind of envelope.
func people() ([]*person, error) {
	set := keyring.NewJWKSet("")
	if err := set.Generate("0", "RSA", ""); err != nil {
		return nil, err
	}
	set = set.Under(keyring.JWKDID(set.Public("#0")))
	withRSA, err := bareRSA()
	if err != nil {
		return nil, err
	}
	withCurves, err := bareCurves()
	if err != nil {
		return nil, err
	}
	return []*person{
		{"jwk", "RS256, RSA-OAEP", hub.SetRequester(set, set.KeyIDs()[0]), withRSA},
		{"key", "EdDSA, X25519", hub.KeyringRequester(keyring.Generate()), withCurves},
	}, nil
}

// commit returns a commit that creates an object.
func (p *person) commit(ctx context.Context, i int) (*coffer.Commit, error) {
	h := merge.Header{
		Alg: p.Algorithm(), KeyID: p.KeyID(), Interface: schema.Interface, Context: schema.Context, Type: schema.Type,
		Operation: "create", Strategy: merge.Basic, Sub: p.DID(), CommittedAt: time.Now(),
	}
	payload := fmt.Appendf(nil, `{"@context":"http://schema.org","@type":"MusicPlaylist","number":%d,"name":"%0512d"}`, i, i)
	return merge.Build(h, payload, func(input []byte) ([]byte, error) { return p.SignInput(ctx, coffer.Assertion, input) })
}

// A catcher keeps envelopes that a client makes, once it has a token, and sends none of them.
type catcher struct {
	mu     sync.Mutex
	on     bool
	caught [][]byte
}

// RoundTrip keeps the request's body, and answers that it is of no use, or sends it.
func (c *catcher) RoundTrip(r *http.Request) (*http.Response, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.on {
		return http.DefaultTransport.RoundTrip(r)
	}
	b, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	c.caught = append(c.caught, b)
	return &http.Response{StatusCode: http.StatusBadRequest, Body: http.NoBody, Request: r}, nil
}

// rounds is how often cofferd and bare cryptography take turns.
const rounds = 5

// cpu compares what requests cost cofferd of the processor with what their cryptography costs.
func (p *program) cpu(ctx context.Context, d *daemon) error {
	fmt.Fprintf(p.out, "\nProcessor time for one request of %d, %d at a time, and of its cryptography alone, taking turns %d times:\n\n",
		p.requests, inFlight, rounds)
	fmt.Fprintln(p.out, "| envelope | request | cofferd | cryptography | ratio |")
	fmt.Fprintln(p.out, "| --- | --- | ---: | ---: | ---: |")
	all, err := people()
	if err != nil {
		return err
	}
	for _, who := range all {
		c := &catcher{}
		h, err := d.client(ctx, who.method, who, c)
		if err != nil {
			return err
		}
		if _, err := h.Write(ctx, who.DID(), must(who.commit(ctx, -1))); err != nil { // makes the hub, and gets a token
			return err
		}
		for _, kind := range []string{"write", "query of one object", "query of ten"} {
			c.on, c.caught = true, nil
			for i := range p.requests {
				if kind == "write" {
					_, err = h.Write(ctx, who.DID(), must(who.commit(ctx, i)))
				} else {
					q := schema
					if q.Limit = 1; kind == "query of ten" {
						q.Limit = 10
					}
					_, err = h.Objects(ctx, who.DID(), &q)
				}
				if err == nil {
					return errors.New("an envelope got through")
				}
			}
			c.on = false
			if len(c.caught) < p.requests {
				return fmt.Errorf("%d envelopes: %w", len(c.caught), err)
			}
			var ours, bare time.Duration
			for round := range rounds {
				part := c.caught[round*p.requests/rounds : (round+1)*p.requests/rounds]
				before, err := d.cpu()
				if err != nil {
					return err
				}
				if err := d.send(part); err != nil {
					return err
				}
				after, err := d.cpu()
				if err != nil {
					return err
				}
				ours += after - before
				begin := used()
				inParallel(part, func([]byte) error { who.crypto(kind == "write"); return nil })
				bare += used() - begin
			}
			n := time.Duration(p.requests)
			fmt.Fprintf(p.out, "| %s | %s | %v | %v | %.2f |\n", who.name, kind,
				(ours / n).Round(time.Microsecond), (bare / n).Round(time.Microsecond), float64(ours)/float64(bare))
		}
	}
	return nil
}

// send posts envelopes.
func (d *daemon) send(envelopes [][]byte) error {
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: inFlight}}
	defer client.CloseIdleConnections()
	return inParallel(envelopes, func(body []byte) error {
		r, err := client.Post(d.base+"/.identity", hub.ContentType, bytes.NewReader(body))
		if err != nil {
			return err
		}
		defer r.Body.Close()
		if _, err := io.Copy(io.Discard, r.Body); err != nil {
			return err
		}
		if r.StatusCode != http.StatusOK {
			return fmt.Errorf("status %d", r.StatusCode)
		}
		return nil
	})
}

// inFlight is how many requests are on their way at once.
const inFlight = 16

// inParallel handles envelopes, so many at a time: what shares a processor with others costs more of it.
func inParallel(envelopes [][]byte, do func([]byte) error) error {
	var wg sync.WaitGroup
	work := make(chan []byte)
	errs := make([]error, inFlight)
	for i := range errs {
		wg.Go(func() {
			for body := range work {
				if err := do(body); err != nil {
					errs[i] = err
				}
			}
		})
	}
	for _, body := range envelopes {
		work <- body
	}
	close(work)
	wg.Wait()
	return errors.Join(errs...)
}

// used returns what this process has used of the processor.
func used() time.Duration {
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		panic(err)
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

// bareRSA returns what opens a request and seals an answer, and nothing else: OAEP and GCM to open, RS256 of the request
// and of a commit to verify, RS256 to sign, OAEP and GCM to seal.
func bareRSA() (func(commit bool), error) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return nil, err
	}
	message := make([]byte, 1500)
	sum := sha256.Sum256(message)
	signature := must(rsa.SignPKCS1v15(nil, key, crypto.SHA256, sum[:]))
	content := make([]byte, 16)
	wrapped := must(rsa.EncryptOAEP(sha1.New(), rand.Reader, &key.PublicKey, content, nil))
	return func(commit bool) {
		must(rsa.DecryptOAEP(sha1.New(), nil, key, wrapped, nil))
		gcm(content, message)
		times := 1
		if commit {
			times = 2
		}
		for range times {
			sum := sha256.Sum256(message)
			if err := rsa.VerifyPKCS1v15(&key.PublicKey, crypto.SHA256, sum[:], signature); err != nil {
				panic(err)
			}
		}
		sum := sha256.Sum256(message)
		must(rsa.SignPKCS1v15(nil, key, crypto.SHA256, sum[:]))
		must(rsa.EncryptOAEP(sha1.New(), rand.Reader, &key.PublicKey, content, nil))
		gcm(content, message)
	}, nil
}

// bareCurves is bareRSA for Ed25519 and X25519.
func bareCurves() (func(commit bool), error) {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	message := make([]byte, 1500)
	signature := ed25519.Sign(private, message)
	own, other := must(ecdh.X25519().GenerateKey(rand.Reader)), must(ecdh.X25519().GenerateKey(rand.Reader))
	content := make([]byte, 32)
	return func(commit bool) {
		must(own.ECDH(other.PublicKey()))
		gcm(content, message)
		times := 1
		if commit {
			times = 2
		}
		for range times {
			if !ed25519.Verify(public, message, signature) {
				panic("no signature")
			}
		}
		ed25519.Sign(private, message)
		must(must(ecdh.X25519().GenerateKey(rand.Reader)).ECDH(other.PublicKey()))
		gcm(content, message)
	}, nil
}

// gcm encrypts.
func gcm(key, message []byte) {
	aead := must(cipher.NewGCM(must(aes.NewCipher(key))))
	aead.Seal(nil, make([]byte, aead.NonceSize()), message, nil)
}

// must returns the value. What fails here is broken.
func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
