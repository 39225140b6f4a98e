// Package edv is the wire between owners and vaults, both ends: the HTTP protocol of encrypted data vaults as the
// published clients speak it, and what their users have asked for since 2020, compatible with it. [Server] serves a
// [Host]; [Client] reaches one and gives its vaults as [coffer.Vault]s.
package edv

import (
	"context"
	"io"
	"iter"
	"net/netip"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/grant"
)

// A Host is the provider whose vaults a [Server] serves. Errors have kinds as in [coffer.Vault].
//
// An error that says that the caller has no right at all (NotExist), or some but not this one (Denied), has in its
// chain an error with the method Refused() bool, which returns true: it tells "nothing there for you" from "not there".
// An Exhausted error about a rate has in its chain one with the method RetryAfter() time.Duration, and one about the size of
// what was sent one with the method TooLarge() bool.
type Host interface {
	// Controller returns the controller of the vault: of the root capability for its URL. It returns "" and no error
	// when there is no such vault, and also when the vault's configuration does not admit the address.
	Controller(ctx context.Context, id coffer.VaultID, from netip.Addr) (string, error)

	// Create makes a vault from a configuration without an id. The caller must be the configuration's controller.
	// Invalid if the configuration breaks a rule of form or its sequence is not 0; Conflict if the controller has a
	// vault with this referenceId. The configuration returned has its id.
	Create(ctx context.Context, caller grant.Caller, c *coffer.Config) (*coffer.Config, error)

	// Find returns the configurations of the controller's vaults with the referenceId: one or none. The caller must be
	// the controller.
	Find(ctx context.Context, caller grant.Caller, controller, referenceID string) ([]*coffer.Config, error)

	// As returns the vault as the caller may see it; every method of it decides for itself.
	As(caller grant.Caller, id coffer.VaultID) View
}

// A View is a vault as one caller may see it, with all that its owner may do beyond [coffer.Vault].
type View interface {
	coffer.Vault
	coffer.Holder

	// Present is Get for one who may write the object, and perhaps not read it. The server asks it what is to be replaced
	// for clients that do not say so, as the published ones do not; it gives nothing of the answer to the caller.
	Present(ctx context.Context, id coffer.ObjectID) ([]*coffer.Document, error)

	// Revision returns the revision of an object with the sequence, for who may read it: the present one, or one that was
	// replaced and is kept. NotExist if there is none.
	Revision(ctx context.Context, id coffer.ObjectID, sequence uint64) (*coffer.Document, error)

	// Opened returns an object that is open to who knows the secret. It asks no authority. All that is not opened is
	// refused as a stranger is.
	Opened(ctx context.Context, id coffer.ObjectID, secret coffer.Secret) (*coffer.Document, error)
	// OpenedChunk returns a chunk of such an object. The caller closes the reader.
	OpenedChunk(
		ctx context.Context, id coffer.ObjectID, index uint64, secret coffer.Secret,
	) (coffer.ChunkRef, io.ReadCloser, error)
	// Deliver inserts a message into the vault's inbox; see [RemoteVault.Drop].
	Deliver(ctx context.Context, d *coffer.Document) (coffer.Change, error)

	// Config returns the vault's configuration.
	Config(ctx context.Context) (*coffer.Config, error)
	// Configure replaces the configuration. Conflict unless its sequence is one more than the present one's; Invalid
	// if it would change id or referenceId.
	Configure(ctx context.Context, c *coffer.Config) error
	// EraseVault erases the vault: documents, chunks, configuration. Its id stays taken, and its controller can
	// still read in the feed that it was erased. Only the controller may, not a delegate.
	EraseVault(ctx context.Context) (coffer.Change, error)
	// Reindex replaces the present revision, its only parent, by one with the same sequence that differs in its tags.
	Reindex(ctx context.Context, d *coffer.Document) (coffer.Change, error)
	// Revoke revokes a capability whose chain has been verified for this vault. encoded is its JSON. NotExist if it,
	// or one that it rests on, is revoked already. at is the URL of the revocation, the target of the other root
	// capability under which a caller may revoke.
	Revoke(ctx context.Context, at string, c *grant.Capability, encoded []byte) error
	// Revocations yields the revocations that have not outlived their capabilities, oldest first.
	Revocations(ctx context.Context) iter.Seq2[Revocation, error]
	// Revoked reports whether any of the links is revoked in this vault. It asks no authority.
	Revoked(ctx context.Context, links []grant.Link) (bool, error)
}

// A Revocation is the record of one.
type Revocation = coffer.Revocation
