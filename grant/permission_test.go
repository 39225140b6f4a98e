package grant

import (
	"encoding/json"
	"errors"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/cofferhq/coffer"
)

const (
	aliceDID = "did:example:alice"
	bobDID   = "did:example:bob"
	carolDID = "did:example:carol"
)

var (
	oneObject   = coffer.CommitRev{1}
	otherObject = coffer.CommitRev{2}
)

// payload returns that of a grant from Alice to Bob, with members changed, added or, when nil, left out.
func payload(t testing.TB, changes map[string]any) []byte {
	t.Helper()
	m := map[string]any{
		"owner": aliceDID, "grantee": bobDID, "context": "http://schema.org", "type": "MusicPlaylist", "allow": "-R--",
	}
	maps.Copy(m, changes)
	maps.DeleteFunc(m, func(_ string, v any) bool { return v == nil })
	b, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func permission(t testing.TB, changes map[string]any) *Permission {
	t.Helper()
	p, err := ParsePermission(payload(t, changes))
	if err != nil {
		t.Fatalf("%v: %v", changes, err)
	}
	return p
}

// ask returns what Bob asks for by default.
func ask(right Rights) *Ask {
	return &Ask{
		Now: when, Who: bobDID, Owner: aliceDID, Interface: coffer.CollectionsInterface,
		Context: "http://schema.org", Type: "MusicPlaylist", Right: right, Object: oneObject, Creator: aliceDID,
	}
}

// TestCombinations tries each right under each of the 16 combinations of CRUD, alone and with X.
func TestCombinations(t *testing.T) {
	for allow := range Rights(32) {
		text := allow.String()
		back, err := ParseRights(text)
		if err != nil || back != allow {
			t.Fatalf("%q is %v, %v; want %d", text, back, err, allow)
		}
		p := permission(t, map[string]any{"allow": text})
		for _, right := range []Rights{CreateRight, ReadRight, UpdateRight, DeleteRight, ExecuteRight} {
			err := Permit([]*Permission{p}, ask(right))
			if want := allow&right != 0; (err == nil) != want || err != nil && !errors.Is(err, coffer.Denied) {
				t.Errorf("%s under %s: %v", right, text, err)
			}
		}
		if ok, _ := p.Allows(ask(0)); ok {
			t.Error("no right at all is allowed")
		}
		if ok, _ := p.Allows(ask(CreateRight | ReadRight)); ok != (allow&(CreateRight|ReadRight) == CreateRight|ReadRight) {
			t.Errorf("CR under %s: %v", text, ok)
		}
	}
}

func TestParseRights(t *testing.T) {
	for text, want := range map[string]Rights{
		"CRUD": 15, "-R--": 2, "----": 0, "CRUDX": 31, "-R--X": 18, "R": 2, "DURC": 15, "-----": 0, "-": 0,
	} {
		if got, err := ParseRights(text); err != nil || got != want {
			t.Errorf("%q: %d, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "crud", "RR--", "CRUDA", "CRUDX-", "------", "C R", "Ѐ", "*", "15"} {
		if _, err := ParseRights(text); !errors.Is(err, coffer.Invalid) {
			t.Errorf("%q: %v, want Invalid", text, err)
		}
	}
}

// TestAllows tells what a grant means for what is asked.
func TestAllows(t *testing.T) {
	type grants = map[string]any
	yes := func(string) (bool, error) { return true, nil }
	for _, test := range []struct {
		name  string
		grant grants
		right Rights
		ask   func(*Ask)
		want  bool
	}{
		{"as it is", nil, ReadRight, nil, true},
		{"somebody else", nil, ReadRight, func(a *Ask) { a.Who = carolDID }, false},
		{"nobody", nil, ReadRight, func(a *Ask) { a.Who = "" }, false},
		{"everybody by name", nil, ReadRight, func(a *Ask) { a.Who = "*" }, false},
		{"another owner", nil, ReadRight, func(a *Ask) { a.Owner = carolDID }, false},
		{"no owner", nil, ReadRight, func(a *Ask) { a.Owner = "" }, false},
		{"another context", nil, ReadRight, func(a *Ask) { a.Context = "http://schema.org/" }, false},
		{"no context", nil, ReadRight, func(a *Ask) { a.Context = "" }, false},
		{"another type", nil, ReadRight, func(a *Ask) { a.Type = "musicplaylist" }, false},
		{"any interface", nil, ReadRight, func(a *Ask) { a.Interface = coffer.ProfileInterface }, true},

		{"its interface", grants{"interface": "Collections"}, ReadRight, nil, true},
		{"another interface", grants{"interface": "Profile"}, ReadRight, nil, false},

		{"created by", grants{"created_by": aliceDID}, ReadRight, nil, true},
		{"created by another", grants{"created_by": carolDID}, ReadRight, nil, false},
		{"creator unknown", grants{"created_by": aliceDID}, ReadRight, func(a *Ask) { a.Creator = "" }, false},
		{"update what was created by", grants{"created_by": bobDID, "allow": "--U-"}, UpdateRight,
			func(a *Ask) { a.Creator = bobDID }, true},
		{"update what was created by another", grants{"created_by": bobDID, "allow": "--U-"}, UpdateRight, nil, false},
		{"delete what was created by another", grants{"created_by": bobDID, "allow": "---D"}, DeleteRight, nil, false},

		{"the object", grants{"object_id": []coffer.CommitRev{otherObject, oneObject}}, ReadRight, nil, true},
		{"another object", grants{"object_id": []coffer.CommitRev{otherObject}}, ReadRight, nil, false},
		{"no object", grants{"object_id": []coffer.CommitRev{otherObject}}, ReadRight,
			func(a *Ask) { a.Object = coffer.CommitRev{} }, false},

		{"not expired", grants{"expires_at": when.Add(time.Second).Format(time.RFC3339)}, ReadRight, nil, true},
		{"expired", grants{"expires_at": when.Format(time.RFC3339)}, ReadRight, nil, false},
		{"expired long ago", grants{"expires_at": "2000-01-01T00:00:00Z"}, ReadRight, nil, false},
		{"in another zone", grants{"expires_at": when.Add(time.Second).In(time.FixedZone("", 7200)).Format(time.RFC3339)},
			ReadRight, nil, true},

		{"its purpose", grants{"purpose": "research"}, ReadRight, func(a *Ask) { a.Purpose = "research" }, true},
		{"another purpose", grants{"purpose": "research"}, ReadRight, func(a *Ask) { a.Purpose = "Research" }, false},
		{"no purpose", grants{"purpose": "research"}, ReadRight, nil, false},
		{"any purpose", nil, ReadRight, func(a *Ask) { a.Purpose = "research" }, true},

		{"its filter", grants{"filter": "meta.tags:rock"}, ReadRight, func(a *Ask) {
			a.Match = func(f string) (bool, error) { return f == "meta.tags:rock", nil }
		}, true},
		{"not its filter", grants{"filter": "meta.tags:rock"}, ReadRight, func(a *Ask) {
			a.Match = func(string) (bool, error) { return false, nil }
		}, false},
		{"filters are not understood", grants{"filter": "meta.tags:rock"}, ReadRight, nil, false},

		{"everybody", grants{"grantee": "*"}, ReadRight, nil, true},
		{"everybody is nobody, too", grants{"grantee": "*"}, ReadRight, func(a *Ask) { a.Who = "" }, true},
		{"everybody updates", grants{"grantee": "*"}, UpdateRight, nil, false},
		{"everybody for a purpose", grants{"grantee": "*", "purpose": "x"}, ReadRight, nil, false},

		{"grants are read", grants{"context": PermissionContext, "type": PermissionType}, ReadRight, asGrant, true},
		{"grants are not created", grants{"context": PermissionContext, "type": PermissionType, "allow": "CRUD"}, CreateRight,
			asGrant, false},
		{"grants are not updated", grants{"context": PermissionContext, "type": PermissionType, "allow": "CRUD"}, UpdateRight,
			asGrant, false},
		{"grants are not deleted", grants{"context": PermissionContext, "type": PermissionType, "allow": "CRUD"}, DeleteRight,
			asGrant, false},

		{"all of it", grants{
			"interface": "Collections", "created_by": aliceDID, "object_id": []coffer.CommitRev{oneObject},
			"expires_at": "2100-01-01T00:00:00Z", "purpose": "p", "filter": "f", "@context": "c", "@type": 7,
		}, ReadRight, func(a *Ask) { a.Purpose, a.Match = "p", yes }, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			a := ask(test.right)
			if test.ask != nil {
				test.ask(a)
			}
			ok, err := permission(t, test.grant).Allows(a)
			if err != nil || ok != test.want {
				t.Errorf("got %v, %v; want %v", ok, err, test.want)
			}
		})
	}
}

func asGrant(a *Ask) {
	a.Interface, a.Context, a.Type = coffer.PermissionsInterface, PermissionContext, PermissionType
}

func TestPermit(t *testing.T) {
	broken := errors.New("broken")
	a := ask(UpdateRight)
	a.Match = func(string) (bool, error) { return true, broken }
	filtered := permission(t, map[string]any{"allow": "--U-", "filter": "f"})
	read, update := permission(t, nil), permission(t, map[string]any{"allow": "--U-"})
	for _, test := range []struct {
		name string
		who  string
		ps   []*Permission
		want error
	}{
		{"the owner", aliceDID, nil, nil},
		{"no grants", bobDID, nil, coffer.Denied},
		{"nobody", "", nil, coffer.Denied},
		{"none allows", bobDID, []*Permission{read, read}, coffer.Denied},
		{"one allows", bobDID, []*Permission{read, update}, nil},
		{"one allows, another cannot be decided", bobDID, []*Permission{filtered, update}, nil},
		{"what cannot be decided is not allowed", bobDID, []*Permission{filtered, read}, broken},
		{"of another", carolDID, []*Permission{read, update}, coffer.Denied},
	} {
		b := *a
		b.Who = test.who
		if err := Permit(test.ps, &b); !errors.Is(err, test.want) {
			t.Errorf("%s: got %v, want %v", test.name, err, test.want)
		}
	}
	if err := Permit(nil, &Ask{Right: ReadRight}); !errors.Is(err, coffer.Denied) {
		t.Errorf("nobody is the owner of nobody's hub: %v", err)
	}
	if ok, _ := new(Permission).Allows(&Ask{Right: ReadRight}); ok {
		t.Error("the zero permission allows something")
	}
}

// refusals are payloads of grants that must not count, and the member at fault.
func refusals(t testing.TB) map[string][2]string {
	type m = map[string]any
	long := strings.Repeat("x", maxPermissionText+1)
	all := map[string][2]string{
		"not JSON":      {"{", ""},
		"null":          {"null", ""},
		"a list":        {"[]", ""},
		"nothing":       {"", ""},
		"a member of @": {strings.Replace(string(payload(t, nil)), "{", `{"@type":1,"@type":2,`, 1), ""},
		"allow twice":   {strings.Replace(string(payload(t, nil)), "{", `{"allow":"CRUD",`, 1), ""},
	}
	for _, r := range []struct {
		name   string
		change m
		target string
	}{
		{"no owner", m{"owner": nil}, "owner"},
		{"owner is no identifier", m{"owner": "alice"}, "owner"},
		{"owner is everybody", m{"owner": "*"}, "owner"},
		{"no grantee", m{"grantee": nil}, "grantee"},
		{"empty grantee", m{"grantee": ""}, "grantee"},
		{"grantee is a key", m{"grantee": bobDID + "#key-1"}, "grantee"},
		{"grantee is half an identifier", m{"grantee": "did:example:"}, "grantee"},
		{"grantee is a list", m{"grantee": []string{bobDID}}, "grantee"},
		{"long grantee", m{"grantee": "did:x:" + long + long}, "grantee"},
		{"no context", m{"context": nil}, "context"},
		{"no type", m{"type": nil}, "type"},
		{"type is a list", m{"type": []string{"a"}}, "type"},
		{"long type", m{"type": long}, "type"},
		{"no allow", m{"allow": nil}, "allow"},
		{"allow is a number", m{"allow": 15}, "allow"},
		{"unknown right", m{"allow": "CRUDZ"}, "allow"},
		{"small letters", m{"allow": "-r--"}, "allow"},
		{"everybody creates", m{"grantee": "*", "allow": "C---"}, "allow"},
		{"everybody updates", m{"grantee": "*", "allow": "-RU-"}, "allow"},
		{"everybody executes", m{"grantee": "*", "allow": "-R--X"}, "allow"},
		{"create and created_by", m{"allow": "C---", "created_by": bobDID}, "created_by"},
		{"created_by is no identifier", m{"created_by": "*"}, "created_by"},
		{"empty created_by", m{"created_by": ""}, "created_by"},
		{"create and object_id", m{"allow": "CR--", "object_id": []coffer.CommitRev{{}}}, "object_id"},
		{"empty object_id", m{"object_id": []string{}}, "object_id"},
		{"object_id is a text", m{"object_id": oneObject.String()}, "object_id"},
		{"object_id is no revision", m{"object_id": []string{"x"}}, "object_id"},
		{"object_id is null", m{"object_id": json.RawMessage("null")}, "object_id"},
		{"many objects", m{"object_id": make([]coffer.CommitRev, coffer.MaxQueryIDs+1)}, "object_id"},
		{"empty interface", m{"interface": ""}, "interface"},
		{"interface is a list", m{"interface": []string{"Profile"}}, "interface"},
		{"expires_at is a number", m{"expires_at": 1767323045}, "expires_at"},
		{"expires_at is a day", m{"expires_at": "2026-01-01"}, "expires_at"},
		{"expires_at with a comma", m{"expires_at": "2026-01-01T00:00:00,5Z"}, "expires_at"},
		{"expires_at in the morning", m{"expires_at": "2026-01-01T8:00:00Z"}, "expires_at"},
		{"expires_at without a zone", m{"expires_at": "2026-01-01T08:00:00"}, "expires_at"},
		{"empty expires_at", m{"expires_at": ""}, "expires_at"},
		{"expires_at is null", m{"expires_at": json.RawMessage("null")}, "expires_at"},
		{"not_revocable_before is a word", m{"not_revocable_before": "never"}, "not_revocable_before"},
		{"empty purpose", m{"purpose": ""}, "purpose"},
		{"empty filter", m{"filter": ""}, "filter"},
		{"long filter", m{"filter": long}, "filter"},
		{"max_bytes of nothing", m{"max_bytes": 0}, "max_bytes"},
		{"max_bytes in parts", m{"max_bytes": 1.5}, "max_bytes"},
		{"max_bytes beyond all", m{"max_bytes": uint64(1)<<53 + 1}, "max_bytes"},
		{"max_bytes is null", m{"max_bytes": json.RawMessage("null")}, "max_bytes"},
		{"max_keys is a text", m{"max_keys": "7"}, "max_keys"},
		{"negative max_keys", m{"max_keys": -1}, "max_keys"},
		{"large keys", m{"keys": strings.Repeat("x", maxPermissionKeys)}, "keys"},
		{"a member of the future", m{"not_before": "2026-01-01T00:00:00Z"}, ""},
		{"a member in capitals", m{"Purpose": "x"}, ""},
		{"an empty member", m{"": "x"}, ""},
	} {
		all[r.name] = [2]string{string(payload(t, r.change)), r.target}
	}
	return all
}

func TestParsePermissionRefuses(t *testing.T) {
	for name, r := range refusals(t) {
		_, err := ParsePermission([]byte(r[0]))
		want := "commit.payload"
		if r[1] != "" {
			want += "." + r[1]
		}
		var f *coffer.Fault
		if !errors.Is(err, coffer.Invalid) || !errors.As(err, &f) || f.Target != want {
			t.Errorf("%s: got %v, want Invalid at %s", name, err, want)
		}
	}
}

// TestNarrows tells what takes something away.
func TestNarrows(t *testing.T) {
	type m = map[string]any
	in := func(h int) string { return when.Add(time.Duration(h) * time.Hour).Format(time.RFC3339) }
	for _, test := range []struct {
		name     string
		old, now m
		want     bool
	}{
		{"the same", m{"filter": "f", "purpose": "p", "expires_at": in(1), "max_keys": 3},
			m{"filter": "f", "purpose": "p", "expires_at": in(1), "max_keys": 3}, false},
		{"another right", m{"allow": "-R--"}, m{"allow": "-RU-"}, false},
		{"a right less", m{"allow": "-RU-"}, m{"allow": "-R--"}, true},
		{"no rights", nil, m{"allow": "----"}, true},
		{"another grantee", nil, m{"grantee": carolDID}, true},
		{"another owner", nil, m{"owner": carolDID}, true},
		{"another context", nil, m{"context": "x"}, true},
		{"another type", nil, m{"type": "x"}, true},
		{"a creator", nil, m{"created_by": bobDID}, true},
		{"no creator", m{"created_by": bobDID}, nil, false},
		{"an interface", nil, m{"interface": "Profile"}, true},
		{"no interface", m{"interface": "Profile"}, nil, false},
		{"an object", nil, m{"object_id": []coffer.CommitRev{oneObject}}, true},
		{"all objects", m{"object_id": []coffer.CommitRev{oneObject}}, nil, false},
		{"an object more", m{"object_id": []coffer.CommitRev{oneObject}},
			m{"object_id": []coffer.CommitRev{otherObject, oneObject}}, false},
		{"another object", m{"object_id": []coffer.CommitRev{oneObject}},
			m{"object_id": []coffer.CommitRev{otherObject}}, true},
		{"an end", nil, m{"expires_at": in(1)}, true},
		{"an earlier end", m{"expires_at": in(2)}, m{"expires_at": in(1)}, true},
		{"a later end", m{"expires_at": in(1)}, m{"expires_at": in(2)}, false},
		{"no end", m{"expires_at": in(1)}, nil, false},
		{"a purpose", nil, m{"purpose": "p"}, true},
		{"any purpose", m{"purpose": "p"}, nil, false},
		{"a filter", nil, m{"filter": "f"}, true},
		{"another filter", m{"filter": "f"}, m{"filter": "g"}, true},
		{"a promise", nil, m{"not_revocable_before": in(1)}, false},
		{"a longer promise", m{"not_revocable_before": in(1)}, m{"not_revocable_before": in(2)}, false},
		{"a shorter promise", m{"not_revocable_before": in(2)}, m{"not_revocable_before": in(1)}, true},
		{"no promise", m{"not_revocable_before": in(2)}, nil, true},
		{"more bytes", m{"max_bytes": 1}, m{"max_bytes": 2}, false},
		{"fewer bytes", m{"max_bytes": 2}, m{"max_bytes": 1}, true},
		{"bytes as the hub has it", m{"max_bytes": 2}, nil, true},
		{"fewer keys", m{"max_keys": 2}, m{"max_keys": 1}, true},
		{"other sealed keys", m{"keys": "a"}, m{"keys": "b"}, false},
		{"no sealed keys", m{"keys": "a"}, nil, true},
	} {
		if got := permission(t, test.now).Narrows(permission(t, test.old)); got != test.want {
			t.Errorf("%s: got %v", test.name, got)
		}
	}
	var none *Permission
	if !none.Narrows(permission(t, nil)) || none.Narrows(permission(t, map[string]any{"allow": "----"})) {
		t.Error("a grant that ends takes what it allowed")
	}
}

// FuzzParsePermission checks that a grant that counts is within bounds, and says what its text says.
func FuzzParsePermission(f *testing.F) {
	for _, r := range refusals(f) {
		f.Add([]byte(r[0]))
	}
	f.Add(payload(f, map[string]any{
		"interface": "Collections", "created_by": aliceDID, "object_id": []coffer.CommitRev{oneObject}, "keys": []any{1, "x"},
		"expires_at": "2100-01-01T00:00:00.5+01:00", "purpose": "p", "filter": "f", "max_keys": 9, "max_bytes": 1e3,
		"@type": nil,
	}))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := ParsePermission(b)
		if err != nil {
			var fault *coffer.Fault
			if !errors.Is(err, coffer.Invalid) || !errors.As(err, &fault) ||
				!strings.HasPrefix(fault.Target, "commit.payload") {
				t.Fatal(err)
			}
			return
		}
		var m map[string]any
		if err := json.Unmarshal(b, &m); err != nil {
			t.Fatal(err)
		}
		if m["owner"] != p.Owner || m["grantee"] != p.Grantee || m["context"] != p.Context || m["type"] != p.Type {
			t.Fatalf("%s is %+v", b, p)
		}
		for name, there := range map[string]bool{
			"created_by": p.CreatedBy != "", "interface": p.Interface != "", "object_id": len(p.Objects) > 0,
			"expires_at": !p.Expires.IsZero(), "purpose": p.Purpose != "", "filter": p.Filter != "",
			"not_revocable_before": !p.NotRevocableBefore.IsZero(), "max_bytes": p.MaxBytes > 0, "max_keys": p.MaxKeys > 0,
			"keys": p.Keys != nil,
		} {
			if _, given := m[name]; given != there {
				t.Fatalf("%s of %s: %v", name, b, there)
			}
		}
		if p.Narrows(p) {
			t.Fatalf("%s takes something away from itself", b)
		}
	})
}
