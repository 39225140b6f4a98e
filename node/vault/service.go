// Package vault keeps vaults for their owners: documents at rest, decided on at one gate and recorded in one feed.
//
// The only way to a vault is [Service.As], with a [grant.Caller] that only grant.Verify makes. Every method of the
// [View] it returns decides for itself, on what is present now: a capability revoked a moment ago opens nothing.
//
// Everything that the service keeps is a document in a vault of the store (package store):
//
//   - a vault's own documents are in the vault with its id;
//   - its configuration is the document with the same id in the node's own vault, where a unique tag keeps
//     (controller, referenceId) unique and the configuration's sequence is the document's;
//   - its revocations are the documents of its law vault, each under an id made from who delegated what;
//   - the full tiles of its log, which are derived from its feed, are the documents of its tile vault.
//
// The ids of the node's own vault of law vaults and of tile vaults are hashes, which no configuration names, so that no caller can
// reach them.
package vault

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/netip"
	"strings"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/grant"
	"github.com/cofferhq/coffer/ledger"
	"github.com/cofferhq/coffer/store"
	"github.com/cofferhq/coffer/store/blob"
)

// Options are what a Service is made of.
type Options struct {
	Store  store.Store
	Blobs  blob.Store
	Target func(coffer.VaultID) string // a vault's URL: the target of its root capability
	Now    func() time.Time
	Limits Limits
	Signer *ledger.Signer // signs checkpoints; nil: none are given

	// SharedBlobs says that others may put blobs, too, even when the store is not shared: what nothing names is then no
	// sooner removed than where it is.
	SharedBlobs bool
}

// A Service keeps vaults. It is made by [New] and used by any number of goroutines.
type Service struct {
	store    store.Store
	blobs    blob.Store
	target   func(coffer.VaultID) string
	now      func() time.Time
	limits   Limits
	feed     ledger.Feed
	logs     logs
	configs  configs
	verdicts *lru.Cache[linkPlace, verdict]
	turns    *turns
	shared   bool // other processes write to the store, too
	patient  bool // they may be putting blobs

	pace              *pace
	openings          *pace // of what is open
	makers            *pace // of vaults that are made and looked for, by who does
	senders, messages *pace // of messages: by chain of capabilities, and by vault
	prunings          *pace // of lists of revocations that are full
	revocations       listLimit
	inboxes           inboxes

	arrivals
}

// New returns a Service over the stores, which stay the caller's to close.
func New(o Options) *Service {
	_, shared := o.Store.(store.Shared)
	slots := o.Limits.Slots
	if slots <= 0 {
		slots = defaultSlots
	}
	return &Service{
		store:    o.Store,
		blobs:    o.Blobs,
		target:   o.Target,
		now:      o.Now,
		limits:   o.Limits,
		configs:  newConfigs(),
		logs:     newLogs(o.Signer),
		verdicts: newVerdicts(),
		turns:    newTurns(slots),
		shared:   shared,
		patient:  shared || o.SharedBlobs,

		pace:     newPace(o.Limits.Rate),
		openings: newPace(o.Limits.Rate),
		makers:   newPace(o.Limits.Rate),
		senders:  newMessagePace(chainMessages),
		messages: newMessagePace(o.Limits.messages()),
		prunings: newPace(prunings),

		revocations: revocationsLimit,
	}
}

// A record is a configuration as it is kept. An erased vault keeps its id and controller.
type record struct {
	coffer.Config
	Erased bool `json:"erased,omitempty"`

	rev   coffer.Rev     // of the document that it is kept in
	admit []netip.Prefix // IPAllowList, read
	law   uint64         // of the vault, not later than when this was read
}

// own is the node's own vault.
var own = derived("coffer node", nil)

// law returns the vault that holds a vault's revocations.
func law(id coffer.VaultID) coffer.VaultID { return derived("coffer law", id[:]) }

func derived(label string, b []byte) coffer.VaultID {
	sum := sha256.Sum256(append([]byte(label+"\x00"), b...))
	return coffer.VaultID(sum[:16])
}

