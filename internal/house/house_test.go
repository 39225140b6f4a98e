package house

import (
	"os"
	"strings"
	"testing"
	"testing/fstest"
)

// TestHouse keeps the walls of this module.
func TestHouse(t *testing.T) {
	root, err := Root(".")
	if err != nil {
		t.Fatal(err)
	}
	packages, err := Read(os.DirFS(root))
	if err != nil {
		t.Fatal(err)
	}
	for _, must := range []string{".", "grant", "internal/jose", "internal/house", "store"} {
		if !contains(packages, must) {
			t.Errorf("package %s was not read: this test sees less than the module", must)
		}
	}
	for _, v := range Walls(packages, Rooms) {
		t.Error(v)
	}
	for _, v := range Manners(packages, Rooms) {
		t.Error(v)
	}
	// The words are put together here so that this file does not hold them.
	broken, err := Texts(os.DirFS(root), []string{"/wo" + "rk/", "/tmp/n" + "pm", "/tmp/pro" + "mpts"})
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range broken {
		t.Error(v)
	}
}

func contains(packages []*Package, room string) bool {
	for _, p := range packages {
		if p.Room == room {
			return true
		}
	}
	return false
}

// TestWalls proves on small houses that each rule finds what breaks it, and only that.
func TestWalls(t *testing.T) {
	tests := []struct {
		name  string
		files map[string]string // path -> imports
		want  []string          // each a part of one violation, in order
	}{
		{"all is well", map[string]string{
			"coffer.go": "fmt", "grant/a.go": ". internal/jose", "node/node.go": "net/http api/edv node/vault",
			"node/vault/a.go": ". grant store ledger", "api/edv/a.go": ". grant", "store/a.go": ".", "ledger/a.go": ".",
			"internal/jose/a.go": "golang.org/x/crypto/chacha20poly1305", "agent/seal/a.go": ". internal/jose",
			"agent/agent.go": "agent/seal keyring", "keyring/a.go": ".", "cmd/cofferd/main.go": "node",
			"cmd/coffer/main.go": "agent node api/edv",
		}, nil},
		{"the root stands alone", map[string]string{"coffer.go": "grant", "grant/a.go": ""},
			[]string{".: imports grant, which room . may not"}},
		{"agent reaches node", map[string]string{"agent/a.go": "node", "node/node.go": ""},
			[]string{"agent: imports node", "agent: must never reach node, but does: agent -> node"}},
		{"node reaches agent through a third", map[string]string{
			"node/node.go": "coffertest", "coffertest/a.go": "agent/seal", "agent/seal/a.go": ""},
			[]string{"node: must never reach agent, but does: node -> coffertest -> agent/seal"}},
		{"the provider's program reaches agent", map[string]string{
			"cmd/cofferd/main.go": "node", "node/node.go": "api/edv", "api/edv/a.go": "agent", "agent/a.go": ""},
			[]string{
				"api/edv: imports agent", "api/edv: must never reach agent",
				"cmd/cofferd: must never reach agent, but does: cmd/cofferd -> node -> api/edv -> agent",
				"node: must never reach agent",
			}},
		{"the owner's program may", map[string]string{"cmd/coffer/main.go": "agent", "agent/a.go": "."}, nil},
		{"hub is handed vaults", map[string]string{
			"node/hub/a.go": "node/vault", "node/vault/a.go": "store", "store/a.go": ""},
			[]string{"node/hub: imports node/vault", "must never reach node/vault", "must never reach store"}},
		{"one driver knows no other", map[string]string{"store/pebble/a.go": "store/postgres", "store/postgres/a.go": ""},
			[]string{"store/pebble: imports store/postgres"}},
		{"a driver stays in its room", map[string]string{"node/vault/a.go": "github.com/cockroachdb/pebble/v2"},
			[]string{"imports github.com/cockroachdb/pebble/v2, which is not among the modules of room node/vault"}},
		{"a module's name is not a prefix of letters", map[string]string{
			"internal/jose/a.go": "golang.org/x/cryptography"},
			[]string{"imports golang.org/x/cryptography"}},
		{"nor is a room's", map[string]string{"grant/a.go": "internal/josephine", "internal/josephine/a.go": ""},
			[]string{"grant: imports internal/josephine", "internal/josephine: is in no room"}},
		{"the law does no I/O", map[string]string{"grant/a.go": "os"},
			[]string{"grant: imports os, which room grant leaves"}},
		{"the agent does not dial", map[string]string{"agent/a.go": "net/http"}, []string{"agent: imports net/http"}},
		{"a package without a room", map[string]string{"attic/a.go": ""}, []string{"attic: is in no room"}},
		{"tests may import anything", map[string]string{"grant/a_test.go": "node agent", "grant/a.go": ""}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			fsys := fstest.MapFS{}
			for name, imports := range tt.files {
				src := "package p\n"
				for i := range strings.FieldsSeq(imports) {
					if i == "." {
						i = ModulePath
					} else if _, known := roomOf(i, Rooms); known || strings.HasPrefix(i, "internal/") {
						i = ModulePath + "/" + i
					}
					src += "import \"" + i + "\"\n"
				}
				fsys[name] = &fstest.MapFile{Data: []byte(src)}
			}
			packages, err := Read(fsys)
			if err != nil {
				t.Fatal(err)
			}
			match(t, Walls(packages, Rooms), tt.want)
		})
	}
}

