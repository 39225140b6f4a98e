package hub

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/cofferhq/coffer/internal/jose"
)

// TestDocument: the examples of the page are what it says they are.
func TestDocument(t *testing.T) {
	page, err := os.ReadFile("../../doc/hub-api.md")
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]int{}
	for _, m := range regexp.MustCompile("(?s)```json\n(.*?)```").FindAllSubmatch(page, -1) {
		var kind struct {
			Type string `json:"@type"`
		}
		if err := jose.DecodeOpen(m[1], &kind); err != nil {
			t.Fatalf("%v: %s", err, m[1])
		}
		switch {
		case kind.Type == "HubDescription":
			if err := jose.Decode(m[1], new(Description)); err != nil {
				t.Errorf("%v: %s", err, m[1])
			}
			seen["description"]++
		case strings.HasSuffix(kind.Type, "Response"):
			if _, err := parseAnswer("example", m[1]); err != nil {
				t.Errorf("%v: %s", err, m[1])
			}
			seen["answer"]++
		default:
			r, err := parseRequest(m[1])
			if err == nil {
				err = understand(r)
			}
			if err != nil {
				t.Errorf("%v: %s", err, m[1])
			}
			seen["request"]++
		}
	}
	if seen["description"] != 1 || seen["answer"] < 5 || seen["request"] < 5 {
		t.Errorf("examples: %v", seen)
	}
}
