//go:build unix

package hub

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
	"fmt"
	"io"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cofferhq/coffer"
)

// BenchmarkRound is what a query for ten objects costs in this process under one token. "both" is both ends, asking and
// answering, "server" the server alone. "cryptography" is what the two ends sign, verify, encrypt and decrypt in a
// round, of texts as long as theirs and with the standard library alone, "server-cryptography" the server's part of it.
// The store and the network cost nothing. cpu-ns/op is what counts on a machine with others on it.
func BenchmarkRound(b *testing.B) {
	for _, suite := range []struct {
		name, from, to, reads string
		here, there           party
	}{
		{"RS256+RSA-OAEP", alice + "#key-1", hubDID + "#key-1", alice + "#key-1", newRSAParty(), newRSAParty()},
		{"EdDSA+X25519", modern + "#Ed25519", hubDID + "#X25519", modern + "#X25519", newModernParty(), newModernParty()},
	} {
		w := newWorld(b, func(o *ServerOptions) { o.Now, o.Observe = time.Now, nil })
		w.facts.Key = remembered(w.key)
		did, _, _ := strings.Cut(suite.from, "#")
		_, tail, _ := strings.Cut(suite.to, "#")
		for i := range 10 {
			w.host.objects.Objects = append(w.host.objects.Objects, coffer.HubObject{
				Interface: "Collections", Context: "http://schema.org", Type: "MusicPlaylist", ID: coffer.CommitRev{byte(i)},
				CreatedBy: did, CreatedAt: w.now, Sub: did, Strategy: "basic", UpdatedBy: did, UpdatedAt: w.now,
			})
		}
		c, _ := w.client(b, SetRequester(w.known[did], suite.from), func(o *ClientOptions) {
			o.Hub, o.Key, o.Now = w.identity(b, hubDID, tail), w.facts.Key, time.Now
			o.HTTP = &http.Client{Transport: inProcess{w.Server}}
		})
		request := strings.ReplaceAll(asked(objectQueryRequest,
			`"query":{"interface":"Collections","context":"http://schema.org","type":"MusicPlaylist"}`), modern, did)
		l := letter{from: suite.from, to: suite.to, payload: request}
		w.now = time.Now()
		_, answer := w.opened(b, w.post(w.sealed(b, l)), suite.reads)
		question := make([]byte, (len(request)+220)*4/3+suite.here.signature())
		reply := make([]byte, (len(answer)+100)*4/3+suite.here.signature())

		b.Run(suite.name+"/both", func(b *testing.B) {
			q := &coffer.ObjectQuery{Interface: "Collections", Context: "http://schema.org", Type: "MusicPlaylist"}
			defer spent(b)()
			for b.Loop() {
				if page, err := c.Objects(b.Context(), did, q); err != nil || len(page.Objects) != 10 {
					b.Fatal(err)
				}
			}
		})
		b.Run(suite.name+"/cryptography", func(b *testing.B) {
			defer spent(b)()
			for b.Loop() {
				suite.there.receive(suite.here, suite.here.send(suite.there, question))
				suite.here.receive(suite.there, suite.there.send(suite.here, reply))
			}
		})
		b.Run(suite.name+"/server", func(b *testing.B) {
			a := &sink{header: make(http.Header)}
			requests := make([]*http.Request, b.N)
			for i := range requests {
				w.now = time.Now()
				requests[i], _ = http.NewRequest("POST", "/", strings.NewReader(w.sealed(b, l)))
				requests[i].Header["Content-Type"] = envelopeType
			}
			b.ResetTimer()
			defer spent(b)()
			for _, r := range requests {
				w.ServeHTTP(a, r)
			}
			if a.header["Content-Type"][0] != ContentType {
				b.Fatal(string(a.body))
			}
		})
		b.Run(suite.name+"/server-cryptography", func(b *testing.B) {
			sent := suite.here.send(suite.there, question)
			defer spent(b)()
			for b.Loop() {
				suite.there.receive(suite.here, sent)
				suite.there.send(suite.here, reply)
			}
		})
	}
}

// spent reports the time that this process has computed from now on.
func spent(b *testing.B) func() {
	cpu := func() int64 {
		var u syscall.Rusage
		must(syscall.Getrusage(syscall.RUSAGE_SELF, &u))
		return u.Utime.Nano() + u.Stime.Nano()
	}
	start := cpu()
	return func() { b.ReportMetric(float64(cpu()-start)/float64(b.N), "cpu-ns/op") }
}

// sink takes an answer.
type sink struct {
	header http.Header
	body   []byte
}

