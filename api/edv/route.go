package edv

import (
	"net/http"
	"slices"
	"strings"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/grant"
)

// A route is what one method does at one place.
type route struct {
	name     string // method and pattern
	action   grant.Action
	conflict string // the problem that a Conflict is here; InvalidStateError if empty
	serve    func(*call) error
}

// A place is a path with names in braces for what varies, and the methods that it knows.
type place struct {
	pattern  string
	segments []string
	methods  map[string]*route
	allow    string
}

// routes returns what the server serves. Where an action is given, the caller is authorized before the route serves;
// the others authorize by themselves, or serve everyone.
func (s *Server) routes() []*place {
	const (
		vault     = "/edvs/{vault}"
		documents = vault + "/documents"
		document  = documents + "/{id}"
		chunk     = document + "/chunks/{index}"
		held      = vault + "/held/{id}"
		open      = vault + "/open/{id}"
		read      = grant.Read
		write     = grant.Write
	)
	table := []struct {
		method, pattern string
		action          grant.Action
		conflict        string
		serve           func(*call) error
	}{
		{"POST", "/edvs", "", duplicateError, (*call).createVault},
		{"GET", "/edvs", "", "", (*call).findVaults},
		{"GET", vault, read, "", (*call).getConfig},
		{"POST", vault, write, "", (*call).configure},
		{"DELETE", vault, write, "", (*call).eraseVault},
		{"POST", documents, write, duplicateError, (*call).insert},
		{"GET", documents, read, "", (*call).list},
		{"POST", documents + "/query", read, "", (*call).query},
		{"GET", document, read, "", (*call).get},
		{"POST", document, write, "", (*call).update},
		{"DELETE", document, write, "", (*call).erase},
		{"POST", document + "/index", write, "", (*call).reindex},
		{"GET", document + "/revisions/{sequence}", read, "", (*call).getRevision},
		{"GET", chunk, read, "", (*call).getChunk},
		{"POST", chunk, write, "", (*call).putChunk},
		{"DELETE", chunk, write, "", (*call).dropChunk},
		{"POST", vault + "/query", read, "", (*call).query},
		{"POST", vault + "/batch", write, "", (*call).batch},
		{"POST", vault + "/held", write, duplicateError, (*call).insertHeld},
		{"GET", held, read, "", (*call).getHeld},
		{"POST", held, write, "", (*call).updateHeld},
		{"DELETE", held, write, "", (*call).eraseHeld},
		{"GET", held + "/chunks/{index}", read, "", (*call).getHeldChunk},
		{"POST", held + "/chunks/{index}", write, "", (*call).putHeldChunk},
		{"DELETE", held + "/chunks/{index}", write, "", (*call).dropHeldChunk},
		{"GET", open, "", "", (*call).getOpen},
		{"GET", open + "/chunks/{index}", "", "", (*call).getOpenChunk},
		{"POST", vault + "/inbox", write, duplicateError, (*call).deliver},
		{"GET", vault + "/changes", read, "", (*call).changes},
		{"GET", vault + "/history", read, "", (*call).getHistory},
		{"GET", vault + "/checkpoint", read, "", (*call).checkpoint},
		{"GET", vault + "/proof/consistency", read, "", (*call).consistency},
		{"GET", vault + "/proof/inclusion", read, "", (*call).inclusion},
		{"GET", vault + "/zcaps/revocations", read, "", (*call).revocations},
		{"POST", vault + "/zcaps/revocations", "", duplicateError, (*call).revoke},
		{"POST", vault + "/zcaps/revocations/{capability}", "", duplicateError, (*call).revoke},
		{"POST", "/sessions", "", "", (*call).openSession},
		{"GET", "/.well-known/coffer", "", "", (*call).describe},
		{"GET", "/openapi.json", "", "", (*call).openAPI},
		{"GET", "/1.0/identifiers/{id}", "", "", (*call).resolve},
	}
	var places []*place
	for _, row := range table {
		i := slices.IndexFunc(places, func(p *place) bool { return p.pattern == row.pattern })
		if i < 0 {
			i = len(places)
			segments := strings.Split(row.pattern[1:], "/")
			places = append(places, &place{pattern: row.pattern, segments: segments, methods: make(map[string]*route)})
		}
		p := places[i]
		r := &route{row.method + " " + row.pattern, row.action, row.conflict, row.serve}
		p.methods[row.method] = r
		p.allow += row.method + ", "
		if row.method == "GET" {
			p.methods["HEAD"] = r
			p.allow += "HEAD, "
		}
	}
	for _, p := range places {
		p.allow += "OPTIONS"
	}
	return places
}

// match reports whether the path is at the place.
func (p *place) match(at *path) bool {
	if len(p.segments) != at.n {
		return false
	}
	for i, s := range p.segments {
		if s[0] != '{' && s != at.segments[i] {
			return false
		}
	}
	return true
}

// find sets the call's path and route. A request for what the server permits to scripts is answered here, and leaves
// the route nil.
func (c *call) find() error {
	p, ok := parsePath(c.r.RequestURI)
	if !ok {
		return fail(http.StatusNotFound, notFoundError, coffer.NotExist, "no such place")
	}
	c.path = p
	var at *place
	for _, candidate := range c.places {
		if candidate.match(&c.path) {
			at = candidate
			break
		}
	}
	switch {
	case at == nil:
		return fail(http.StatusNotFound, notFoundError, coffer.NotExist, "no such place")
	case c.r.Method == http.MethodOptions:
		h := c.Header()
		h.Set("Access-Control-Allow-Methods", at.allow)
		h.Set("Access-Control-Max-Age", "86400")
		if asked := c.r.Header["Access-Control-Request-Headers"]; len(asked) > 0 {
			h["Access-Control-Allow-Headers"] = asked
			h["Vary"] = []string{"Access-Control-Request-Headers"}
		}
		return c.empty(http.StatusNoContent)
	}
	if c.route = at.methods[c.r.Method]; c.route == nil {
		c.Header().Set("Allow", at.allow)
		return fail(http.StatusMethodNotAllowed, methodError, coffer.Invalid, "no such method here")
	}
	return nil
}
