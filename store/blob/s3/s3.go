// Package s3 keeps a [blob.Store] in a bucket of any server that speaks the S3 API.
//
// # Layout
//
//	PREFIX/coffer.format       "coffer blobs 1": a later version is refused
//	PREFIX/coffer.probe-…      objects of a probe, removed when it ends
//	PREFIX/a/b/c.blob          the blob with the key a/b/c
//
// The suffix keeps keys apart of which one goes on where the other ends: servers that keep objects in files cannot have
// both a and a/b. What is at the prefix and has no name of these is neither listed nor touched. A prefix is one
// store's: no other may be at it or below it. Several nodes that share one database share one store.
//
// # Durability
//
// What Put stores is durable when the server says that it has it. A blob is sent in one request with its length and its
// SHA-256; its last bytes are held back until all of it was seen to hash to that. If it does not, the request is broken
// off, and the server has nothing to store. Blobs that are too large for one request go up in parts, which become an
// object at the end or are dropped. Each Put leaves a random mark on its object, by which it knows its own again when
// an answer was lost.
//
// No versioning of the bucket is assumed. Where it is on, what is deleted stays with the server as an old version:
// erasing takes a rule of the bucket that removes these.
package s3

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/store/blob"
)

// Options say how to open a bucket. The zero Options will do for a URL with credentials.
type Options struct {
	Key, Secret string            // the credentials, when the URL has none
	Token       string            // of temporary credentials, besides Key and Secret
	Create      bool              // make the bucket if there is none
	Transport   http.RoundTripper // nil for one of its own
	Patience    time.Duration     // how long the server may keep silent; zero for 30 seconds
	Log         *slog.Logger      // told once, by Open, what the bucket does otherwise than it should; nil for nobody
}

// A Store is a [blob.Store] in a bucket.
type Store struct {
	core        minio.Core
	bucket      string
	prefix      string // ends with "/" unless empty
	patience    time.Duration
	part        int64 // the greatest blob in one request, and the least part
	conditional bool  // the server refuses to put what is there
	buffers     sync.Pool
}

var _ blob.Store = (*Store)(nil)

const (
	formatName = "coffer.format" // has a character that no segment has
	formatText = "coffer blobs 1\n"
	probeName  = "coffer.probe-"
	suffix     = ".blob"

	defaultPatience = 30 * time.Second
	retries         = 4         // of calls that may be made again, with back-off
	onePut          = 64 << 20  // bytes
	small           = 128 << 10 // blobs of so many bytes are held in memory, and sent again when that fails
	batch           = 1000      // objects that one call deletes
	oldUpload       = 24 * time.Hour
)

// Open opens the store in the bucket that the URL names; see [Target]. It looks whether the bucket behaves (see
// [Store.Probe]), makes it a store if there is nothing at the prefix, and drops parts that uploads left there more than
// a day ago. It fails, and leaves nothing behind, with
//
//   - Invalid when the URL or the credentials have no right form, the server speaks another protocol or has another
//     region, its clock or ours is wrong, the bucket does not do what a store needs, or what is at the prefix is
//     something else or was written by a later version;
//   - NotExist when there is no such bucket;
//   - Denied when the server does not take the credentials, or they do not give the rights that a store needs: to get,
//     put, list and delete objects, and to list and abort uploads;
//   - Unavailable when the server is not reached, or fails.
//
// The reason is one sentence that holds no credentials.
func Open(ctx context.Context, url string, o Options) (*Store, error) {
	const op = "s3.Open"
	t, err := ParseURL(url)
	if err != nil {
		return nil, err
	}
	if t.Key == "" {
		t.Key, t.Secret = o.Key, o.Secret
	} else {
		o.Token = "" // it belongs to others
	}
	if t.Key == "" || t.Secret == "" {
		return nil, coffer.Errorf(op, coffer.Invalid, "no credentials: give an access key and its secret")
	}
	s := &Store{bucket: t.Bucket, patience: o.Patience, part: onePut, conditional: true}
	if s.patience <= 0 {
		s.patience = defaultPatience
	}
	if t.Prefix != "" {
		s.prefix = t.Prefix + "/"
	}
	s.buffers.New = func() any { return new([small]byte) }
	transport := o.Transport
	if transport == nil {
		transport = newTransport(s.patience)
	}
	core, err := minio.NewCore(t.Endpoint, &minio.Options{
		Creds:      credentials.NewStaticV4(t.Key, t.Secret, o.Token),
		Secure:     t.TLS,
		Region:     t.Region,
		Transport:  expecting{transport},
		MaxRetries: retries,
	})
	if err != nil {
		return nil, coffer.Errorf(op, coffer.Invalid, "the server's address is not of a known form")
	}
	s.core = *core
	log := o.Log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return s, s.open(ctx, o.Create, t.Region, log)
}

