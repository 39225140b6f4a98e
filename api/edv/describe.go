package edv

import (
	_ "embed"
	"net/http"
	"strings"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/grant"
)

// A Description is what a server says of itself at /.well-known/coffer. Clients pass over what they do not know.
type Description struct {
	Version    string            `json:"version,omitempty"` // of the software
	DID        string            `json:"did,omitempty"`     // the node's own identifier
	Origin     string            `json:"origin"`            // what all URLs of the server begin with
	Protocols  []string          `json:"protocols"`
	MediaTypes []string          `json:"mediaTypes"`
	Features   []string          `json:"features"`
	Suites     []string          `json:"suites"` // of proofs on capabilities
	Endpoints  map[string]string `json:"endpoints"`
	Limits     DescribedLimits   `json:"limits"`
	LogKey     string            `json:"logKey,omitempty"` // the verifier key of the vaults' checkpoints
}

// DescribedLimits are the bounds that a client should know of.
type DescribedLimits struct {
	Document        int64 `json:"document"`        // bytes of a document
	Chunk           int64 `json:"chunk"`           // bytes of a chunk, in either form
	Body            int64 `json:"body"`            // bytes of any other body
	Batch           int64 `json:"batch"`           // bytes of a batch
	BatchOperations int   `json:"batchOperations"` // operations in a batch
	Page            int   `json:"page"`            // documents, changes or revocations in one answer
	Wait            int   `json:"wait"`            // seconds that a request may wait for a change
	Session         int   `json:"session"`         // seconds that a session lasts at most
}

// The features that a [Description] may name. Their names never change.
const (
	FeatureBatch     = "batch"
	FeatureChanges   = "changes"
	FeatureErase     = "erase"
	FeatureHeld      = "held"
	FeatureHistory   = "history"
	FeatureIfMatch   = "if-match"
	FeatureInbox     = "inbox"
	FeatureIndex     = "index-entry"
	FeatureList      = "list"
	FeatureOpen      = "open"
	FeaturePatch     = "patch"
	FeatureRawChunks = "raw-chunks"
	FeatureSessions  = "sessions"
	FeatureRevisions = "revisions"
	FeatureRevoked   = "revocation-list"
)

func (s *Server) description() *Description {
	d := &Description{
		Version:    s.o.Version,
		DID:        s.o.NodeDID,
		Origin:     s.o.Origin,
		Protocols:  []string{"edv"},
		MediaTypes: []string{"application/json", ChangeType, RawChunkType, DocumentsType, eventsType},
		Features: []string{
			FeatureBatch, FeatureChanges, FeatureErase, FeatureHeld, FeatureHistory, FeatureIfMatch, FeatureInbox,
			FeatureIndex, FeatureList, FeatureOpen, FeaturePatch, FeatureRawChunks, FeatureRevisions, FeatureRevoked,
			FeatureSessions,
		},
		Endpoints: map[string]string{
			"vaults":   s.o.Origin + "/edvs",
			"sessions": s.o.Origin + "/sessions",
			"openapi":  s.o.Origin + "/openapi.json",
		},
		Limits: DescribedLimits{
			Document:        s.o.Limits.Document,
			Chunk:           s.o.Limits.Chunk,
			Body:            s.o.Limits.Body,
			Batch:           s.o.Limits.Batch,
			BatchOperations: s.o.Limits.BatchOps,
			Page:            maxPage,
			Wait:            int(maxWait.Seconds()),
			Session:         int(grant.MaxSession.Seconds()),
		},
	}
	for _, suite := range []grant.Suite{grant.Ed25519Signature2020, grant.EddsaJCS2022, grant.EddsaRDFC2022} {
		d.Suites = append(d.Suites, string(suite))
	}
	if d.LogKey = s.o.LogKey; d.LogKey != "" {
		d.Features = append(d.Features, FeatureCheckpoints)
	}
	if s.o.Resolve != nil {
		d.Endpoints["identifiers"] = s.o.Origin + "/1.0/identifiers/"
	}
	return d
}

// describe is GET /.well-known/coffer, for everyone.
func (c *call) describe() error { return c.encode(http.StatusOK, c.description()) }

//go:embed openapi.json
var openAPI []byte

// openAPI is GET /openapi.json, for everyone.
func (c *call) openAPI() error {
	c.json(http.StatusOK, openAPI)
	return nil
}

// resolve is GET /1.0/identifiers/{id}, for everyone, as universal resolvers answer it.
func (c *call) resolve() error {
	if c.o.Resolve == nil {
		return fail(http.StatusNotFound, notFoundError, coffer.NotExist, "no such place")
	}
	id := c.path.segments[2]
	// Some resolver clients, hub-sdk-js among them, put the identifier into the path as it is: then the escape of a did:web's
	// port is the identifier's own.
	raw := strings.TrimPrefix(c.r.URL.EscapedPath(), "/1.0/identifiers/")
	if strings.HasPrefix(raw, "did:web:") && !strings.Contains(raw, "%25") {
		id = raw
	}
	status, body := c.o.Resolve(c.r.Context(), id)
	c.Header()["Content-Type"] = []string{`application/ld+json;profile="https://w3id.org/did-resolution"`}
	c.json(status, body)
	return nil
}
