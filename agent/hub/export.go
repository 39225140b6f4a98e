package hub

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"iter"
	"slices"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/internal/jose"
	"github.com/cofferhq/coffer/merge"
)

// Export yields all commits of the owner's hub, byte for byte as they were signed, permissions and messages included.
// Sealed they stay sealed: the export can lie anywhere. It is all that another hub needs ([Hub.Import]).
//
// An error that comes with a commit is about its author: Unavailable when his keys cannot be reached now, Corrupt when it
// is not signed with one that he has. Who left something and is gone must not keep the owner's hub where it is, so the
// sequence goes on.
func (h *Hub) Export(ctx context.Context) iter.Seq2[*coffer.Commit, error] {
	return func(yield func(*coffer.Commit, error) bool) {
		var q coffer.CommitQuery
		for {
			p, err := h.o.Hub.Commits(ctx, h.o.Owner, &q)
			if err != nil {
				yield(nil, err)
				return
			}
			for _, c := range p.Commits {
				m, err := verify(ctx, h.o.Resolver, c)
				if m == nil {
					yield(nil, err)
					return
				}
				// What a hub computed is not part of it; what a sender wrote there (work, an introduction) is spent.
				if !yield(&coffer.Commit{Protected: c.Protected, Payload: c.Payload, Signature: c.Signature}, err) {
					return
				}
			}
			if q.Skip = p.Skip; q.Skip == "" {
				return
			}
		}
	}
}

// ExportTo writes what Export yields, a line of JSON for each commit, and returns how many. Those that cannot be verified
// now are written like the others: who imports them verifies them.
func (h *Hub) ExportTo(ctx context.Context, w io.Writer) (int, error) {
	b := bufio.NewWriter(w)
	enc := json.NewEncoder(b)
	n := 0
	for c, err := range h.Export(ctx) {
		if c == nil {
			return n, err
		}
		if err := enc.Encode(c); err != nil {
			return n, coffer.E("export", coffer.Unavailable, err)
		}
		n++
	}
	if err := b.Flush(); err != nil {
		return n, coffer.E("export", coffer.Unavailable, err)
	}
	return n, nil
}

// maxLine bounds a line of an export: a commit of the greatest size, as JSON.
const maxLine = 4 << 20

// ReadExport yields the commits that ExportTo wrote. Invalid for what is none.
func ReadExport(r io.Reader) iter.Seq2[*coffer.Commit, error] {
	return func(yield func(*coffer.Commit, error) bool) {
		lines := bufio.NewScanner(r)
		lines.Buffer(nil, maxLine)
		for lines.Scan() {
			if len(lines.Bytes()) == 0 {
				continue
			}
			var c coffer.Commit
			var err error
			if jose.Decode(lines.Bytes(), &c) != nil {
				err = coffer.Errorf("import", coffer.Invalid, "a line is no commit")
			} else if _, e := merge.Parse(&c); e != nil {
				err = coffer.E("import", coffer.Invalid, e)
			}
			if err != nil {
				yield(nil, err)
				return
			}
			if !yield(&c, nil) {
				return
			}
		}
		if err := lines.Err(); err != nil {
			kind := coffer.Unavailable
			if errors.Is(err, bufio.ErrTooLong) {
				kind = coffer.Invalid
			}
			yield(nil, coffer.E("import", kind, err))
		}
	}
}

// Cached returns the commits as an instance takes them that is but a cache of another: without the payloads that, by the
// "cache-intent" of their meta, it need not hold. Of "min" it holds that there is such an object, of "attr" values of up
// to [coffer.MaxAttributes] bytes, sealed as they are; of all others, and of grants and messages, everything. What it
// holds a record of alone is Unavailable there, and found at the other instances.
func Cached(commits iter.Seq2[*coffer.Commit, error]) iter.Seq2[*coffer.Commit, error] {
	return func(yield func(*coffer.Commit, error) bool) {
		for c, err := range commits {
			if c != nil {
				var bad error
				if c, bad = cached(c); bad != nil {
					err = bad
				}
			}
			if !yield(c, err) || c == nil {
				return
			}
		}
	}
}

func cached(c *coffer.Commit) (*coffer.Commit, error) {
	m, err := merge.Parse(c)
	if err != nil {
		return nil, err
	}
	h := &m.Header
	if h.Interface == coffer.PermissionsInterface || h.Interface == coffer.ActionsInterface || h.Operation == merge.Delete {
		return c, nil
	}
	switch metaOf(h.Meta).Intent {
	case "min":
	case "attr":
		if len(m.Payload) <= coffer.MaxAttributes {
			return c, nil
		}
	default:
		return c, nil
	}
	return &coffer.Commit{Protected: c.Protected, Header: c.Header, Signature: c.Signature, Withheld: &m.Rev}, nil
}

