package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"time"

	"github.com/cofferhq/coffer/ident"
	"github.com/cofferhq/coffer/node"
	"github.com/cofferhq/coffer/node/vault"
)

type serveCommand struct {
	disks
	CreateBucket bool `help:"Make the bucket if there is none."`

	Listen string `default:"${listen}" placeholder:"ADDR" help:"Address to listen at; port 0 takes any."`
	Origin string `placeholder:"URL" help:"Scheme and host under which clients know the node. Default: the address."`

	TLSCert   string `name:"tls-cert" placeholder:"FILE" help:"Certificate for HTTPS."`
	TLSKey    string `name:"tls-key" placeholder:"FILE" help:"Key of the certificate."`
	ACME      string `name:"acme" xor:"tls" placeholder:"HOST" help:"Get a certificate for the host by ACME."`
	ACMECache string `name:"acme-cache" placeholder:"DIR" help:"Where to keep it. Default: acme in the data folder."`

	MaxDocument    size    `default:"16MiB" placeholder:"SIZE" help:"Greatest document. Default: ${default}."`
	MaxChunk       size    `default:"16MiB" placeholder:"SIZE" help:"Greatest chunk. Default: ${default}."`
	QuotaBytes     size    `default:"0" placeholder:"SIZE" help:"What one vault may hold; 0 is no limit."`
	QuotaDocuments int64   `default:"0" placeholder:"N" help:"How many documents one vault may have; 0 is no limit."`
	QuotaVaults    int64   `default:"0" placeholder:"N" help:"How many vaults the node may have; 0 is no limit."`
	Rate           float64 `default:"0" placeholder:"N" help:"Requests a second to one vault; 0 is no limit."`

	Keep time.Duration `default:"0" placeholder:"TIME" help:"How long revisions that were replaced can still be read, as in 720h; they count as bytes of their vault. 0: they are gone at once."`

	InFlight  int           `default:"512" placeholder:"N" help:"Small requests served at once; a quarter as many middling ones, a sixteenth as many large ones. More wait, or are told to come again. Default: ${default}."`
	Followers int           `default:"8192" placeholder:"N" help:"Feeds followed at once. Default: ${default}."`
	Slow      time.Duration `default:"0" placeholder:"TIME" help:"Log requests that take as long, as in 1s, without saying whose; 0 logs none."`
	Traces    string        `placeholder:"URL" help:"Send traces to an OpenTelemetry collector, as in http://127.0.0.1:4318. Default: none are made."`

	Creators    []string `placeholder:"ID" help:"Who may create vaults. Default: everybody, for themselves."`
	AllowDIDWeb []string `name:"allow-did-web" placeholder:"HOST" help:"Hosts whose did:web identifiers may be used."`
	Resolver    string   `placeholder:"URL" help:"A universal resolver to ask about other identifiers; it learns them. Default: nobody is asked."`
	Identities  string   `placeholder:"FILE" help:"Names and their keys: a JSON array of {\"id\",\"keys\"} or {\"id\",\"document\"}."`

	Hub             bool `default:"true" negatable:"" help:"Be the identity hub of those who may create vaults, too."`
	HubWork         int  `default:"0" placeholder:"BITS" help:"Work that a stranger's message to a hub must show, as leading zero bits; 0 asks for none, 20 for about a second."`
	PrivateProfiles bool `help:"Show profiles in hubs to those who have a grant only, not to everybody."`

	Memory   size   `default:"64MiB" placeholder:"SIZE" help:"For the store's caches. Default: ${default}."`
	Log      string `enum:"text,json" default:"text" help:"Format of the log on stderr: text or json."`
	LogLevel string `enum:"debug,info,warn,error" default:"info" help:"What is logged: debug, info, warn or error."`
}

// heapSpread is how much is allocated, at least, before the heap is collected.
const heapSpread = 64 << 20

// Run runs the node until ctx ends, and says on stdout when it is ready.
func (c *serveCommand) Run(ctx context.Context, p *program) error {
	config, err := c.config(p.env)
	if err != nil {
		return err
	}
	var level slog.Level
	if err := level.UnmarshalText([]byte(c.LogLevel)); err != nil {
		return err
	}
	pins, err := c.pins()
	if err != nil {
		return err
	}
	config.CreateBucket = c.CreateBucket
	config.Listen, config.Origin = c.Listen, c.Origin
	config.TLSCert, config.TLSKey, config.ACMEHost, config.ACMECache = c.TLSCert, c.TLSKey, c.ACME, c.ACMECache
	config.Limits = vault.Limits{
		Document: int64(c.MaxDocument), Chunk: int64(c.MaxChunk),
		Documents: c.QuotaDocuments, Bytes: int64(c.QuotaBytes), Vaults: c.QuotaVaults, Rate: c.Rate,
		Keep: c.Keep,
	}
	config.Admission = node.Admission{
		Small: c.InFlight, Medium: max(1, c.InFlight/4), Large: max(1, c.InFlight/16), Followers: c.Followers,
	}
	config.Slow, config.Traces = c.Slow, c.Traces
	config.Creators, config.Pins, config.AllowWeb, config.Memory = c.Creators, pins, c.AllowDIDWeb, int64(c.Memory)
	config.Resolver = c.Resolver
	config.Hub = node.Hub{Off: !c.Hub, Work: c.HubWork, PrivateProfiles: c.PrivateProfiles}
	config.Log = p.logger(c.Log, level)
	n, err := node.Open(ctx, config)
	if err != nil {
		return err
	}
	// What lives on the heap of a quiet node is small, and would be collected after every few requests. This is never
	// touched, and so takes up no memory; but it counts.
	spread := make([]byte, heapSpread)
	defer runtime.KeepAlive(spread)
	// It listens already: who reads this line can connect.
	if _, err := fmt.Fprintf(p.stdout, "listening on %s\n", n.Origin()); err != nil {
		return fmt.Errorf("%w (%w)", err, n.Close())
	}
	return n.Serve(ctx)
}

// pins reads the file of names and their keys, if there is one.
func (c *serveCommand) pins() ([]ident.Pin, error) {
	if c.Identities == "" {
		return nil, nil
	}
	b, err := os.ReadFile(c.Identities)
	if err != nil {
		return nil, err
	}
	return ident.ReadPins(b)
}
