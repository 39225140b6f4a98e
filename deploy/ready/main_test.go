package main

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"
)

func TestReady(t *testing.T) {
	status := http.StatusOK
	answer := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/readyz" {
			t.Errorf("asked for %s", r.URL.Path)
		}
		w.WriteHeader(status)
	})
	plain, secret := httptest.NewServer(answer), httptest.NewTLSServer(answer)
	defer plain.Close()
	defer secret.Close()
	host := func(s *httptest.Server) string {
		u, err := url.Parse(s.URL)
		if err != nil {
			t.Fatal(err)
		}
		return u.Host
	}
	port := func(s *httptest.Server) string { return host(s)[len("127.0.0.1"):] }
	for _, test := range []struct {
		name   string
		env    map[string]string
		status int
		ready  bool
	}{
		{"ready", map[string]string{"COFFERD_LISTEN": host(plain)}, http.StatusOK, true},
		{"on any address", map[string]string{"COFFERD_LISTEN": port(plain)}, http.StatusOK, true},
		{"on any address, said otherwise", map[string]string{"COFFERD_LISTEN": "0.0.0.0" + port(plain)}, http.StatusOK, true},
		{"with a certificate", map[string]string{
			"COFFERD_LISTEN": host(secret), "COFFERD_TLS_CERT": "file"}, http.StatusOK, true},
		{"with one from an authority", map[string]string{
			"COFFERD_LISTEN": host(secret), "COFFERD_ACME": "vault.example"}, http.StatusOK, true},
		{"not ready", map[string]string{"COFFERD_LISTEN": host(plain)}, http.StatusServiceUnavailable, false},
		{"nobody there", map[string]string{"COFFERD_LISTEN": "127.0.0.1:1"}, http.StatusOK, false},
		{"not told where", nil, http.StatusOK, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			status = test.status
			err := ready(t.Context(), func(name string) string { return test.env[name] })
			if (err == nil) != test.ready {
				t.Error(err)
			}
		})
	}
}
