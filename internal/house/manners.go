package house

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/types"
	"io/fs"
	"path"
	"slices"
	"strings"
)

// poorNames are names that say nothing about what a package provides.
var poorNames = []string{"util", "utils", "common", "core", "models", "types", "manager", "helpers", "pkg"}

// clock is what package time offers to find out or await the time.
var clock = []string{"Now", "Since", "Until", "Sleep", "After", "AfterFunc", "NewTimer", "NewTicker", "Tick"}

// Manners returns where packages break the rules of style that a program can check: names that say nothing, init
// functions, imports for their side effects, package-level state that changes, clocks in rooms that are to be told the
// time.
func Manners(packages []*Package, rooms []Room) (broken []Violation) {
	for _, p := range packages {
		report := func(n ast.Node, format string, args ...any) {
			at := p.Fset.Position(n.Pos())
			broken = append(broken, Violation{fmt.Sprintf("%s:%d", at.Filename, at.Line), fmt.Sprintf(format, args...)})
		}
		for _, name := range []string{p.Name, path.Base(p.Room)} {
			if slices.Contains(poorNames, name) {
				report(p.Files[0].Name, "a package called %s says nothing: name it for what it provides", name)
				break
			}
		}
		room, _ := roomOf(p.Room, rooms)
		scope, uses := resolve(p)
		// global returns the name of the package-level variable that an assignment to e would change, if any.
		global := func(e ast.Expr) string {
			if id := rootIdent(e); id != nil {
				if v, ok := uses[id].(*types.Var); ok && v.Parent() == scope {
					return v.Name()
				}
			}
			return ""
		}
		const state = "changes the package-level variable %s: state is a field of something that cmd or node.go makes"
		for _, f := range p.Files {
			for _, spec := range f.Imports {
				if spec.Name != nil && spec.Name.Name == "_" && spec.Path.Value != `"embed"` {
					report(spec, "imports %s for its side effects: hand the thing in where it is wired", spec.Path.Value)
				}
			}
			for _, decl := range f.Decls {
				if d, ok := decl.(*ast.FuncDecl); ok && d.Recv == nil && d.Name.Name == "init" {
					report(d, "has an init function: make the thing where it is used, or hand it in from cmd or node.go")
				}
			}
			ast.Inspect(f, func(n ast.Node) bool {
				switch n := n.(type) {
				case *ast.AssignStmt:
					for _, e := range n.Lhs {
						if name := global(e); name != "" {
							report(n, state, name)
						}
					}
				case *ast.IncDecStmt:
					if name := global(n.X); name != "" {
						report(n, state, name)
					}
				case *ast.CallExpr:
					id, ok := n.Fun.(*ast.Ident)
					if ok && (id.Name == "delete" || id.Name == "clear") && len(n.Args) > 0 {
						if name := global(n.Args[0]); name != "" {
							report(n, state, name)
						}
					}
				case *ast.SelectorExpr:
					id, ok := n.X.(*ast.Ident)
					if !ok || !room.NoClock {
						return true
					}
					pkg, ok := uses[id].(*types.PkgName)
					if ok && pkg.Imported().Path() == "time" && slices.Contains(clock, n.Sel.Name) {
						report(n, "calls time.%s, but room %s reads no clock: take the time as an argument", n.Sel.Name, room.Path)
					}
				}
				return true
			})
		}
		for _, name := range scope.Names() {
			v, ok := scope.Lookup(name).(*types.Var)
			if ok && isLock(p, name) {
				at := p.Fset.Position(v.Pos())
				broken = append(broken, Violation{fmt.Sprintf("%s:%d", at.Filename, at.Line), fmt.Sprintf(
					"%s guards or holds state of the whole package: make it a field", name)})
			}
		}
	}
	return broken
}

// resolve says what each identifier of the package stands for. Imported packages are left empty: only the package's
// own names matter here, and all else is an error of types that nobody asks about.
func resolve(p *Package) (*types.Scope, map[*ast.Ident]types.Object) {
	info := &types.Info{Uses: make(map[*ast.Ident]types.Object)}
	conf := types.Config{Importer: emptyImporter{}, Error: func(error) {}}
	pkg, _ := conf.Check(p.Room, p.Fset, p.Files, info)
	return pkg.Scope(), info.Uses
}

type emptyImporter struct{}

func (emptyImporter) Import(imported string) (*types.Package, error) {
	name := path.Base(imported)
	if len(name) > 1 && name[0] == 'v' && strings.Trim(name[1:], "0123456789") == "" {
		name = path.Base(path.Dir(imported))
	}
	pkg := types.NewPackage(imported, name)
	pkg.MarkComplete()
	return pkg, nil
}

// rootIdent returns x of x, x.f, x[i], *x and (x).
func rootIdent(e ast.Expr) *ast.Ident {
	for {
		switch x := e.(type) {
		case *ast.Ident:
			return x
		case *ast.SelectorExpr:
			e = x.X
		case *ast.IndexExpr:
			e = x.X
		case *ast.StarExpr:
			e = x.X
		case *ast.ParenExpr:
			e = x.X
		default:
			return nil
		}
	}
}

// isLock reports whether a package-level variable is declared as a lock, an atomic, a concurrent map or a channel:
// these are there only to be changed.
func isLock(p *Package, name string) (found bool) {
	for _, f := range p.Files {
		for _, decl := range f.Decls {
			d, ok := decl.(*ast.GenDecl)
			if !ok {
				continue
			}
			for _, spec := range d.Specs {
				v, ok := spec.(*ast.ValueSpec)
				if !ok || !slices.ContainsFunc(v.Names, func(id *ast.Ident) bool { return id.Name == name }) {
					continue
				}
				ast.Inspect(v, func(n ast.Node) bool {
					switch n := n.(type) {
					case *ast.FuncLit:
						return false
					case *ast.ChanType:
						found = true
					case *ast.SelectorExpr:
						if id, ok := n.X.(*ast.Ident); ok {
							switch id.Name + "." + n.Sel.Name {
							case "sync.Mutex", "sync.RWMutex", "sync.Map", "sync.Once", "sync.WaitGroup", "sync.Cond":
								found = true
							}
							found = found || id.Name == "atomic"
						}
					}
					return true
				})
			}
		}
	}
	return found
}

// Texts returns each file of the module in fsys whose text holds one of the words.
func Texts(fsys fs.FS, words []string) (broken []Violation, err error) {
	err = walk(fsys, func(name string) error {
		b, err := fs.ReadFile(fsys, name)
		if err != nil {
			return err
		}
		for _, w := range words {
			if i := bytes.Index(b, []byte(w)); i >= 0 {
				broken = append(broken, Violation{fmt.Sprintf("%s:%d", name, 1+bytes.Count(b[:i], []byte("\n"))),
					"mentions " + w + ", a path of one machine: leave it out"})
			}
		}
		return nil
	})
	return broken, err
}
