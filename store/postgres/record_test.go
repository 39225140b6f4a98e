package postgres

import (
	"bytes"
	"encoding/hex"
	"reflect"
	"strings"
	"testing"

	"github.com/cofferhq/coffer"
)

// TestVectors keeps the forms that doc/postgres.md gives.
func TestVectors(t *testing.T) {
	tags := []coffer.Tag{{Key: "k", Name: "name", Value: "value"}, {Key: "k", Name: "n", Unique: true}}
	if got, want := hex.EncodeToString(encodeTags(tags)), "0100016b046e616d650576616c756501016b016e00"; got != want {
		t.Errorf("tags are %s, want %s", got, want)
	}
	for want, texts := range map[string][]string{
		"b1d2dbb2cf78158b3a7531cca4c23c78": {"k", "name", "value"},
		"1dacef07554e398077d135784b711a82": {"k", "name"},
	} {
		m := termOf(texts...)
		if got := hex.EncodeToString(m[:]); got != want {
			t.Errorf("the term of %q is %s, want %s", texts, got, want)
		}
	}
	if got := hex.EncodeToString(place(258)); got != "0000000000000102" {
		t.Errorf("place %s", got)
	}
}

func TestIndex(t *testing.T) {
	plain := coffer.Tag{Key: "k", Name: "n", Value: "v"}
	once := coffer.Tag{Key: "k", Name: "n", Value: "v", Unique: true}
	x := indexOf([]coffer.Tag{plain, once, plain})
	if len(x) != 1 || !x[0].exclusive {
		t.Fatalf("index %+v", x)
	}
	var gone, come index
	indexOf([]coffer.Tag{plain}).differ(x, func(p posting) { gone = append(gone, p) },
		func(p posting) { come = append(come, p) })
	if len(gone) != 1 || len(come) != 1 || !gone[0].exclusive || come[0].exclusive {
		t.Fatalf("gone %+v, come %+v: a tag that is no longer unique is another posting", gone, come)
	}
}

// FuzzTags decodes any bytes, and encodes what comes of them again.
func FuzzTags(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte{tagsForm})
	f.Add(encodeTags([]coffer.Tag{{Key: "k", Name: strings.Repeat("n", 300), Value: "v", Unique: true}, {Key: "\xff",
		Name: "\x00"}}))
	f.Add([]byte{tagsForm, 0, 0x80, 0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		tags, err := decodeTags(b)
		if err != nil {
			if tags != nil || coffer.KindOf(err) != coffer.Corrupt {
				t.Fatalf("%v, %v", tags, err)
			}
			return
		}
		if again := encodeTags(tags); !bytes.Equal(again, b) {
			t.Fatalf("%x is encoded as %x", b, again)
		}
	})
}

func FuzzPayload(f *testing.F) {
	f.Add("")
	f.Add("abcdefghijk *")
	f.Add("abcdefghijk ?")
	f.Add(encodePayload("abcdefghijk", map[coffer.VaultID]struct{}{{1}: {}, {2}: {}}))
	f.Fuzz(func(t *testing.T, p string) {
		name, vaults := decodePayload(p)
		if len(vaults) == 0 && p != name+" ?" {
			t.Fatalf("%q says nothing", p)
		}
		if len(vaults) > maxPayload/idLength+1 {
			t.Fatalf("%d vaults", len(vaults))
		}
		set := make(map[coffer.VaultID]struct{})
		for _, v := range vaults {
			set[v] = struct{}{}
		}
		if name == "" || len(vaults) == 0 {
			return
		}
		_, again := decodePayload(encodePayload(name, set))
		got := make(map[coffer.VaultID]struct{})
		for _, v := range again {
			got[v] = struct{}{}
		}
		if _, any := set[coffer.VaultID{}]; !any && !reflect.DeepEqual(got, set) {
			t.Fatalf("%v is told as %v", set, got)
		}
	})
}

func TestPayload(t *testing.T) {
	const name = "abcdefghijk"
	many := make(map[coffer.VaultID]struct{})
	for i := range 1000 {
		if _, got := decodePayload(encodePayload(name, many)); i > 0 && len(got) != i && !reflect.DeepEqual(got,
			[]coffer.VaultID{{}}) {
			t.Fatalf("%d vaults are told as %d", i, len(got))
		}
		if n := len(encodePayload(name, many)); n > maxPayload {
			t.Fatalf("%d bytes", n)
		}
		many[coffer.NewVaultID()] = struct{}{}
	}
	if _, got := decodePayload(encodePayload(name, many)); !reflect.DeepEqual(got, []coffer.VaultID{{}}) {
		t.Fatalf("%d vaults are told as %v, want any", len(many), got)
	}
}

// FuzzURL parses any URL. No error repeats any of it.
func FuzzURL(f *testing.F) {
	for _, url := range []string{
		"", "postgres://", "postgres://u:SECRET@h:1/d?pool_max_conns=3", "postgres://u:SECRET@h:x/d", "http://SECRET@h/d",
		"postgres://u:SECRET@h/d?sslmode=SECRET", "postgres://h/d?sslrootcert=/SECRET", "postgres://h/d?%zz", "host=h user=u",
		"postgres://u:SECRET@h1,h2:5432/d?target_session_attrs=read-write", "postgres://u@h/?dbname=d", "postgres:d",
		"postgres://u@h/d?pool_max_conns=0", "postgres://u@h/d?connect_timeout=SECRET", "postgres://u@h/d\x00",
	} {
		f.Add(url)
	}
	f.Fuzz(func(t *testing.T, url string) {
		if strings.Contains(url, "service") || strings.Contains(url, "file") || strings.Contains(url, "ssl") &&
			!strings.Contains(url, "SECRET") {
			return // they name files of this machine
		}
		var o Options
		config, err := parse(url, &o)
		switch {
		case err == nil && (config.MaxConns < 2 || o.Timeout <= 0):
			t.Fatalf("%+v", o)
		case err != nil && (coffer.KindOf(err) != coffer.Invalid || strings.Contains(err.Error(), "SECRET")):
			t.Fatalf("%v", err)
		}
	})
}
