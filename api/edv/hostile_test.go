package edv_test

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/api/edv"
	"github.com/cofferhq/coffer/node/vault"
)

// TestUnreadBody sends requests that are refused before their bodies have come, and never sends the rest: the answer
// comes all the same, and the connection is given up.
func TestUnreadBody(t *testing.T) {
	w := newWire(t, vault.Limits{}, nil)
	doc := w.document(w.insert(t))
	for name, c := range map[string]call{
		"a stranger's":       {as: w.bob, url: "documents", body: strings.Repeat("x", 50000)},
		"a raw chunk's head": {url: doc + "/chunks/0", contentType: edv.RawChunkType, body: "\x00\x00\x00\x00" + strings.Repeat("x", 50000)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := w.request(t, c)
			conn, err := net.Dial("tcp", w.at.Listener.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: %s\r\nContent-Length: %d\r\n", r.URL.RequestURI(), r.Host, len(c.body))
			if err := r.Header.Write(conn); err != nil {
				t.Fatal(err)
			}
			fmt.Fprintf(conn, "\r\n%s", c.body[:10])
			if err := conn.SetReadDeadline(time.Now().Add(soon)); err != nil {
				t.Fatal(err)
			}
			in := bufio.NewReader(conn)
			resp, err := http.ReadResponse(in, nil)
			if err != nil {
				t.Fatalf("no answer: %v", err)
			}
			resp.Body.Close()
			if resp.StatusCode/100 != 4 || !resp.Close {
				t.Errorf("answered %d, and keeps the connection: %v", resp.StatusCode, !resp.Close)
			}
		})
	}
}

// TestRotatedKey checks that a capability is refused some time after the key that delegated it has left its owner's
// identity document, however often it is used.
func TestRotatedKey(t *testing.T) {
	var gone atomic.Bool
	var ahead atomic.Int64
	w := newWire(t, vault.Limits{}, func(o *edv.ServerOptions) {
		key := o.Key
		o.Key = func(ctx context.Context, id string, p coffer.Purpose) (coffer.Verifier, error) {
			if p == coffer.Delegation && gone.Load() {
				return nil, coffer.Errorf("key", coffer.NotExist, "no such key")
			}
			return key(ctx, id, p)
		}
		o.Now = func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
		o.Skew = time.Hour
	})
	id := w.insert(t)
	c := call{as: w.bob, by: w.delegate(t, w.document(id), "read"), url: w.document(id)}
	w.do(t, c).want(t, "200")
	gone.Store(true)
	for range 4 {
		ahead.Add(int64(2 * time.Minute))
		w.do(t, c)
	}
	w.do(t, c).want(t, "403 NotAllowedError notExist")
}

// TestUnservableChunk puts raw chunks whose JSON form could not be made, or would be another chunk.
func TestUnservableChunk(t *testing.T) {
	w := newWire(t, vault.Limits{}, nil)
	url := w.document(w.insert(t)) + "/chunks/0"
	head := strings.Replace(fmt.Sprintf(`{"index":0,"offset":3,"sequence":0,"jwe":%s}`, jwe), `"ciphertext":"AAAA"`, `"ciphertext":""`, 1)
	for name, head := range map[string]string{
		"spaced":  strings.Replace(head, `"ciphertext":`, `"ciphertext": `, 1),
		"escaped": strings.Replace(head, `"ciphertext":`, `"\u0063iphertext":`, 1),
		"a decoy": strings.Replace(strings.Replace(head, `"ciphertext":"",`, ``, 1), `"recipients":[{"header":{`, `"ciphertext":"","recipients":[{"header":{"x":{"ciphertext":"decoy"},`, 1),
	} {
		t.Run(name, func(t *testing.T) {
			body := string(edv.JoinRaw([]byte(head), []byte("abc")))
			w.do(t, call{url: url, contentType: edv.RawChunkType, body: body}).want(t, "400 ValidationError invalid")
		})
	}
}

// TestForeignCapability hands a client a capability for a vault of another server. It must not be sent there.
func TestForeignCapability(t *testing.T) {
	w := newWire(t, vault.Limits{}, nil)
	var asked atomic.Int32
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked.Add(1) }))
	defer other.Close()
	elsewhere := other.URL + "/edvs/" + coffer.NewVaultID().String()
	capability := delegate(t, w.alice, elsewhere, w.bob, elsewhere, time.Now().Add(time.Hour))
	c, err := edv.NewClient(edv.ClientOptions{Base: w.at.URL, Keyring: w.bob, Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	v, err := c.Vault(w.at.URL+"/edvs/"+coffer.NewVaultID().String(), capability)
	if err == nil {
		_, err = v.Get(t.Context(), coffer.NewObjectID())
	}
	if coffer.KindOf(err) != coffer.Invalid || asked.Load() > 0 {
		t.Errorf("%v; the other server was asked %d times", err, asked.Load())
	}
}
