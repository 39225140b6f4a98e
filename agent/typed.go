package agent

import (
	"context"
	"reflect"

	"github.com/go-json-experiment/json"

	"github.com/cofferhq/coffer"
)

// Put keeps a value of an application under the path, as the JSON that it marshals to and with the name of its Go type
// as its type. Its fields can be searched for. The errors are those of [Agent.Put].
func Put[T any](ctx context.Context, a *Agent, path string, value T) (Info, error) {
	b, err := json.Marshal(value)
	if err != nil {
		return Info{}, coffer.Errorf("put", coffer.Invalid, "the value cannot be written as JSON")
	}
	return a.Put(ctx, path, Source{Value: b, Type: TypeOf[T]()}, PutOptions{})
}

// Get returns the value that [Put] kept under the path. Invalid if what is there is of another type.
func Get[T any](ctx context.Context, a *Agent, path string) (T, error) {
	var value T
	o, err := a.Get(ctx, path)
	if err != nil {
		return value, err
	}
	if o.Type != TypeOf[T]() || o.Value == nil {
		return value, coffer.Errorf("get", coffer.Invalid, "an object of another type is there")
	}
	if err := json.Unmarshal(o.Value, &value); err != nil {
		return value, coffer.Errorf("get", coffer.Invalid, "the object has another form")
	}
	return value, nil
}

// TypeOf returns the type that [Put] gives to values of a Go type: its name, and "Object" when it has none.
func TypeOf[T any]() string {
	t := reflect.TypeFor[T]()
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if name := t.Name(); name != "" {
		return name
	}
	return "Object"
}
