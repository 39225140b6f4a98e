package hub

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/internal/jose"
)

// TestDataThatSpoilsAnswers lists objects of which one is JSON that a client refuses to read: whoever may leave an object
// could else hide all others. It is shown as a text.
func TestDataThatSpoilsAnswers(t *testing.T) {
	w := newWorld(t, nil)
	const good = `{"good":true}`
	for name, data := range map[string]string{
		"a repeated member": `{"a":1,"a":2}`,
		"repeated within":   `{"x":[{"a":1,"a":2}]}`,
		"deep":              strings.Repeat("[", jose.MaxDepth) + strings.Repeat("]", jose.MaxDepth),
		"deep in an answer": `{"a":` + strings.Repeat("[", jose.MaxDepth-2) + strings.Repeat("]", jose.MaxDepth-2) + `}`,
		"not UTF-8":         "\"\xff\"",
	} {
		w.host.items = []coffer.HubItem{
			{ID: "1", Data: json.RawMessage(data)}, {ID: "2", Data: json.RawMessage(good)},
		}
		for _, request := range []string{spoken("Collections/Request", ""), spoken("Collections/Read", "")} {
			text := w.ask(t, request)
			var all struct {
				Payload []map[string]any `json:"payload"`
			}
			if err := jose.DecodeOpen([]byte(text), &all); err != nil || len(all.Payload) != 2 {
				t.Errorf("%s: %v: %.200s", name, err, text)
				continue
			}
			shown, ok := all.Payload[0]["@value"]
			if !ok {
				shown = all.Payload[0]["data"]
			}
			if want := strings.ToValidUTF8(data, "\ufffd"); shown != want {
				t.Errorf("%s: %.100v", name, shown)
			}
		}
		var a struct {
			Services []any `json:"services"`
		}
		text := w.ask(t, asked(servicesRequest, ""))
		if err := jose.DecodeOpen([]byte(text), &a); err != nil || len(a.Services) != 2 {
			t.Errorf("%s, services: %v: %.200s", name, err, text)
		}
	}
}