// configKey and referenceName make the tag that keeps (controller, referenceId) unique.
const (
	configKey     = "coffer:config"
	referenceName = "reference"
)

func referenceTag(controller, referenceID string) coffer.Tag {
	h := sha256.New()
	for _, s := range []string{controller, referenceID} {
		sum := sha256.Sum256([]byte(s))
		h.Write(sum[:])
	}
	value := base64.RawURLEncoding.EncodeToString(h.Sum(nil))
	return coffer.Tag{Key: configKey, Name: referenceName, Value: value, Unique: true}
}

func (r *record) document(id coffer.VaultID) (*coffer.Document, error) {
	body, err := json.Marshal(r)
	if err != nil {
		return nil, coffer.E("vault configuration", coffer.Invalid, err)
	}
	d := &coffer.Document{ID: coffer.ObjectID(id), Sequence: r.Sequence, Body: body}
	if r.ReferenceID != "" && !r.Erased {
		d.Tags = []coffer.Tag{referenceTag(r.Controller, r.ReferenceID)}
	}
	return d, nil
}

func readRecord(d *coffer.Document) (*record, error) {
	r := &record{rev: d.Rev()}
	if err := json.Unmarshal(d.Body, r); err != nil {
		return nil, coffer.Errorf("vault configuration", coffer.Corrupt, "unreadable")
	}
	admit, err := prefixes(r.IPAllowList)
	if err != nil {
		return nil, coffer.Errorf("vault configuration", coffer.Corrupt, "unreadable")
	}
	r.admit = admit
	return r, nil
}

// lookup returns the configuration of a vault with the law that it is good under, NotExist if there never was one.
//
// Where other processes write to the store, the law is read each time, and the configuration only when it has moved.
// Where none does, every move of a law has been seen here.
func (s *Service) lookup(ctx context.Context, id coffer.VaultID) (*record, error) {
	known, at := s.configs.get(id)
	if known != nil && !s.shared {
		return known, nil
	}
	// The law first: what is read then is of this law, or a later one. What is decided by a later one and written under
	// this one is refused, and decided again.
	u, err := s.disk(id).Usage(ctx, id)
	if err != nil {
		return nil, err
	}
	if known != nil && known.law == u.Law {
		return known, nil
	}
	d, err := s.disk(id).Get(ctx, own, coffer.ObjectID(id))
	if err != nil {
		return nil, err
	}
	r, err := readRecord(d)
	if err != nil {
		return nil, err
	}
	r.law = u.Law
	s.configs.add(id, r, at)
	return r, nil
}

// Controller returns the controller of the vault, and "" when there is no vault or it does not admit the address.
// An erased vault still has its controller, who may read of the erasure in the feed.
func (s *Service) Controller(ctx context.Context, id coffer.VaultID, from netip.Addr) (string, error) {
	r, err := s.lookup(ctx, id)
	switch {
	case errors.Is(err, coffer.NotExist):
		return "", nil
	case err != nil:
		return "", err
	case !admits(r.admit, from):
		return "", nil
	}
	return r.Controller, nil
}

func admits(list []netip.Prefix, from netip.Addr) bool {
	if len(list) == 0 {
		return true
	}
	for _, p := range list {
		if p.Contains(from.Unmap()) {
			return true
		}
	}
	return false
}

func prefixes(list []string) ([]netip.Prefix, error) {
	var out []netip.Prefix
	for _, text := range list {
		p, err := netip.ParsePrefix(text)
		if err != nil {
			return nil, coffer.Errorf("vault configuration", coffer.Invalid, "ipAllowList has what is no CIDR range")
		}
		out = append(out, p.Masked())
	}
	return out, nil
}

// Bounds on configurations.
const (
	maxConfigText = 1024
	maxAllowList  = 100
)

