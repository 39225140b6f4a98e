package tree

import (
	"strings"
	"unicode/utf8"

	"github.com/cofferhq/coffer"
)

// Bounds on paths.
const (
	MaxPath  = 1024 // bytes in a path
	MaxDepth = 64   // segments in a path
)

// CleanPath returns the form in which a path is kept: segments joined by "/", without a slash at either end. One slash
// at each end is taken off; "" and "/" are the root folder, "". Invalid for an empty segment, "." and "..", a NUL,
// bytes that are not UTF-8, and beyond [MaxPath] and [MaxDepth]. Letters are not folded and not normalised: two names
// that look the same may differ.
func CleanPath(p string) (string, error) {
	p = strings.TrimSuffix(strings.TrimPrefix(p, "/"), "/")
	switch {
	case p == "":
		return "", nil
	case len(p) > MaxPath:
		return "", coffer.Errorf("path", coffer.Invalid, "too long")
	case !utf8.ValidString(p) || strings.ContainsRune(p, 0):
		return "", coffer.Errorf("path", coffer.Invalid, "not UTF-8, or with a NUL")
	case strings.Count(p, "/") >= MaxDepth:
		return "", coffer.Errorf("path", coffer.Invalid, "too deep")
	}
	for segment := range strings.SplitSeq(p, "/") {
		if segment == "" || segment == "." || segment == ".." {
			return "", coffer.Errorf("path", coffer.Invalid, `with a segment that is empty, "." or ".."`)
		}
	}
	return p, nil
}

// Base returns the last segment of a clean path, "" for the root.
func Base(p string) string { return p[strings.LastIndexByte(p, '/')+1:] }

// FolderOf returns the path of the folder that holds p, "" for the root and for what is in it.
func FolderOf(p string) string { return p[:max(strings.LastIndexByte(p, '/'), 0)] }

// Within reports whether p is folder or lies below it. Both are clean.
func Within(p, folder string) bool {
	return folder == "" || p == folder || strings.HasPrefix(p, folder) && p[len(folder)] == '/'
}

// Ancestors returns the folders that hold p, outermost first, without the root.
func Ancestors(p string) (folders []string) {
	for i, c := range []byte(p) {
		if c == '/' {
			folders = append(folders, p[:i])
		}
	}
	return folders
}

// segments returns the segments of a path, none for the root. Invalid unless the path is clean.
func segments(p string) ([]string, error) {
	clean, err := CleanPath(p)
	switch {
	case err != nil:
		return nil, err
	case clean != p:
		return nil, coffer.Errorf("path", coffer.Invalid, "not in its proper form")
	case p == "":
		return nil, nil
	}
	return strings.Split(p, "/"), nil
}

// properName reports whether s can be a segment.
func properName(s string) bool {
	clean, err := CleanPath(s)
	return err == nil && clean == s && s != "" && !strings.Contains(s, "/")
}

// join returns the path of a name in a folder.
func join(folder, name string) string {
	if folder == "" {
		return name
	}
	return folder + "/" + name
}
