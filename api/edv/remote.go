package edv

import (
	"context"
	"errors"
	"io"
	"iter"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/grant"
	"github.com/cofferhq/coffer/internal/jose"
)

// A RemoteVault is a vault that is reached over HTTP. It is made by [Client.Vault], and keeps the contract of
// [coffer.Vault] with the servers of this module. With the published servers it does what they can: they have no
// batches, feeds, lists, erasure or cursors, and do not say which revision replaces which.
type RemoteVault struct {
	c           *Client
	url         string
	authorities []authority
}

// An authority is an invoker and what is known of its capability.
type authority struct {
	invoker *grant.Invoker
	actions []grant.Action // nil is all
	expires time.Time      // zero is never
}

var _ coffer.Vault = (*RemoteVault)(nil)

// Vault returns the vault with the URL, as the client's identity may see it by delegated capabilities (each one as
// JSON), or without any as its controller. Invalid if the URL is not of a vault of this server, or a capability is
// malformed or for another vault; Denied if one is for another identity.
func (c *Client) Vault(url string, capabilities ...[]byte) (*RemoteVault, error) {
	if !c.hasVault(url) {
		return nil, coffer.Errorf("vault", coffer.Invalid, "not the URL of a vault of this server")
	}
	v := &RemoteVault{c: c, url: url}
	for _, b := range capabilities {
		parsed, err := grant.ParseCapability(b)
		if err != nil {
			return nil, err
		}
		if parsed.RootTarget() != url { // it would be shown to another server
			return nil, coffer.Errorf("vault", coffer.Invalid, "a capability is for another vault")
		}
		i, err := grant.NewInvoker(c.o.Keyring, string(b))
		if err != nil {
			return nil, err
		}
		v.authorities = append(v.authorities, authority{i, parsed.Actions(), parsed.Expires()})
	}
	if len(capabilities) == 0 {
		i, err := grant.NewInvoker(c.o.Keyring, url)
		if err != nil {
			return nil, err
		}
		v.authorities = []authority{{invoker: i}}
	}
	return v, nil
}

// hasVault reports whether the URL is of a vault of the server, be there one or not.
func (c *Client) hasVault(url string) bool {
	id, ok := strings.CutPrefix(url, c.o.Base+"/edvs/")
	_, err := coffer.ParseVaultID(id)
	return ok && err == nil
}

// URL returns the vault's URL.
func (v *RemoteVault) URL() string { return v.url }

func (v *RemoteVault) document(id coffer.ObjectID) string { return v.url + "/documents/" + id.String() }

func (v *RemoteVault) chunk(id coffer.ObjectID, index uint64) string {
	return chunkURL(v.document(id), index)
}

func chunkURL(document string, index uint64) string {
	return document + "/chunks/" + strconv.FormatUint(index, 10)
}

// by completes a request with an authority that is good for one of the URLs, the first one if possible. Without one it
// fails as the server would: Denied while any authority is good for something, else NotExist.
func (v *RemoteVault) by(ctx context.Context, r *request, urls ...string) error {
	for _, url := range urls {
		for _, a := range v.authorities {
			if below(a.invoker.Target(), url) && a.good(r.action, v.c.o.Now()) {
				r.url, r.invoker = url, a.invoker
				return nil
			}
		}
	}
	for _, a := range v.authorities {
		if a.good(grant.Read, v.c.o.Now()) && v.revoked(ctx, a) {
			continue
		}
		if a.good("", v.c.o.Now()) {
			return coffer.Errorf(r.op, coffer.Denied, "no capability covers this")
		}
	}
	return coffer.Errorf(r.op, coffer.NotExist, "no capability is good for anything")
}

// good reports whether the authority allows the action, if one is given, and has not expired.
func (a *authority) good(action grant.Action, now time.Time) bool {
	return (action == "" || a.actions == nil || slices.Contains(a.actions, action)) &&
		(a.expires.IsZero() || now.Before(a.expires))
}

