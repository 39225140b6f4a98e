package ident_test

import (
	"context"
	"fmt"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/ident"
)

func Example() {
	resolver, err := ident.New(ident.Options{
		AllowWeb: []string{".example.org"},
		Pinned: []ident.Pin{
			{ID: "https://example.net/backup", Keys: []string{"z6MkqGC3nWZhYieEVTVDKW5v588CiGfsDSmRVG9ZwwWTvLSK"}},
		},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx := context.Background()
	alice, err := resolver.Resolve(ctx, "did:key:z6MkhaXgBZDvotDkL5257faiztiGiC2QtKLGpbnnEGta2doK")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(alice.Agreement[0].ID)

	verifier, err := resolver.Key(ctx, alice.Invoke[0].ID, coffer.Invocation)
	fmt.Println(verifier.Verify([]byte("message"), make([]byte, 64)), err)

	_, err = resolver.Resolve(ctx, "did:web:example.com")
	fmt.Println(err)
	// Output:
	// did:key:z6MkhaXgBZDvotDkL5257faiztiGiC2QtKLGpbnnEGta2doK#z6LSj72tK8brWgZja8NLRwPigth2T9QRiG1uH9oKZuKjdh9p
	// false <nil>
	// did:web: denied: the host is not among those that may be asked
}
