package blob

import (
	"errors"
	"path"
	"strings"
	"testing"

	"github.com/cofferhq/coffer"
)

func FuzzCheckKey(f *testing.F) {
	for _, key := range []string{
		"", "a", "a/b-c/d_e/0", "/", "a/", "/a", "a//b", ".", "..", "../a", "a/../b", "A", "a.b", "a b", "a\x00", "ä", `a\b`,
		"1/2/3/4/5/6/7/8", "1/2/3/4/5/6/7/8/9", strings.Repeat("x", MaxSegment), strings.Repeat("x", MaxSegment+1),
	} {
		f.Add(key)
	}
	f.Fuzz(func(t *testing.T, key string) {
		err := CheckKey(key)
		segments := strings.Split(key, "/")
		good := len(segments) <= MaxSegments
		for _, s := range segments {
			good = good && s != "" && len(s) <= MaxSegment && strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789-_") == ""
		}
		if good != (err == nil) {
			t.Errorf("CheckKey(%q): %v", key, err)
		}
		if err != nil && (!errors.Is(err, coffer.Invalid) || len(key) > 8 && strings.Contains(err.Error(), key)) {
			t.Errorf("CheckKey(%q): %v, want Invalid that does not name the key", key, err)
		}
		if err == nil && (path.Clean("/root/"+key) != "/root/"+key) {
			t.Errorf("%q is another path when cleaned", key)
		}
	})
}