// revoked asks the server whether an authority for reading opens nothing any more.
func (v *RemoteVault) revoked(ctx context.Context, a authority) bool {
	url := a.invoker.Target()
	if url == v.url+"/documents" {
		url += "?limit=1"
	}
	r := &request{op: "probe", method: "HEAD", url: url, action: grant.Read, invoker: a.invoker, repeat: true}
	_, err := v.c.send(ctx, r)
	var status statusError
	return errors.As(err, &status) && status == http.StatusForbidden
}

// below reports whether authority over base is authority over url.
func below(base, url string) bool {
	rest, ok := strings.CutPrefix(url, base)
	if !ok || rest == "" {
		return ok
	}
	if strings.Contains(base, "?") {
		return rest[0] == '&'
	}
	return rest[0] == '/' || rest[0] == '?'
}

// do sends a request by an authority for its URL.
func (v *RemoteVault) do(ctx context.Context, r *request) (*answered, error) {
	if err := v.by(ctx, r, r.url); err != nil {
		return nil, err
	}
	return v.c.send(ctx, r)
}

// Get implements [coffer.Vault].
func (v *RemoteVault) Get(ctx context.Context, id coffer.ObjectID) ([]*coffer.Document, error) {
	return v.get(ctx, &request{url: v.document(id)}, id)
}

// get completes and sends a request for a document.
func (v *RemoteVault) get(ctx context.Context, r *request, id coffer.ObjectID) ([]*coffer.Document, error) {
	r.op, r.method, r.action, r.repeat = "get", "GET", grant.Read, true
	r.accept = DocumentsType + ", application/json"
	a, err := v.do(ctx, r)
	if err != nil {
		return nil, err
	}
	return decodePresent(r.op, a, id)
}

// Revision returns the revision of an object with the sequence, for who may read it: the present one, or one that was
// replaced no longer ago than the server keeps them. NotExist if there is none; Invalid if the server keeps none.
func (v *RemoteVault) Revision(ctx context.Context, id coffer.ObjectID, sequence uint64) (*coffer.Document, error) {
	const op = "revision"
	r := &request{op: op, method: "GET", action: grant.Read, repeat: true}
	url := v.document(id) + "/revisions/" + strconv.FormatUint(sequence, 10)
	if err := v.by(ctx, r, url); err != nil {
		return nil, err
	}
	if !v.c.has(ctx, FeatureRevisions) {
		return nil, coffer.Errorf(op, coffer.Invalid, "the server keeps no revisions")
	}
	a, err := v.c.send(ctx, r)
	if err != nil {
		return nil, err
	}
	docs, err := decodePresent(op, a, id)
	if err != nil {
		return nil, err
	}
	if len(docs) != 1 || docs[0].Sequence != sequence {
		return nil, coffer.Errorf(op, coffer.Corrupt, "the server answered with another revision")
	}
	return docs[0], nil
}

// decodePresent reads the present revisions of an object.
func decodePresent(op string, a *answered, id coffer.ObjectID) (docs []*coffer.Document, err error) {
	if a.header.Get("Content-Type") == DocumentsType {
		var page pageAnswer
		if docs, err = page.decode(a, false); err != nil {
			return nil, err
		}
	} else {
		d, err := decodeStored(a.body)
		if err != nil {
			return nil, err
		}
		if texts, ok := a.header["Coffer-Parents"]; ok && len(texts) == 1 {
			if d.Parents, err = parseRevs(texts[0]); err != nil || quote(d.Rev().String()) != a.header.Get("Etag") {
				return nil, coffer.Errorf(op, coffer.Corrupt, "the document is not the revision that the server names")
			}
		}
		docs = []*coffer.Document{d}
	}
	for _, d := range docs {
		if d.ID != id {
			return nil, coffer.Errorf(op, coffer.Corrupt, "the server answered with another document")
		}
	}
	if len(docs) == 0 {
		return nil, coffer.Errorf(op, coffer.Corrupt, "the server answered with no document")
	}
	return docs, nil
}

// decodeStored reads a document that a server has stored.
func decodeStored(b []byte) (*coffer.Document, error) {
	d, err := DecodeDocument(b)
	if err != nil {
		return nil, coffer.E("document", coffer.Corrupt, err)
	}
	return d, nil
}

