package seal_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"time"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/agent/seal"
	"github.com/cofferhq/coffer/keyring"
)

func Example() {
	ctx := context.Background()
	ring := keyring.Generate()
	blind, err := seal.NewBlinder(ring, seal.Index{Attributes: []string{"content.kind"}})
	if err != nil {
		log.Fatal(err)
	}
	document, err := seal.Seal(ctx, ring,
		seal.Plain{Content: json.RawMessage(`{"kind":"note","text":"Buy milk."}`)},
		seal.Options{ID: coffer.NewObjectID(), Blind: blind})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("the provider sees the text:", bytes.Contains(document.Body, []byte("milk")))

	query, err := blind.Equals(ctx, map[string]any{"content.kind": "note"})
	if err != nil {
		log.Fatal(err)
	}
	tag := document.Tags[0]
	fmt.Println("the query finds it:", query.Equals[0][tag.Name] == tag.Value)

	opened, err := seal.Open(ctx, ring, document)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s, bound: %v\n", opened.Content, opened.Bound)

	document.Sequence++ // the provider passes it off as a later revision
	_, err = seal.Open(ctx, ring, document)
	fmt.Println("passed off as another:", errors.Is(err, coffer.Corrupt))
	// Output:
	// the provider sees the text: false
	// the query finds it: true
	// {"kind":"note","text":"Buy milk."}, bound: true
	// passed off as another: true
}

// An object that names nobody, signed by its author, and its key on the way to a reader.
func ExampleSealObject() {
	ctx := context.Background()
	author := keyring.Generate()
	ref := seal.NewRef()
	document, err := seal.SealObject(ctx, seal.Plain{Content: json.RawMessage(`{"text":"Buy milk."}`)},
		seal.ObjectOptions{Ref: ref, Author: author, Time: time.Now()})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("the provider sees the author:", bytes.Contains(document.Body, []byte(author.DID())))
	fmt.Println("the key admits to reading:", document.Admits(coffer.ReadAccess, ref.Key.Access(ref.ID)))

	opened, err := seal.OpenObject(ref, document)
	if err != nil {
		log.Fatal(err)
	}
	err = opened.CheckAuthor(author.Key(coffer.SigningKey)) // as resolved from opened.Author
	fmt.Printf("%s, %v\n", opened.Content, err)
	stranger := keyring.Generate()
	fmt.Println("by a stranger:", errors.Is(opened.CheckAuthor(stranger.Key(coffer.SigningKey)), coffer.Corrupt))
	// Output:
	// the provider sees the author: false
	// the key admits to reading: true
	// {"text":"Buy milk."}, <nil>
	// by a stranger: true
}

// A range is asked for by the intervals that make it up.
func ExampleBlinder_Equals() {
	ctx := context.Background()
	blind, err := seal.NewBlinder(keyring.Generate(),
		seal.Index{Attributes: []string{"content.due"}, Match: seal.Days},
		seal.Index{Attributes: []string{"content.customer"}, Match: seal.Prefixes})
	if err != nil {
		log.Fatal(err)
	}
	query, err := blind.Equals(ctx, map[string]any{
		"content.due":      seal.Range{From: "2026-01-01", To: "2026-03-31"},
		"content.customer": seal.Prefix("mül"),
	})
	fmt.Println(len(query.Equals), "filters,", err)
	// Output: 4 filters, <nil>
}

// A stream is sealed while it is read, and opened while it is written out.
func ExampleWriter() {
	ctx := context.Background()
	ring := keyring.Generate()
	id := coffer.NewObjectID()

	// The document comes first, and says that a stream is to come.
	stream, err := seal.NewStream(0, seal.DefaultChunkSize)
	if err != nil {
		log.Fatal(err)
	}
	if _, err = seal.Seal(ctx, ring, seal.Plain{Stream: stream}, seal.Options{ID: id}); err != nil {
		log.Fatal(err)
	}

	// Then the chunks; a vault would keep them.
	var chunks [][]byte
	sealer, err := seal.NewChunkSealer(id, stream, ring.Key(coffer.AgreementKey))
	if err != nil {
		log.Fatal(err)
	}
	w := seal.NewWriter(sealer, func(_ coffer.ChunkRef, raw []byte) error {
		chunks = append(chunks, bytes.Clone(raw))
		return nil
	})
	if _, err := w.Write(bytes.Repeat([]byte("film "), 500_000)); err != nil {
		log.Fatal(err)
	}

	// At last the revision that closes the stream.
	closed, err := w.Close()
	if err != nil {
		log.Fatal(err)
	}
	document, err := seal.Seal(ctx, ring, seal.Plain{Stream: closed}, seal.Options{ID: id, Sequence: 1})
	if err != nil {
		log.Fatal(err)
	}

	opened, err := seal.Open(ctx, ring, document)
	if err != nil {
		log.Fatal(err)
	}
	opener, err := seal.NewChunkOpener(ring, opened)
	if err != nil {
		log.Fatal(err)
	}
	r := seal.NewReader(ctx, opener, func(_ context.Context, dst []byte, index uint64) ([]byte, error) {
		return append(dst, chunks[index]...), nil
	})
	n, err := io.Copy(io.Discard, r)
	fmt.Println(len(chunks), "chunks,", n, "bytes,", err)
	// Output: 3 chunks, 2500000 bytes, <nil>
}
