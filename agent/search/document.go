// Package search is the owner's index: it finds documents by what stands in them (the query language of doc/query.md).
//
// An [Index] is made of segments, which are never changed once written, and of what is not in a segment yet: the
// [Delta] of each commit since. The segments' blocks are kept by [Blocks]; a small manifest names them, and the caller
// commits manifest and deltas together with what they are about. So
//
//   - when a commit changes documents, keep its Delta.Encode() with the manifest, and Add it to the Index;
//   - when the deltas have grown too large, Flush: it returns the manifest that takes the place of the manifest and of
//     all deltas; once that is committed, drop the blocks that Flush says;
//   - to begin, Open with the manifest (nil for none) and the deltas; nothing is fetched before somebody asks.
//
// Of each document, the newest version counts and no other. Nothing is written anywhere but through Blocks, which is
// handed plaintext and is to seal it. The formats are given in doc/search.md.
package search

import (
	"path"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/internal/jose"
	"github.com/cofferhq/coffer/internal/lucene"
)

// TypeFolder is the type of folders, which are documents like others. A document's path is made of the names of the
// folders that it is in.
const TypeFolder = "Folder"

// Bounds on a document.
const (
	MaxName  = 1024      // bytes
	MaxType  = 256       // bytes of a type, and of a media type
	MaxValue = 1 << 20   // bytes of a typed object's JSON
	MaxText  = 256 << 10 // bytes of text that can be searched; what follows is left out
)

// A Document is what the index is told of an object or a folder.
type Document struct {
	ID       coffer.ObjectID
	Folder   coffer.ObjectID // which folder it is in; zero at the top
	Name     string
	Type     string
	MIME     string
	Size     int64
	Modified time.Time      // in whole nanoseconds since 1970, or zero
	Value    jsontext.Value // a typed object's JSON; nil for others
	Text     string         // what stands in a text file
}

// A Hit is what the index keeps of a document to show.
type Hit struct {
	ID, Folder       coffer.ObjectID
	Name, Type, MIME string
	Size             int64
	Modified         time.Time // in UTC
}

// check reports the first rule of form that the document breaks.
func (d *Document) check() error {
	const op = "search"
	switch {
	case d.ID == coffer.ObjectID{}:
		return coffer.Errorf(op, coffer.Invalid, "a document without an id")
	case len(d.Name) > MaxName || len(d.Type) > MaxType || len(d.MIME) > MaxType || len(d.Value) > MaxValue:
		return coffer.Errorf(op, coffer.Invalid, "a document's text is too long")
	case d.Size < 0:
		return coffer.Errorf(op, coffer.Invalid, "a document's size is negative")
	case d.Value != nil && jose.Valid(d.Value) != nil:
		return coffer.Errorf(op, coffer.Invalid, "a document's value is not JSON")
	}
	return nil
}

// cutText returns the part of a text that is searched.
func cutText(s string) string {
	if len(s) <= MaxText {
		return s
	}
	end := MaxText
	for end > MaxText-utf8.UTFMax && !utf8.RuneStart(s[end]) {
		end--
	}
	return s[:end]
}

// fields returns the document as queries see it: [lucene.Query.Match] of it is what the index agrees with.
func (d *Document) fields() *lucene.Fields {
	f := &lucene.Fields{Title: titleField}
	f.Text("name", d.Name)
	f.Text("type", d.Type)
	if d.MIME != "" {
		f.Keyword("mime", d.MIME)
	}
	if ext := path.Ext(d.Name); ext != "" {
		f.Keyword("ext", strings.TrimPrefix(ext, "."))
	}
	f.Number("size", float64(d.Size))
	if !d.Modified.IsZero() {
		f.Time("modified", d.Modified)
	}
	if d.Text != "" {
		f.Text("text", cutText(d.Text))
	}
	if d.Value != nil {
		_ = f.JSON(d.Value) // was checked
	}
	return f
}

func (d *Document) hit() Hit {
	h := Hit{d.ID, d.Folder, d.Name, d.Type, d.MIME, d.Size, d.Modified}
	if !h.Modified.IsZero() {
		h.Modified = h.Modified.UTC().Round(0)
	}
	return h
}
