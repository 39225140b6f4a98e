package hub

import (
	"encoding/binary"
	"encoding/json"
	"time"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/merge"
)

// What is said of an object in its first byte.
const (
	isDeleted = 1 << iota
	isWithheld
	isSecond
	isStranger
)

// operations are the numbers by which rows name them.
var operations = [...]string{1: merge.Create, 2: merge.Update, 3: merge.Delete}

// append appends the head in the form in which rows keep it; doc/hub-storage.md has it. Listings read very many.
func (h *head) append(p []byte) []byte {
	o := &h.Object
	var flags, operation byte
	for _, f := range [...]struct {
		set bool
		bit byte
	}{{o.Deleted, isDeleted}, {o.Withheld, isWithheld}, {h.Second, isSecond}, {h.Stranger, isStranger}} {
		if f.set {
			flags |= f.bit
		}
	}
	for n, name := range operations {
		if name == h.Operation {
			operation = byte(n)
		}
	}
	p = append(p, flags, operation)
	p = append(append(p, o.ID[:]...), o.Revision[:]...)
	p = binary.BigEndian.AppendUint64(p, uint64(o.CreatedAt.UnixMilli()))
	p = binary.BigEndian.AppendUint64(p, uint64(o.UpdatedAt.UnixMilli()))
	p = binary.AppendUvarint(p, uint64(h.Size))
	p = binary.AppendUvarint(p, uint64(h.Lacking))
	for _, s := range [...]string{o.Interface, o.Context, o.Type, o.CreatedBy, o.UpdatedBy, o.Sub, o.Strategy} {
		p = append(binary.AppendUvarint(p, uint64(len(s))), s...)
	}
	for _, b := range [...][]byte{o.Meta, h.Grant} {
		p = append(binary.AppendUvarint(p, uint64(len(b))), b...)
	}
	return p
}

// parse reads what append made, and returns what follows it; false if it is something else.
func (h *head) parse(b []byte) (rest []byte, ok bool) {
	const rev = len(coffer.CommitRev{})
	const fixed = 2 + 2*rev + 16
	if len(b) < fixed || b[0] > isDeleted|isWithheld|isSecond|isStranger || b[1] == 0 || int(b[1]) >= len(operations) {
		return nil, false
	}
	o := &h.Object
	o.Deleted, o.Withheld, h.Second, h.Stranger =
		b[0]&isDeleted != 0, b[0]&isWithheld != 0, b[0]&isSecond != 0, b[0]&isStranger != 0
	h.Operation = operations[b[1]]
	o.ID, o.Revision = coffer.CommitRev(b[2:2+rev]), coffer.CommitRev(b[2+rev:2+2*rev])
	o.CreatedAt = time.UnixMilli(int64(binary.BigEndian.Uint64(b[fixed-16:]))).UTC()
	o.UpdatedAt = time.UnixMilli(int64(binary.BigEndian.Uint64(b[fixed-8:]))).UTC()
	r := reader{b[fixed:], true}
	h.Size, h.Lacking = int64(r.number()), int(r.number())
	for _, s := range [...]*string{&o.Interface, &o.Context, &o.Type, &o.CreatedBy, &o.UpdatedBy, &o.Sub, &o.Strategy} {
		*s = string(r.bytes())
	}
	for _, raw := range [...]*json.RawMessage{&o.Meta, &h.Grant} {
		if v := r.bytes(); len(v) > 0 {
			*raw = json.RawMessage(v)
		}
	}
	return r.b, r.ok && h.Size >= 0 && h.Lacking >= 0
}

// A reader reads numbers and texts until there is one that is not there.
type reader struct {
	b  []byte
	ok bool
}

func (r *reader) number() uint64 {
	n, size := binary.Uvarint(r.b)
	if !r.ok || size <= 0 {
		r.ok = false
		return 0
	}
	r.b = r.b[size:]
	return n
}

func (r *reader) bytes() []byte {
	n := r.number()
	if !r.ok || n > uint64(len(r.b)) {
		r.ok = false
		return nil
	}
	v := r.b[:n:n]
	r.b = r.b[n:]
	return v
}
