package hub

import (
	"context"
	"errors"
	"net/http"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/grant"
	"github.com/cofferhq/coffer/internal/jose"
)

// perform does what a request asks for and returns the text of the answer. Whatever goes wrong is an answer, too; only
// what the verb plane says with a status is an error.
func (c *call) perform(ctx context.Context, m *grant.Message) ([]byte, error) {
	var a any
	err := guarded(func() (err error) {
		a, err = c.answer(ctx, m.Payload)
		return err
	})
	if _, plain := err.(*failure); plain {
		return nil, err
	}
	if err == nil {
		b, err := jose.Encode(a)
		if err == nil {
			return b, nil
		}
		return c.refuse(m, coffer.E("answer", coffer.Other, err))
	}
	return c.refuse(m, err)
}

// refuse returns the text of the answer to an error.
func (c *call) refuse(m *grant.Message, err error) ([]byte, error) {
	a := answerTo(err, c.o.Now())
	if a.Code == serverError {
		c.report(err)
	}
	if c.verbal {
		a.Response = &response{requestHash(m.Payload)}
	}
	return jose.Encode(a)
}

// answer does what a request asks for and returns the answer.
func (c *call) answer(ctx context.Context, payload []byte) (any, error) {
	r, err := parseRequest(payload)
	if err != nil {
		return nil, err
	}
	c.verbal = r.verbal()
	if c.verbal {
		return c.act(ctx, r, payload)
	}
	caller, err := c.from.signed.Caller(r.Issuer, r.Audience)
	if err != nil {
		return nil, misaddressed(err)
	}
	serve, ok := requests[r.Type]
	if !ok {
		return nil, bad("@type", "Unknown type of request")
	}
	c.route = r.Type
	return serve(ctx, c.o.Host.As(caller, r.Purpose), r, c.o.Limits.Answer)
}

// misaddressed is what is wrong with a request that is not from its signer, or not for this hub. Only the first is
// about rights.
func misaddressed(err error) error {
	var f *coffer.Fault
	if errors.As(err, &f) && f.Target == "aud" {
		return coffer.E("request", coffer.Invalid, f)
	}
	return err
}

// requests are the requests of the commit plane, by type.
var requests = map[string]func(ctx context.Context, h coffer.Hub, r *request, most int64) (any, error){
	writeRequest:       write,
	objectQueryRequest: objects,
	commitQueryRequest: commits,
	servicesRequest:    services,
	adoptRequest:       adopt,
	descriptionRequest: describeHub,
}

func write(ctx context.Context, h coffer.Hub, r *request, _ int64) (any, error) {
	commit, err := r.Commit.commit("commit")
	if err != nil {
		return nil, err
	}
	revs, err := h.Write(ctx, r.Subject, commit)
	return revisionsAnswer{head{schemaContext, writeResponse}, revs}, err
}

func objects(ctx context.Context, h coffer.Hub, r *request, _ int64) (any, error) {
	q, err := r.Query.objects()
	if err != nil {
		return nil, err
	}
	page, err := h.Objects(ctx, r.Subject, q)
	if err != nil {
		return nil, err
	}
	a := objectsAnswer{
		head{schemaContext, objectQueryResponse}, make([]object, len(page.Objects)), skipToken(page.Skip), page.Watermark,
	}
	for i := range page.Objects {
		a.Objects[i] = objectOf(&page.Objects[i])
	}
	return a, nil
}

func commits(ctx context.Context, h coffer.Hub, r *request, most int64) (any, error) {
	if len(r.Fields) > 0 {
		return nil, unoffered("fields")
	}
	q, err := r.Query.commits()
	if err != nil {
		return nil, err
	}
	for {
		page, err := h.Commits(ctx, r.Subject, q)
		if err != nil {
			return nil, err
		}
		size := int64(0)
		for _, c := range page.Commits {
			size += int64(len(c.Protected) + len(c.Header) + len(c.Payload) + len(c.Signature))
		}
		if n := len(page.Commits); size > most && n > 1 { // only the hub can tell where a shorter page goes on
			q.Limit = n / 2
			continue
		}
		a := commitsAnswer{
			head{schemaContext, commitQueryResponse}, make([]commit, len(page.Commits)), skipToken(page.Skip), page.Watermark,
		}
		for i, c := range page.Commits {
			a.Commits[i] = commitOf(c)
		}
		return a, nil
	}
}

