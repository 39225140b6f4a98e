package edv

import (
	"cmp"
	"context"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/cofferhq/coffer"
)

// insert is POST V/documents.
func (c *call) insert() error {
	d, err := c.document()
	if err != nil {
		return err
	}
	ch, err := coffer.Put(c.r.Context(), c.view(), d)
	if err != nil {
		return err
	}
	c.Header()["Location"] = []string{c.url + "/documents/" + d.ID.String()}
	return c.accepted(http.StatusCreated, ch)
}

// document reads the body as a document.
func (c *call) document() (*coffer.Document, error) {
	body, err := c.body(c.o.Limits.Document)
	if err != nil {
		return nil, err
	}
	d, err := DecodeDocument(body)
	if err != nil {
		return nil, invalid(err)
	}
	return d, nil
}

// get is GET V/documents/{id}.
func (c *call) get() error {
	id, err := c.object()
	if err != nil {
		return err
	}
	if _, err := c.path.params(); err != nil {
		return invalid(err)
	}
	return c.getFrom(c.view(), id)
}

// getRevision is GET V/documents/{id}/revisions/{sequence}.
func (c *call) getRevision() error {
	id, err := c.object()
	if err != nil {
		return err
	}
	if _, err := c.path.params(); err != nil {
		return invalid(err)
	}
	text := c.path.segments[5]
	sequence, err := strconv.ParseUint(text, 10, 64)
	if err != nil || sequence > coffer.MaxSequence || text != strconv.FormatUint(sequence, 10) {
		return fail(http.StatusNotFound, notFoundError, coffer.NotExist, "no such revision")
	}
	d, err := c.view().Revision(c.r.Context(), id, sequence)
	if err != nil {
		return err
	}
	return c.present(d)
}

// getFrom answers with a document of a vault.
func (c *call) getFrom(v coffer.Vault, id coffer.ObjectID) error {
	present, err := v.Get(c.r.Context(), id)
	if err != nil {
		return err
	}
	if len(present) > 1 && c.accepts(DocumentsType) {
		return c.revisions(present)
	}
	d := slices.MaxFunc(present, func(a, b *coffer.Document) int {
		ra, rb := a.Rev(), b.Rev()
		return cmp.Or(cmp.Compare(a.Sequence, b.Sequence), slices.Compare(ra[:], rb[:]))
	})
	return c.present(d)
}

// present answers with a document.
func (c *call) present(d *coffer.Document) error {
	h := c.Header()
	h["Cache-Control"] = fresh
	h["Coffer-Parents"] = []string{formatRevs(d.Parents)}
	etag := quote(d.Rev().String())
	h["Etag"] = []string{etag}
	if c.unchanged(etag) {
		return c.empty(http.StatusNotModified)
	}
	c.json(http.StatusOK, d.Body)
	return nil
}

// unchanged reports whether the client says that it has the representation with the entity tag.
func (c *call) unchanged(etag string) bool {
	for _, v := range c.r.Header["If-None-Match"] {
		for tag := range strings.SplitSeq(v, ",") {
			if tag = strings.TrimSpace(tag); strings.TrimPrefix(tag, "W/") == etag || tag == "*" {
				return true
			}
		}
	}
	return false
}

// update is POST V/documents/{id}.
func (c *call) update() error {
	id, err := c.object()
	if err != nil {
		return err
	}
	d, err := c.document()
	if err != nil {
		return err
	}
	if d.ID != id {
		return fail(http.StatusBadRequest, dataError, coffer.Invalid, "the document's id is not the one in the path")
	}
	v := c.view()
	switch match, none := c.r.Header["If-Match"], c.r.Header.Get("If-None-Match"); {
	case none == "*" && len(match) == 0: // inserted, or Conflict
	case none != "":
		return fail(http.StatusBadRequest, validationError, coffer.Invalid, "If-None-Match can only be * here")
	case len(match) > 0:
		d.Parents, err = parseMatch(match)
	default:
		d.Parents, err = parents(c.r.Context(), v, id)
	}
	if err != nil {
		return err
	}
	ch, err := coffer.Put(c.r.Context(), v, d)
	if err != nil {
		return err
	}
	return c.accepted(http.StatusNoContent, ch)
}

// parents returns the present revisions of an object, none if there is no such object.
func parents(ctx context.Context, v View, id coffer.ObjectID) ([]coffer.Rev, error) {
	docs, err := v.Present(ctx, id)
	if absent(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	revs := make([]coffer.Rev, len(docs))
	for i, d := range docs {
		revs[i] = d.Rev()
	}
	return revs, nil
}

// erase is DELETE V/documents/{id}. The change is the receipt.
func (c *call) erase() error {
	id, err := c.object()
	if err != nil {
		return err
	}
	return c.eraseFrom(c.view(), id)
}

// eraseFrom erases a document of a vault.
func (c *call) eraseFrom(v coffer.Vault, id coffer.ObjectID) error {
	ch, err := coffer.Erase(c.r.Context(), v, id)
	if err != nil {
		return err
	}
	return c.encode(http.StatusOK, changeOf(ch))
}

// maxParents is how many revisions a client may name: as many as a document may have parents.
const maxParents = 64

// formatRevs writes revisions as they stand in headers and batches.
func formatRevs(revs []coffer.Rev) string {
	if len(revs) == 1 {
		return revs[0].String()
	}
	texts := make([]string, len(revs))
	for i, r := range revs {
		texts[i] = r.String()
	}
	return strings.Join(texts, ",")
}

// parseRevs reads what formatRevs writes.
func parseRevs(s string) (revs []coffer.Rev, err error) {
	if s == "" {
		return nil, nil
	}
	for text := range strings.SplitSeq(s, ",") {
		r, err := coffer.ParseRev(strings.TrimSpace(text))
		if err != nil {
			return nil, err
		}
		if revs = append(revs, r); len(revs) > maxParents {
			return nil, coffer.Errorf("revision", coffer.Invalid, "too many")
		}
	}
	return revs, nil
}

// parseMatch reads an If-Match header: the quoted names of all of the present revisions. A tag that is no revision
// matches none.
func parseMatch(values []string) ([]coffer.Rev, error) {
	text := strings.ReplaceAll(strings.Join(values, ","), `"`, "")
	revs, err := parseRevs(text)
	if err != nil || len(revs) == 0 {
		return nil, coffer.Errorf("precondition", coffer.Conflict, "If-Match names no present revision")
	}
	return revs, nil
}

func formatMatch(revs []coffer.Rev) string {
	return `"` + strings.ReplaceAll(formatRevs(revs), ",", `","`) + `"`
}