// Apply implements [coffer.Vault]. The documents' fields must agree with their bodies, which alone are sent: Invalid.
// What became of the writes is not known after Unavailable.
func (v *RemoteVault) Apply(ctx context.Context, writes ...coffer.Write) ([]coffer.Change, error) {
	for _, w := range writes {
		if w.Document != nil {
			if err := agree(w.Document); err != nil {
				return nil, err
			}
		}
	}
	switch len(writes) {
	case 0:
		return nil, nil
	case 1:
		ch, err := v.applyOne(ctx, writes[0])
		if err != nil {
			return nil, err
		}
		return []coffer.Change{ch}, nil
	}
	return v.batch(ctx, writes)
}

// agree checks that the server will see the document as the caller does.
func agree(d *coffer.Document) error {
	read, err := DecodeDocument(d.Body)
	if err != nil {
		return err
	}
	if read.Parents = d.Parents; read.Rev() != d.Rev() {
		return coffer.Errorf("document", coffer.Invalid, "its fields and its body do not agree")
	}
	return nil
}

func (v *RemoteVault) applyOne(ctx context.Context, w coffer.Write) (ch coffer.Change, err error) {
	d := w.Document
	one := v.document(w.ID())
	r := &request{op: "apply", method: "POST", url: one, action: grant.Write, accept: ChangeType + ", application/json"}
	switch {
	case d == nil:
		r.method = "DELETE"
		err = v.by(ctx, r, one)
	case len(d.Parents) > 0:
		r.body, r.ifMatch = d.Body, formatMatch(d.Parents)
		err = v.by(ctx, r, one)
	default:
		r.body = d.Body
		if err = v.by(ctx, r, v.url+"/documents", one); r.url == one {
			r.ifNoneMatch = "*"
		}
	}
	if err != nil {
		return ch, err
	}
	a, err := v.c.send(ctx, r)
	if err != nil {
		return ch, err
	}
	return changed(a, w)
}

// changed reads the change that a write is answered with.
func changed(a *answered, w coffer.Write) (ch coffer.Change, err error) {
	d := w.Document
	if len(a.body) == 0 && d != nil { // a server that says no more than that it is done
		return coffer.Change{Kind: coffer.Accepted, ID: d.ID, Sequence: d.Sequence, Rev: d.Rev()}, nil
	}
	if ch, err = decodeChange(a.body); err != nil {
		return ch, err
	}
	return ch, matches(w, ch)
}

// matches checks that a change is that of a write.
func matches(w coffer.Write, ch coffer.Change) error {
	d := w.Document
	if ch.ID != w.ID() || d == nil && ch.Kind != coffer.Erased ||
		d != nil && (ch.Kind != coffer.Accepted || ch.Sequence != d.Sequence || ch.Rev != d.Rev()) {
		return coffer.Errorf("apply", coffer.Corrupt, "the server accepted something else")
	}
	return nil
}

func (v *RemoteVault) batch(ctx context.Context, writes []coffer.Write) ([]coffer.Change, error) {
	const op = "apply"
	if !v.c.has(ctx, FeatureBatch) {
		return nil, coffer.Errorf(op, coffer.Invalid, "the server takes one write at a time")
	}
	operations := make([]operation, len(writes))
	for i, w := range writes {
		if d := w.Document; d != nil {
			match := formatRevs(d.Parents)
			operations[i] = operation{Put: d.Body, IfMatch: &match}
		} else {
			id := w.Erase.String()
			operations[i] = operation{Delete: &id}
		}
	}
	body, err := encodeBatch(operations)
	if err != nil {
		return nil, err
	}
	a, err := v.do(ctx, &request{op: op, method: "POST", url: v.url + "/batch", action: grant.Write, body: body})
	if err != nil {
		return nil, err
	}
	var outcomes []outcome
	if jose.DecodeOpen(a.body, &outcomes) != nil || len(outcomes) != len(writes) {
		return nil, coffer.Errorf(op, coffer.Corrupt, "the server answered with another number of outcomes")
	}
	changes := make([]coffer.Change, len(outcomes))
	for i, o := range outcomes {
		if o.Change == nil {
			return nil, coffer.Errorf(op, coffer.Corrupt, "the server described no change")
		}
		if changes[i], err = o.Change.change(); err != nil {
			return nil, err
		}
		if err := matches(writes[i], changes[i]); err != nil {
			return nil, err
		}
	}
	return changes, nil
}

