package agent

import (
	"bytes"
	"context"
	"errors"
	"io"
	"iter"
	"path"
	"slices"
	"strconv"
	"time"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/agent/seal"
	"github.com/cofferhq/coffer/agent/stream"
	"github.com/cofferhq/coffer/agent/tree"
	"github.com/cofferhq/coffer/internal/jose"
	"github.com/cofferhq/coffer/ledger"
)

// A FindingKind says what is wrong with something in a vault, or with the vault's history.
type FindingKind string

// The kinds of findings. The last two are no fault of anybody's.
const (
	Missing    FindingKind = "missing"     // what belongs into the vault is not in it
	Extra      FindingKind = "extra"       // nothing names it, and the owner did not leave it over
	Swapped    FindingKind = "swapped"     // something else than what the history says was accepted
	RolledBack FindingKind = "rolled back" // an older state than the history or the folder says
	Forged     FindingKind = "forged"      // not by somebody who may write it, or not signed by whom it names
	Unreadable FindingKind = "unreadable"  // does not open, or is not what it should be
	Withheld   FindingKind = "withheld"    // the history has gaps or ends early, or does not know of something
	Forked     FindingKind = "forked"      // the provider shows different histories

	LeftOver FindingKind = "left over" // an upload that was abandoned, or a part of the search index that is not in use
	Foreign  FindingKind = "foreign"   // what another program keeps in the vault
)

// A Finding is one thing that [Agent.Verify] found out.
type Finding struct {
	Kind FindingKind
	What string          // "file", "object", "folder", "head", "box", "register", "index", "place", "history", …
	Path string          // what a folder calls it, if one does
	ID   coffer.ObjectID // zero when it is about the history
	Err  error           // what was found, in its own words; may be nil
	// Fault is what was found out about the history, with the evidence for others if there is some.
	Fault *ledger.Fault
	Since time.Time // of what is left over: when it was last written, as the provider says
	// Cleaned says that it was left over for long, and has been erased.
	Cleaned bool
}

// Harmless reports whether the finding is no fault of the provider's or of anybody else's.
func (f *Finding) Harmless() bool { return f.Kind == LeftOver || f.Kind == Foreign }

// VerifyOptions say how far [Agent.Verify] goes.
type VerifyOptions struct {
	// Contents has the bytes of all streams read, too. Without, everything but those is.
	Contents bool
	// Clean erases what has been left over for a day, if nothing is wrong.
	Clean bool
	// Path, if not empty, limits what is reported, and the contents that are read, to what is there and below it. What
	// is wrong with the vault's history or its head is reported all the same.
	Path string
	// Progress, if not nil, is told of how many objects of how many are done; the total is -1 while it is not known.
	Progress func(done, total int)
}

// cleanAfter is how long something must have been left over to be erased: an upload may still go on.
const cleanAfter = 24 * time.Hour

// Verify checks the whole vault and yields everything that is not as the owner and those who may write left it: what
// was swapped, rolled back, taken away, added, forged, withheld, or does not open. Nothing yielded is everything in
// order.
//
// It reads the vault's history from its beginning, independently of what this device remembers, and compares it with
// what the provider signs now and has signed before; it goes through all folders from the head on; and it lists all
// objects, each of which must be one that is named somewhere, must be the revision that was accepted last, open with
// its key and be signed by somebody who may write it. What is changed meanwhile is not reported.
//
// An error is yielded, as the last thing, when the check could not be finished: above all Unavailable. Memory is needed
// for some hundred bytes of each object. Invalid in what somebody else shared.
func (a *Agent) Verify(ctx context.Context, o VerifyOptions) iter.Seq2[Finding, error] {
	return func(yield func(Finding, error) bool) {
		if a.guest != nil {
			yield(Finding{}, coffer.Errorf("verify", coffer.Invalid, "needs a vault of one's own"))
			return
		}
		if o.Progress == nil {
			o.Progress = func(done, total int) {}
		}
		if o.Path != "" {
			var err error
			if o.Path, err = a.objectPath(o.Path); err != nil {
				yield(Finding{}, err)
				return
			}
		}
		c := &check{
			Agent: a, o: o, expected: make(map[coffer.ObjectID]*expectation), accepted: make(map[coffer.ObjectID]accepted),
			yield: func(f Finding) bool { return yield(f, nil) },
		}
		if err := c.run(ctx); err != nil && !errors.Is(err, errStopped) {
			yield(Finding{}, err)
		}
	}
}