// open makes sure that the bucket is there, behaves and holds a store.
func (s *Store) open(ctx context.Context, create bool, region string, log *slog.Logger) error {
	const op = "s3.Open"
	format, err := s.format(ctx)
	created := false
	if code(err) == minio.NoSuchBucket && create {
		limited, cancel := s.limit(ctx)
		err = s.core.MakeBucket(limited, s.bucket, minio.MakeBucketOptions{Region: region})
		cancel()
		switch code(err) {
		case "":
			created = err == nil
		case minio.BucketAlreadyOwnedByYou: // another node was faster
			err = nil
		}
		if err == nil {
			format, err = s.format(ctx)
		}
	}
	if err != nil && !absent(err) {
		return refusal(ctx, op, err)
	}
	isNew := err != nil
	if !isNew && format != formatText {
		return coffer.Errorf(op, coffer.Invalid,
			"what is at the prefix is no blob store, or was written by a later version of this program")
	}
	err = s.check(ctx, log)
	if err == nil && isNew {
		err = s.create(ctx)
	}
	if err != nil && created {
		limited, cancel := s.limit(context.WithoutCancel(ctx))
		defer cancel()
		_ = s.core.RemoveBucket(limited, s.bucket) // does nothing unless it is empty
	}
	if err != nil {
		return err
	}
	if _, err := s.AbortUploads(ctx, oldUpload); err != nil {
		if ctx.Err() != nil {
			return err
		}
		log.Warn("old uploads could not be dropped; a lifecycle rule of the bucket may do so", "err", err)
	}
	return nil
}

// format returns the text of the format object. The error is one of minio-go.
func (s *Store) format(ctx context.Context) (string, error) {
	limited, cancel := s.limit(ctx)
	defer cancel()
	r, _, _, err := s.core.GetObject(limited, s.bucket, s.prefix+formatName, minio.GetObjectOptions{})
	if err != nil {
		return "", err
	}
	defer r.Close()
	b, err := io.ReadAll(io.LimitReader(r, 100))
	return string(b), err
}

// create makes an empty prefix a store.
func (s *Store) create(ctx context.Context) error {
	const op = "s3.Open"
	for o, err := range s.objects(ctx, s.prefix) {
		if err != nil {
			return refusal(ctx, op, err)
		}
		name := strings.TrimPrefix(o.Key, s.prefix)
		if !strings.HasPrefix(name, probeName) && name != formatName { // of others that start right now
			return coffer.Errorf(op, coffer.Invalid,
				"the bucket has something else at the prefix: name an empty bucket, or a prefix where nothing is")
		}
	}
	limited, cancel := s.limit(ctx)
	defer cancel()
	// Whoever else puts it puts the same.
	if err := s.putBytes(limited, s.prefix+formatName, []byte(formatText), minio.PutObjectOptions{}); err != nil {
		return refusal(ctx, op, err)
	}
	return nil
}

// name returns the name of a blob's object.
func (s *Store) name(key string) string { return s.prefix + key + suffix }

// key returns the key of the blob that an object is, if it is one.
func (s *Store) key(name string) (key string, ok bool) {
	name, ours := strings.CutPrefix(name, s.prefix)
	key, isBlob := strings.CutSuffix(name, suffix)
	return key, ours && isBlob && blob.CheckKey(key) == nil
}

// errSilent says that the server did not do anything for too long.
var errSilent = errors.New("the server keeps silent")

// limit bounds a call that is made up to [retries] times.
func (s *Store) limit(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, retries*s.patience, errSilent)
}

// A watch ends what it watches when it is not the caller's turn for too long.
type watch struct {
	timer    *time.Timer
	patience time.Duration
}

// watch returns a context that ends with ctx, or when the server keeps silent. It is the server's turn. end frees what
// it takes.
func (s *Store) watch(ctx context.Context) (watched context.Context, w *watch, end func()) {
	watched, cancel := context.WithCancelCause(ctx)
	w = &watch{time.AfterFunc(s.patience, func() { cancel(errSilent) }), s.patience}
	return watched, w, func() {
		w.timer.Stop()
		cancel(nil)
	}
}

func (w *watch) servers() { w.timer.Reset(w.patience) }
func (w *watch) callers() { w.timer.Stop() }

// newTransport returns how requests travel.
func newTransport(patience time.Duration) *http.Transport {
	dial := &net.Dialer{Timeout: min(patience, 10*time.Second), KeepAlive: 15 * time.Second}
	return &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           dial.DialContext,
		TLSHandshakeTimeout:   min(patience, 10*time.Second),
		ResponseHeaderTimeout: patience,
		ExpectContinueTimeout: time.Second,
		MaxIdleConns:          256,
		MaxIdleConnsPerHost:   64,
		IdleConnTimeout:       15 * time.Second, // less than what servers close connections after
		DisableCompression:    true,             // ciphertext; and lengths must be those of the objects
		WriteBufferSize:       64 << 10,
		ReadBufferSize:        64 << 10,
	}
}

// expecting asks before it sends a body that cannot be sent twice: a connection that is gone, a key that is taken and a
// server that is busy are found out while nothing of it was read.
type expecting struct{ http.RoundTripper }

func (e expecting) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Method == http.MethodPut && r.ContentLength > small {
		r = r.Clone(r.Context())
		r.Header.Set("Expect", "100-continue")
	}
	return e.RoundTripper.RoundTrip(r)
}
