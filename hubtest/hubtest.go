// Package hubtest checks that a hub keeps the contract of [coffer.Hub], wherever it is. [Run] tells stories of people
// at a [Place]: over the service in this process, over the client of a server across a socket, or over whatever else
// claims to be a hub.
package hubtest

import (
	"context"
	"testing"
	"time"

	"github.com/cofferhq/coffer"
)

// A Place is one host of hubs, empty at first, and the people at it. Everybody may have a hub there.
type Place struct {
	Alice, Bob, Carol, Dave Person

	// Nobody is the hubs as they are seen without an identity. Nil: not told.
	Nobody coffer.Hub
	// Fresh returns another empty place for the same people, with the same clock.
	Fresh func(t testing.TB) *Place
	// Guarded returns another empty place for the same people, which asks strangers who leave an action for a proof of
	// work of so many bits, 16 at most. Nil: not told.
	Guarded func(t testing.TB, bits int) *Place
	// Now returns the place's time. Nil: that of this process.
	Now func() time.Time
	// Advance sets the place's clock forward. Without it, what ends by time is not told.
	Advance func(time.Duration)

	// Limits says what the place was told to hold strangers to. What is 0 is not told.
	Limits Limits
	// PrivateProfile says that profiles are read by grant alone.
	PrivateProfile bool
	// NoFilters says that Lucene filters are not understood.
	NoFilters bool
}

// Limits are bounds that a place is made with, so that stories reach them. The defaults of a hub are too large.
type Limits struct {
	ActionSize    int   // bytes of the payload of a stranger's action; less than a megabyte
	SenderBurst   int   // actions that one stranger may leave at once; fewer than ActionsWait, and at least half of it
	ActionsWait   int   // strangers' actions that one owner keeps unhandled
	StoreKeys     int   // keys of a Store when its grant does not say; not more than 20
	ObjectCommits int   // commits of one object; not more than 100
	StoreBytes    int64 // values of a Store when its grant does not say; less than a megabyte
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

// wait bounds a story.
const wait = time.Minute

// Run tells the stories. open makes a new, empty place.
func Run(t *testing.T, open func(t testing.TB) *Place) {
	for _, story := range []struct {
		name string
		tell func(*story)
	}{
		{"H-01 H-07 two instances that took writes apart", (*story).parted},
		{"H-02 objects of a type are stored beside others of it", (*story).typed},
		{"H-03 two apps share one set of objects", (*story).shared},
		{"H-04 UC-45 unknown schemas, and such as say nothing", (*story).customSchema},
		{"H-05 a grant shows what it is for and no more", (*story).least},
		{"H-05 a record of use remains", (*story).used},
		{"H-05 a grant for what somebody created", (*story).creators},
		{"H-10 UC-43 who somebody is", (*story).profile},
		{"H-11 grants are made, listed, changed and ended", (*story).register},
		{"H-11 what is no grant", (*story).badGrants},
		{"H-11 a grant that was deleted never counts again", (*story).ended},
		{"H-11 a grant ends by itself, or not before it may", (*story).expiry},
		{"H-11 many grants", (*story).manyGrants},
		{"H-12 each of the 16 combinations of CRUD", (*story).combinations},
		{"H-12 the same where no commits are in sight", (*story).verbCombinations},
		{"H-12 random lives", (*story).lives},
		{"H-13 an owner may do everything, a stranger nothing", (*story).ownerMayAll},
		{"H-14 who had access to what, and when", (*story).audit},
		{"H-15 the state does not follow from the order of arrival", (*story).anyOrder},
		{"H-15 a commit that is there already", (*story).duplicates},
		{"H-16 commits are checked", (*story).refusals},
		{"H-17 writers who part", (*story).strategies},
		{"H-18 plain read and write", (*story).verbs},
		{"H-18 a second read returns what changed", (*story).watermarks},
		{"H-21 hubs of several identities", (*story).separate},
		{"H-24 conditions of queries", (*story).conditions},
		{"H-24 the order that a query asks for", (*story).sorted},
		{"H-24 pages follow one another", (*story).paged},
		{"H-24 pages while others write", (*story).whileWriting},
		{"H-28 export and import", (*story).export},
		{"H-28 what is adopted", (*story).adopting},
		{"H-30 what is not offered", (*story).notThere},
		{"H-31 what is offered elsewhere", (*story).relay},
		{"H-34 for the owner, for some, for all", (*story).readers},
		{"H-35 as much of an object as its sender, or who asks, intends", (*story).intent},
		{"H-35 what was said of a payload that was withheld", (*story).forgedWithheld},
		{"H-37 skip and take", (*story).take},
		{"H-40 Stores", (*story).stores},
		{"H-40 what a Store holds", (*story).storeLimits},
		{"H-41 objects by schema", (*story).bySchema},
		{"H-43 Services", (*story).services},
		{"H-44 who claims to be another", (*story).impersonation},
		{"H-44 who may write grants by a grant", (*story).escalation},
		{"H-46 filters, in queries and grants", (*story).filters},
		{"UC-39 public objects are read by anybody", (*story).public},
		{"UC-44 what there is to do", (*story).described},
		{"UC-46 a stranger leaves a message", (*story).left},
		{"UC-47 what was done with messages", (*story).handled},
		{"UC-49 a thread", (*story).threads},
		{"UC-50 too many messages", (*story).flood},
		{"UC-50 what a stranger must show", (*story).guarded},
	} {
		t.Run(story.name, func(t *testing.T) { play(t, open(t), story.tell) })
	}
}

func play(t *testing.T, p *Place, tell func(*story)) {
	ctx, cancel := context.WithTimeout(t.Context(), wait)
	defer cancel()
	tell(newStory(ctx, t, p))
}
