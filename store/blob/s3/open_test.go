package s3

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"
	"github.com/minio/minio-go/v7"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/internal/servers"
)

// behind returns the URL of a bucket that is there, of a server in this process whose requests go through change, and
// that of the same bucket without.
func behind(t *testing.T, change func(next http.Handler) http.Handler) (url, plain string) {
	t.Helper()
	fake := gofakes3.New(s3mem.New()).Server()
	server := httptest.NewServer(change(fake))
	t.Cleanup(server.Close)
	other := httptest.NewServer(fake)
	t.Cleanup(other.Close)
	plain = "s3+http://key:secret@" + strings.TrimPrefix(other.URL, "http://") + "/bucket"
	s := on(t, plain)
	if err := s.core.RemoveObject(t.Context(), "bucket", formatName, minio.RemoveObjectOptions{}); err != nil {
		t.Fatal(err)
	}
	return "s3+http://key:secret@" + strings.TrimPrefix(server.URL, "http://") + "/bucket", plain
}

// names returns the names of all objects of a bucket.
func names(t *testing.T, url string) (all []string) {
	t.Helper()
	target, err := ParseURL(url)
	if err != nil {
		t.Fatal(err)
	}
	s := on(t, strings.Replace(url, "/"+target.Bucket, "/other-bucket", 1)) // any client of that server
	for o := range s.core.ListObjectsIter(t.Context(), target.Bucket, minio.ListObjectsOptions{Recursive: true}) {
		if code(o.Err) == minio.NoSuchBucket {
			return nil
		}
		if o.Err != nil {
			t.Fatal(o.Err)
		}
		all = append(all, o.Key)
	}
	return all
}

// refused checks that a bucket cannot be opened, and why.
func refused(t *testing.T, url string, o Options, kind coffer.Kind, sentence string) {
	t.Helper()
	o.Patience = 2 * time.Second
	s, err := Open(t.Context(), url, o)
	if err == nil {
		t.Errorf("Open: %v, want %v", s, kind)
		return
	}
	if !errors.Is(err, kind) || !strings.Contains(err.Error(), sentence) {
		t.Errorf("Open: %v, want %v, %q", err, kind, sentence)
	}
	target, parseErr := ParseURL(url)
	if parseErr != nil {
		t.Fatal(parseErr)
	}
	for _, secret := range []string{target.Key, target.Secret, target.Bucket, o.Secret, target.Endpoint, "://127"} {
		if len(secret) > 3 && secret != "bucket" && strings.Contains(err.Error(), secret) {
			t.Errorf("Open: %v names what nobody must see", err)
		}
	}
	if strings.Contains(err.Error(), "\n") || len(err.Error()) > 220 {
		t.Errorf("Open: %v is not one sentence", err)
	}
}

func TestRefusedByServer(t *testing.T) {
	u := servers.Bucket(t)
	target, err := ParseURL(u)
	if err != nil {
		t.Fatal(err)
	}
	with := func(key, secret string) string {
		return fmt.Sprintf("s3+http://%s:%s@%s/%s", key, secret, target.Endpoint, target.Bucket)
	}
	refused(t, u, Options{}, coffer.NotExist, "the bucket does not exist: make it")
	refused(t, with("nobodys-key", target.Secret), Options{}, coffer.Denied, "does not know the access key")
	refused(t, with(target.Key, "another-secret"), Options{}, coffer.Denied, "the secret is not the access key's")
	refused(t, strings.Replace(u, "s3+http:", "s3:", 1), Options{}, coffer.Invalid, "does not speak TLS")
	if got := names(t, u); got != nil {
		t.Errorf("a refused start leaves %v", got)
	}
	without := with("", "")
	without = strings.Replace(without, ":@", "", 1)
	refused(t, without, Options{}, coffer.Invalid, "no credentials")
	refused(t, without, Options{Key: target.Key}, coffer.Invalid, "no credentials")
	s, err := Open(t.Context(), without, Options{Key: target.Key, Secret: target.Secret, Create: true})
	if err != nil {
		t.Fatalf("Open with credentials of the options: %v", err)
	}
	for _, p := range s.Probe(t.Context()) {
		t.Logf("%-80s %v", p.What, p.Err)
		if p.Err != nil {
			t.Error(p.Err)
		}
	}
	if got := strings.Join(names(t, u), " "); got != formatName {
		t.Errorf("an empty store is %q", got)
	}
	on(t, u)
}

