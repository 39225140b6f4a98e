package agent

import (
	"path"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/cofferhq/coffer"
)

// Bounds on paths.
const (
	MaxPath  = 1024 // bytes in a path
	MaxDepth = 64   // segments in a path
)

// reserved is the folder in which the agent keeps its own records. No caller can name what is in it.
const reserved = ".coffer"

// CleanPath returns the form in which a path is kept: segments joined by "/", without a slash at either end. One slash
// at each end is taken off; "" and "/" are the root folder, "". Invalid for an empty segment, "." and "..", a NUL,
// bytes that are not UTF-8, and beyond [MaxPath] and [MaxDepth]. Letters are not folded and not normalised: two names
// that look the same may differ.
//
// A path that this function accepted never leads out of the folder that it is joined to on systems where "/" alone
// separates. Elsewhere a name may still mean something else to the file system ("a\b", "NUL"): write through os.Root.
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

// objectPath is CleanPath for what a caller may name as an object: neither the root nor the agent's own folder.
func objectPath(p string) (string, error) {
	p, err := CleanPath(p)
	if err != nil {
		return "", err
	}
	if p == "" || within(p, reserved) {
		return "", coffer.Errorf("path", coffer.Invalid, "names the root, or what is kept for the agent itself")
	}
	return p, nil
}

// folderOf returns the path of the folder that holds p, "" for the root.
func folderOf(p string) string {
	if i := strings.LastIndexByte(p, '/'); i >= 0 {
		return p[:i]
	}
	return ""
}

// within reports whether p is folder or lies below it.
func within(p, folder string) bool {
	return folder == "" || p == folder || strings.HasPrefix(p, folder) && p[len(folder)] == '/'
}

// ancestors returns the folders that hold p, outermost first, without the root.
func ancestors(p string) (folders []string) {
	for i, c := range []byte(p) {
		if c == '/' {
			folders = append(folders, p[:i])
		}
	}
	return folders
}

// maxWords is how many words of a name are indexed.
const maxWords = 64

// words returns the words of a name, each once: its runs of letters, marks and digits, in lower case.
func words(name string) (list []string) {
	seen := make(map[string]bool)
	for _, w := range strings.FieldsFunc(name, func(r rune) bool {
		return !unicode.IsLetter(r) && !unicode.IsMark(r) && !unicode.IsDigit(r)
	}) {
		if w = strings.ToLower(w); !seen[w] && len(list) < maxWords {
			seen[w] = true
			list = append(list, w)
		}
	}
	return list
}

// baseName returns the last segment.
func baseName(p string) string {
	if p == "" {
		return ""
	}
	return path.Base(p)
}
