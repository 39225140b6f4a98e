// Package hub_test runs the published client of identity hubs against our server: the stories are JavaScript (*.mjs), the
// server is cofferd as it is shipped.
package hub_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/cofferhq/coffer/interop"
)

// TestMain builds the programs that the tests run.
func TestMain(m *testing.M) { interop.Main(m) }

// client is the published client, as npm names it.
const client = "@decentralized-identity/hub-sdk-js"

// TestStories tells each story of the published client to a server on each combination of disks.
func TestStories(t *testing.T) {
	interop.Nodejs(t, client)
	interop.OnEachDisk(t, func(t *testing.T, base string) {
		for _, story := range []string{"objects", "grants", "refusals", "vectors"} {
			t.Run(story, func(t *testing.T) {
				t.Parallel()
				interop.Tell(t, story, base)
			})
		}
	}, "--identities", identities(t))
}

// identities returns a file of the identity documents of the people in the vectors.
func identities(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile("../../internal/jose/testdata/hub-sdk-vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	var vectors struct {
		Parties map[string]struct {
			DID      string          `json:"did"`
			Document json.RawMessage `json:"didDocument"`
		} `json:"parties"`
	}
	if err := json.Unmarshal(b, &vectors); err != nil {
		t.Fatal(err)
	}
	type pin struct {
		ID       string          `json:"id"`
		Document json.RawMessage `json:"document"`
	}
	var pins []pin
	for _, name := range []string{"alice", "bob"} {
		p := vectors.Parties[name]
		pins = append(pins, pin{p.DID, p.Document})
	}
	if b, err = json.Marshal(pins); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "identities.json")
	if err := os.WriteFile(file, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}
