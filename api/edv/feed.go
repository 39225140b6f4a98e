package edv

import (
	"context"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/internal/jose"
)

// Bounds on following a feed.
const (
	maxWait      = 60 * time.Second // that a request may wait for a change
	heartbeat    = 15 * time.Second // between signs of life in a stream of events
	followTime   = 15 * time.Minute // that a stream of events lasts; the client comes again, with its authority
	eventsType   = "text/event-stream"
	maxCursorLen = 256
)

// A changesAnswer is a page of a feed.
type changesAnswer struct {
	Changes []change      `json:"changes"`
	Cursor  coffer.Cursor `json:"cursor"`
	HasMore bool          `json:"hasMore"`
}

// changes is GET V/changes?after=&limit=&wait=, as a page or, if the client takes that, as a stream of events.
func (c *call) changes() error {
	params, err := c.path.params("after", "limit", "wait")
	limit, wait := maxPage, time.Duration(0)
	if text, ok := params["limit"]; ok && err == nil {
		limit, err = parseLimit(text)
	}
	if text, ok := params["wait"]; ok && err == nil {
		var n int
		n, err = strconv.Atoi(text)
		if wait = time.Duration(n) * time.Second; err != nil || n < 0 || wait > maxWait {
			err = coffer.Errorf("changes", coffer.Invalid, "wait must be 0 to 60")
		}
	}
	after := coffer.Cursor(params["after"])
	if id := c.r.Header.Get("Last-Event-ID"); id != "" && c.accepts(eventsType) {
		after = coffer.Cursor(id)
	}
	if len(after) > maxCursorLen && err == nil {
		err = coffer.Errorf("changes", coffer.Invalid, "the cursor is too long")
	}
	if err != nil {
		return invalid(err)
	}
	if c.accepts(eventsType) {
		return c.follow(after)
	}
	v := c.view()
	page, err := readChanges(c.r.Context(), v, after, limit)
	if err != nil {
		return err
	}
	if len(page.Changes) == 0 && wait > 0 {
		if err := c.await(v, after, wait); err != nil {
			return err
		}
		if page, err = readChanges(c.r.Context(), v, after, limit); err != nil {
			return err
		}
	}
	c.Header()["Cache-Control"] = noStore
	return c.encode(http.StatusOK, page)
}

// readChanges reads one page of what is there.
func readChanges(ctx context.Context, v View, after coffer.Cursor, limit int) (*changesAnswer, error) {
	page := &changesAnswer{Changes: []change{}, Cursor: after}
	for ch, err := range v.Changes(ctx, after, false) {
		if err != nil {
			return nil, err
		}
		if len(page.Changes) == limit {
			page.HasMore = true
			break
		}
		page.Changes = append(page.Changes, changeOf(ch))
		page.Cursor = ch.Cursor
	}
	return page, nil
}

// await returns when there is a change, when the time is over, or when the server closes.
func (c *call) await(v View, after coffer.Cursor, wait time.Duration) error {
	c.liftDeadlines(wait + sendTime)
	ctx, cancel := context.WithTimeout(c.r.Context(), wait)
	defer cancel()
	go func() {
		select {
		case <-c.closed:
			cancel()
		case <-ctx.Done():
		}
	}()
	for _, err := range v.Changes(ctx, after, true) {
		return err
	}
	return nil
}

// liftDeadlines gives a request that waits the time that it may take.
func (c *call) liftDeadlines(d time.Duration) {
	rc := http.NewResponseController(c.out)
	_ = rc.SetReadDeadline(time.Time{}) // the body has been read; the deadline would look like a client that left
	_ = rc.SetWriteDeadline(time.Now().Add(d))
}

// follow sends the feed as a stream of events (HTML, section 9.2) until the client leaves, its authority or the time
// for a stream ends, or the server closes.
func (c *call) follow(after coffer.Cursor) error {
	ctx, cancel := context.WithTimeout(c.r.Context(), followTime)
	defer cancel()
	type event struct {
		change coffer.Change
		err    error
	}
	events := make(chan event)
	v := c.view()
	for _, err := range v.Changes(ctx, after, false) { // what is wrong now is told by the status
		if err != nil {
			return err
		}
		break
	}
	go func() {
		defer close(events)
		for ch, err := range v.Changes(ctx, after, true) {
			select {
			case events <- event{ch, err}:
			case <-ctx.Done():
				return
			}
		}
	}()
	defer func() { // the reader of the feed ends before the request does
		cancel()
		for range events {
		}
	}()
	h := c.Header()
	h["Content-Type"] = []string{eventsType}
	h["Cache-Control"] = noStore
	c.liftDeadlines(sendTime)
	alive := time.NewTicker(heartbeat)
	defer alive.Stop()
	for text := ":\n\n"; ; {
		c.extendDeadline(sendTime)
		_, err := c.Write([]byte(text))
		if err != nil || http.NewResponseController(c.out).Flush() != nil {
			return nil
		}
		select {
		case <-c.closed:
			return nil
		case e, ok := <-events:
			if !ok || e.err != nil {
				return nil // the client comes again and is told why
			}
			b, err := jose.Encode(changeOf(e.change))
			if err != nil {
				return coffer.E("changes", coffer.Other, err)
			}
			text = "id: " + string(e.change.Cursor) + "\ndata: " + string(b) + "\n\n"
		case <-alive.C:
			if revoked, err := v.Revoked(ctx, c.caller.Links()); revoked || err != nil {
				return nil
			}
			text = ":\n\n"
		}
	}
}

// historyPlace is a place in a feed by its number, historyPlacesKept how many are remembered: a vault names places by
// cursors, and whoever polls its history goes on where the last answer ended.
type historyPlace struct {
	vault  coffer.VaultID
	number uint64
}

const historyPlacesKept = 4096

// historyEntry is a change as the EDV draft has it, and its document's sequence.
type historyEntry struct {
	DocumentID       string `json:"documentId"`
	Sequence         uint64 `json:"sequence"`
	DocumentSequence uint64 `json:"documentSequence"`
}

// getHistory is GET V/history?afterSequence=&limit=.
func (c *call) getHistory() error {
	params, err := c.path.params("afterSequence", "limit")
	limit, number := maxPage, uint64(0)
	if text, ok := params["limit"]; ok && err == nil {
		limit, err = parseLimit(text)
	}
	if text, ok := params["afterSequence"]; ok && err == nil {
		if number, err = strconv.ParseUint(text, 10, 53); err != nil || strings.HasPrefix(text, "+") {
			err = coffer.Errorf("history", coffer.Invalid, "afterSequence must be a number")
		}
	}
	if err != nil {
		return invalid(err)
	}
	after, _ := c.history.Get(historyPlace{c.vault, number})
	entries := []historyEntry{}
	var last coffer.Change
	for ch, err := range c.view().Changes(c.r.Context(), after, false) {
		if err != nil {
			return err
		}
		if len(entries) == limit {
			break
		}
		if ch.Number <= number {
			continue
		}
		last = ch
		url := c.url
		if ch.Kind != coffer.VaultErased {
			url += "/documents/" + ch.ID.String()
		}
		entries = append(entries, historyEntry{url, ch.Number, ch.Sequence})
	}
	if last.Number > 0 {
		c.history.Add(historyPlace{c.vault, last.Number}, last.Cursor)
	}
	c.Header()["Cache-Control"] = noStore
	return c.encode(http.StatusOK, entries)
}
