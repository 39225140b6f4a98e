package ledger

import "context"

// A Log is the feed of one vault as a Merkle log: an optional second interface of a [coffer.Vault]. Who may read the
// feed may ask. NotExist if the node signs no checkpoints, and, to who may know of it, once the vault is erased: the
// log ends with the vault.
type Log interface {
	// Checkpoint returns a checkpoint of all that was accepted before the call, as a note signed by the node: see [Open].
	Checkpoint(ctx context.Context) ([]byte, error)

	// Consistency returns the proof that the log of size to goes on from the log of size from: see [CheckConsistency].
	// Invalid if to is less than from or the log is shorter.
	Consistency(ctx context.Context, from, to uint64) ([][32]byte, error)

	// Inclusion returns the proof that the change with the number index+1 stands in the log of the size: see
	// [CheckInclusion]. Invalid if the size is not greater than index or the log is shorter.
	Inclusion(ctx context.Context, index, size uint64) ([][32]byte, error)
}