func TestUnreachable(t *testing.T) {
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	refused(t, "s3+http://key1:secret@"+address+"/bucket", Options{}, coffer.Unavailable, "does not answer in time")
	_ = l.Close()
	refused(t, "s3+http://key1:secret@"+address+"/bucket", Options{}, coffer.Unavailable, "nothing listens")
	refused(t, "s3+http://key1:secret@nowhere.invalid/bucket", Options{}, coffer.Unavailable, "host name is not known")

	web := httptest.NewTLSServer(http.NotFoundHandler())
	defer web.Close()
	web.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, 0)
	tls := strings.TrimPrefix(web.URL, "https://")
	refused(t, "s3+http://key1:secret@"+tls+"/bucket", Options{}, coffer.Invalid, "speaks TLS on this port")
	refused(t, "s3://key1:secret@"+tls+"/bucket", Options{}, coffer.Invalid, "certificate is not trusted")

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Open(ctx, "s3+http://key1:secret@"+address+"/bucket", Options{}); !errors.Is(err, context.Canceled) {
		t.Errorf("Open: %v, want %v", err, context.Canceled)
	}
}

func TestFormat(t *testing.T) {
	u := inProcess(t)
	s := on(t, u)
	putObject := func(name, text string) {
		t.Helper()
		if err := s.putBytes(t.Context(), name, []byte(text), minio.PutObjectOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	putObject(formatName, "coffer blobs 2\n")
	refused(t, u, Options{}, coffer.Invalid, "written by a later version")
	putObject(formatName, formatText)
	on(t, u)
	putObject("theses/mine.txt", "text")
	on(t, u)
	refused(t, u+"/theses", Options{}, coffer.Invalid, "something else at the prefix")
	for _, name := range []string{"a/b.blob", "a/B.blob", "a/b.txt", "x.blob"} {
		putObject(name, "text")
	}
	on(t, u+"/prefix")
	var keys []string
	for info, err := range s.List(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, info.Key)
	}
	if got := strings.Join(keys, " "); got != "a/b x" {
		t.Errorf("List: %q", got)
	}
	if err := s.DeleteAll(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	want := "a/B.blob a/b.txt coffer.format prefix/coffer.format theses/mine.txt x.blob"
	if got := strings.Join(names(t, u), " "); got != want {
		t.Errorf("after DeleteAll: %q", got)
	}
}

// answer answers with an error as S3 does.
func answer(w http.ResponseWriter, status int, code string) {
	w.WriteHeader(status)
	fmt.Fprintf(w, "<Error><Code>%s</Code><Message>secretvault</Message></Error>", code)
}

// header changes the headers of an answer before they are sent.
type header struct {
	http.ResponseWriter
	change func(http.Header)
}

func (h header) WriteHeader(status int) {
	h.change(h.Header())
	h.ResponseWriter.WriteHeader(status)
}

func (h header) Write(b []byte) (int, error) {
	h.change(h.Header())
	return h.ResponseWriter.Write(b)
}

// TestBucketsThatMisbehave opens buckets of servers that do one thing wrong each.
func TestBucketsThatMisbehave(t *testing.T) {
	isProbe := func(r *http.Request) bool { return strings.Contains(r.URL.Path, probeName) }
	for name, c := range map[string]struct {
		change   func(w http.ResponseWriter, r *http.Request, next http.Handler)
		kind     coffer.Kind
		sentence string
	}{
		"no right to put": {func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			if r.Method == http.MethodPut {
				answer(w, 403, "AccessDenied")
				return
			}
			next.ServeHTTP(w, r)
		}, coffer.Denied, "has not all rights"},
		"no right to delete": {func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			if r.Method == http.MethodDelete {
				answer(w, 403, "AccessDenied")
				return
			}
			next.ServeHTTP(w, r)
		}, coffer.Denied, "has not all rights"},
		"no right to list": {func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			if r.URL.Query().Has("list-type") {
				answer(w, 403, "AccessDenied")
				return
			}
			next.ServeHTTP(w, r)
		}, coffer.Denied, "has not all rights"},
		"token": {func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
			answer(w, 400, "ExpiredToken")
		}, coffer.Denied, "token"},
		"region": {func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
			answer(w, 301, "PermanentRedirect")
		}, coffer.Invalid, "region"},
		"busy": {func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
			answer(w, 503, "SlowDown")
		}, coffer.Unavailable, "too busy"},
		"something else": {func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
			_, _ = io.WriteString(w, "<html>secretvault</html>")
		}, coffer.Unavailable, "something else than S3"},
		"clock of the signature": {func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
			answer(w, 403, "RequestTimeTooSkewed")
		}, coffer.Invalid, "clock"},
		"clock": {func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			next.ServeHTTP(header{w, func(h http.Header) {
				h.Set("Date", time.Now().Add(-7*time.Minute).UTC().Format(http.TimeFormat))
			}}, r)
		}, coffer.Invalid, "7m0s apart: set them"},
		"other bytes": {func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			if r.Method == http.MethodGet && isProbe(r) {
				r.Header.Set("Range", "bytes=0-3")
			}
			next.ServeHTTP(w, r)
		}, coffer.Invalid, "other bytes"},
		"ranges": {func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			r.Header.Del("Range")
			next.ServeHTTP(w, r)
		}, coffer.Invalid, "part of an object"},
		"late list": {func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			if strings.Contains(r.URL.Query().Get("prefix"), probeName) {
				_, _ = io.WriteString(w, "<ListBucketResult></ListBucketResult>")
				return
			}
			next.ServeHTTP(w, r)
		}, coffer.Invalid, "does not list"},
		"parts": {func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			if r.Method == http.MethodPut && strings.HasSuffix(r.URL.Path, "-cut") {
				b, _ := io.ReadAll(r.Body)
				r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(b)), int64(len(b))
				r.Header.Set("Content-Length", fmt.Sprint(len(b)))
			}
			next.ServeHTTP(w, r)
		}, coffer.Invalid, "a part of what"},
		"never deletes": {func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			if r.Method == http.MethodDelete {
				w.WriteHeader(http.StatusNoContent)
				return
			}
			next.ServeHTTP(w, r)
		}, coffer.Invalid, "still gives what was deleted"},
	} {
		t.Run(name, func(t *testing.T) {
			u, plain := behind(t, func(next http.Handler) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { c.change(w, r, next) })
			})
			refused(t, u, Options{}, c.kind, c.sentence)
			for _, name := range names(t, plain) {
				if !strings.Contains(name, probeName) || !strings.Contains(t.Name(), "delete") {
					t.Errorf("a refused start leaves %v", name)
				}
			}
		})
	}
}

