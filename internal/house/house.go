// Package house keeps the walls of the module: which room may import which, which third-party modules a room may use,
// and a few manners that a compiler does not know. Its test reads the whole module and fails with a sentence that says
// what to do. The table of rooms is in rooms.go.
//
// A failing wall means that the design is in question. Change the design first, then the table; never exempt a file.
package house

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// A Package is one package of the module, tests excluded. Files for all platforms are part of it.
type Package struct {
	Room    string   // its path below the module's; "." for the root package
	Name    string   // as its package clause says
	Imports []string // sorted, without duplicates; those of this module as ModulePath/room
	Files   []*ast.File
	Fset    *token.FileSet
}

// A Violation is a broken rule: where, and what to do about it.
type Violation struct {
	Where string
	What  string
}

// String returns "where: what".
func (v Violation) String() string { return v.Where + ": " + v.What }

// ModulePath is the path that imports of this module's own rooms begin with.
const ModulePath = "github.com/cofferhq/coffer"

// Root returns the folder of the module that dir is in.
func Root(dir string) (string, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		up := filepath.Dir(dir)
		if up == dir {
			return "", errors.New("house: no go.mod above the working directory")
		}
		dir = up
	}
}

// Read parses all packages of the module in fsys, tests and testdata excluded.
func Read(fsys fs.FS) ([]*Package, error) {
	rooms := make(map[string]*Package)
	fset := token.NewFileSet()
	err := walk(fsys, func(name string) error {
		if !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			return nil
		}
		if slices.Contains(strings.Split(name, "/"), "testdata") {
			return nil
		}
		src, err := fs.ReadFile(fsys, name)
		if err != nil {
			return err
		}
		f, err := parser.ParseFile(fset, name, src, parser.SkipObjectResolution|parser.ParseComments)
		if err != nil {
			return err
		}
		room := path.Dir(name)
		p := rooms[room]
		if p == nil {
			p = &Package{Room: room, Name: f.Name.Name, Fset: fset}
			rooms[room] = p
		}
		p.Files = append(p.Files, f)
		for _, spec := range f.Imports {
			imported, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			p.Imports = append(p.Imports, imported)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	var all []*Package
	for _, p := range rooms {
		slices.Sort(p.Imports)
		p.Imports = slices.Compact(p.Imports)
		all = append(all, p)
	}
	slices.SortFunc(all, func(a, b *Package) int { return strings.Compare(a.Room, b.Room) })
	return all, nil
}

// walk calls visit for each file that belongs to the module: not for hidden folders, for what is built or installed,
// or for modules nested within.
func walk(fsys fs.FS, visit func(name string) error) error {
	return fs.WalkDir(fsys, ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist): // gone since its folder was read
			return nil
		case err != nil:
			return err
		case name == ".":
			return nil
		case !d.IsDir():
			if d.Type().IsRegular() {
				return visit(name)
			}
			return nil
		case d.Name() == "node_modules", name == "bin", name == ".git":
			return fs.SkipDir
		}
		if _, err := fs.Stat(fsys, name+"/go.mod"); err == nil {
			return fs.SkipDir
		}
		return nil
	})
}

// own returns the room that an import path names, if it is one of this module's.
func own(imported string) (room string, ok bool) {
	if imported == ModulePath {
		return ".", true
	}
	return strings.CutPrefix(imported, ModulePath+"/")
}

// standard reports whether an import path is of the standard library: only others have a dot in the first element.
func standard(imported string) bool {
	first, _, _ := strings.Cut(imported, "/")
	return !strings.Contains(first, ".")
}

// within reports whether a path is the prefix or below it.
func within(path, prefix string) bool {
	return path == prefix || strings.HasPrefix(path, prefix+"/")
}
