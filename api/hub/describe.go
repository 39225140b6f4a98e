package hub

import (
	"slices"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/internal/jose"
)

// A Description is what a hub says of itself to everyone who asks with GET.
type Description struct {
	Context    string          `json:"@context"`
	Type       string          `json:"@type"` // "HubDescription"
	Version    string          `json:"version,omitempty"`
	DID        string          `json:"did"`  // that requests are addressed to
	DIDs       []string        `json:"dids"` // all that they may be addressed to
	Endpoint   string          `json:"endpoint,omitempty"`
	Interfaces []string        `json:"interfaces"`
	Requests   []string        `json:"requests"` // of the commit plane
	Verbs      []string        `json:"verbs"`
	Strategies []string        `json:"commit_strategies,omitempty"`
	Algorithms Algorithms      `json:"algorithms"`
	Extensions []string        `json:"extensions"`
	Limits     DescribedLimits `json:"limits"`
}

// Algorithms are those that a hub takes in envelopes.
type Algorithms struct {
	Sign    []string `json:"sign"`    // "alg" of a JWS
	Encrypt []string `json:"encrypt"` // "alg" of a JWE, by the hub's keys
	Content []string `json:"content"` // "enc"
}

// A DescribedLimits is what a hub's limits are.
type DescribedLimits struct {
	Body    int64 `json:"bytes"`         // of an envelope
	Page    int   `json:"page"`          // objects or commits in an answer
	IDs     int   `json:"ids"`           // in a query
	Filters int   `json:"filters"`       // in a query
	Adopt   int   `json:"adopt"`         // commits in an AdoptRequest
	Token   int   `json:"token_seconds"` // how long an access token is good
}

// extensions are what the hub understands beyond the published protocol.
var extensions = []string{
	adoptRequest, descriptionRequest, servicesRequest, replyKeyID, "filter", "limit", "no_deleted", "purpose", "since",
	"sort", "watermark",
}

func (s *Server) describe() *Description {
	d := &Description{
		Context: schemaContext, Type: "HubDescription", Version: s.o.Version,
		DID: s.facts.Audience[0], DIDs: s.facts.Audience, Endpoint: s.o.Endpoint,
		Interfaces: interfaces, Strategies: s.o.Strategies, Extensions: extensions,
		Algorithms: Algorithms{
			Sign:    []string{rs256, rs512, "ES256", "ES256K", edDSA},
			Content: []string{jose.A128GCM, jose.A192GCM, string(jose.A256GCM)},
		},
		Limits: DescribedLimits{
			Body: s.o.Limits.Body, Page: coffer.MaxHubPage, IDs: coffer.MaxQueryIDs, Filters: coffer.MaxQueryFilters,
			Adopt: coffer.MaxAdopt, Token: int(tokenLife.Seconds()),
		},
	}
	for name := range requests {
		d.Requests = append(d.Requests, name)
	}
	slices.Sort(d.Requests)
	for v, name := range later {
		d.Verbs = append(d.Verbs, string(v), name)
	}
	slices.Sort(d.Verbs)
	d.Verbs = slices.Compact(d.Verbs)
	for _, r := range s.readers {
		alg := jose.ECDHES
		if r.Decrypt != nil {
			alg = jose.RSAOAEP
		}
		if !slices.Contains(d.Algorithms.Encrypt, alg) {
			d.Algorithms.Encrypt = append(d.Algorithms.Encrypt, alg)
		}
	}
	slices.Sort(d.Algorithms.Encrypt)
	return d
}