// errStopped says that nobody wants to hear more.
var errStopped = errors.New("stopped")

// A check is one pass over a vault.
type check struct {
	*Agent
	o     VerifyOptions
	yield func(Finding) bool
	wrong bool // something that is not harmless was found

	feed     bool // the vault has one
	cursor   coffer.Cursor
	watch    *ledger.Watcher
	size     uint64
	accepted map[coffer.ObjectID]accepted

	v        *view
	expected map[coffer.ObjectID]*expectation
	partial  bool // not everything that is named could be found out
	doubtful []Finding
}

// An accepted is what the history says last of an object that was not erased.
type accepted struct {
	sequence uint64
	rev      coffer.Rev
	time     time.Time
	owner    bool // by the owner's authority
}

// An expectation is an object that belongs into the vault.
type expectation struct {
	ref      seal.Ref
	what     string
	path     string
	sequence uint64 // at least
	rev      coffer.Rev
	size     int64
	may      bool // it need not be there
	seen     bool
	read     error // what reading it on the way said
}

func (c *check) run(ctx context.Context) error {
	if err := c.history(ctx); err != nil {
		return err
	}
	if err := c.walk(ctx); err != nil {
		return err
	}
	if err := c.list(ctx); err != nil {
		return err
	}
	return c.settle(ctx)
}

// found yields a finding.
func (c *check) found(f Finding) error {
	c.wrong = c.wrong || !f.Harmless()
	if !c.within(f.Path) && f.What != "history" && f.What != "head" {
		return nil
	}
	if !c.yield(f) {
		return errStopped
	}
	return nil
}

// within reports whether something at the path is to be reported.
func (c *check) within(path string) bool { return c.o.Path == "" || tree.Within(path, c.o.Path) }

// doubt keeps a finding about an object until it is known whether the object was changed meanwhile.
func (c *check) doubt(kind FindingKind, id coffer.ObjectID, what, path string, err error) {
	c.doubtful = append(c.doubtful, Finding{Kind: kind, ID: id, What: what, Path: path, Err: err})
}

// fault yields what was found out about the history. It returns errors that are about something else.
func (c *check) fault(err error) error {
	f := Finding{What: "history", Err: err}
	switch errors.As(err, &f.Fault); {
	case errors.Is(err, ledger.ErrForked):
		f.Kind = Forked
	case errors.Is(err, ledger.ErrRolledBack):
		f.Kind = RolledBack
	case errors.Is(err, ledger.ErrWithheld), errors.Is(err, ledger.ErrGap):
		f.Kind = Withheld
	case errors.Is(err, ledger.ErrUnsigned):
		f.Kind = Forged
	case errors.Is(err, coffer.Corrupt):
		f.Kind = Withheld
	default:
		return err
	}
	return c.found(f)
}

// history reads the feed from its beginning, and compares it with what is signed and with what this device remembers.
func (c *check) history(ctx context.Context) error {
	// What the device finds out by itself, as with every call.
	if err := c.refresh(ctx); err != nil {
		if err := c.fault(err); err != nil {
			return err
		}
	}
	if c.Log != nil {
		var err error
		if c.watch, err = ledger.NewWatcher(ledger.Origin(c.URL), c.LogKey); err != nil {
			return err
		}
		note, err := c.Log.Checkpoint(ctx)
		if err == nil {
			err = c.watch.Checkpoint(note, 0)
		}
		if errors.Is(err, coffer.NotExist) {
			c.watch = nil
		} else if err != nil {
			if err := c.fault(err); err != nil {
				return err
			}
			c.watch = nil
		}
	}
	if err := c.follow(ctx, nil); err != nil {
		return err
	}
	c.Agent.feed.mu.Lock()
	seen := c.Agent.feed.history.seen()
	c.Agent.feed.mu.Unlock()
	return c.heard(ctx, seen)
}

