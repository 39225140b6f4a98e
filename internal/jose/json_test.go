package jose

import (
	"strings"
	"testing"
)

func TestDecodeIsStrict(t *testing.T) {
	type form struct {
		A int            `json:"a"`
		R map[string]any `json:"r"`
	}
	for text, open := range map[string]bool{ // whether DecodeOpen takes it; Decode takes none
		`{"a":1,"a":2}`:               false,
		`{"a":1,"\u0061":2}`:          false,
		`{"a":1,"r":{"b":1,"b":2}}`:   false,
		`{"a":1,"x":{"b":1,"b":2}}`:   false,
		"{\"a\":1,\"x\":\"\xff\"}":    false,
		"{\"a\":1,\"x\":\"\\ud800\"}": false,
		`{"a":1} 2`:                   false,
		`{"a":1}}`:                    false,
		`{"a":"1"}`:                   false,
		``:                            false,
		`{"A":1}`:                     true,
		`{"a":1,"x":2}`:               true,
		`{"x":` + strings.Repeat("[", MaxDepth) + strings.Repeat("]", MaxDepth) + `}`: false,
	} {
		var v form
		if err := DecodeOpen([]byte(text), &v); (err == nil) != open {
			t.Errorf("DecodeOpen(%.40q): %v", text, err)
		}
		if Decode([]byte(text), &v) == nil {
			t.Errorf("Decode takes %.40q", text)
		}
	}
	var v form
	if err := Decode([]byte(` {"r":{"b":[1,{}]},"a":7} `), &v); err != nil || v.A != 7 {
		t.Errorf("Decode: %v", err)
	}
	if err := Valid([]byte(strings.Repeat("[", MaxDepth) + strings.Repeat("]", MaxDepth))); err != nil {
		t.Errorf("the deepest there may be: %v", err)
	}
}

// FuzzCanonical checks that what Valid takes has a canonical form, whose canonical form is itself.
func FuzzCanonical(f *testing.F) {
	f.Add([]byte(`{"b":[1.0,"\u00e9"],"a":1e3}`))
	f.Add([]byte(`"x"`))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := Canonical(b)
		if (err == nil) != (Valid(b) == nil) {
			t.Fatalf("Valid says %v, Canonical %v", Valid(b), err)
		}
		if err != nil {
			return
		}
		if again, err := Canonical(c); err != nil || string(again) != string(c) {
			t.Errorf("%q is %q again (%v)", c, again, err)
		}
	})
}
