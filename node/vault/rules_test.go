package vault

import (
	"encoding/base64"
	"fmt"
	"testing"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/api/edv"
)

// FuzzRules judges documents from outside as messages, and as what is written by who holds a secret. What is taken is
// looked at again, plainly.
func FuzzRules(f *testing.F) {
	if inboxKey != edv.InboxKey || messageName != edv.MessageName || maxMessage != edv.MaxMessage {
		f.Fatal("the wire and the vault do not mean the same by a message")
	}
	id := coffer.ObjectID{1}
	document := func(tags ...coffer.Tag) []byte {
		indexed := ""
		for i, t := range tags {
			if i > 0 {
				indexed += ","
			}
			indexed += fmt.Sprintf(`{"hmac":{"id":%q,"type":"%d"},"sequence":0,"attributes":[{"name":%q,"value":%q,"unique":%t}]}`,
				t.Key, i, t.Name, t.Value, t.Unique)
		}
		return fmt.Appendf(nil, `{"id":%q,"sequence":0,"indexed":[%s],"jwe":{"protected":"x","recipients":`+
			`[{"header":{"alg":"x","kid":"x"}}],"iv":"x","ciphertext":"","tag":"x"}}`, id, indexed)
	}
	message := coffer.Tag{Key: edv.InboxKey, Name: edv.MessageName, Value: "hello"}
	read := coffer.Secret{1}.Tag(id, coffer.ReadAccess)
	unique := message
	unique.Unique = true
	f.Add(document(message), document())
	f.Add(document(message, read), document(message))
	f.Add(document(message, message), document(read))
	f.Add(document(unique, read), document(unique))
	broken := read
	broken.Value = read.Value[:41] + "\n\n"
	f.Add(document(message, broken), document())
	f.Add(document(coffer.Tag{Key: "k", Name: "n", Value: "v"}), document(coffer.Tag{Key: "k", Name: "n"}))
	f.Fuzz(func(t *testing.T, b, before []byte) {
		d, err := edv.DecodeDocument(b)
		if err != nil {
			return
		}
		present := new(coffer.Document)
		if p, err := edv.DecodeDocument(before); err == nil {
			present = p
		}
		plain := func(tag coffer.Tag) bool {
			sum, err := base64.RawURLEncoding.DecodeString(tag.Value)
			return tag.Key == coffer.AccessKey && !tag.Unique && err == nil && len(sum) == 32 &&
				(tag.Name == "read" || tag.Name == "write" || tag.Name == "open")
		}
		if checkMessage(d) == nil {
			n := 0
			for _, tag := range d.Tags {
				if tag.Key == edv.InboxKey && tag.Name == edv.MessageName && !tag.Unique && len(tag.Value) <= 64 {
					n++
				} else if !plain(tag) {
					t.Errorf("a message has the tag %+v", tag)
				}
			}
			if n != 1 || d.Sequence != 0 || d.Stream != nil || len(d.Body) > 64<<10 {
				t.Errorf("took %s for a message", b)
			}
		}
		if checkTags(d.Tags, present.Tags) == nil {
			for _, tag := range d.Tags {
				there := false
				for _, p := range present.Tags {
					there = there || p == tag
				}
				if !there && !plain(tag) {
					t.Errorf("who holds a secret set the tag %+v", tag)
				}
			}
		}
	})
}
