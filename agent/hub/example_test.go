package hub_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/agent/hub"
	nodehub "github.com/cofferhq/coffer/node/hub"
)

// exampleHubs returns a node with hubs in this process, and a function that ends it. Programs reach a node with the
// client of package api/hub, or with [hub.Dial].
func exampleHubs() (w *world, end func()) {
	t := &exampleTB{}
	w = newWorld(t, nodehub.Limits{})
	return w, t.end
}

type song struct {
	Title string `json:"title"`
	Year  int    `json:"year"`
}

// Values are put, got, found and replaced. There is nothing else to know.
func Example() {
	ctx := context.Background()
	w, end := exampleHubs()
	defer end()

	h, err := hub.Open(hub.Options{Hub: w.as("ada", ""), Keyring: w.ring("ada"), Resolver: w.resolver})
	if err != nil {
		panic(err)
	}
	songs := hub.Kind{Context: "schema.org", Type: "MusicRecording"}
	id, err := hub.Put(ctx, h, songs, song{"Blue in Green", 1959})
	if err != nil {
		panic(err)
	}
	if err := h.Replace(ctx, songs, id, song{"Blue in Green", 1958}, nil); err != nil {
		panic(err)
	}
	s, err := hub.Get[song](ctx, h, songs, id)
	fmt.Println(s.Title, s.Year, err)
	for o, err := range h.Query(ctx, songs, &hub.QueryOptions{Filter: "title:blue AND year:[1950 TO 1959]"}) {
		fmt.Printf("%s %v %v\n", o.Value, o.Sealed, err)
	}
	// Output:
	// Blue in Green 1958 <nil>
	// {"title":"Blue in Green","year":1958} true <nil>
}

// Who is granted a kind reads it, until that is revoked.
func ExampleHub_Grant() {
	ctx := context.Background()
	w, end := exampleHubs()
	defer end()
	ada, bob := w.open("ada", "ada"), w.open("bob", "ada") // Ada's hub, as each of them sees it

	sizes := hub.Kind{Context: "schema.org", Type: "SizeSpecification", Private: true}
	id, err := ada.Put(ctx, sizes, map[string]int{"collar": 38}, nil)
	if err != nil {
		panic(err)
	}
	permission, err := ada.Grant(ctx, hub.Permission{Grantee: w.ring("bob").DID(), Kind: sizes, Allow: "-R--"})
	if err != nil {
		panic(err)
	}
	got, err := hub.Get[map[string]int](ctx, bob, sizes, id)
	fmt.Println("Bob reads", got, err)

	if err := ada.Revoke(ctx, permission); err != nil {
		panic(err)
	}
	for p, err := range ada.Work(ctx) { // what is there is sealed anew
		fmt.Println("done", p.Done, "of", p.Seen, err)
	}
	_, err = hub.Get[map[string]int](ctx, bob, sizes, id)
	fmt.Println("Bob reads no more:", errors.Is(err, coffer.Denied))
	// Output:
	// Bob reads map[collar:38] <nil>
	// done 1 of 1 <nil>
	// Bob reads no more: true
}

// A file is an object with bytes, as many as there are.
func ExampleHub_PutFile() {
	ctx := context.Background()
	w, end := exampleHubs()
	defer end()
	h := w.open("ada", "ada")

	films := hub.Kind{Context: "schema.org", Type: "VideoObject"}
	source := io.LimitReader(zeros{}, 1_000_000)
	id, err := h.PutFile(ctx, films, map[string]string{"name": "Rain"}, source, nil)
	if err != nil {
		panic(err)
	}
	f, err := h.OpenFile(ctx, films, id)
	if err != nil {
		panic(err)
	}
	defer f.Close()
	fmt.Println(string(f.Object.Value), f.Object.File.Size)
	if _, err := f.Seek(-3, io.SeekEnd); err != nil { // fetches the last part alone
		panic(err)
	}
	b, err := io.ReadAll(f)
	fmt.Println(b, err)
	// Output:
	// {"name":"Rain"} 1000000
	// [0 0 0] <nil>
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) {
	clear(b)
	return len(b), nil
}

