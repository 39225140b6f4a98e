// Package node puts one provider together, runs it and stops it: stores, vaults, the wire, health and metrics.
//
// A provider keeps what it cannot read: nothing that this package links knows how a document is sealed.
package node

import (
	"context"
	"crypto/ed25519"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/acme/autocert"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/api/edv"
	"github.com/cofferhq/coffer/grant"
	"github.com/cofferhq/coffer/ident"
	"github.com/cofferhq/coffer/keyring"
	"github.com/cofferhq/coffer/ledger"
	"github.com/cofferhq/coffer/node/vault"
	"github.com/cofferhq/coffer/store"
	"github.com/cofferhq/coffer/store/blob"
)

// A Config says what a node is to be. Data is needed; everything else has a default.
type Config struct {
	Data   string // folder of everything the node keeps, but for what Store and Blobs say
	Store  string // where the documents are: a postgres:// URL, which several nodes may share; empty: in Data
	Blobs  string // where the chunks are: an s3:// or s3+http:// URL; empty: in Data, and so for one node only
	Access Access // to the bucket, when Blobs does not have it

	CreateBucket bool // make the bucket if there is none

	Listen string // address to listen at; port 0 is any. Default 127.0.0.1:4747
	Origin string // scheme, host and port under which clients know the node. Default: where it listens

	TLSCert, TLSKey     string // files; HTTPS with them
	ACMEHost, ACMECache string // HTTPS with a certificate for the host from an ACME authority, kept in the folder

	Limits   vault.Limits
	Creators []string    // who may create vaults; empty is everybody, each for themselves
	Pins     []ident.Pin // names whose keys are known beforehand
	AllowWeb []string    // hosts whose did:web identifiers are looked up; see ident.Options
	Resolver string      // URL of a universal resolver, which is asked about DIDs of other methods; empty: nobody is asked
	Hub      Hub         // the identity hubs that the node has
	Version  string      // of the software, for the description
	Memory   int64       // bytes for the store's caches; 0 is the store's default

	LogKey ed25519.PrivateKey // signs checkpoints of vaults; nil: one is made at the first start and kept in Data

	Admission Admission     // how much is served at once
	Slow      time.Duration // requests that took as long are logged; 0 is none
	Traces    string        // URL of a collector of OpenTelemetry traces, by OTLP over HTTP; empty: none are made

	Log *slog.Logger     // nil: nothing is logged
	Now func() time.Time // nil: time.Now
}

// Access is what a bucket's server knows us by.
type Access struct{ Key, Secret, Token string }

// DefaultListen is where a node listens when it is not told: loopback only.
const DefaultListen = "127.0.0.1:4747"

// The folders and files below Config.Data.
const (
	documentsFolder = "documents"
	chunksFolder    = "chunks"
	identityFile    = "node.json"
	identityKeyFile = "node.key"
	logKeyFile      = "log.key"
)

// transferTime bounds receiving a request and sending an answer: 10 MB take that long at 17 kB a second.
const transferTime = 10 * time.Minute

// shutdownTime is how long requests under way may take once the node is told to stop.
const shutdownTime = 15 * time.Second

// A Node is a provider, open and listening.
type Node struct {
	config    Config
	log       *slog.Logger
	started   time.Time
	disks     *Disks
	vaults    *vault.Service
	listener  net.Listener
	tls       *tls.Config
	origin    string
	resolver  *ident.Resolver
	did       string
	ring      *keyring.Ring // the node's own keys
	signer    *ledger.Signer
	wire      *edv.Server
	hubs      *hubs // nil: there are none
	handler   http.Handler
	metrics   *metrics
	gauges    *gauges
	traces    *traces // nil: none are made
	entrances *entrances
	control   *control           // nil: there is none
	uncount   context.CancelFunc // ends counting for the gauges
	ready     atomic.Bool
	close     sync.Once
	closeErr  error
}

// Open opens the node's stores, making them if there are none, and listens. Connections wait until [Node.Serve].
// Invalid when the configuration makes no sense.
func Open(ctx context.Context, c Config) (*Node, error) {
	const op = "open node"
	if c.Data == "" {
		return nil, coffer.Errorf(op, coffer.Invalid, "no data folder given")
	}
	c.setDefaults()
	n := &Node{config: c, log: c.Log, started: time.Now(), metrics: newMetrics(), entrances: newEntrances(c.Admission)}
	if err := n.open(ctx); err != nil {
		if n.disks != nil {
			err = errors.Join(err, n.disks.abandon())
		}
		return nil, errors.Join(err, n.Close())
	}
	return n, nil
}

