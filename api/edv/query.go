package edv

import (
	"encoding/base64"
	"net/http"
	"strconv"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/internal/jose"
)

// DocumentsType is the media type of documents together with what names them: {"documents":[{"revision", "parents",
// "document"}, …]}, or {"documents":[{"documentId", "sequence"}, …]} when documents are not to be returned. A client
// that accepts it gets it for queries, for lists, and for a document with several present revisions.
const DocumentsType = "application/vnd.coffer.documents+json"

// maxPage is how many documents an answer holds at most, and when no limit is asked for.
const maxPage = 1000

// A queryBody is the body of a query (EDV draft, section "Query").
type queryBody struct {
	Index           string              `json:"index"`
	Equals          []map[string]string `json:"equals,omitempty"`
	Has             []string            `json:"has,omitempty"`
	Count           bool                `json:"count,omitzero"`
	Limit           *int                `json:"limit,omitzero"`
	ReturnDocuments *bool               `json:"returnDocuments,omitzero"`
	Cursor          string              `json:"cursor,omitzero"`
}

// decodeQuery reads the body of a query strictly.
func decodeQuery(b []byte) (q coffer.Query, count bool, err error) {
	const op = "query"
	var w queryBody
	if err := jose.Decode(b, &w); err != nil {
		return q, false, coffer.E(op, coffer.Invalid, err)
	}
	if w.Index == "" || (len(w.Equals) == 0) == (len(w.Has) == 0) {
		return q, false, coffer.Errorf(op, coffer.Invalid, "needs index and one of equals and has")
	}
	q = coffer.Query{Index: w.Index, Equals: w.Equals, Has: w.Has, Limit: maxPage}
	if w.Limit != nil {
		if q.Limit = *w.Limit; q.Limit < 1 || q.Limit > maxPage {
			return q, false, coffer.Errorf(op, coffer.Invalid, "limit must be 1 to 1000")
		}
	}
	q.IDsOnly = w.ReturnDocuments != nil && !*w.ReturnDocuments
	if w.Cursor != "" {
		if q.After, err = parseListCursor(w.Cursor); err != nil {
			return q, false, err
		}
	}
	return q, w.Count, q.Check()
}

// query is POST V/query and POST V/documents/query.
func (c *call) query() error {
	body, err := c.body(c.o.Limits.Body)
	if err != nil {
		return err
	}
	q, count, err := decodeQuery(body)
	if err != nil {
		return invalid(err)
	}
	params, err := c.path.params("returnDocuments")
	if err == nil {
		err = returnDocuments(params, &q)
	}
	if err != nil {
		return invalid(err)
	}
	return c.search(q, count)
}

// list is GET V/documents.
func (c *call) list() error {
	params, err := c.path.params("limit", "cursor", "returnDocuments", "count")
	q := coffer.Query{Limit: maxPage}
	if err == nil {
		err = returnDocuments(params, &q)
	}
	if text, ok := params["limit"]; ok && err == nil {
		q.Limit, err = parseLimit(text)
	}
	if text, ok := params["cursor"]; ok && err == nil {
		q.After, err = parseListCursor(text)
	}
	count, ok := params["count"]
	if ok && count != "true" && err == nil {
		err = coffer.Errorf("list", coffer.Invalid, "count can only be true")
	}
	if err != nil {
		return invalid(err)
	}
	return c.search(q, ok)
}

func parseLimit(s string) (int, error) {
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 || n > maxPage {
		return 0, coffer.Errorf("list", coffer.Invalid, "limit must be 1 to 1000")
	}
	return n, nil
}

func returnDocuments(params map[string]string, q *coffer.Query) error {
	switch text, ok := params["returnDocuments"]; {
	case text == "false":
		q.IDsOnly = true
	case ok && text != "true":
		return coffer.Errorf("list", coffer.Invalid, "returnDocuments must be true or false")
	}
	return nil
}

// search answers with the documents that match, or how many.
func (c *call) search(q coffer.Query, count bool) error {
	ctx, v := c.r.Context(), c.view()
	if count {
		n, err := v.Count(ctx, q)
		if err != nil {
			return err
		}
		return c.encode(http.StatusOK, struct {
			Count int `json:"count"`
		}{n})
	}
	own := c.accepts(DocumentsType)
	mediaType, member := "application/json", "documents"
	if own {
		mediaType = DocumentsType
	} else if q.IDsOnly {
		member = "documentIds"
	}
	a := c.answer(mediaType)
	defer a.release()
	a.text(`{"` + member + `":[`)
	limit := q.Limit
	q.Limit++ // one more, to know whether there is more
	n, size, more := 0, int64(0), false
	var last coffer.ObjectID
	for d, err := range v.Query(ctx, q) {
		if err != nil {
			return err
		}
		if more = n == limit || n > 0 && size+int64(len(d.Body)) > c.o.Limits.Answer; more || a.err != nil {
			break
		}
		if n > 0 {
			a.text(",")
		}
		switch {
		case own:
			a.document(d, q.IDsOnly)
		case q.IDsOnly:
			a.text(quote(d.ID.String()))
		default:
			a.bytes(d.Body)
		}
		n++
		size += int64(len(d.Body))
		last = d.ID
	}
	if more {
		a.text(`],"hasMore":true,"cursor":"` + formatListCursor(last) + `"}`)
	} else {
		a.text(`],"hasMore":false}`)
	}
	return a.end()
}

// revisions answers with all of the present revisions of a document.
func (c *call) revisions(present []*coffer.Document) error {
	a := c.answer(DocumentsType)
	defer a.release()
	a.text(`{"documents":[`)
	for i, d := range present {
		if i > 0 {
			a.text(",")
		}
		a.document(d, false)
	}
	a.text(`],"hasMore":false}`)
	return a.end()
}

// document adds a document in the form of [DocumentsType].
func (a *answer) document(d *coffer.Document, idOnly bool) {
	if idOnly {
		a.text(`{"documentId":"` + d.ID.String() + `","sequence":`)
		a.number(d.Sequence)
		a.text("}")
		return
	}
	a.text(`{"revision":"` + d.Rev().String() + `","parents":[`)
	for i, p := range d.Parents {
		if i > 0 {
			a.text(",")
		}
		a.text(quote(p.String()))
	}
	a.text(`],"document":`)
	a.bytes(d.Body)
	a.text("}")
}

// listCursorVersion begins the cursors of lists and queries. An id follows: the last one that was returned.
const listCursorVersion = 1

func formatListCursor(last coffer.ObjectID) string {
	return base64.RawURLEncoding.EncodeToString(append([]byte{listCursorVersion}, last[:]...))
}

func parseListCursor(s string) (id coffer.ObjectID, err error) {
	b, ok := jose.Decode64(s)
	if !ok || len(b) != 1+len(id) || b[0] != listCursorVersion {
		return id, coffer.Errorf("cursor", coffer.Invalid, "not one of this server's")
	}
	copy(id[:], b[1:])
	return id, nil
}
