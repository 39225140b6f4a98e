package edv

import (
	"context"
	"net/http"
	"strings"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/grant"
)

// admit prepares a call below a vault and authorizes its caller, if the route does not do so by itself.
func (c *call) admit() error {
	if c.path.segments[0] == "edvs" && c.path.n > 1 {
		c.url = c.o.Origin + "/edvs/" + c.path.segments[1]
		// What is no id names no vault, and is answered like an unknown one.
		c.vault, _ = coffer.ParseVaultID(c.path.segments[1])
	}
	if c.route.action == "" {
		return nil
	}
	return c.authorize(c.route.action, c.controllers)
}

// roots finds the controllers of the root capability with the target.
type roots func(ctx context.Context, target string) ([]string, error)

// controllers knows one root capability, that of the vault.
func (c *call) controllers(ctx context.Context, target string) ([]string, error) {
	if target != c.url || c.vault == (coffer.VaultID{}) {
		return nil, nil
	}
	controller, err := c.o.Host.Controller(ctx, c.vault, c.o.Address(c.r))
	if err != nil || controller == "" {
		return nil, err
	}
	return []string{controller}, nil
}

// rootOf knows one root capability, for something of the server's own.
func (c *call) rootOf(controller string) roots {
	return func(_ context.Context, target string) ([]string, error) {
		if target != c.target() || controller == "" {
			return nil, nil
		}
		return []string{controller}, nil
	}
}

func (c *call) facts(action grant.Action, r roots) *grant.Facts {
	return &grant.Facts{
		Now:     c.o.Now(),
		Origin:  c.o.Origin,
		Action:  action,
		Skew:    c.o.Skew,
		MaxLife: c.o.MaxLife,
		Roots:   r,
		Key:     c.o.Key,
		Session: c.sessions.find,
		Cache:   c.capabilities,
	}
}

// authorize finds out who is calling, or fails with the answer for those who may not. It says that there is some right
// only to who has some.
func (c *call) authorize(action grant.Action, r roots) error {
	in := &grant.Invocation{
		Method:  c.r.Method,
		URI:     c.r.RequestURI,
		Header:  c.r.Header,
		Host:    c.r.Host,
		HasBody: hasBody(c.r),
	}
	verified, err := grant.Verify(c.r.Context(), in, c.facts(action, r))
	if err != nil {
		return unauthorized(err)
	}
	c.caller, c.digest, c.signer = verified.Caller, verified.Digest, verified.KeyID
	return nil
}

// unauthorized is the answer to a request, or about a chain of delegations, that could not be verified.
func unauthorized(err error) error {
	switch coffer.KindOf(err) {
	case coffer.Invalid, coffer.NotExist:
		return nobody
	case coffer.Denied:
		return &failure{status: http.StatusForbidden, name: notAllowedError, err: err}
	}
	return err
}

// absent reports whether an error of a View says that there is no such thing, to one who may know.
func absent(err error) bool {
	return err != nil && coffer.KindOf(err) == coffer.NotExist && asFailure(err, "").status == http.StatusNotFound
}

// claimedIdentity returns the did:key identifier that a request says it is signed by, "" if it says another.
func claimedIdentity(h http.Header) string {
	_, rest, _ := strings.Cut(h.Get("Authorization"), `keyId="`)
	keyID, _, _ := strings.Cut(rest, `"`)
	id, _, _ := strings.Cut(keyID, "#")
	if !strings.HasPrefix(id, "did:key:") {
		return ""
	}
	return id
}