func (s *sink) Header() http.Header { return s.header }
func (s *sink) WriteHeader(int)     {}

func (s *sink) Write(b []byte) (int, error) {
	s.body = append(s.body[:0], b...)
	return len(b), nil
}

// WriteString copies as little as a connection does.
func (s *sink) WriteString(text string) (int, error) {
	s.body = append(s.body[:0], text...)
	return len(text), nil
}

// inProcess carries requests to a server.
type inProcess struct{ to http.Handler }

func (p inProcess) RoundTrip(r *http.Request) (*http.Response, error) {
	a := &sink{header: make(http.Header)}
	p.to.ServeHTTP(a, r)
	return &http.Response{StatusCode: 200, Header: a.header, Body: io.NopCloser(bytes.NewReader(a.body)), Request: r}, nil
}

// remembered keeps the keys that were found, as a resolver does.
func remembered(
	find func(context.Context, string, string, coffer.Purpose) (coffer.Verifier, error),
) func(context.Context, string, string, coffer.Purpose) (coffer.Verifier, error) {
	found := make(map[string]coffer.Verifier)
	return func(ctx context.Context, keyID, alg string, p coffer.Purpose) (coffer.Verifier, error) {
		if v := found[keyID]; v != nil {
			return v, nil
		}
		v, err := find(ctx, keyID, alg, p)
		if err == nil {
			found[keyID] = v
		}
		return v, err
	}
}

// A party signs and encrypts, and decrypts and verifies, and does nothing more.
type party interface {
	signature() int // length
	send(to party, text []byte) *sealedText
	receive(from party, s *sealedText)
}

type sealedText struct{ signature, key, content []byte }

type rsaParty struct{ *rsa.PrivateKey }

func newRSAParty() party {
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	must(err)
	return rsaParty{k}
}

func (p rsaParty) signature() int { return 342 }

func (p rsaParty) send(to party, text []byte) *sealedText {
	h := sha256.Sum256(text)
	signature, err := rsa.SignPKCS1v15(nil, p.PrivateKey, crypto.SHA256, h[:])
	must(err)
	cek := make([]byte, 16)
	rand.Read(cek)
	key, err := rsa.EncryptOAEP(sha1.New(), rand.Reader, &to.(rsaParty).PublicKey, cek, nil)
	must(err)
	return &sealedText{signature, key, gcm(cek).Seal(nil, make([]byte, 12), text, nil)}
}

func (p rsaParty) receive(from party, s *sealedText) {
	cek, err := rsa.DecryptOAEP(sha1.New(), nil, p.PrivateKey, s.key, nil)
	must(err)
	text, err := gcm(cek).Open(nil, make([]byte, 12), s.content, nil)
	must(err)
	h := sha256.Sum256(text)
	must(rsa.VerifyPKCS1v15(&from.(rsaParty).PublicKey, crypto.SHA256, h[:], s.signature))
}

type modernParty struct {
	sign  ed25519.PrivateKey
	agree *ecdh.PrivateKey
}

func newModernParty() party {
	_, sign, err := ed25519.GenerateKey(rand.Reader)
	must(err)
	agree, err := ecdh.X25519().GenerateKey(rand.Reader)
	must(err)
	return modernParty{sign, agree}
}

func (p modernParty) signature() int { return 86 }

func (p modernParty) send(to party, text []byte) *sealedText {
	ephemeral, err := ecdh.X25519().GenerateKey(rand.Reader)
	must(err)
	z, err := ephemeral.ECDH(to.(modernParty).agree.PublicKey())
	must(err)
	cek := sha256.Sum256(z)
	content := gcm(cek[:]).Seal(nil, make([]byte, 12), text, nil)
	return &sealedText{ed25519.Sign(p.sign, text), ephemeral.PublicKey().Bytes(), content}
}

func (p modernParty) receive(from party, s *sealedText) {
	ephemeral, err := ecdh.X25519().NewPublicKey(s.key)
	must(err)
	z, err := p.agree.ECDH(ephemeral)
	must(err)
	cek := sha256.Sum256(z)
	text, err := gcm(cek[:]).Open(nil, make([]byte, 12), s.content, nil)
	must(err)
	if !ed25519.Verify(from.(modernParty).sign.Public().(ed25519.PublicKey), text, s.signature) {
		panic("bad signature")
	}
}

func gcm(key []byte) cipher.AEAD {
	block, err := aes.NewCipher(key)
	must(err)
	a, err := cipher.NewGCM(block)
	must(err)
	return a
}

func must(err error) {
	if err != nil {
		panic(fmt.Sprint("benchmark: ", err))
	}
}