// heard compares a checkpoint that was seen before with the history as it was read.
func (c *check) heard(ctx context.Context, note string) error {
	if c.watch == nil || note == "" {
		return nil
	}
	p, err := ledger.Open(c.LogKey, c.watch.Origin(), []byte(note))
	if err != nil {
		return c.fault(ledger.ErrUnsigned)
	}
	var proof []ledger.Hash
	if p.Size > 0 && p.Size < c.watch.Size() {
		if proof, err = c.Log.Consistency(ctx, p.Size, c.watch.Size()); err != nil {
			return err
		}
	}
	if err := c.watch.Heard([]byte(note), proof); err != nil {
		return c.fault(err)
	}
	return nil
}

// follow reads the feed on, and tells of each object that it speaks of.
func (c *check) follow(ctx context.Context, changed func(coffer.ObjectID)) error {
	due := uint64(0)
	if c.watch != nil {
		due = c.watch.Due()
	}
	for change, err := range c.Vault.Changes(ctx, c.cursor, false) {
		if c.size == 0 && (errors.Is(err, coffer.Invalid) || errors.Is(err, coffer.Denied)) {
			return nil // a server without a feed
		}
		if err == nil && c.watch != nil {
			err = c.watch.Read(change)
		} else if err == nil && change.Number != c.size+1 && change.Kind != coffer.VaultErased {
			err = ledger.ErrGap
		}
		if err != nil {
			// What follows is no history; what was read is compared all the same.
			c.watch, c.feed = nil, false
			return c.fault(err)
		}
		c.feed, c.cursor, c.size = true, change.Cursor, change.Number
		if changed != nil {
			changed(change.ID)
			continue
		}
		if change.Kind == coffer.Accepted {
			c.accepted[change.ID] = accepted{change.Sequence, change.Rev, change.Time, c.byOwner(change.By)}
		} else {
			delete(c.accepted, change.ID)
		}
	}
	if c.watch != nil {
		if err := c.watch.Ended(due); err != nil {
			return c.fault(err)
		}
	}
	return nil
}

func (c *check) byOwner(did string) bool { return did == c.controller().DID() || c.isOwner(did) }

// expect notes an object that belongs into the vault.
func (c *check) expect(e *expectation) *expectation {
	if there := c.expected[e.ref.ID]; there != nil {
		return there
	}
	c.expected[e.ref.ID] = e
	return e
}

// lost notes that what is named somewhere could not be read, so that not all names are known.
func (c *check) lost(e *expectation, err error) error {
	if !errors.Is(err, coffer.Corrupt) && !errors.Is(err, coffer.NotExist) && !errors.Is(err, coffer.Denied) &&
		!errors.Is(err, coffer.Invalid) {
		return err
	}
	c.partial = true
	e.read = err
	return nil
}

// walk finds out what belongs into the vault.
func (c *check) walk(ctx context.Context) error {
	v := &view{a: c.Agent, by: c.Keyring, pages: make(map[coffer.ObjectID]*known)}
	c.v = v
	ref, err := c.place(ctx, "head")
	if err != nil {
		return err
	}
	r, err := c.read(ctx, ref, c.mine)
	var k *known
	switch {
	case errors.Is(err, coffer.NotExist):
		if k, err = v.before(ctx); err == nil {
			ref = k.ref
			break
		} else if errors.Is(err, coffer.NotExist) && len(c.accepted) == 0 && c.size == 0 {
			return nil // nothing was ever kept
		}
		if early := c.absent(ctx, ref.ID, err); errors.Is(early, coffer.Invalid) {
			return early
		}
		return c.lost(c.expect(&expectation{ref: ref, what: "head"}), gone(err))
	case err != nil:
		return c.lost(c.expect(&expectation{ref: ref, what: "head"}), err)
	default:
		k = &known{revision: r}
	}
	v.written = k
	head := c.expect(&expectation{ref: ref, what: "head"})
	if v.head, err = decodeHead(k); err != nil {
		return c.lost(head, err)
	}
	if err := c.heard(ctx, v.head.Seen); err != nil {
		return err
	}
	if err := c.records(ctx); err != nil {
		return err
	}
	root, err := v.head.Root.ref()
	if err != nil {
		return c.lost(head, err)
	}
	return c.folders(ctx, root)
}