func TestManners(t *testing.T) {
	tests := []struct {
		name, file, src string
		want            []string
	}{
		{"all is well", "node/a.go", `package node
			import _ "embed"
			import "time"
			var table = map[string]int{"a": 1}
			var now = time.Now
			func f() int { table := map[string]int{}; table["b"] = 2; delete(table, "b"); return len(table) }
			type t struct{ n int }
			func (x *t) init() { x.n++ }`, nil},
		{"init", "node/a.go", "package node\nfunc init() {}",
			[]string{"node/a.go:2: has an init function"}},
		{"side effects", "node/a.go", "package node\nimport _ \"image/png\"",
			[]string{"a.go:2: imports \"image/png\" for its"}},
		{"assignment", "node/a.go", "package node\nvar n int\nfunc f() { n = 1 }",
			[]string{"a.go:3: changes the package-level variable n"}},
		{"element", "node/a.go", "package node\nvar n = map[string]int{}\nfunc f() { n[\"\"] = 1 }", []string{"variable n"}},
		{"field", "node/a.go", "package node\nvar n struct{ a int }\nfunc f() { n.a++ }", []string{"variable n"}},
		{"deletion", "node/a.go", "package node\nvar n map[int]int\nfunc f() { delete(n, 1) }", []string{"variable n"}},
		{"lock", "node/a.go", "package node\nimport \"sync\"\nvar n sync.Mutex", []string{"a.go:3: n guards or holds state"}},
		{"clock", "grant/a.go", "package grant\nimport t \"time\"\nfunc f() { _ = t.Now() }",
			[]string{"grant/a.go:3: calls time.Now"}},
		{"clock handed on", "merge/a.go", "package merge\nimport \"time\"\nvar f = time.Since",
			[]string{"calls time.Since"}},
		{"no clock", "grant/a.go", "package grant\nimport \"time\"\nfunc f(now time.Time) { now.Add(time.Hour) }", nil},
		{"name", "node/util/a.go", "package util", []string{"a package called util says nothing"}},
		{"folder", "node/pkg/a.go", "package fine", []string{"a package called pkg says nothing"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			packages, err := Read(fstest.MapFS{tt.file: {Data: []byte(tt.src)}})
			if err != nil {
				t.Fatal(err)
			}
			match(t, Manners(packages, Rooms), tt.want)
		})
	}
}

func TestTexts(t *testing.T) {
	fsys := fstest.MapFS{
		"doc/a.md":                 {Data: []byte("one\ntwo /there/x\n")},
		"doc/b.md":                 {Data: []byte("there")},
		"x/node_modules/a/LICENSE": {Data: []byte("/there/")},
	}
	broken, err := Texts(fsys, []string{"/there/"})
	if err != nil {
		t.Fatal(err)
	}
	match(t, broken, []string{"doc/a.md:2: mentions /there/"})
}

// match checks that there is one violation for each wanted part, in order, and no more.
func match(t *testing.T, got []Violation, want []string) {
	t.Helper()
	for i, v := range got {
		if i >= len(want) || !strings.Contains(v.String(), want[i]) {
			t.Errorf("violation %d: %s", i, v)
		}
	}
	if len(got) < len(want) {
		t.Errorf("%d violations, want %d: %q", len(got), len(want), want)
	}
}