// open opens all that the node is made of. After a failure the node is to be closed.
func (n *Node) open(ctx context.Context) (err error) {
	const op = "open node"
	c := n.config
	// Nothing is made before it is known that the configuration makes sense.
	disks, err := c.disks()
	if err != nil {
		return err
	}
	if n.tls, err = c.tls(); err != nil {
		return err
	}
	if err := c.Hub.check(); err != nil {
		return err
	}
	if n.resolver, err = c.resolver(); err != nil {
		return err
	}
	if c.Traces != "" {
		if n.traces, err = newTraces(ctx, c.Traces, c.Version); err != nil {
			return err
		}
	}
	if n.listener, err = new(net.ListenConfig).Listen(ctx, "tcp", c.Listen); err != nil {
		return coffer.E(op, coffer.Unavailable, fmt.Errorf("cannot listen: %w", err))
	}
	if n.origin, err = c.origin(n.listener.Addr()); err != nil {
		return err
	}
	if err := disks.open(ctx); err != nil {
		return err
	}
	n.disks = disks
	if disks.Shared() {
		err = n.join(ctx)
	} else {
		err = n.keys()
	}
	if err != nil {
		return err
	}
	var documents store.Store = disks.documents
	var chunks blob.Store = disks.chunks
	if n.traces != nil {
		documents, chunks = n.traces.documents(documents), &tracedBlobs{chunks, n.traces}
	}
	n.vaults = vault.New(vault.Options{
		Store: documents, Blobs: chunks, Now: c.Now, Limits: c.Limits, Signer: n.signer,
		Target: func(id coffer.VaultID) string { return n.origin + "/edvs/" + id.String() },

		SharedBlobs: c.Blobs != "", // an older copy of this node, perhaps
	})
	counting, uncount := context.WithCancel(context.WithoutCancel(ctx))
	n.uncount = uncount
	n.gauges = &gauges{count: func() (*Stats, error) { return disks.Stats(counting, false) }}
	n.metrics.watch(n.entrances, n.gauges)
	if n.control, err = n.newControl(); err != nil {
		n.log.Warn("there is no control socket: statistics and backups are to be had when the node is stopped", "error", err)
	}
	n.hubs = n.newHubs()
	return n.routes()
}

// resolver returns what finds out about identifiers.
func (c *Config) resolver() (*ident.Resolver, error) {
	o := ident.Options{Pinned: c.Pins, AllowWeb: c.AllowWeb}
	if c.Resolver != "" {
		other, err := ident.NewRemote(c.Resolver, nil)
		if err != nil {
			return nil, err
		}
		o.Other = other
	}
	return ident.New(o)
}

// identity returns the node's own keys, made at the first start.
func identity(data string) (*keyring.Ring, error) {
	path := filepath.Join(data, identityFile)
	keyFile := filepath.Join(data, identityKeyFile)
	k, err := keyring.Load(path, keyring.Unlock{KeyFile: keyFile})
	if errors.Is(err, coffer.NotExist) {
		k = keyring.Generate()
		err = keyring.Save(path, k, keyring.KeyFile(keyFile))
	}
	if err != nil {
		return nil, err
	}
	return k, nil
}

func (c *Config) tls() (*tls.Config, error) {
	const op = "node TLS"
	switch {
	case c.ACMEHost != "" && (c.TLSCert != "" || c.TLSKey != ""):
		return nil, coffer.Errorf(op, coffer.Invalid, "a certificate comes from files or from ACME, not both")
	case c.ACMEHost != "":
		cache := c.ACMECache
		if cache == "" {
			cache = filepath.Join(c.Data, "acme")
		}
		m := &autocert.Manager{
			Prompt:     autocert.AcceptTOS,
			HostPolicy: autocert.HostWhitelist(c.ACMEHost),
			Cache:      autocert.DirCache(cache),
		}
		return m.TLSConfig(), nil
	case c.TLSCert != "" || c.TLSKey != "":
		cert, err := tls.LoadX509KeyPair(c.TLSCert, c.TLSKey)
		if err != nil {
			return nil, coffer.E(op, coffer.Invalid, err)
		}
		return &tls.Config{
			Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"},
		}, nil
	}
	return nil, nil
}

// origin returns the origin that was configured, or the one that the address makes.
func (c *Config) origin(addr net.Addr) (string, error) {
	if c.Origin == "" {
		scheme, host := "http", addr.String()
		if c.TLSCert != "" || c.ACMEHost != "" {
			scheme = "https"
		}
		if c.ACMEHost != "" {
			host = c.ACMEHost
		}
		return scheme + "://" + host, nil
	}
	origin := strings.TrimSuffix(c.Origin, "/")
	u, err := url.Parse(origin)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.Scheme+"://"+u.Host != origin {
		return "", coffer.Errorf("node origin", coffer.Invalid,
			"must be scheme, host and perhaps port, as in https://vault.example")
	}
	return origin, nil
}