// records notes what the head names but the tree: boxes, registers and the blocks of the index.
func (c *check) records(ctx context.Context) error {
	v := c.v
	for kind, n := range map[string]int{"box": v.head.Boxes, "register": v.head.Registers} {
		for i := range n {
			ref, err := c.placeBy(ctx, v.by, kind+" "+strconv.Itoa(i))
			if err != nil {
				return err
			}
			c.expect(&expectation{ref: ref, what: kind})
		}
	}
	list, err := v.grants(ctx)
	if err != nil {
		if err := c.lost(c.expected[v.written.ref.ID], err); err != nil {
			return err
		}
	} else {
		for _, g := range list.all {
			if err := c.Agent.check(ctx, g); err != nil {
				if err := c.found(Finding{Kind: Forged, What: "grant", Path: g.Path, ID: g.Scope, Err: err}); err != nil {
					return err
				}
			}
		}
	}
	x, err := c.index(v.head)
	if err != nil {
		return c.lost(c.expected[v.written.ref.ID], err)
	}
	refs, err := x.Refs(ctx)
	if err != nil {
		return c.lost(c.expected[v.written.ref.ID], err)
	}
	for _, ref := range refs {
		c.expect(&expectation{ref: ref, what: "index"})
	}
	return nil
}

// folders notes what the folders name, from the root page on. A folder with a page of its own is gone through as a tree
// of its own, so that only the pages of one are in memory.
func (c *check) folders(ctx context.Context, root seal.Ref) error {
	type folder struct {
		ref  seal.Ref
		path string
	}
	waiting := []folder{{root, ""}}
	for len(waiting) > 0 {
		f := waiting[len(waiting)-1]
		waiting = waiting[:len(waiting)-1]
		var last *expectation
		t := tree.At(f.ref, func(ctx context.Context, ref seal.Ref) (*tree.Page, error) {
			last = c.expect(&expectation{ref: ref, what: "folder", path: f.path})
			r, err := c.read(ctx, ref, c.v.writers(ctx, ref, nil))
			if err != nil {
				return nil, gone(err)
			}
			return tree.Decode(ref, r.opened.Content)
		})
		for inline := []string{""}; len(inline) > 0; {
			at := inline[len(inline)-1]
			inline = inline[:len(inline)-1]
			for n, err := range t.List(ctx, at) {
				if err != nil {
					if err := c.lost(last, err); err != nil {
						return err
					}
					break
				}
				below := path.Join(at, n.Name)
				full := path.Join(f.path, below)
				switch {
				case n.Type != TypeFolder:
					if err := c.named(ctx, full, n); err != nil {
						return err
					}
				case n.Ref.Key != seal.ObjectKey{}:
					next := folder{n.Ref, full}
					if full == reserved { // what is there may be named a second time: its own name counts
						waiting = append([]folder{next}, waiting...)
					} else {
						waiting = append(waiting, next)
					}
				case full == reserved:
					inline = append([]string{below}, inline...)
				default:
					inline = append(inline, below)
				}
			}
		}
	}
	return nil
}

// named notes a file or an object that a folder names, and the place that it speaks of, if it is one of the agent's
// own.
func (c *check) named(ctx context.Context, at string, n tree.Node) error {
	what := "object"
	if n.Type == TypeFile {
		what = "file"
	}
	e := c.expect(&expectation{
		ref: n.Ref, what: what, path: at, sequence: n.Sequence, rev: n.Rev, size: n.Size,
	})
	folder := tree.FolderOf(at)
	own := slices.Contains([]string{namedFolder, answeredFolder, deviceFolder}, folder)
	if !own && at != recoveryPath {
		return nil
	}
	r, err := c.readNode(ctx, c.v, n)
	if err != nil {
		return c.lost(e, err)
	}
	content, err := decodeContent(r.opened.Content)
	if err != nil {
		return c.lost(e, err)
	}
	var record struct {
		Place placeJSON `json:"place"`
	}
	if err := jose.DecodeOpen(content.Value, &record); err != nil {
		return c.lost(e, coffer.Errorf("verify", coffer.Corrupt, "one of the agent's own objects is not what it should be"))
	}
	place, err := record.Place.place()
	if err != nil {
		return c.lost(e, err)
	}
	// A device finds something at its place only after keys were rotated, and an answer goes in time.
	may := folder == deviceFolder || folder == answeredFolder
	c.expect(&expectation{ref: place.ref(), what: "place", path: at, may: may})
	return nil
}

