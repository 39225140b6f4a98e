package ident

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/cofferhq/coffer"
)

const somebody = "did:web:example.org"

// method returns a verification method in JSON.
func methodJSON(id, kind, material string) string {
	return fmt.Sprintf(`{"id":%q,"type":%q,"controller":%q,%s}`, id, kind, somebody, material)
}

func multibase(s string) string { return fmt.Sprintf(`"publicKeyMultibase":%q`, s) }

func TestParseDocument(t *testing.T) {
	const p384 = "z82LkvCwHNreneWpsgPEbV3gu1C6NFJEBg4srfJ5gdxEsMGRJUz2sG9FE42shbn2xkZJh54"
	const base58Ed = "6ASf5EcmmEHTgDJ4X4ZT5vT6iHVJBXPg5AN5YoTCpGWt" // the example of the 2018 suite's specification
	for name, c := range map[string]struct {
		methods, rest                   string
		assert, invoke, delegate, agree string
	}{
		"references": {
			methodJSON(somebody+"#a", Ed25519, multibase(alice)) + "," + methodJSON("#b", "Multikey", multibase(carol)),
			`"assertionMethod":["#a"],"capabilityInvocation":["` + somebody + `#a"],"keyAgreement":["#b"]`, "#a", "#a", "", "#b",
		},
		"embedded": {
			"",
			`"capabilityDelegation":[` + methodJSON("#a", "Ed25519VerificationKey2018", `"publicKeyBase58":"`+base58Ed+`"`) + `]`,
			"", "", "#a", "",
		},
		"JWK": {
			methodJSON("#a", "JsonWebKey2020", `"publicKeyJwk":`+edJWK) + "," +
				methodJSON("#b", Secp256k1, `"publicKeyJwk":`+k1JWK),
			`"capabilityInvocation":["#a","#b"]`, "", "#a #b", "", "",
		},
		"order is kept": {
			methodJSON("#a", "Multikey", multibase(alice)) + "," + methodJSON("#b", "Multikey", multibase(bob)),
			`"capabilityInvocation":["#b","#a"]`, "", "#b #a", "", "",
		},
		"unlisted keys have no use": {methodJSON("#a", "Multikey", multibase(alice)), `"authentication":["#a"]`, "", "", "",
			""},
		"X25519 does not sign": {
			methodJSON("#a", "Multikey", multibase(carol)), `"capabilityInvocation":["#a"],"keyAgreement":["#a"]`,
			"", "", "", "#a",
		},
		"Ed25519 does not agree": {
			methodJSON("#a", "Multikey", multibase(alice)), `"capabilityInvocation":["#a"],"keyAgreement":["#a"]`,
			"", "#a", "", "",
		},
		"unknown kinds are passed over": {
			methodJSON("#a", "RsaVerificationKey2018", `"publicKeyPem":"x"`) + "," +
				methodJSON("#b", "Multikey", multibase(p384)) + "," +
				methodJSON("#c", "JsonWebKey2020", `"publicKeyJwk":{"kty":"RSA","n":"AQ","e":"AQAB"}`) + "," +
				methodJSON("#d", "Multikey", multibase(alice)),
			`"capabilityInvocation":["#a","#b","#c","#d","#e"]`, "", "#d", "", "",
		},
		"keys of others are passed over": {
			methodJSON("did:web:example.com#a", "Multikey", multibase(alice)) + "," +
				methodJSON(somebody+".evil#a", "Multikey", multibase(alice)) + "," +
				`{"id":"#b","type":"Multikey","controller":"did:web:example.com","publicKeyMultibase":"` + alice + `"}`,
			`"capabilityInvocation":["did:web:example.com#a","` + somebody + `.evil#a","#b","did:key:` + alice +
				`#` + alice + `"]`,
			"", "", "", "",
		},
	} {
		doc := `{"@context":["https://www.w3.org/ns/did/v1"],"id":"` + somebody + `","verificationMethod":[` + c.methods +
			`],` + c.rest + `}`
		got, err := parseDocument(somebody, []byte(doc))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		short := func(keys []coffer.PublicKey) string { return strings.ReplaceAll(ids(keys), somebody, "") }
		if short(got.Assert) != c.assert || short(got.Invoke) != c.invoke || short(got.Delegate) != c.delegate ||
			short(got.Agreement) != c.agree || string(got.Document) != doc {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

func TestMalformedDocument(t *testing.T) {
	good := methodJSON("#a", "Multikey", multibase(alice))
	others := strings.Replace(good, "#a", "did:x:y#a", 1)
	in := func(methods string) string { return `{"id":"` + somebody + `","verificationMethod":[` + methods + `]}` }
	many := func(n int) string {
		var all []string
		for i := range n {
			all = append(all, methodJSON(fmt.Sprintf("#%d", i), "Multikey", multibase(alice)))
		}
		return strings.Join(all, ",")
	}
	if _, err := parseDocument(somebody, []byte(in(many(maxKeys)))); err != nil {
		t.Errorf("%d keys: %v", maxKeys, err)
	}
	for name, doc := range map[string]string{
		"nothing":           "",
		"array":             "[]",
		"null":              "null",
		"no id":             `{}`,
		"another's id":      `{"id":"did:web:example.com"}`,
		"repeated id":       `{"id":"` + somebody + `","id":"` + somebody + `"}`,
		"repeated deep":     in(strings.Replace(good, "{", `{"x":{"y":1,"y":1},`, 1)),
		"trailing":          in(good) + in(good),
		"not UTF-8":         `{"id":"` + somebody + `","x":"` + "\xff" + `"}`,
		"deep":              `{"id":"` + somebody + `","x":` + strings.Repeat("[", 65) + strings.Repeat("]", 65) + `}`,
		"long":              `{"id":"` + somebody + `"` + strings.Repeat(" ", maxDocument) + `}`,
		"method is a text":  in(`"#a"`),
		"use is a number":   `{"id":"` + somebody + `","capabilityInvocation":[1]}`,
		"uses is a text":    `{"id":"` + somebody + `","capabilityInvocation":"#a"}`,
		"two alike":         in(good + "," + good),
		"two alike written": in(good + "," + strings.Replace(good, "#a", somebody+"#a", 1)),
		"two alike, others": in(others + "," + others),
		"many keys":         in(many(maxKeys + 1)),
		"many embedded": `{"id":"` + somebody + `","keyAgreement":[` + many(40) + `],"capabilityInvocation":[` +
			strings.ReplaceAll(many(40), "#", "#x") + `]}`,
		"many uses":     `{"id":"` + somebody + `","keyAgreement":[` + strings.Repeat(`"#a",`, maxKeys) + `"#a"]}`,
		"many services": `{"id":"` + somebody + `","service":[` + strings.Repeat(`{},`, maxServices) + `{}]}`,
		"many addresses": `{"id":"` + somebody + `","service":[{"type":"x","serviceEndpoint":[` +
			strings.Repeat(`"a",`, maxServices) + `"a"]}]}`,
		"malformed key":   in(methodJSON("#a", "Multikey", multibase(key{Ed25519, make([]byte, 31)}.multikey()))),
		"wrong type":      in(methodJSON("#a", Ed25519, multibase(carol))),
		"wrong type JWK":  in(methodJSON("#a", X25519, `"publicKeyJwk":`+edJWK)),
		"two keys in one": in(methodJSON("#a", "Multikey", multibase(alice)+`,"publicKeyJwk":`+edJWK)),
		"no key":          in(methodJSON("#a", "Multikey", `"x":1`)),
		"private key": in(methodJSON("#a", "JsonWebKey2020",
			`"publicKeyJwk":`+strings.Replace(edJWK, "{", `{"d":"AA",`, 1))),
		"short base58": in(methodJSON("#a", "Ed25519VerificationKey2018", `"publicKeyBase58":"6ASf5E"`)),
	} {
		if got, err := parseDocument(somebody, []byte(doc)); !errors.Is(err, coffer.Invalid) {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}

func TestServices(t *testing.T) {
	got, err := parseDocument(somebody, []byte(`{"id":"`+somebody+`","service":[
		{"id":"#files","type":"EncryptedDataVault","serviceEndpoint":"https://vault.example/edvs"},
		{"id":"`+somebody+`#hub","type":["IdentityHub","X"],
			"serviceEndpoint":{"@type":"UserServiceEndpoint","instances":["did:web:hub.example"]}},
		{"id":"#host","type":"IdentityHub",
			"serviceEndpoint":{"@type":"HostServiceEndpoint",
				"locations":["https://a.example/.identity","https://b.example/.identity"]}},
		{"id":"#didcomm","type":"DIDCommMessaging","serviceEndpoint":{"uri":"https://c.example"}},
		{"id":"#none","type":"X","serviceEndpoint":7},
		{"id":"#typeless","serviceEndpoint":"https://d.example"}]}`))
	if err != nil {
		t.Fatal(err)
	}
	want := []coffer.Endpoint{
		{ID: somebody + "#files", Type: "EncryptedDataVault", URL: "https://vault.example/edvs"},
		{ID: somebody + "#hub", Type: "IdentityHub", URL: "did:web:hub.example"},
		{ID: somebody + "#hub", Type: "X", URL: "did:web:hub.example"},
		{ID: somebody + "#host", Type: "IdentityHub", URL: "https://a.example/.identity"},
		{ID: somebody + "#host", Type: "IdentityHub", URL: "https://b.example/.identity"},
		{ID: somebody + "#didcomm", Type: "DIDCommMessaging", URL: "https://c.example"},
	}
	if fmt.Sprint(got.Services) != fmt.Sprint(want) {
		t.Errorf("%+v, want %+v", got.Services, want)
	}
}
