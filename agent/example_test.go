package agent_test

import (
	"context"
	"fmt"
	"os"
	"slices"
	"testing"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/agent"
	"github.com/cofferhq/coffer/coffertest"
	"github.com/cofferhq/coffer/keyring"
	"github.com/cofferhq/coffer/node/vault"
)

type Person struct {
	Name string `json:"name"`
	Born int    `json:"born"`
}

// An application keeps a value of its own and finds it again. Where the vault is does not matter: here it is in this
// process; api/edv has the client that reaches one over HTTPS.
func Example() {
	ctx := context.Background()
	vault, keys, end := exampleVault()
	defer end()

	a, err := agent.New(agent.Options{Vault: vault, Keyring: keys})
	if err != nil {
		panic(err)
	}
	if _, err := agent.Put(ctx, a, "people/ada", Person{Name: "Ada", Born: 1815}); err != nil {
		panic(err)
	}
	for found, err := range a.Find(ctx, "type:Person born:1815") {
		if err != nil {
			panic(err)
		}
		p, err := agent.Get[Person](ctx, a, found.Path)
		fmt.Println(found.Path, p.Name, err)
	}
	// Output: people/ada Ada <nil>
}

// exampleVault returns a new vault in this process, the keys of its owner, and a function that ends both.
func exampleVault() (coffer.Vault, *keyring.Ring, func()) {
	t := &exampleTB{}
	at := coffertest.NewVaults(t, vault.Limits{})
	keys := coffertest.Person(t, "ada")
	id, url := at.NewVault(t, keys)
	return at.As(at.Caller(t, keys, url, nil), id), keys, t.end
}

// exampleTB lets an example use what tests use.
type exampleTB struct {
	testing.TB
	cleanup []func()
}

func (t *exampleTB) Helper()                   {}
func (t *exampleTB) Cleanup(f func())          { t.cleanup = append(t.cleanup, f) }
func (t *exampleTB) Fatal(args ...any)         { panic(fmt.Sprint(args...)) }
func (t *exampleTB) Fatalf(f string, a ...any) { panic(fmt.Sprintf(f, a...)) }
func (t *exampleTB) Errorf(f string, a ...any) { panic(fmt.Sprintf(f, a...)) }

func (t *exampleTB) TempDir() string {
	dir, err := os.MkdirTemp("", "coffer-example-")
	if err != nil {
		panic(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func (t *exampleTB) end() {
	for _, f := range slices.Backward(t.cleanup) {
		f()
	}
}