// encodeBatch writes a batch with the documents' bytes as they are: they are what revisions are named by.
func encodeBatch(operations []operation) ([]byte, error) {
	b := []byte{'['}
	for i, o := range operations {
		if i > 0 {
			b = append(b, ',')
		}
		switch {
		case o.Delete != nil:
			b = append(b, `{"delete":"`+*o.Delete+`"}`...)
		default:
			b = append(b, `{"put":`...)
			b = append(b, o.Put...)
			b = append(b, `,"ifMatch":"`+*o.IfMatch+`"}`...)
		}
	}
	return append(b, ']'), nil
}

// page is how many documents the client asks for at once.
const page = 250

// Query implements [coffer.Vault].
func (v *RemoteVault) Query(ctx context.Context, q coffer.Query) iter.Seq2[*coffer.Document, error] {
	return func(yield func(*coffer.Document, error) bool) {
		if err := q.Check(); err != nil {
			yield(nil, err)
			return
		}
		for left, after := q.Limit, q.After; ; {
			limit := page
			if q.Limit > 0 {
				limit = min(page, left)
			}
			docs, more, err := v.page(ctx, q, after, limit)
			if err != nil {
				yield(nil, err)
				return
			}
			for _, d := range docs {
				if !yield(d, nil) {
					return
				}
				after = d.ID
			}
			if left -= len(docs); !more || q.Limit > 0 && left <= 0 {
				return
			}
		}
	}
}

// Count implements [coffer.Vault].
func (v *RemoteVault) Count(ctx context.Context, q coffer.Query) (int, error) {
	const op = "count"
	if err := q.Check(); err != nil {
		return 0, err
	}
	r := &request{op: op, method: "GET", action: grant.Read, repeat: true}
	urls := []string{v.url + "/documents?count=true"}
	if len(q.Equals) > 0 || len(q.Has) > 0 {
		var err error
		if urls, err = v.asQuery(r, queryBody{Index: q.Index, Equals: q.Equals, Has: q.Has, Count: true}); err != nil {
			return 0, err
		}
	}
	if err := v.by(ctx, r, urls...); err != nil {
		return 0, err
	}
	a, err := v.c.send(ctx, r)
	if err != nil {
		return 0, err
	}
	var w struct {
		Count *int `json:"count"`
	}
	if jose.DecodeOpen(a.body, &w) != nil || w.Count == nil || *w.Count < 0 {
		return 0, coffer.Errorf(op, coffer.Corrupt, "the server answered with no count")
	}
	return *w.Count, nil
}

// asQuery makes a request a query, and returns the URLs that it may be sent to.
func (v *RemoteVault) asQuery(r *request, w queryBody) (urls []string, err error) {
	r.method = "POST"
	if r.body, err = jose.Encode(w); err != nil {
		return nil, coffer.E(r.op, coffer.Invalid, err)
	}
	return []string{v.url + "/query", v.url + "/documents/query"}, nil
}

