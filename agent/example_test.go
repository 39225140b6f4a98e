package agent_test

import (
	"context"
	"fmt"

	"github.com/cofferhq/coffer/agent"
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