const verifyPage = 64 // documents that are listed at once

// list goes through all objects that the vault has.
func (c *check) list(ctx context.Context) error {
	var last coffer.ObjectID
	done := 0
	for more := true; more; {
		more = false
		var same []*coffer.Document
		n := 0
		for d, err := range c.Vault.Query(ctx, coffer.Query{After: last, Limit: verifyPage}) {
			if err != nil {
				return err
			}
			if n++; n > 2*verifyPage {
				break // more than was asked for
			}
			if d == nil || bytes.Compare(d.ID[:], last[:]) < 0 || len(same) == 0 && d.ID == last {
				return c.found(Finding{
					Kind: Withheld, What: "list", Err: coffer.Errorf("verify", coffer.Corrupt, "the vault lists out of order"),
				})
			}
			if len(same) > 0 && same[0].ID != d.ID {
				if err := c.object(ctx, same); err != nil {
					return err
				}
				same, done = same[:0], done+1
				c.o.Progress(done, max(len(c.accepted), done))
			}
			same, last, more = append(same, d), d.ID, true
		}
		if len(same) > 0 {
			if err := c.object(ctx, same); err != nil {
				return err
			}
			done++
			c.o.Progress(done, max(len(c.accepted), done))
		}
		if err := ctx.Err(); err != nil {
			return context.Cause(ctx)
		}
	}
	for id, e := range c.expected {
		if _, ok := c.accepted[id]; !e.seen && (!e.may || ok) {
			c.doubt(Missing, id, e.what, e.path, e.read)
		} else if e.seen && e.read != nil {
			// In the list it is right, and when it was asked for it was not.
			c.doubt(Unreadable, id, e.what, e.path, e.read)
		}
	}
	for id := range c.accepted {
		if c.expected[id] == nil {
			c.doubt(Missing, id, "object", "", nil) // unless it was listed, and removed from here
		}
	}
	return nil
}

// object looks at all present revisions of one object.
func (c *check) object(ctx context.Context, docs []*coffer.Document) error {
	id := docs[0].ID
	e := c.expected[id]
	latest, known := c.accepted[id]
	newest := slices.MaxFunc(docs, func(x, y *coffer.Document) int {
		switch rx, ry := x.Rev(), y.Rev(); {
		case x.Sequence != y.Sequence:
			return int(int64(x.Sequence) - int64(y.Sequence))
		default:
			return bytes.Compare(rx[:], ry[:])
		}
	})
	rev := newest.Rev()
	if e == nil {
		delete(c.accepted, id)
		c.unnamed(ctx, newest, latest, known)
		return nil
	}
	e.seen = true
	report := func(kind FindingKind, err error) error {
		e.read = nil // said already
		c.doubt(kind, id, e.what, e.path, err)
		return nil
	}
	switch {
	case c.feed && !known:
		return report(Extra, coffer.Errorf("verify", coffer.Corrupt, "the history does not have it"))
	case c.feed && newest.Sequence < latest.sequence:
		return report(RolledBack, nil)
	case c.feed && newest.Sequence > latest.sequence:
		return report(Withheld, coffer.Errorf("verify", coffer.Corrupt, "the history does not have this revision"))
	case c.feed && rev != latest.rev:
		return report(Swapped, nil)
	case newest.Sequence < e.sequence:
		return report(RolledBack, nil)
	case newest.Sequence == e.sequence && e.rev != coffer.Rev{} && rev != e.rev:
		return report(Swapped, nil)
	}
	o, err := seal.OpenObject(e.ref, newest)
	if err != nil {
		return report(Unreadable, err)
	}
	if err := c.checkAuthor(ctx, o); errors.Is(err, coffer.Corrupt) {
		return report(Forged, err)
	} else if err != nil {
		return err
	}
	authors := c.mine
	if e.what == "file" || e.what == "object" || e.what == "folder" {
		authors = c.v.writers(ctx, e.ref, nil)
	}
	if !authors(o) {
		return report(Forged, coffer.Errorf("verify", coffer.Corrupt, "written by somebody who may not write it"))
	}
	if e.what == "file" || e.what == "object" {
		return c.content(ctx, e, newest, o, report)
	}
	return nil
}