// page returns the next documents that match, and whether there are more.
func (v *RemoteVault) page(
	ctx context.Context, q coffer.Query, after coffer.ObjectID, limit int,
) (docs []*coffer.Document, more bool, err error) {
	const op = "query"
	r := &request{op: op, method: "GET", action: grant.Read, repeat: true, accept: DocumentsType + ", application/json"}
	cursor := ""
	if after != (coffer.ObjectID{}) {
		cursor = formatListCursor(after)
	}
	var urls []string
	if len(q.Equals) > 0 || len(q.Has) > 0 {
		w := queryBody{Index: q.Index, Equals: q.Equals, Has: q.Has, Limit: &limit, Cursor: cursor}
		if urls, err = v.asQuery(r, w); err != nil {
			return nil, false, err
		}
		if q.IDsOnly { // where the published clients have it, so that a capability can be for ids alone
			for i := range urls {
				urls[i] += "?returnDocuments=false"
			}
		}
	} else {
		url := v.url + "/documents?"
		if q.IDsOnly {
			url += "returnDocuments=false&"
		}
		if url += "limit=" + strconv.Itoa(limit); cursor != "" {
			url += "&cursor=" + cursor
		}
		urls = []string{url}
	}
	if err := v.by(ctx, r, urls...); err != nil {
		return nil, false, err
	}
	a, err := v.c.send(ctx, r)
	if err != nil {
		return nil, false, err
	}
	var p pageAnswer
	if docs, err = p.decode(a, q.IDsOnly); err != nil {
		return nil, false, err
	}
	if a.header.Get("Content-Type") != DocumentsType {
		slices.SortFunc(docs, func(a, b *coffer.Document) int { return slices.Compare(a.ID[:], b.ID[:]) })
		if p.HasMore {
			return nil, false, coffer.Errorf(op, coffer.Exhausted, "the server has more and no way to ask for it")
		}
	}
	for _, d := range docs { // or it could lead us in circles
		if slices.Compare(d.ID[:], after[:]) <= 0 && after != (coffer.ObjectID{}) || len(docs) > limit {
			return nil, false, coffer.Errorf(op, coffer.Corrupt, "the server's answer is out of order or too long")
		}
		after = d.ID
	}
	return docs, p.HasMore && len(docs) > 0, nil
}

// A pageAnswer is the answer to a query or a list, in either of its forms.
type pageAnswer struct {
	Documents   []jsontext.Value  `json:"documents"`
	DocumentIDs []coffer.ObjectID `json:"documentIds"`
	HasMore     bool              `json:"hasMore"`
}

// decode reads the documents of an answer.
func (p *pageAnswer) decode(a *answered, idsOnly bool) ([]*coffer.Document, error) {
	const op = "query"
	malformed := coffer.Errorf(op, coffer.Corrupt, "the server's answer is malformed")
	if jose.DecodeOpen(a.body, p) != nil {
		return nil, malformed
	}
	docs := make([]*coffer.Document, 0, len(p.Documents)+len(p.DocumentIDs))
	for _, id := range p.DocumentIDs {
		docs = append(docs, &coffer.Document{ID: id})
	}
	own := a.header.Get("Content-Type") == DocumentsType
	for _, b := range p.Documents {
		if !own {
			d, err := decodeStored(b)
			if err != nil {
				return nil, err
			}
			docs = append(docs, d)
			continue
		}
		var w struct {
			ID       coffer.ObjectID `json:"documentId"`
			Sequence uint64          `json:"sequence"`
			Rev      string          `json:"revision"`
			Parents  []string        `json:"parents"`
			Document jsontext.Value  `json:"document"`
		}
		if jose.DecodeOpen(b, &w) != nil || idsOnly != (w.Document == nil) {
			return nil, malformed
		}
		if idsOnly {
			docs = append(docs, &coffer.Document{ID: w.ID, Sequence: w.Sequence})
			continue
		}
		d, err := decodeStored(w.Document)
		if err != nil {
			return nil, err
		}
		if d.Parents, err = parseRevs(strings.Join(w.Parents, ",")); err != nil || d.Rev().String() != w.Rev {
			return nil, coffer.Errorf(op, coffer.Corrupt, "a document is not the revision that the server names")
		}
		docs = append(docs, d)
	}
	return docs, nil
}

// pollTime is how long a request for changes waits while the feed is followed.
const pollTime = 50 * time.Second

