package node

import (
	"net/http"
	"slices"
	"strings"
)

// unknownRoute stands for all requests to no route, as on the wire.
const unknownRoute = "unknown"

// variable names what stands below a place, for places below which something varies.
var variable = map[string]string{
	"edvs": "{vault}", "documents": "{id}", "held": "{id}", "open": "{id}", "chunks": "{index}", "revisions": "{sequence}",
	"revocations": "{capability}", "identifiers": "{id}",
}

// known are the segments that patterns of routes have.
var known = []string{
	"edvs", "documents", "query", "index", "chunks", "revisions", "batch", "held", "open", "inbox", "changes", "history",
	"checkpoint", "proof", "consistency", "inclusion", "zcaps", "revocations", "sessions", ".well-known", "coffer",
	"openapi.json", "1.0", "identifiers",
}

// methods are those that routes have.
var methods = []string{
	http.MethodGet, http.MethodHead, http.MethodPost, http.MethodDelete, http.MethodOptions,
}

// deepest bounds how many segments a pattern has.
const deepest = 8

// routeOf returns the method and the pattern of a request's path, for logs and traces: every segment of it is a
// constant of this package. It says nothing of whether the wire has such a route.
func routeOf(r *http.Request) string {
	path, ok := strings.CutPrefix(r.URL.EscapedPath(), "/")
	segments := strings.SplitN(path, "/", deepest+1)
	if !ok || len(segments) > deepest || !slices.Contains(methods, r.Method) {
		return unknownRoute
	}
	pattern := r.Method + " "
	above := ""
	for _, s := range segments {
		name, varies := variable[above]
		switch {
		case varies && !(above == "documents" && s == "query"):
			pattern += "/" + name
			above = ""
		case slices.Contains(known, s):
			pattern += "/" + s
			above = s
		default:
			return unknownRoute
		}
	}
	return pattern
}
