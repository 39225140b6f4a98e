package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"

	"github.com/cofferhq/coffer/ident"
	"github.com/cofferhq/coffer/node"
	"github.com/cofferhq/coffer/node/vault"
)

type serveCommand struct {
	dataFolder
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

	Creators    []string `placeholder:"ID" help:"Who may create vaults. Default: everybody, for themselves."`
	AllowDIDWeb []string `name:"allow-did-web" placeholder:"HOST" help:"Hosts whose did:web identifiers may be used."`
	Identities  string   `placeholder:"FILE" help:"Names and their keys: a JSON array of {\"id\",\"keys\"} or {\"id\",\"document\"}."`
	Memory      size     `default:"64MiB" placeholder:"SIZE" help:"For the store's caches. Default: ${default}."`
	Log         string   `enum:"text,json" default:"text" help:"Format of the log on stderr: text or json."`
	LogLevel    string   `enum:"debug,info,warn,error" default:"info" help:"What is logged: debug, info, warn or error."`
}

// Run runs the node until ctx ends, and says on stdout when it is ready.
func (c *serveCommand) Run(ctx context.Context, p *program) error {
	data, err := c.path(p.env)
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
	n, err := node.Open(ctx, node.Config{
		Data: data, Listen: c.Listen, Origin: c.Origin,
		TLSCert: c.TLSCert, TLSKey: c.TLSKey, ACMEHost: c.ACME, ACMECache: c.ACMECache,
		Limits: vault.Limits{
			Document: int64(c.MaxDocument), Chunk: int64(c.MaxChunk),
			Documents: c.QuotaDocuments, Bytes: int64(c.QuotaBytes), Vaults: c.QuotaVaults, Rate: c.Rate,
		},
		Creators: c.Creators, Pins: pins, AllowWeb: c.AllowDIDWeb, Memory: int64(c.Memory),
		Log: p.logger(c.Log, level),
	})
	if err != nil {
		return err
	}
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