// Import has the owner's hub take commits that were accepted elsewhere, in any order, and returns how many were new. A
// commit whose object's first commit is not among them or there already is NotExist. It may be done again: what is
// there already changes nothing.
//
// Commits that others signed, and of which the hub cannot tell that they did, are left out, with those that follow them:
// so whoever left something and is gone keeps nothing else from being taken. It fails then, after all else was taken:
// with Unavailable when some may be taken later, else with Corrupt.
func (h *Hub) Import(ctx context.Context, commits iter.Seq2[*coffer.Commit, error]) (int, error) {
	if err := h.own("import"); err != nil {
		return 0, err
	}
	i := &imported{h: h, out: make(map[coffer.CommitRev]bool)}
	begun := make(map[coffer.CommitRev]bool)
	var early []*merge.Commit // came before the first commits of their objects
	for c, err := range commits {
		if c == nil {
			return i.n, err
		}
		m, err := merge.Parse(c)
		if err != nil {
			return i.n, err
		}
		switch {
		case m.Header.Operation == merge.Create:
			begun[m.Rev] = true
		case !begun[m.Object]:
			early = append(early, m)
			continue
		}
		if err := i.add(ctx, m); err != nil {
			return i.n, err
		}
	}
	for _, m := range early {
		if err := i.add(ctx, m); err != nil {
			return i.n, err
		}
	}
	if err := i.flush(ctx); err != nil {
		return i.n, err
	}
	return i.n, i.left
}

// An imported is what is being taken over.
type imported struct {
	h     *Hub
	n     int // commits that were new
	batch []*merge.Commit
	size  int
	out   map[coffer.CommitRev]bool // objects of which the first commit was left out
	left  error                     // why something was left out; nil: nothing was
}

// These keep a message to a hub below its usual bound. A commit of more bytes goes alone.
const (
	importBatch = 100
	importBytes = 1 << 20
)

func (i *imported) add(ctx context.Context, m *merge.Commit) error {
	more := len(m.Raw.Protected) + len(m.Raw.Payload) + len(m.Raw.Signature)
	if i.size+more > importBytes || len(i.batch) == importBatch {
		if err := i.flush(ctx); err != nil {
			return err
		}
	}
	i.batch, i.size = append(i.batch, m), i.size+more
	return nil
}

func (i *imported) flush(ctx context.Context) error {
	batch := i.batch
	i.batch, i.size = nil, 0
	err := i.adopt(ctx, batch)
	if err == nil || !i.ofSome(batch, err) {
		return err
	}
	// It takes all of them or none. What keeps it from the others is found, unless it is the hub itself.
	if _, down := i.h.o.Hub.Adopt(ctx, i.h.o.Owner); down != nil {
		return err
	}
	return i.each(ctx, batch, err)
}

func (i *imported) adopt(ctx context.Context, batch []*merge.Commit) error {
	if len(batch) == 0 {
		return nil
	}
	all := make([]*coffer.Commit, len(batch))
	for n, m := range batch {
		all[n] = m.Raw
	}
	n, err := i.h.o.Hub.Adopt(ctx, i.h.o.Owner, all...)
	i.n += n
	return err
}

// each has the halves of a batch taken that the hub did not take, and the halves of these.
func (i *imported) each(ctx context.Context, batch []*merge.Commit, err error) error {
	if len(batch) == 1 {
		m := batch[0]
		if m.Header.Operation == merge.Create {
			i.out[m.Object] = true
		}
		switch {
		case errors.Is(err, coffer.Unavailable):
			i.left = coffer.Errorf("import", coffer.Unavailable, "what others left who cannot be verified now was left out")
		case i.left == nil && !errors.Is(err, coffer.NotExist):
			i.left = coffer.Errorf("import", coffer.Corrupt, "what others left who cannot be verified any more was left out")
		}
		return nil
	}
	half := len(batch) / 2
	for _, part := range [...][]*merge.Commit{batch[:half], batch[half:]} {
		err := i.adopt(ctx, part)
		if err == nil {
			continue
		}
		if !i.ofSome(part, err) {
			return err
		}
		if err := i.each(ctx, part, err); err != nil {
			return err
		}
	}
	return nil
}

// ofSome reports whether an error may be about commits of others alone: that it is not known whether they signed them, or
// that the first commit of an object was left out for that.
func (i *imported) ofSome(batch []*merge.Commit, err error) bool {
	var f *coffer.Fault
	return slices.ContainsFunc(batch, func(m *merge.Commit) bool {
		switch coffer.KindOf(err) {
		case coffer.Invalid:
			return m.Signer() != i.h.o.Owner && errors.As(err, &f) && f.Target == "commit"
		case coffer.Unavailable:
			return m.Signer() != i.h.o.Owner
		case coffer.NotExist:
			return m.Header.Operation != merge.Create && i.out[m.Object]
		}
		return false
	})
}
