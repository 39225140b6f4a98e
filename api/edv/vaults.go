package edv

import (
	"net/http"
	"slices"
	"strings"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/grant"
	"github.com/cofferhq/coffer/internal/jose"
)

// DecodeConfig reads a vault configuration strictly. Invalid for anything that the format does not allow, and without
// a controller; its other rules are the [Host]'s.
func DecodeConfig(body []byte) (*coffer.Config, error) {
	const op = "vault configuration"
	var c coffer.Config
	if err := jose.Decode(body, &c); err != nil {
		return nil, coffer.E(op, coffer.Invalid, err)
	}
	if c.Controller == "" {
		return nil, coffer.Errorf(op, coffer.Invalid, "no controller")
	}
	return &c, nil
}

// createVault is POST /edvs. The controller that the configuration names must be the one who asks: the body is read
// before it is known whether it is.
func (c *call) createVault() error {
	body, err := c.read(c.o.Limits.Body)
	if err != nil {
		return err
	}
	config, err := DecodeConfig(body)
	if err != nil {
		return invalid(err)
	}
	if err := c.authorize(grant.Write, c.rootOf(config.Controller)); err != nil {
		return err
	}
	if err := c.checkDigest(body); err != nil {
		return err
	}
	if len(c.o.Creators) > 0 && !slices.Contains(c.o.Creators, config.Controller) {
		return fail(http.StatusForbidden, notAllowedError, coffer.Denied, "not among those who may create vaults")
	}
	config.ID = "" // the server's to choose; the published servers drop it, too
	created, err := c.o.Host.Create(c.r.Context(), c.caller, config)
	if err != nil {
		return err
	}
	c.Header()["Location"] = []string{created.ID}
	return c.encode(http.StatusCreated, created)
}

// findVaults is GET /edvs?controller=&referenceId=.
func (c *call) findVaults() error {
	params, err := c.path.params("controller", "referenceId")
	if err == nil && (params["controller"] == "" || params["referenceId"] == "") {
		err = coffer.Errorf("find vault", coffer.Invalid, "needs controller and referenceId")
	}
	if err != nil {
		return invalid(err)
	}
	if err := c.authorize(grant.Read, c.rootOf(params["controller"])); err != nil {
		return err
	}
	found, err := c.o.Host.Find(c.r.Context(), c.caller, params["controller"], params["referenceId"])
	if err != nil {
		return err
	}
	answer := []*coffer.Config{}
	for _, config := range found {
		// From where a vault does not admit anybody, it is not to be seen.
		id, err := coffer.ParseVaultID(strings.TrimPrefix(config.ID, c.o.Origin+"/edvs/"))
		if err != nil {
			return coffer.E("find vault", coffer.Corrupt, err)
		}
		controller, err := c.o.Host.Controller(c.r.Context(), id, c.o.Address(c.r))
		if err != nil {
			return err
		}
		if controller != "" {
			answer = append(answer, config)
		}
	}
	return c.encode(http.StatusOK, answer)
}

// getConfig is GET V.
func (c *call) getConfig() error {
	config, err := c.view().Config(c.r.Context())
	if err != nil {
		return err
	}
	c.Header()["Cache-Control"] = fresh
	return c.encode(http.StatusOK, config)
}

// configAnswer is the answer to POST V.
type configAnswer struct {
	Config *coffer.Config `json:"config"`
}

// configure is POST V.
func (c *call) configure() error {
	body, err := c.body(c.o.Limits.Body)
	if err != nil {
		return err
	}
	config, err := DecodeConfig(body)
	if err != nil {
		return invalid(err)
	}
	if config.ID != c.url {
		return fail(http.StatusBadRequest, dataError, coffer.Invalid, "the configuration's id is not this vault's")
	}
	if err := c.view().Configure(c.r.Context(), config); err != nil {
		return err
	}
	return c.encode(http.StatusOK, configAnswer{config})
}

// eraseVault is DELETE V. The change is the receipt.
func (c *call) eraseVault() error {
	ch, err := c.view().EraseVault(c.r.Context())
	if err != nil {
		return err
	}
	return c.encode(http.StatusOK, changeOf(ch))
}
