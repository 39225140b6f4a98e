package search

import (
	"bytes"
	"compress/flate"
	"io"

	"github.com/cofferhq/coffer"
)

// A Delta is what one commit changed: documents that are new or take the place of those with their ids, and the ids of
// documents that are no more. No id stands in it twice. Of a folder's name or place only the folder itself knows, so a
// folder that moves is one document.
type Delta struct {
	Documents []Document
	Removed   []coffer.ObjectID
}

// Bounds on a Delta.
const (
	MaxDelta        = 16 << 20 // bytes, before they are compressed
	MaxDeltaEntries = 65536    // documents and removed ids
)

const deltaVersion = 1

// check reports the first rule that the delta breaks, as Invalid.
func (d *Delta) check() error {
	const op = "search"
	if len(d.Documents)+len(d.Removed) > MaxDeltaEntries {
		return coffer.Errorf(op, coffer.Invalid, "too many documents at once")
	}
	seen := make(map[coffer.ObjectID]bool, len(d.Documents)+len(d.Removed))
	for i := range d.Documents {
		if err := d.Documents[i].check(); err != nil {
			return err
		}
		if seen[d.Documents[i].ID] {
			return coffer.Errorf(op, coffer.Invalid, "a document twice")
		}
		seen[d.Documents[i].ID] = true
	}
	for _, id := range d.Removed {
		if seen[id] || id == (coffer.ObjectID{}) {
			return coffer.Errorf(op, coffer.Invalid, "a document twice, or without an id")
		}
		seen[id] = true
	}
	return nil
}

// Encode returns the delta as bytes, compressed. Invalid for documents beyond the bounds, and for an id that stands in
// it twice.
func (d *Delta) Encode() ([]byte, error) {
	if err := d.check(); err != nil {
		return nil, err
	}
	var b []byte
	b = appendUvarint(b, uint64(len(d.Documents)))
	var seen intern
	for i := range d.Documents {
		x := &d.Documents[i]
		h := x.hit()
		b = appendStored(b, &seen, &h)
		b = appendBytes(b, x.Value)
		b = appendBytes(b, []byte(cutText(x.Text)))
	}
	b = appendUvarint(b, uint64(len(d.Removed)))
	for _, id := range d.Removed {
		b = append(b, id[:]...)
	}
	if len(b) > MaxDelta {
		return nil, coffer.Errorf("search", coffer.Invalid, "too much text at once")
	}
	out := bytes.NewBuffer([]byte{deltaVersion})
	w, err := flate.NewWriter(out, flate.DefaultCompression)
	if err == nil {
		_, err = w.Write(b)
	}
	if err == nil {
		err = w.Close()
	}
	return out.Bytes(), err
}

// DecodeDelta reads what [Delta.Encode] writes. Corrupt for anything else, Invalid for a version that is not known.
func DecodeDelta(b []byte) (*Delta, error) {
	const op = "search"
	if len(b) == 0 || len(b) > MaxDelta+MaxDelta/64 {
		return nil, coffer.Errorf(op, coffer.Corrupt, "a delta of an impossible length")
	}
	if b[0] != deltaVersion {
		return nil, coffer.Errorf(op, coffer.Invalid, "a delta of another version")
	}
	packed := bytes.NewReader(b[1:])
	body, err := io.ReadAll(io.LimitReader(flate.NewReader(packed), MaxDelta+1))
	if err != nil || len(body) > MaxDelta || packed.Len() > 0 {
		return nil, coffer.Errorf(op, coffer.Corrupt, "a delta cannot be unpacked")
	}
	r := reader{b: body}
	d := &Delta{}
	var seen interned
	for n := r.count(MaxDeltaEntries); n > 0 && !r.bad; n-- {
		s := r.stored(&seen)
		x := Document{
			ID: s.id, Folder: s.folder, Name: string(s.name), Type: string(s.typ), MIME: string(s.mime),
			Size: s.size, Modified: s.modified(),
		}
		if v := r.bytes(MaxValue); len(v) > 0 {
			x.Value = bytes.Clone(v)
		}
		x.Text = string(r.bytes(MaxText))
		if s.removed {
			r.bad = true
		}
		d.Documents = append(d.Documents, x)
	}
	for n := r.count(MaxDeltaEntries); n > 0 && !r.bad; n-- {
		d.Removed = append(d.Removed, r.id())
	}
	if r.bad || len(r.b) > 0 || d.check() != nil {
		return nil, coffer.Errorf(op, coffer.Corrupt, "a delta is malformed")
	}
	return d, nil
}
