// Package edv_test runs published foreign clients of encrypted data vaults against our server, and beside our own
// client: the stories are JavaScript (*.mjs), the server is cofferd as it is shipped.
package edv_test

import (
	"testing"

	"github.com/cofferhq/coffer/interop"
)

// TestMain builds the programs that the tests run.
func TestMain(m *testing.M) { interop.Main(m) }

// client is the published client, as npm names it.
const client = "@digitalbazaar/edv-client"

// TestStories tells each story of the published clients to a server on each combination of disks.
func TestStories(t *testing.T) {
	interop.Nodejs(t, client)
	interop.OnEachDisk(t, func(t *testing.T, base string) {
		for _, story := range []string{
			"vaults", "documents", "queries", "streams", "delegation", "revocation", "requests",
		} {
			t.Run(story, func(t *testing.T) {
				t.Parallel()
				interop.Tell(t, story, base)
			})
		}
	})
}
