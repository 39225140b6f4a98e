package s3

import (
	"errors"
	"net/url"
	"strings"
	"testing"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/store/blob"
)

func TestParseURL(t *testing.T) {
	for text, want := range map[string]Target{
		"s3://key:secret@host/bucket":                 {"key", "secret", "host", true, "bucket", "", ""},
		"s3://host/bucket":                            {"", "", "host", true, "bucket", "", ""},
		"s3://host:9000/bucket/pre/fix?region=eu-1":   {"", "", "host:9000", true, "bucket", "pre/fix", "eu-1"},
		"s3+http://k:s%2Fs%2B%3D@127.0.0.1:1/my.b-1/": {},
		"s3+http://k:s%2Fs%2B%3D@127.0.0.1:1/my.b-1":  {"k", "s/s+=", "127.0.0.1:1", false, "my.b-1", "", ""},
		"s3+http://[::1]:7070/bucket":                 {"", "", "[::1]:7070", false, "bucket", "", ""},
		"s3://[::1]/bucket":                           {"", "", "[::1]", true, "bucket", "", ""},
		"s3://bucket?endpoint=https://host:9000&region=garage": {
			"", "", "host:9000", true, "bucket", "", "garage"},
		"s3://bucket?region=garage&endpoint=https%3A%2F%2Fhost": {
			"", "", "host", true, "bucket", "", "garage"},
		"s3://S3.Example.COM/bucket":                         {"", "", "S3.Example.COM", true, "bucket", "", ""},
		"":                                                   {},
		"s3://":                                              {},
		"s3:bucket":                                          {},
		"S3://host/bucket":                                   {},
		"http://host/bucket":                                 {},
		"s3://bucket":                                        {},
		"s3://host/":                                         {},
		"s3://host/bu":                                       {},
		"s3://host/Bucket":                                   {},
		"s3://host/buc..ket":                                 {},
		"s3://host/.bucket":                                  {},
		"s3://host/10.0.0.1":                                 {},
		"s3://host//bucket":                                  {},
		"s3://host/bucket/":                                  {},
		"s3://host/bucket/a//b":                              {},
		"s3://host/bucket/a.b":                               {},
		"s3://host/bucket/a%2Fb":                             {},
		"s3://host/bucket/..":                                {},
		"s3://host/bucket?":                                  {},
		"s3://host/bucket#":                                  {},
		"s3://host/bucket#x":                                 {},
		"s3://host/bucket?region=":                           {},
		"s3://host/bucket?region=a&region=b":                 {},
		"s3://host/bucket?region=A":                          {},
		"s3://host/bucket?tls=no":                            {},
		"s3://host/bucket?region=a;b":                        {},
		"s3://key@host/bucket":                               {},
		"s3://key:@host/bucket":                              {},
		"s3://:secret@host/bucket":                           {},
		"s3://key:sec%0Aret@host/bucket":                     {},
		"s3://key:sec/ret@host/bucket":                       {},
		"s3://host:0/bucket":                                 {},
		"s3://host:99999/bucket":                             {},
		"s3://host:/bucket":                                  {},
		"s3://ho_st/bucket":                                  {},
		"s3://-host/bucket":                                  {},
		"s3://fe80::1%25lo/bucket":                           {},
		"s3://[fe80::1%25lo]/bucket":                         {},
		"s3://bucket?endpoint=http://host":                   {},
		"s3://bucket?endpoint=https://host/":                 {},
		"s3://bucket?endpoint=https://":                      {},
		"s3://bucket?endpoint=https://key:secret@host":       {},
		"s3://bucket/?endpoint=https://host":                 {},
		"s3://bucket/prefix?endpoint=https://host":           {},
		"s3://key:secret@bucket?endpoint=https://host":       {},
		"s3+http://bucket?endpoint=https://host":             {},
		"s3://bucket:80?endpoint=https://host":               {},
		"s3://host/bucket/" + strings.Repeat("a/", 110):      {},
		"s3://host/bucket?region=" + strings.Repeat("a", 40): {},
	} {
		got, err := ParseURL(text)
		if good := want != (Target{}); got != want || good != (err == nil) || err != nil && !errors.Is(err, coffer.Invalid) {
			t.Errorf("%q: %+v, %v, want %+v", text, got, err, want)
		}
		if err != nil && strings.Contains(err.Error(), "key:sec") {
			t.Errorf("%q: %v repeats a secret", text, err)
		}
	}
}

func FuzzParseURL(f *testing.F) {
	for _, text := range []string{
		"s3://key:secret@host/bucket", "s3+http://[::1]:7070/bucket/pre/fix?region=eu-1",
		"s3://bucket?endpoint=https://host:9000&region=garage", "s3://host/bucket?region=%61",
		"s3://%41@host/bucket", "s3://h:+1/bkt",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got, err := ParseURL(text)
		if err != nil {
			if !errors.Is(err, coffer.Invalid) || got != (Target{}) || len(err.Error()) > 250 {
				t.Fatalf("%q: %+v, %v", text, got, err)
			}
			return
		}
		if (got.Key == "") != (got.Secret == "") || !isBucket(got.Bucket) || !isHost(got.Endpoint) ||
			got.Prefix != "" && blob.CheckKey(got.Prefix) != nil {
			t.Fatalf("%q: %+v", text, got)
		}
		// What was read can be written again, and is read as the same.
		again := url.URL{Scheme: "s3", Host: got.Endpoint, Path: "/" + got.Bucket}
		if !got.TLS {
			again.Scheme = "s3+http"
		}
		if got.Prefix != "" {
			again.Path += "/" + got.Prefix
		}
		if got.Key != "" {
			again.User = url.UserPassword(got.Key, got.Secret)
		}
		if got.Region != "" {
			again.RawQuery = "region=" + got.Region
		}
		if back, err := ParseURL(again.String()); err != nil || back != got {
			t.Fatalf("%q: %+v, and again %+v, %v", text, got, back, err)
		}
	})
}
