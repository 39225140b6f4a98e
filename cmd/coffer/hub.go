package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/agent/hub"
	apihub "github.com/cofferhq/coffer/api/hub"
	"github.com/cofferhq/coffer/internal/jose"
	"github.com/cofferhq/coffer/keyring"
)

// hubCommand is "coffer hub".
type hubCommand struct {
	Put     hubPutCommand     `cmd:"" help:"Keep an object of some kind."`
	Ls      hubLsCommand      `cmd:"" help:"List the objects of a kind."`
	Get     hubGetCommand     `cmd:"" help:"Write the value of an object."`
	Replace hubReplaceCommand `cmd:"" help:"Put another value in the place of an object's."`
	Rm      hubRmCommand      `cmd:"" help:"Remove objects."`
	Watch   hubWatchCommand   `cmd:"" help:"Write what is new of a kind, as it comes."`

	Grant  hubGrantCommand  `cmd:"" help:"Let somebody read, create, change or delete objects of a kind."`
	Grants hubGrantsCommand `cmd:"" help:"List who may do what; or who could, at some time."`
	Revoke hubRevokeCommand `cmd:"" help:"End permissions."`
	Work   hubWorkCommand   `cmd:"" help:"Encrypt anew what others could read."`

	Ask       hubAskCommand       `cmd:"" help:"Ask somebody for a permission."`
	Attest    hubAttestCommand    `cmd:"" help:"Ask somebody for a proof of something."`
	Introduce hubIntroduceCommand `cmd:"" help:"Make a text with which somebody's messages count as known."`

	Profile  hubProfileCommand  `cmd:"" help:"Show a profile, or say something in yours."`
	Store    hubStoreCommand    `cmd:"" help:"Keep keys and values that you share with one other."`
	Services hubServicesCommand `cmd:"" help:"List the services that somebody offers."`
	Describe hubDescribeCommand `cmd:"" help:"List what can be done in a hub."`

	Export hubExportCommand `cmd:"" help:"Write your whole hub to a file, sealed as it is."`
	Import hubImportCommand `cmd:"" help:"Take over what another hub of yours exported."`
	Move   hubMoveCommand   `cmd:"" help:"Have your hub at another node from now on."`
}

// hubPlace says where a hub is.
type hubPlace struct {
	At string `placeholder:"URL" help:"Where the hub is, if its owner's identity does not say it."`
}

// hubOf says whose hub is meant.
type hubOf struct {
	Of      string `placeholder:"WHO" help:"Not in your hub but in that of a contact or identifier."`
	Purpose string `placeholder:"TEXT" help:"What for, if a permission asks for that."`
	hubPlace
}

// hubKind completes a kind.
type hubKind struct {
	Interface string `enum:"Collections,Profile,Actions,Permissions,Services,Stores" default:"Collections" help:"Of which interface. Default: Collections."`
	Private   bool   `help:"The node sees neither context nor type. Such a kind needs it each time."`
}

// open unlocks the profile's identity, for the caller to close, and opens the hub that is to be worked in.
func (c *hubOf) open(ctx context.Context, p *program) (*owner, *hub.Hub, error) {
	o, err := p.open(ctx, 1)
	if err != nil {
		return nil, nil, err
	}
	h, err := c.hub(ctx, o)
	if err != nil {
		o.close()
		return nil, nil, err
	}
	return o, h, nil
}

// hub opens the hub of the identity, or of whoever is named.
func (c *hubOf) hub(ctx context.Context, o *owner) (*hub.Hub, error) {
	if c.Of == "" {
		return c.own(ctx, o)
	}
	did, err := o.whom(ctx, c.Of)
	if err != nil {
		return nil, err
	}
	return o.hub(ctx, did, c.At, c.Purpose)
}

// own opens the identity's own hub.
func (c *hubPlace) own(ctx context.Context, o *owner) (*hub.Hub, error) {
	if c.At != "" {
		return o.hub(ctx, o.ring.DID(), c.At, "")
	}
	return o.ownHub(ctx)
}

// ownHub opens the identity's own hub, at the profile's node.
func (o *owner) ownHub(ctx context.Context) (h *hub.Hub, err error) {
	if o.mine == nil {
		o.mine, err = o.hub(ctx, o.ring.DID(), "", "")
	}
	return o.mine, err
}

