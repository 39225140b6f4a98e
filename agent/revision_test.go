package agent

import (
	"bytes"
	"encoding/base64"
	"testing"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/agent/seal"
	"github.com/cofferhq/coffer/keyring"
)

// The known answers of doc/objects.md.
func TestMAC(t *testing.T) {
	keys, err := keyring.FromSeeds(bytes.Repeat([]byte{1}, 32), bytes.Repeat([]byte{2}, 32), "urn:example:hmac")
	if err != nil {
		t.Fatal(err)
	}
	defer keys.Close()
	a := &Agent{Options: Options{Keyring: keys}}
	id, err := coffer.ParseObjectID("z19inwPEW2tBULosfqG97hZd8")
	if err != nil {
		t.Fatal(err)
	}
	c := newContent(TypeFile, "a/b")
	c.Data, c.Size = []byte("hi"), 2
	content, err := c.encode()
	if err != nil {
		t.Fatal(err)
	}
	spaced := jsontext.Value(content)
	if err := spaced.Indent(); err != nil {
		t.Fatal(err)
	}
	readers := []reader{
		{ID: "did:example:alice#k", Key: bytes.Repeat([]byte{3}, 32)},
		{ID: "did:example:bob#k", Key: bytes.Repeat([]byte{4}, 32), Until: time.Date(2026, 12, 31, 23, 59, 59, 0, time.UTC)},
	}
	for _, test := range []struct {
		stream *seal.Stream
		meta   meta
		want   string
	}{
		{nil, meta{}, "oyzJ-GdIZqPbjjYYjhxX9AMKfK3d3vl2j5vpijabRiM"},
		{
			&seal.Stream{Sequence: 2, Size: 1<<20 + 1, ChunkSize: 1 << 20, Chunks: 2},
			meta{Readers: readers, Rekey: true, MAC: []byte("not counted")},
			"xB7crvcFntW0pwuw7Wa9CdPwbdF73BW0b2BBtiGOds4",
		},
	} {
		for _, content := range [][]byte{content, spaced} {
			mac, err := a.mac(t.Context(), id, 3, seal.Plain{Content: content, Stream: test.stream}, test.meta)
			if got := base64.RawURLEncoding.EncodeToString(mac); got != test.want || err != nil {
				t.Errorf("%s, %v, not %s", got, err, test.want)
			}
		}
	}
}
