package house

import (
	"fmt"
	"slices"
	"strings"
)

// Walls returns each import of the packages that the rooms do not allow, and each path to a room that must never be
// reached.
func Walls(packages []*Package, rooms []Room) (broken []Violation) {
	graph := make(map[string][]string) // package -> the module's own packages that it imports
	for _, p := range packages {
		for _, imported := range p.Imports {
			if to, ok := own(imported); ok {
				graph[p.Room] = append(graph[p.Room], to)
			}
		}
	}
	for _, p := range packages {
		room, ok := roomOf(p.Room, rooms)
		if !ok {
			broken = append(broken, Violation{p.Room,
				"is in no room: decide where in the house it belongs, and give it a line in internal/house/rooms.go"})
			continue
		}
		for _, imported := range p.Imports {
			if what := room.refuses(imported); what != "" {
				broken = append(broken, Violation{p.Room, what})
			}
		}
		for _, never := range room.Never {
			if way := reach(graph, p.Room, never); way != nil {
				broken = append(broken, Violation{p.Room, fmt.Sprintf(
					"must never reach %s, but does: %s. Cut one of these imports: hand the thing in as an argument "+
						"that the root package describes", never, strings.Join(way, " -> "))})
			}
		}
	}
	return broken
}

// refuses returns why the room may not import a path, or nothing.
func (r Room) refuses(imported string) string {
	switch to, ok := own(imported); {
	case ok && (r.Any || within(to, r.Path) && r.Path != "."):
		return ""
	case ok && slices.ContainsFunc(r.Rooms, func(may string) bool { return admits(may, to) }):
		return ""
	case ok:
		return fmt.Sprintf("imports %s, which room %s may not: take what you need as an argument, or move the code to "+
			"the room that may know both", to, r.Path)
	case standard(imported):
		if slices.ContainsFunc(r.NoStd, func(no string) bool { return imported == no }) {
			return fmt.Sprintf("imports %s, which room %s leaves to others: it is handed what it works with",
				imported, r.Path)
		}
		return ""
	case slices.ContainsFunc(r.Modules, func(may string) bool { return may == "*" || within(imported, may) }):
		return ""
	default:
		return fmt.Sprintf("imports %s, which is not among the modules of room %s: prefer the standard library; if it "+
			"must be, decide so and add it to internal/house/rooms.go", imported, r.Path)
	}
}

// admits reports whether a pattern of [Room.Rooms] covers a package.
func admits(pattern, pkg string) bool {
	if above, ok := strings.CutSuffix(pattern, "/..."); ok {
		return within(pkg, above)
	}
	return pkg == pattern
}

// roomOf returns the most specific room that a package is in.
func roomOf(pkg string, rooms []Room) (best Room, ok bool) {
	for _, r := range rooms {
		if pkg != r.Path && (r.Path == "." || !within(pkg, r.Path)) {
			continue
		}
		if !ok || len(r.Path) > len(best.Path) {
			best, ok = r, true
		}
	}
	return best, ok
}

// reach returns a shortest way from a package to one in a room, or nil.
func reach(graph map[string][]string, from, room string) []string {
	type step struct {
		pkg  string
		back *step
	}
	seen := map[string]bool{from: true}
	for queue := []*step{{pkg: from}}; len(queue) > 0; queue = queue[1:] {
		at := queue[0]
		if within(at.pkg, room) {
			var way []string
			for s := at; s != nil; s = s.back {
				way = append(way, s.pkg)
			}
			slices.Reverse(way)
			return way
		}
		for _, next := range graph[at.pkg] {
			if !seen[next] {
				seen[next] = true
				queue = append(queue, &step{next, at})
			}
		}
	}
	return nil
}