// maxServices bounds the services in an answer.
const maxServices = 1000

func services(ctx context.Context, h coffer.Hub, r *request, _ int64) (any, error) {
	a := servicesAnswer{head{schemaContext, servicesResponse}, nil}
	for len(a.Services) < maxServices {
		found, err := h.Perform(ctx, r.Subject, &coffer.HubAct{
			Interface: coffer.ServicesInterface, Verb: coffer.RequestVerb, Skip: len(a.Services), Take: coffer.MaxHubPage,
		})
		if err != nil {
			return nil, err
		}
		for _, i := range found {
			a.Services = append(a.Services, shownData(i.Data))
		}
		if len(found) < coffer.MaxHubPage {
			break
		}
	}
	return a, nil
}

func adopt(ctx context.Context, h coffer.Hub, r *request, _ int64) (any, error) {
	if r.Commits == nil {
		return nil, bad("commits", missingParameter)
	}
	all := make([]*coffer.Commit, len(r.Commits))
	for i := range r.Commits {
		var err error
		if all[i], err = r.Commits[i].commit("commits[" + strconv.Itoa(i) + "]"); err != nil {
			return nil, err
		}
	}
	n, err := h.Adopt(ctx, r.Subject, all...)
	return addedAnswer{head{schemaContext, adoptResponse}, n}, err
}

func describeHub(ctx context.Context, h coffer.Hub, r *request, _ int64) (any, error) {
	d, err := h.Describe(ctx, r.Subject)
	if err != nil {
		return nil, err
	}
	a := descriptionAnswer{head{schemaContext, descriptionResponse}, make([]kind, len(d.Kinds)), jsontext.Value(d.OpenAPI)}
	for i, k := range d.Kinds {
		a.Kinds[i] = kind{k.Interface, k.Context, k.Type, k.Allow, jsontext.Value(k.Schema)}
	}
	return a, nil
}

// act is a request of the verb plane. There, the audience is the owner: that the request is for this hub is known from
// the key that it was encrypted to, and from the token.
func (c *call) act(ctx context.Context, r *request, payload []byte) (any, error) {
	caller, err := c.from.signed.Caller(r.Issuer, c.facts.Audience[0])
	if err != nil {
		return nil, err
	}
	iface, verb := interfaceOf(r.Type)
	if iface == "" {
		return nil, elsewhere(unoffered("@type"))
	}
	a, wrap, err := r.act(iface, verb)
	if err != nil {
		return nil, elsewhere(err)
	}
	c.route = iface + "/" + string(a.Verb)
	answer := performed{Type: iface + "/Response", Response: response{requestHash(payload)}}
	if iface == features {
		if a.Verb != coffer.RequestVerb {
			return nil, elsewhere(unoffered("@type"))
		}
		answer.Payload = []jsontext.Value{c.description}
		return answer, nil
	}
	found, err := c.o.Host.As(caller, r.Purpose).Perform(ctx, r.Audience, a)
	if err != nil {
		return nil, elsewhere(err)
	}
	if wrap && a.Verb == coffer.RemoveVerb && len(found) == 0 {
		answer.Payload = map[string]bool{"success": true}
		return answer, nil
	}
	answer.Payload, err = items(found, wrap)
	return answer, err
}

// elsewhere is how the verb plane says that something is not offered here, or offered elsewhere: with a status.
func elsewhere(err error) error {
	var f *coffer.Fault
	if !errors.As(err, &f) {
		return err
	}
	switch {
	case f.Location != "":
		moved := fail(http.StatusSeeOther, coffer.NotImplemented, "Offered elsewhere")
		moved.header = http.Header{"Location": {f.Location}}
		return moved
	case f.Code == coffer.NotImplemented:
		return fail(http.StatusNotImplemented, coffer.NotImplemented, "Not Implemented")
	}
	return err
}