// Changes implements [coffer.Vault].
func (v *RemoteVault) Changes(ctx context.Context, after coffer.Cursor, follow bool) iter.Seq2[coffer.Change, error] {
	const op = "changes"
	return func(yield func(coffer.Change, error) bool) {
		number := uint64(0)
		for wait := ""; ; {
			url := v.url + "/changes?after=" + encodeComponent(string(after)) + wait
			a, err := v.do(ctx, &request{op: op, method: "GET", url: url, action: grant.Read, repeat: true})
			if follow && ctx.Err() != nil {
				return
			}
			var page changesAnswer
			if err == nil && jose.DecodeOpen(a.body, &page) != nil {
				err = coffer.Errorf(op, coffer.Corrupt, "the server's answer is malformed")
			}
			if err != nil {
				yield(coffer.Change{}, err)
				return
			}
			for i := range page.Changes {
				ch, err := page.Changes[i].change()
				if err == nil && number > 0 && ch.Number != number+1 {
					err = coffer.Errorf(op, coffer.Corrupt, "the feed has a gap")
				}
				if !yield(ch, err) || err != nil || ch.Kind == coffer.VaultErased {
					return
				}
				after, number = ch.Cursor, ch.Number
			}
			switch {
			case page.HasMore && len(page.Changes) > 0:
				wait = ""
			case !follow:
				return
			default:
				wait = "&wait=" + strconv.Itoa(int(pollTime.Seconds()))
			}
		}
	}
}

// Chunk implements [coffer.Vault].
func (v *RemoteVault) Chunk(
	ctx context.Context, id coffer.ObjectID, index uint64,
) (coffer.ChunkRef, io.ReadCloser, error) {
	return v.receiveChunk(ctx, &request{url: v.chunk(id, index)}, index)
}

// receiveChunk completes and sends a request for a chunk.
func (v *RemoteVault) receiveChunk(
	ctx context.Context, r *request, index uint64,
) (coffer.ChunkRef, io.ReadCloser, error) {
	r.op, r.method, r.action, r.repeat = "chunk", "GET", grant.Read, true
	if err := v.by(ctx, r, r.url); err != nil {
		return coffer.ChunkRef{}, nil, err
	}
	return v.c.receiveChunk(ctx, r, index)
}

func (c *Client) receiveChunk(ctx context.Context, r *request, index uint64) (coffer.ChunkRef, io.ReadCloser, error) {
	op := r.op
	r.accept = RawChunkType + ", application/json"
	resp, err := c.exchange(ctx, r)
	if err != nil {
		return coffer.ChunkRef{}, nil, err
	}
	if resp.Header.Get("Content-Type") != RawChunkType {
		defer resp.Body.Close()
		return readJSONChunk(ctx, resp, index)
	}
	ref := coffer.ChunkRef{Index: index, Size: resp.ContentLength}
	sequence, err := strconv.ParseUint(resp.Header.Get("Coffer-Sequence"), 10, 64)
	sum, ok := etagSum(resp.Header.Get("Etag"))
	ref.Sequence, ref.Sum = sequence, sum
	if err != nil || !ok || ref.Size < 4 || ref.Size > maxAnswer {
		resp.Body.Close()
		return coffer.ChunkRef{}, nil, coffer.Errorf(op, coffer.Corrupt, "the server's answer is malformed")
	}
	return ref, &download{ctx, resp.Body}, nil
}

// A download is the body of an answer, with errors of ours.
type download struct {
	ctx  context.Context
	body io.ReadCloser
}

func (d *download) Read(p []byte) (int, error) {
	n, err := d.body.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		err = unreachable(d.ctx, "chunk", err)
	}
	return n, err
}

func (d *download) Close() error { return d.body.Close() }

// PutChunk implements [coffer.Vault]. The bytes must be a chunk in the raw form (see [RawChunkType]) with the sequence
// and index of ref: Invalid. They are sent as they are read, and sent again only if r is an [io.Seeker].
func (v *RemoteVault) PutChunk(ctx context.Context, id coffer.ObjectID, ref coffer.ChunkRef, r io.Reader) error {
	return v.sendChunk(ctx, &request{url: v.chunk(id, ref.Index)}, ref, r)
}