// content looks at what a file or an object holds.
func (c *check) content(ctx context.Context, e *expectation, d *coffer.Document, o *seal.Opened,
	report func(FindingKind, error) error) error {
	content, err := decodeContent(o.Content)
	if err != nil {
		return report(Unreadable, err)
	}
	size := int64(len(content.Data))
	switch {
	case o.Stream != nil:
		size = int64(o.Stream.Size)
	case content.Value != nil:
		size = int64(len(content.Value))
	}
	if size != content.Size || d.Sequence == e.sequence && e.size != size {
		return report(Unreadable, coffer.Errorf("verify", coffer.Corrupt, "not of its recorded size"))
	}
	if o.Stream == nil || !c.o.Contents || !c.within(e.path) {
		return nil
	}
	r := &revision{ref: e.ref, doc: d, rev: d.Rev(), opened: o}
	object := &Object{Info: Info{ID: d.ID, Sequence: d.Sequence}, agent: c.Agent, revision: r, stream: o.Stream}
	reader, err := stream.NewReader(ctx, stream.ReadOptions{
		Vault: c.Vault, ID: d.ID, Stream: o.Stream, Strict: true, Workers: c.Workers, Changed: object.changed,
	})
	if err == nil {
		_, err = io.Copy(io.Discard, reader)
		reader.Close()
	}
	switch {
	case err == nil, errors.Is(err, coffer.Conflict), errors.Is(err, coffer.NotExist): // replaced or erased meanwhile
		return nil
	case errors.Is(err, coffer.Corrupt):
		return report(Unreadable, err)
	}
	return err
}

// unnamed says what an object is that nothing names.
func (c *check) unnamed(ctx context.Context, d *coffer.Document, latest accepted, known bool) {
	f := Finding{Kind: Extra, What: "object", ID: d.ID, Since: latest.time}
	switch {
	case slices.ContainsFunc(d.Tags, func(t coffer.Tag) bool { return t.Key == inboxKey && t.Name == inboxName }):
		if !c.feed || known {
			return // a message: whoever may, leaves some
		}
		f.What = "message"
	case c.feed && !known:
		f.Err = coffer.Errorf("verify", coffer.Corrupt, "the history does not have it")
	case c.partial:
		return // something may name it that could not be read
	default:
		if _, err := seal.Open(ctx, c.Keyring, d); err == nil {
			f.Kind, f.What = Foreign, "document"
		} else if known && latest.owner && native(d) {
			f.Kind = LeftOver
		}
	}
	c.doubtful = append(c.doubtful, f)
}

// native reports whether a document looks like an object of this package's.
func native(d *coffer.Document) bool {
	n := 0
	for _, t := range d.Tags {
		if t.Key == coffer.AccessKey {
			n++
		}
	}
	return n == 3
}

// settle yields what is still so after what was changed meanwhile has been left out, and cleans.
func (c *check) settle(ctx context.Context) error {
	meanwhile := make(map[coffer.ObjectID]bool)
	if c.feed {
		if err := c.follow(ctx, func(id coffer.ObjectID) { meanwhile[id] = true }); err != nil {
			return err
		}
	}
	slices.SortStableFunc(c.doubtful, func(x, y Finding) int {
		switch {
		case x.Harmless() == y.Harmless():
			return bytes.Compare(x.ID[:], y.ID[:])
		case y.Harmless():
			return -1
		}
		return 1
	})
	for _, f := range c.doubtful {
		if meanwhile[f.ID] {
			continue
		}
		if f.Kind == LeftOver && c.o.Clean && !c.wrong && !c.partial && c.feed && f.Since.Before(c.Now().Add(-cleanAfter)) {
			changes, err := c.Vault.Apply(ctx, coffer.Write{Erase: f.ID})
			if err == nil {
				err = c.wrote(changes)
			}
			if err != nil && !errors.Is(err, coffer.NotExist) {
				return err
			}
			f.Cleaned = true
		}
		if err := c.found(f); err != nil {
			return err
		}
	}
	return nil
}
