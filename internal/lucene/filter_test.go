package lucene

import "testing"

func TestFilter(t *testing.T) {
	f, err := ParseFilter(`type:Book AND meta.title:"a b"`)
	if err != nil {
		t.Fatal(err)
	}
	for object, want := range map[string]bool{
		`{"type":"Book","meta":{"title":"a b"}}`: true, `{"type":"Book","meta":{"title":"b a"}}`: false, `{"type":"Book"}`: false,
	} {
		if got, err := f.Match([]byte(object)); err != nil || got != want {
			t.Errorf("%s: %v, %v", object, got, err)
		}
	}
	if _, err := f.Match([]byte(`{`)); err == nil {
		t.Error("what is no JSON is matched")
	}
	if f, err := ParseFilter(`(`); err == nil || f != nil {
		t.Errorf("what is no query is read: %v", f)
	}
}