// TestWithoutConditions opens buckets of servers that put over what is there.
func TestWithoutConditions(t *testing.T) {
	for name, change := range map[string]func(w http.ResponseWriter, r *http.Request, next http.Handler){
		"ignored": func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			r.Header.Del("If-None-Match")
			next.ServeHTTP(w, r)
		},
		"not implemented": func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			if r.Header.Get("If-None-Match") != "" {
				answer(w, 501, "NotImplemented")
				return
			}
			next.ServeHTTP(w, r)
		},
	} {
		t.Run(name, func(t *testing.T) {
			u, _ := behind(t, func(next http.Handler) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { change(w, r, next) })
			})
			var said bytes.Buffer
			s, err := Open(t.Context(), u, Options{Log: slog.New(slog.NewTextHandler(&said, nil))})
			if err != nil {
				t.Fatalf("Open: %v", err)
			}
			if !strings.Contains(said.String(), "level=WARN") || strings.Count(said.String(), "\n") != 1 {
				t.Errorf("Open says %q, want one warning", said.String())
			}
			for _, size := range []int{10, 1 << 20} {
				body, key := make([]byte, size), fmt.Sprintf("v/%d", size)
				put := func() error {
					return s.Put(t.Context(), key, int64(size), sha256.Sum256(body), bytes.NewReader(body))
				}
				if err := put(); err != nil {
					t.Fatalf("Put: %v", err)
				}
				body[0] = 1
				if err := put(); !errors.Is(err, coffer.Conflict) {
					t.Errorf("Put of what is taken: %v, want Conflict", err)
				}
			}
		})
	}
}
