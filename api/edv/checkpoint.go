package edv

import (
	"context"
	"encoding/base64"
	"net/http"
	"strconv"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/grant"
	"github.com/cofferhq/coffer/internal/jose"
)

// A logView is a [View] of a vault whose feed is a Merkle log: what package ledger calls a Log. doc/ledger.md says what
// the texts are.
type logView interface {
	Checkpoint(ctx context.Context) ([]byte, error)
	Consistency(ctx context.Context, from, to uint64) ([][32]byte, error)
	Inclusion(ctx context.Context, index, size uint64) ([][32]byte, error)
}

// FeatureCheckpoints names what the server has with a [ServerOptions.LogKey].
const FeatureCheckpoints = "checkpoints"

// Bounds on the log's answers.
const (
	maxNote   = 16 << 10 // bytes of a signed checkpoint
	maxProof  = 128      // hashes of a proof
	noteType  = "text/plain; charset=utf-8"
	maxLogKey = 1024 // bytes of a verifier key
)

// A proofAnswer is a proof as it travels.
type proofAnswer struct {
	Hashes []string `json:"hashes"`
}

// log returns the vault's log as the caller may see it.
func (c *call) log() (logView, error) {
	v, ok := c.view().(logView)
	if !ok || c.o.LogKey == "" {
		return nil, fail(http.StatusNotFound, notFoundError, coffer.NotExist, "this server signs no checkpoints")
	}
	return v, nil
}

// checkpoint is GET V/checkpoint.
func (c *call) checkpoint() error {
	v, err := c.log()
	if err != nil {
		return err
	}
	note, err := v.Checkpoint(c.r.Context())
	if err != nil {
		return err
	}
	h := c.Header()
	h["Content-Type"] = []string{noteType}
	h["Cache-Control"] = noStore
	h["Content-Length"] = []string{strconv.Itoa(len(note))}
	c.WriteHeader(http.StatusOK)
	c.Write(note) // a client that went away needs no answer
	return nil
}

// consistency is GET V/proof/consistency?from=&to=.
func (c *call) consistency() error {
	return c.proof("from", "to", logView.Consistency)
}

// inclusion is GET V/proof/inclusion?index=&size=.
func (c *call) inclusion() error {
	return c.proof("index", "size", logView.Inclusion)
}

// A prover is one of the two methods of a logView that prove.
type prover func(v logView, ctx context.Context, a, b uint64) ([][32]byte, error)

func (c *call) proof(first, second string, prove prover) error {
	v, err := c.log()
	if err != nil {
		return err
	}
	params, err := c.path.params(first, second)
	if err != nil {
		return invalid(err)
	}
	a, errA := strconv.ParseUint(params[first], 10, 53)
	b, errB := strconv.ParseUint(params[second], 10, 53)
	if errA != nil || errB != nil {
		return invalid(coffer.Errorf("proof", coffer.Invalid, first+" and "+second+" must be numbers"))
	}
	hashes, err := prove(v, c.r.Context(), a, b)
	if err != nil {
		return err
	}
	answer := proofAnswer{Hashes: make([]string, len(hashes))}
	for i, h := range hashes {
		answer.Hashes[i] = base64.StdEncoding.EncodeToString(h[:])
	}
	c.Header()["Cache-Control"] = noStore
	return c.encode(http.StatusOK, answer)
}

// LogKey returns the verifier key of the server's checkpoints, as the server says it. Who follows a log remembers it
// from the first time on, and compares. NotExist if the server signs none.
func (c *Client) LogKey(ctx context.Context) (string, error) {
	const op = "log key"
	d, err := c.Description(ctx)
	switch {
	case err != nil:
		return "", err
	case d.LogKey == "":
		return "", coffer.Errorf(op, coffer.NotExist, "the server signs no checkpoints")
	case len(d.LogKey) > maxLogKey:
		return "", coffer.Errorf(op, coffer.Corrupt, "the server's key is malformed")
	}
	return d.LogKey, nil
}

// Checkpoint returns a checkpoint of all that was accepted before the call, as a note signed by the server, which is
// not verified here: package ledger does.
func (v *RemoteVault) Checkpoint(ctx context.Context) ([]byte, error) {
	a, err := v.do(ctx, &request{op: "checkpoint", method: "GET", url: v.url + "/checkpoint", action: grant.Read,
		repeat: true, limit: maxNote})
	if err != nil {
		return nil, err
	}
	return a.body, nil
}

// Consistency returns the proof that the log of size to goes on from the log of size from. It is not checked here.
func (v *RemoteVault) Consistency(ctx context.Context, from, to uint64) ([][32]byte, error) {
	return v.proof(ctx, "/proof/consistency?from="+strconv.FormatUint(from, 10)+"&to="+strconv.FormatUint(to, 10))
}

// Inclusion returns the proof that the change with the number index+1 stands in the log of the size. It is not checked
// here.
func (v *RemoteVault) Inclusion(ctx context.Context, index, size uint64) ([][32]byte, error) {
	return v.proof(ctx, "/proof/inclusion?index="+strconv.FormatUint(index, 10)+"&size="+strconv.FormatUint(size, 10))
}

func (v *RemoteVault) proof(ctx context.Context, at string) ([][32]byte, error) {
	a, err := v.do(ctx, &request{op: "proof", method: "GET", url: v.url + at, action: grant.Read, repeat: true,
		limit: maxNote})
	if err != nil {
		return nil, err
	}
	return decodeProof(a.body)
}

// decodeProof reads a proof, or fails with Corrupt.
func decodeProof(b []byte) ([][32]byte, error) {
	malformed := coffer.Errorf("proof", coffer.Corrupt, "the server's answer is malformed")
	var w proofAnswer
	if jose.DecodeOpen(b, &w) != nil || w.Hashes == nil || len(w.Hashes) > maxProof {
		return nil, malformed
	}
	proof := make([][32]byte, len(w.Hashes))
	for i, text := range w.Hashes {
		h, err := base64.StdEncoding.Strict().DecodeString(text)
		if err != nil || len(h) != len(proof[i]) || len(text) != base64.StdEncoding.EncodedLen(len(h)) {
			return nil, malformed
		}
		proof[i] = [32]byte(h)
	}
	return proof, nil
}