// kind reads CONTEXT/TYPE.
func (c *hubKind) kind(text string) (hub.Kind, error) {
	at := strings.LastIndexByte(text, '/')
	if at < 1 || at == len(text)-1 {
		return hub.Kind{}, failed(coffer.Invalid, "write the context and the type, like schema.org/MusicPlaylist",
			"%q is no kind of object", text)
	}
	return hub.Kind{Interface: c.Interface, Context: text[:at], Type: text[at+1:], Private: c.Private}, nil
}

// kindText names a kind to a person.
func kindText(k hub.Kind) string {
	text := k.Context + "/" + k.Type
	if k.Interface != "" && k.Interface != coffer.CollectionsInterface {
		text = k.Interface + " " + text
	}
	if k.Private {
		text += " (private)"
	}
	return text
}

// whom returns the identifier of somebody: of a contact, or as it is.
func (o *owner) whom(ctx context.Context, who string) (string, error) {
	if strings.HasPrefix(who, "did:") {
		return who, nil
	}
	c, err := o.contact(ctx, who)
	if err != nil {
		return "", err
	}
	return c.DID, nil
}

// hub opens somebody's hub. It is where at says, or his identity; one's own, and that of who says nothing of it, is
// taken to be at the profile's node.
func (o *owner) hub(ctx context.Context, did, at, purpose string) (*hub.Hub, error) {
	reach, err := o.reach(ctx, did, at, purpose)
	if err != nil {
		return nil, err
	}
	l, err := o.program.places()
	if err != nil {
		return nil, err
	}
	h, err := hub.Open(hub.Options{
		Hub: reach, Owner: did, Keyring: o.ring, Resolver: o.resolver, Delivery: o.deliveryKey, Journal: journal{l.journal},
		Now: o.program.now,
	})
	return h, explain(err, "", "cannot open the hub")
}

// reach finds a hub.
func (o *owner) reach(ctx context.Context, did, at, purpose string) (coffer.Hub, error) {
	open := func(_ context.Context, e hub.Endpoint) (coffer.Hub, error) { return o.dialHub(e, purpose) }
	if at == "" && did != o.ring.DID() {
		found, err := hub.Dial(ctx, o.resolver, did, open)
		switch {
		case err == nil:
			return found, nil
		case !errors.Is(err, coffer.NotExist):
			return nil, explain(err, "say where the hub is with --at URL", "cannot find the hub of %s", did)
		case o.profile == nil:
			return nil, failed(coffer.NotExist, "say where it is with --at URL", "the identity does not say where its hub is")
		}
	}
	if at == "" {
		at = o.profile.hub()
	}
	e, err := o.endpointAt(ctx, at)
	if err != nil {
		return nil, err
	}
	return open(ctx, e)
}

// hub returns where the hub of the profile's person is.
func (c *profile) hub() string {
	if c.HubAt != "" {
		return c.HubAt
	}
	return c.Node + hubPath
}

const hubPath = "/.identity"

// endpointAt asks a hub for the name by which requests to it are encrypted.
func (o *owner) endpointAt(ctx context.Context, at string) (hub.Endpoint, error) {
	none := hub.Endpoint{}
	u, err := url.Parse(at)
	if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" {
		return none, failed(coffer.Invalid, "give it like https://vault.example", "%q is no URL of a hub", at)
	}
	if u.Path == "" || u.Path == "/" {
		u.Path = hubPath
	}
	o.program.node = u.Scheme + "://" + u.Host
	client := &http.Client{Transport: newHubTransport()}
	defer client.CloseIdleConnections()
	d, err := apihub.Describe(ctx, client, u.String())
	switch kindOf(err) {
	case coffer.NotExist:
		return none, failed(coffer.NotExist, "ask who runs it, or say where the hub is with --at URL",
			"there is no hub at %s", u)
	case coffer.Unavailable:
		return none, failed(coffer.Unavailable, "", "the hub cannot be reached")
	}
	if err != nil {
		return none, explain(err, "", "cannot use the hub at %s", u)
	}
	host, err := o.resolver.Resolve(ctx, d.Own())
	if err != nil {
		return none, explain(err, "", "cannot use the hub at %s", u)
	}
	return hub.Endpoint{URL: u.String(), Host: host}, nil
}

// newHubTransport returns connections that nobody else uses: a node must not see by them that the owner of a vault and
// of a hub are one person.
func newHubTransport() *http.Transport {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.DisableCompression = true
	return t
}