// routes puts the wire, health and metrics behind one handler.
func (n *Node) routes() (err error) {
	l := n.config.Limits
	n.wire, err = edv.NewServer(edv.ServerOptions{
		Host:     host{n.vaults},
		Origin:   n.origin,
		NodeDID:  n.did,
		LogKey:   n.signer.Verifier().String(),
		Version:  n.config.Version,
		Key:      n.resolver.Key,
		Resolve:  n.resolve,
		Now:      n.config.Now,
		Limits:   edv.Limits{Document: l.Document, Chunk: l.Chunk},
		Creators: n.config.Creators,
		Observe:  n.metrics.observe,
		Report:   func(route string, err error) { n.log.Error("request", "route", route, "error", err) },
	})
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", n.metrics.handler())
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		if !n.ready.Load() || !n.disks.answer(r.Context()) {
			http.Error(w, "not ready", http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ready")
	})
	// Not through the mux: it would clean paths, and authority is decided on them as they were sent.
	n.handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/metrics", "/healthz", "/readyz":
			mux.ServeHTTP(w, r)
		default:
			n.serve(w, r)
		}
	})
	return nil
}

// resolve answers as a universal resolver does.
func (n *Node) resolve(ctx context.Context, id string) (status int, body []byte) {
	if n.hubs != nil {
		return n.hubs.resolve(ctx, id)
	}
	return ident.Resolution(ctx, n.resolver, id)
}

// A host gives the wire the vaults.
type host struct{ *vault.Service }

// As returns the vault as the caller may see it.
func (h host) As(caller grant.Caller, id coffer.VaultID) edv.View { return h.Service.As(caller, id) }

// Addr returns the address at which the node listens.
func (n *Node) Addr() net.Addr { return n.listener.Addr() }

// Origin returns the origin under which clients know the node.
func (n *Node) Origin() string { return n.origin }

// DID returns the node's own identifier.
func (n *Node) DID() string { return n.did }

// Serve answers requests until ctx ends. Then it takes no more, lets those under way finish within bounds, and closes
// the node. It returns nil after an orderly end, and Unavailable when the store failed for good: whoever keeps the node
// running is to start it again.
func (n *Node) Serve(ctx context.Context) error {
	defer n.Close()
	background, stop := context.WithCancel(context.WithoutCancel(ctx))
	srv := &http.Server{
		Handler:           n.handler,
		TLSConfig:         n.tls,
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       transferTime,
		WriteTimeout:      transferTime, // requests that wait set their own
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          slog.NewLogLogger(quiet{n.log.Handler()}, slog.LevelDebug),
	}
	srv.RegisterOnShutdown(n.wire.Close) // ends the feeds that are followed, which would never end by themselves
	var wg sync.WaitGroup
	wg.Go(func() { n.vaults.Tend(background, n.log) })
	if n.control != nil {
		wg.Go(func() { n.control.serve(background) })
	}
	failed := make(chan error, 1)
	go func() {
		n.ready.Store(true)
		if n.tls != nil {
			failed <- srv.ServeTLS(n.listener, "", "")
		} else {
			failed <- srv.Serve(n.listener)
		}
	}()
	n.log.Info("serving")
	var broken <-chan struct{}
	if b, can := n.disks.documents.(store.Breakable); can {
		broken = b.Broken()
	}
	var err, failure error
	select {
	case err = <-failed:
	case <-broken:
		failure = coffer.Errorf("node", coffer.Unavailable, "the store failed: see to its disk, and start the node again")
	case <-ctx.Done():
	}
	if err == nil {
		n.ready.Store(false)
		n.log.Info("stopping")
		bound, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTime)
		err = srv.Shutdown(bound)
		cancel()
		if err != nil {
			err = errors.Join(err, srv.Close())
		}
	}
	stop()
	wg.Wait()
	if errors.Is(err, http.ErrServerClosed) {
		err = nil
	}
	if failure != nil {
		_ = n.Close() // it says the same
		return failure
	}
	return errors.Join(err, n.Close())
}

// Check reads everything that the node keeps; see [Disks.Check].
func (n *Node) Check(ctx context.Context, report func(string)) error {
	return n.disks.Check(ctx, report, nil)
}

// Backup copies what the node keeps into a new folder; see [Disks.Backup]. The node goes on meanwhile, but removes no
// chunks.
func (n *Node) Backup(ctx context.Context, dir string) (*Manifest, error) {
	return n.disks.Backup(ctx, dir)
}

// Close closes the node without waiting for requests.
func (n *Node) Close() error {
	n.close.Do(func() {
		var errs []error
		if n.listener != nil {
			if err := n.listener.Close(); !errors.Is(err, net.ErrClosed) {
				errs = append(errs, err)
			}
		}
		if n.control != nil {
			n.control.close()
		}
		if n.gauges != nil {
			n.uncount()
			n.gauges.close()
		}
		if n.disks != nil {
			errs = append(errs, n.disks.Close())
		}
		if n.traces != nil {
			n.traces.close()
		}
		if n.ring != nil {
			errs = append(errs, n.ring.Close())
		}
		n.closeErr = errors.Join(errs...)
	})
	return n.closeErr
}

// quiet passes on a record without what it says about peers: net/http puts their addresses into its messages.
type quiet struct{ slog.Handler }

// Handle logs that something went wrong on a connection.
func (q quiet) Handle(ctx context.Context, r slog.Record) error {
	return q.Handler.Handle(ctx, slog.NewRecord(r.Time, r.Level, "a connection failed", r.PC))
}