// A second look fetches only what changed.
func ExampleHub_Watch() {
	ctx := context.Background()
	w, end := exampleHubs()
	defer end()
	h := w.open("ada", "ada")
	tasks := hub.Kind{Context: "schema.org", Type: "Action"}
	id, err := h.Put(ctx, tasks, "buy milk", nil)
	if err != nil {
		panic(err)
	}
	watch := h.Watch(tasks, nil, "")
	look := func() {
		for o, err := range watch.Changes(ctx) {
			fmt.Println(string(o.Value), o.Deleted, err)
		}
	}
	look()
	if _, err := h.Put(ctx, tasks, "feed the cat", nil); err != nil {
		panic(err)
	}
	if err := h.Remove(ctx, tasks, id); err != nil {
		panic(err)
	}
	fmt.Println("later:")
	look()
	// Output:
	// "buy milk" false <nil>
	// later:
	// "feed the cat" false <nil>
	//  true <nil>
}

// Somebody unknown leaves a message, and is answered.
func ExampleHub_Send() {
	ctx := context.Background()
	w, end := exampleHubs()
	defer end()
	w.begin("ada", "bob")
	ada, bob := w.open("ada", "ada"), w.open("bob", "bob")

	toAda := w.open("bob", "ada")
	first, err := toAda.Send(ctx, hub.Action{Type: "InviteAction", Value: "tea at five?"}, &hub.SendOptions{Copy: bob})
	if err != nil {
		panic(err)
	}
	w.advance(time.Second)
	for m, err := range ada.Inbox(ctx, false) {
		if err != nil {
			panic(err)
		}
		fmt.Println("Ada has", m.Kind.Type, string(m.Value))
		if _, err := ada.Reply(ctx, w.open("ada", "bob"), m, hub.Action{Type: "RsvpAction", Value: "yes"}, nil); err != nil {
			panic(err)
		}
		if err := ada.Done(ctx, m); err != nil {
			panic(err)
		}
	}
	thread, err := bob.Thread(ctx, first)
	for _, m := range thread {
		fmt.Println("Bob sees", m.Kind.Type, string(m.Value), "his own:", m.Copy)
	}
	fmt.Println(err)
	// Output:
	// Ada has InviteAction "tea at five?"
	// Bob sees InviteAction "tea at five?" his own: true
	// Bob sees RsvpAction "yes" his own: false
	// <nil>
}

// What is public anybody finds, and can check without the hub.
func ExampleVerify() {
	ctx := context.Background()
	w, end := exampleHubs()
	defer end()
	offers := hub.Kind{Context: "schema.org", Type: "Offer"}
	id, err := w.open("ada", "ada").Publish(ctx, offers, map[string]any{"name": "bicycle", "price": 80}, nil)
	if err != nil {
		panic(err)
	}
	visitor := w.open("bob", "ada")
	for o, err := range visitor.Query(ctx, offers, nil) {
		fmt.Println("found", string(o.Value), err)
	}
	page, err := w.as("bob", "").Commits(ctx, visitor.Owner(), &coffer.CommitQuery{Objects: []coffer.CommitRev{id}})
	if err != nil {
		panic(err)
	}
	// Wherever these commits lie from now on:
	objects, err := hub.Verify(ctx, w.resolver, page.Commits...)
	fmt.Println("signed by Ada:", objects[0].Author == w.ring("ada").DID(), err)
	// Output:
	// found {"name":"bicycle","price":80} <nil>
	// signed by Ada: true <nil>
}

func ExampleParseURI() {
	u, err := hub.ParseURI("hub://did:web:ada.example%3A8443/Collections/https%3A%2F%2Fschema.org/Offer")
	fmt.Println(u.Owner, u.Kind().Context, u.Kind().Type, err)
	u.Type = "Book"
	fmt.Println(strings.TrimPrefix(u.String(), "hub://"))
	// Output:
	// did:web:ada.example%3A8443 https://schema.org Offer <nil>
	// did:web:ada.example%3A8443/Collections/https%3A%2F%2Fschema.org/Book
}