// dialHub returns a client of the hub at an endpoint.
func (o *owner) dialHub(e hub.Endpoint, purpose string) (coffer.Hub, error) {
	o.program.node = strings.TrimSuffix(e.URL, hubPath)
	c, err := apihub.NewClient(apihub.ClientOptions{
		URL: e.URL, Hub: e.Host, Others: e.Others, Requester: apihub.KeyringRequester(o.ring), Key: o.resolver.MessageKey,
		Now: o.program.now, Purpose: purpose,
	})
	return c, explain(err, "give it like https://vault.example", "cannot use the hub at %s", e.URL)
}

// deliveryKey returns the key in somebody's card, if there is one.
func (o *owner) deliveryKey(ctx context.Context, did string) ([]byte, error) {
	if o.Agent == nil {
		return nil, coffer.Errorf("hub", coffer.NotExist, "no contacts")
	}
	c, err := o.Contact(ctx, did)
	if err != nil {
		return nil, err
	}
	return c.Delivery, nil
}

// stranger returns an owner of nothing, with keys that nobody knows: enough to read what is public.
func (p *program) stranger() (*owner, error) {
	o := &owner{program: p, ring: keyring.Generate(), left: func() {}, names: make(map[string]string)}
	var err error
	o.resolver, err = p.resolver()
	return o, err
}

// callHub returns what the owner calls somebody whom a hub names.
func (o *owner) callHub(ctx context.Context, did string) string {
	if did == o.ring.DID() {
		return "you"
	}
	return o.callName(ctx, did)
}

// explainHub says what a hub's refusal means.
func (o *owner) explainHub(h *hub.Hub, err error, format string, args ...any) error {
	var fault *coffer.Fault
	next := ""
	switch mine := h.Owner() == o.ring.DID(); {
	case !errors.As(err, &fault):
	case errors.Is(err, coffer.Denied) && fault.Target == "commit.header.work":
		next = `ask for an introduction: they make it with "coffer hub introduce"`
	case errors.Is(err, coffer.Denied) && mine:
		next = "the node does not keep hubs for everybody: ask who runs it, or give --at URL"
	case errors.Is(err, coffer.Denied):
		next = `ask for it with "coffer hub ask"; if their hub is elsewhere, say where with --at URL`
	}
	return explain(err, next, format, args...)
}

// maxHubValue bounds what is read as a value.
const maxHubValue = 1 << 20

// jsonFrom reads a JSON value from a file, or standard input.
func (p *program) jsonFrom(ctx context.Context, file string) (json.RawMessage, error) {
	in := p.stdin
	if file != "-" {
		f, err := openSource(file)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		in = f
	}
	b, err := io.ReadAll(io.LimitReader(untilDone(ctx, in), maxHubValue+1))
	switch {
	case err != nil:
		return nil, explain(err, "", "cannot read %s", file)
	case len(b) > maxHubValue:
		return nil, failed(coffer.Exhausted, `keep it with --file, or in your vault with "coffer put"`, "%s is too large for a hub", file)
	case jose.Valid(b) != nil:
		return nil, failed(coffer.Invalid, "", "%s is no JSON", file)
	}
	return b, nil
}

// short is an id of a hub as a person reads it.
func short(id coffer.CommitRev) string { return id.String()[:12] }

// minShort is how much of an id must be given.
const minShort = 4

// oneID returns the id that a text means: it, or the only one of all that begins with it.
func oneID(text, see string, all func(yield func(coffer.CommitRev, error) bool)) (coffer.CommitRev, error) {
	var found coffer.CommitRev
	if id, err := coffer.ParseCommitRev(text); err == nil {
		return id, nil
	}
	if len(text) < minShort || strings.Trim(text, "0123456789abcdef") != "" {
		return found, failed(coffer.Invalid, see, "%q is no id", text)
	}
	for id, err := range all {
		switch {
		case err != nil:
			return found, err
		case !strings.HasPrefix(id.String(), text) || id == found:
		case found != coffer.CommitRev{}:
			return found, failed(coffer.Conflict, "give more of it", "several ids begin with %s", text)
		default:
			found = id
		}
	}
	if found == (coffer.CommitRev{}) {
		return found, failed(coffer.NotExist, see, "there is nothing with the id %s", text)
	}
	return found, nil
}
