package hub

import (
	"context"
	"io"
	"net/http"
	"slices"
	"strings"

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

// maxDescription bounds what a hub says of itself.
const maxDescription = 64 << 10

// Describe asks the hub at a URL what it says of itself, which nobody has signed: over HTTPS, it is the word of who has
// the host. The client may be nil for one with connections of its own. Invalid for a URL that [NewClient] refuses,
// NotExist when there is no hub, Unavailable.
func Describe(ctx context.Context, client *http.Client, at string) (*Description, error) {
	const op = "describe hub"
	if err := checkURL(op, at); err != nil {
		return nil, err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, at, nil)
	if err != nil {
		return nil, coffer.Errorf(op, coffer.Invalid, "not a URL")
	}
	c := httpClient(client)
	if client == nil {
		defer c.CloseIdleConnections()
	}
	a, err := c.Do(r)
	if err != nil {
		return nil, coffer.Errorf(op, coffer.Unavailable, "the hub cannot be reached")
	}
	defer a.Body.Close()
	b, err := io.ReadAll(io.LimitReader(a.Body, maxDescription+1))
	var d Description
	switch {
	case err != nil || a.StatusCode >= http.StatusInternalServerError:
		return nil, coffer.Errorf(op, coffer.Unavailable, "the hub cannot be reached")
	case a.StatusCode != http.StatusOK || len(b) > maxDescription || jose.DecodeOpen(b, &d) != nil || d.DID == "":
		return nil, coffer.Errorf(op, coffer.NotExist, "there is no hub")
	}
	return &d, nil
}

// Own returns the identifier of the hub that needs nobody to be asked or believed: a did:key, if it has one, which is its
// own key; else its main one.
func (d *Description) Own() string {
	for _, did := range d.DIDs {
		if strings.HasPrefix(did, "did:key:") {
			return did
		}
	}
	return d.DID
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
	adoptRequest, descriptionRequest, servicesRequest, "coffer-hubs", replyKeyID, "filter", "limit", "no_deleted", "purpose",
	"since", "sort", "watermark",
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
