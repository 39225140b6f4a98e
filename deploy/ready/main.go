// Command ready exits with 0 when the node beside it is ready, and with 1 when it is not: for images that have no other
// program to ask with. It goes to /readyz at the port of COFFERD_LISTEN, over TLS if the node is told to speak it.
package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"time"
)

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), 4*time.Second)
	defer cancel()
	if err := ready(ctx, os.Getenv); err != nil {
		fmt.Fprintln(os.Stderr, "ready:", err)
		os.Exit(1)
	}
}

// ready asks the node on this machine that the environment describes, and returns nil when it is ready.
func ready(ctx context.Context, env func(string) string) error {
	host, port, err := net.SplitHostPort(env("COFFERD_LISTEN"))
	if err != nil {
		return fmt.Errorf("COFFERD_LISTEN: %w", err)
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1" // a name would need somebody to ask
	}
	url := "http://"
	if env("COFFERD_TLS_CERT") != "" || env("COFFERD_ACME") != "" {
		url = "https://"
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url+net.JoinHostPort(host, port)+"/readyz", nil)
	if err != nil {
		return err
	}
	// The certificate is for another name than this, and nothing is told to who shows it.
	to := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true, ServerName: env("COFFERD_ACME")}}
	answer, err := to.RoundTrip(r)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return errors.New(answer.Status)
	}
	return nil
}