func checkConfig(c *coffer.Config) error {
	const op = "vault configuration"
	if c.Controller == "" {
		return coffer.Errorf(op, coffer.Invalid, "no controller")
	}
	if c.Sequence > coffer.MaxSequence {
		return coffer.Errorf(op, coffer.Invalid, "sequence out of range")
	}
	texts := []string{c.Controller, c.ReferenceID, c.MeterID, string(c.Invoker), string(c.Delegator)}
	for _, k := range []*coffer.KeyRef{c.KeyAgreementKey, c.HMAC} {
		if k == nil {
			continue
		}
		if k.ID == "" || k.Type == "" {
			return coffer.Errorf(op, coffer.Invalid, "a key has no id or no type")
		}
		texts = append(texts, k.ID, k.Type)
	}
	for _, t := range texts {
		if len(t) > maxConfigText {
			return coffer.Errorf(op, coffer.Invalid, "a member is too long")
		}
	}
	if len(c.IPAllowList) > maxAllowList {
		return coffer.Errorf(op, coffer.Invalid, "ipAllowList is too long")
	}
	_, err := prefixes(c.IPAllowList)
	return err
}

// Create makes a vault for the caller, who must be the configuration's controller; its sequence must be 0. Conflict if
// the controller has a vault with this referenceId. The configuration returned has the id that the service chose.
//
// That the caller rests on a root capability for creating vaults is the wire's to check: this node's root for that has
// each caller as its own controller.
func (s *Service) Create(ctx context.Context, caller grant.Caller, c *coffer.Config) (*coffer.Config, error) {
	const op = "create vault"
	if err := checkConfig(c); err != nil {
		return nil, err
	}
	switch {
	case caller.Who() == "" || !same(caller.Who(), c.Controller):
		return nil, refused(coffer.Errorf(op, coffer.NotExist, "only for oneself"))
	case c.Sequence != 0:
		return nil, coffer.Errorf(op, coffer.Invalid, "sequence must be 0")
	case c.ID != "":
		return nil, coffer.Errorf(op, coffer.Invalid, "the id is the server's to choose")
	}
	maker := maker(caller)
	if err := s.makers.take(maker, s.now()); err != nil {
		return nil, err
	}
	id := coffer.NewVaultID()
	r := &record{Config: *c}
	r.ID = s.target(id)
	d, err := r.document(id)
	if err != nil {
		return nil, err
	}
	limit := store.Usage{Documents: s.limits.Vaults}
	w := store.Write{Vault: own, By: caller.Who(), Time: s.now(), Limit: limit, Document: d}
	if _, err = s.disk(maker).Apply(ctx, w); err != nil {
		return nil, err
	}
	return &r.Config, nil
}

// maker names who makes and looks for vaults, in the form of what turns and paces are kept for.
func maker(c grant.Caller) coffer.VaultID { return derived("coffer maker", []byte(c.Who())) }

// Find returns the configurations of the controller's vaults with the referenceId: one or none. Only the controller
// is answered.
func (s *Service) Find(ctx context.Context, caller grant.Caller, controller, referenceID string) ([]*coffer.Config, error) {
	if caller.Who() == "" || !same(caller.Who(), controller) {
		return nil, refused(coffer.Errorf("find vault", coffer.NotExist, "only for oneself"))
	}
	maker := maker(caller)
	if err := s.makers.take(maker, s.now()); err != nil {
		return nil, err
	}
	tag := referenceTag(controller, referenceID)
	q := coffer.Query{Index: tag.Key, Equals: []map[string]string{{tag.Name: tag.Value}}}
	var found []*coffer.Config
	for d, err := range s.disk(maker).Query(ctx, own, q) {
		if err != nil {
			return nil, err
		}
		r, err := readRecord(d)
		if err != nil {
			return nil, err
		}
		found = append(found, &r.Config)
	}
	return found, nil
}

// same reports whether two identifiers name the same party, one of them perhaps by one of its keys.
func same(a, b string) bool {
	a, _, _ = strings.Cut(a, "#")
	b, _, _ = strings.Cut(b, "#")
	return a != "" && a == b
}
