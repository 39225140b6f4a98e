package hub

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"iter"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/internal/jose"
	"github.com/cofferhq/coffer/merge"
)

// Export yields all commits of the owner's hub, byte for byte as they were signed, permissions and messages included.
// Sealed they stay sealed: the export can lie anywhere. It is all that another hub needs ([Hub.Import]).
func (h *Hub) Export(ctx context.Context) iter.Seq2[*coffer.Commit, error] {
	return func(yield func(*coffer.Commit, error) bool) {
		var q coffer.CommitQuery
		for pages := 0; ; pages++ {
			p, err := h.o.Hub.Commits(ctx, h.o.Owner, &q)
			if err != nil {
				yield(nil, err)
				return
			}
			for _, c := range p.Commits {
				if _, err := verify(ctx, h.o.Resolver, c); err != nil {
					yield(nil, err)
					return
				}
				// What a hub computed is not part of it; what a sender wrote there (work, an introduction) is spent.
				if !yield(&coffer.Commit{Protected: c.Protected, Payload: c.Payload, Signature: c.Signature}, nil) {
					return
				}
			}
			if q.Skip = p.Skip; q.Skip == "" {
				return
			}
		}
	}
}

// ExportTo writes what Export yields, a line of JSON for each commit, and returns how many.
func (h *Hub) ExportTo(ctx context.Context, w io.Writer) (int, error) {
	b := bufio.NewWriter(w)
	enc := json.NewEncoder(b)
	n := 0
	for c, err := range h.Export(ctx) {
		if err != nil {
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
			if err == nil {
				c, err = cached(c)
			}
			if !yield(c, err) || err != nil {
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
func (h *Hub) Import(ctx context.Context, commits iter.Seq2[*coffer.Commit, error]) (int, error) {
	if err := h.own("import"); err != nil {
		return 0, err
	}
	n, size := 0, 0
	begun := make(map[coffer.CommitRev]bool)
	var batch, early []*coffer.Commit // early came before the first commit of their objects
	flush := func() error {
		if len(batch) == 0 {
			return nil
		}
		added, err := h.o.Hub.Adopt(ctx, h.o.Owner, batch...)
		n, size, batch = n+added, 0, nil
		return err
	}
	add := func(c *coffer.Commit) error {
		more := len(c.Protected) + len(c.Payload) + len(c.Signature)
		if size+more > importBytes || len(batch) == importBatch {
			if err := flush(); err != nil {
				return err
			}
		}
		batch, size = append(batch, c), size+more
		return nil
	}
	for c, err := range commits {
		if err != nil {
			return n, err
		}
		m, err := merge.Parse(c)
		if err != nil {
			return n, err
		}
		switch {
		case m.Header.Operation == merge.Create:
			begun[m.Rev] = true
		case !begun[m.Object]:
			early = append(early, c)
			continue
		}
		if err := add(c); err != nil {
			return n, err
		}
	}
	for _, c := range early {
		if err := add(c); err != nil {
			return n, err
		}
	}
	return n, flush()
}

// These keep a message to a hub below its usual bound. A commit of more bytes goes alone.
const (
	importBatch = 100
	importBytes = 1 << 20
)