// sendChunk completes and sends a request that stores a chunk.
func (v *RemoteVault) sendChunk(ctx context.Context, rq *request, ref coffer.ChunkRef, r io.Reader) error {
	rq.op, rq.method, rq.action, rq.repeat = "put chunk", "POST", grant.Write, true
	if err := v.by(ctx, rq, rq.url); err != nil {
		return err
	}
	r, err := peekHead(ref, r)
	if err != nil {
		return err
	}
	if v.c.has(ctx, FeatureRawChunks) {
		rq.contentType, rq.stream = RawChunkType, newUpload(r, ref.Size, ref.Sum)
		defer rq.stream.release()
	} else if rq.body, err = jsonChunk(ref, r); err != nil {
		return err
	}
	_, err = v.c.send(ctx, rq)
	return err
}

// DropChunk implements [coffer.Vault].
func (v *RemoteVault) DropChunk(ctx context.Context, id coffer.ObjectID, index uint64) error {
	_, err := v.do(ctx, &request{op: "drop chunk", method: "DELETE", url: v.chunk(id, index), action: grant.Write})
	return err
}

// Config returns the vault's configuration.
func (v *RemoteVault) Config(ctx context.Context) (*coffer.Config, error) {
	a, err := v.do(ctx, &request{op: "configuration", method: "GET", url: v.url, action: grant.Read, repeat: true})
	if err != nil {
		return nil, err
	}
	var c coffer.Config
	if jose.DecodeOpen(a.body, &c) != nil || c.ID != v.url {
		return nil, coffer.Errorf("configuration", coffer.Corrupt, "the server's answer is malformed")
	}
	return &c, nil
}

// Configure replaces the vault's configuration. Conflict unless its sequence is one more than the present one's;
// Invalid if it would change id or referenceId.
func (v *RemoteVault) Configure(ctx context.Context, c *coffer.Config) error {
	body, err := jose.Encode(c)
	if err != nil {
		return coffer.E("configure", coffer.Invalid, err)
	}
	_, err = v.do(ctx, &request{op: "configure", method: "POST", url: v.url, action: grant.Write, body: body})
	return err
}

// EraseVault erases the vault with all that is in it. Only its controller may.
func (v *RemoteVault) EraseVault(ctx context.Context) (coffer.Change, error) {
	a, err := v.do(ctx, &request{op: "erase vault", method: "DELETE", url: v.url, action: grant.Write})
	if err != nil {
		return coffer.Change{}, err
	}
	return decodeChange(a.body)
}

// Revoke revokes a delegated capability, given as JSON. Everyone who took part in its chain may, and who has a
// capability for revoking in this vault. NotExist if it is revoked already.
func (v *RemoteVault) Revoke(ctx context.Context, capability []byte) error {
	parsed, err := grant.ParseCapability(capability)
	if err != nil {
		return err
	}
	url := v.url + "/zcaps/revocations/" + encodeComponent(parsed.ID())
	r := &request{op: "revoke", method: "POST", url: url, action: grant.Write, body: capability}
	if err := v.by(ctx, r, url); err != nil || r.invoker.Target() == v.url {
		if r.invoker, err = grant.NewInvoker(v.c.o.Keyring, url); err != nil {
			return err
		}
	}
	_, err = v.c.send(ctx, r)
	return err
}

// Revocations yields the revocations that have not outlived their capabilities, oldest first.
func (v *RemoteVault) Revocations(ctx context.Context) iter.Seq2[Revocation, error] {
	const op = "revocations"
	return func(yield func(Revocation, error) bool) {
		url := v.url + "/zcaps/revocations"
		for next := url; ; {
			a, err := v.do(ctx, &request{op: op, method: "GET", url: next, action: grant.Read, repeat: true})
			if err != nil {
				yield(Revocation{}, err)
				return
			}
			var page struct {
				Revocations []Revocation `json:"revocations"`
				HasMore     bool         `json:"hasMore"`
				Cursor      string       `json:"cursor"`
			}
			if jose.DecodeOpen(a.body, &page) != nil {
				yield(Revocation{}, coffer.Errorf(op, coffer.Corrupt, "the server's answer is malformed"))
				return
			}
			for _, r := range page.Revocations {
				if !yield(r, nil) {
					return
				}
			}
			if !page.HasMore || len(page.Revocations) == 0 {
				return
			}
			next = url + "?cursor=" + encodeComponent(page.Cursor)
		}
	}
}
