package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"

	engine "github.com/cockroachdb/pebble/v2"
	"github.com/oasisprotocol/curve25519-voi/primitives/ed25519"

	"github.com/cofferhq/coffer"
)

// A probe does what a node does for an owner, and no more: it verifies the signature with a key kept ready and the
// body's digest, and reads or writes a synced Pebble. It knows no vaults, no capabilities, no conflicts, no feed's
// readers, no limits.
type probe struct {
	db   *engine.DB
	keys sync.Map
	feed atomic.Uint64
}

func serveProbe(dir string) error {
	cache := engine.NewCache(128 << 20)
	db, err := engine.Open(dir, &engine.Options{Cache: cache, MemTableSize: 16 << 20, Logger: silent{}})
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println("http://" + l.Addr().String())
	return http.Serve(l, &probe{db: db})
}

type silent struct{}

func (silent) Infof(string, ...any)  {}
func (silent) Errorf(string, ...any) {}
func (silent) Fatalf(f string, a ...any) {
	panic(fmt.Sprintf(f, a...))
}

var verifyOptions = &ed25519.Options{Verify: ed25519.VerifyOptionsStdLib}

// authentic checks signature and digest.
func (p *probe) authentic(r *http.Request, body []byte) bool {
	parameters := map[string]string{}
	for part := range strings.SplitSeq(strings.TrimPrefix(r.Header.Get("Authorization"), "Signature "), ",") {
		name, value, _ := strings.Cut(part, "=")
		parameters[name] = strings.Trim(value, `"`)
	}
	var b strings.Builder
	for i, name := range strings.Fields(parameters["headers"]) {
		if i > 0 {
			b.WriteByte('\n')
		}
		b.WriteString(name)
		b.WriteString(": ")
		switch name {
		case "(key-id)":
			b.WriteString(parameters["keyId"])
		case "(created)", "(expires)":
			b.WriteString(parameters[name[1:len(name)-1]])
		case "(request-target)":
			b.WriteString(strings.ToLower(r.Method) + " " + r.RequestURI)
		case "host":
			b.WriteString(r.Host)
		default:
			b.WriteString(r.Header.Get(name))
		}
	}
	if len(body) > 0 {
		sum := sha256.Sum256(body)
		digest := append([]byte{0x12, 0x20}, sum[:]...)
		if r.Header.Get("Digest") != "mh=u"+base64.RawURLEncoding.EncodeToString(digest) {
			return false
		}
	}
	signature, err := base64.StdEncoding.DecodeString(parameters["signature"])
	if err != nil {
		return false
	}
	key, ok := p.keys.Load(parameters["keyId"])
	if !ok {
		_, fragment, _ := strings.Cut(parameters["keyId"], "#")
		raw, err := coffer.ParseMultibase(fragment)
		if err != nil || len(raw) != 34 {
			return false
		}
		expanded, err := ed25519.NewExpandedPublicKey(raw[2:])
		if err != nil {
			return false
		}
		key, _ = p.keys.LoadOrStore(parameters["keyId"], expanded)
	}
	return ed25519.VerifyExpandedWithOptions(key.(*ed25519.ExpandedPublicKey), []byte(b.String()), signature, verifyOptions)
}

func (p *probe) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 10<<20))
	if err != nil || !p.authentic(r, body) {
		http.Error(w, "refused", http.StatusForbidden)
		return
	}
	switch {
	case r.Method == http.MethodGet:
		err = p.get(w, r.URL.Path[strings.LastIndexByte(r.URL.Path, '/')+1:])
	case strings.HasSuffix(r.URL.Path, "/query"):
		err = p.find(w, body)
	default:
		if err = p.insert(body); err == nil {
			w.WriteHeader(http.StatusCreated)
		}
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
	}
}

func (p *probe) get(w http.ResponseWriter, id string) error {
	v, closer, err := p.db.Get([]byte("d" + id))
	if err != nil {
		return err
	}
	defer closer.Close()
	w.Header().Set("Content-Type", "application/json")
	_, err = w.Write(v)
	return err
}

func (p *probe) find(w http.ResponseWriter, body []byte) error {
	var q struct {
		Equals []map[string]string `json:"equals"`
	}
	if err := json.Unmarshal(body, &q); err != nil || len(q.Equals) != 1 {
		return fmt.Errorf("query: %v", err)
	}
	for name, value := range q.Equals[0] {
		prefix := []byte("t" + name + value)
		it, err := p.db.NewIter(&engine.IterOptions{LowerBound: prefix, UpperBound: append(bytes.Clone(prefix), 0xff)})
		if err != nil {
			return err
		}
		defer it.Close()
		w.Header().Set("Content-Type", "application/json")
		var out bytes.Buffer
		out.WriteString(`{"documents":[`)
		for ok := it.First(); ok; ok = it.Next() {
			v, closer, err := p.db.Get(append([]byte("d"), it.Key()[len(prefix):]...))
			if err != nil {
				return err
			}
			out.Write(v)
			closer.Close()
		}
		out.WriteString(`],"hasMore":false}`)
		_, err = w.Write(out.Bytes())
		return err
	}
	return nil
}

func (p *probe) insert(body []byte) error {
	var d struct {
		ID      string `json:"id"`
		Indexed []struct {
			Attributes []struct{ Name, Value string }
		}
	}
	if err := json.Unmarshal(body, &d); err != nil {
		return err
	}
	b := p.db.NewBatch()
	defer b.Close()
	b.Set([]byte("d"+d.ID), body, nil)
	for _, e := range d.Indexed {
		for _, a := range e.Attributes {
			b.Set([]byte("t"+a.Name+a.Value+d.ID), nil, nil)
		}
	}
	b.Set(binary.BigEndian.AppendUint64([]byte("f"), p.feed.Add(1)), []byte(d.ID), nil)
	return b.Commit(engine.Sync)
}
