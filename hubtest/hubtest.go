// Package hubtest checks that a hub keeps the contract of [coffer.Hub], wherever it is. [Run] tells stories of people
// at a [Place]: over the service in this process, over the client of a server across a socket, or over whatever else
// claims to be a hub.
package hubtest

import (
	"testing"
	"time"

	"github.com/cofferhq/coffer"
)

// A Place is one host of hubs, empty at first, and the people at it.
type Place struct {
	Alice, Bob, Carol, Dave Person

	// Fresh returns another empty place for the same people, with the same clock.
	Fresh func(t testing.TB) *Place
	// Now returns the place's time. Nil: that of this process.
	Now func() time.Time
	// Advance sets the place's clock forward. Without it, what ends by time is not told.
	Advance func(time.Duration)

	// ActionsWaiting is how many actions of strangers one owner's hub keeps that were not handled yet; 0: not told.
	ActionsWaiting int
	// ActionSize is how large an action of a stranger may be, in bytes of its payload; 0: not told.
	ActionSize int
	// StoreKeys is how many keys a Store may have when its grant does not say; 0: not told.
	StoreKeys int
	// Filters says that Lucene filters and those in grants are understood.
	Filters bool
}

// A Person is somebody with an identity, and the hubs as this person may see them.
type Person struct {
	DID string
	Hub coffer.Hub
	// For returns the hubs as the person sees them who says what for. Nil: not told.
	For func(purpose string) coffer.Hub
	// Sign signs a commit: it adds "alg" and "kid" to what is protected.
	Sign func(protected map[string]any, payload []byte) *coffer.Commit
}

// Run tells the stories. open makes a new, empty place.
func Run(t *testing.T, open func(t testing.TB) *Place) {}
