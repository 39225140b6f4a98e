package node

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/store"
	"github.com/cofferhq/coffer/store/blob"
	"github.com/cofferhq/coffer/store/blob/files"
	"github.com/cofferhq/coffer/store/blob/s3"
	"github.com/cofferhq/coffer/store/pebble"
	"github.com/cofferhq/coffer/store/postgres"
)

// Disks are where a node keeps what it keeps, open and without the wire: for looking after it.
type Disks struct {
	config    Config
	log       *slog.Logger
	documents store.Store
	chunks    *chunks
	files     *files.Store // nil when the chunks are in a bucket
	folder    *folder      // nil when all is elsewhere, and nothing is served
	backups   sync.Mutex   // held by the one that is under way
}

// OpenDisks opens the disks of a node that exists and does not run. Of c just what says where they are is needed;
// without a data folder, both must be elsewhere. NotExist when there is no node in the data folder; Locked when a node
// uses it.
func OpenDisks(ctx context.Context, c Config) (*Disks, error) {
	const op = "data folder"
	c.setDefaults()
	d, err := c.disks()
	if err != nil {
		return nil, err
	}
	if c.Store != "" && c.Blobs != "" {
		c.Data = "" // there is nothing in it that is needed, and a node may be using it
		d.config.Data = ""
	} else if there, err := inhabited(c.Data); err != nil {
		return nil, err
	} else if !there {
		return nil, coffer.Errorf(op, coffer.NotExist, "there is no node in it")
	}
	if err := d.open(ctx); err != nil {
		return nil, err
	}
	return d, nil
}

// Shared reports whether other nodes may be using the same documents.
func (d *Disks) Shared() bool {
	_, is := d.documents.(store.Shared)
	return is
}

// answerTime is how long the documents may take to answer before the node is called not ready.
const answerTime = 2 * time.Second

// answer reports whether the documents can be read.
func (d *Disks) answer(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	v, _ := installationPlace()
	_, err := d.documents.Usage(ctx, v)
	return err == nil
}

// disks checks the places that were configured, and opens nothing.
func (c *Config) disks() (*Disks, error) {
	const op = "node disks"
	if c.Data == "" && (c.Store == "" || c.Blobs == "") {
		return nil, coffer.Errorf(op, coffer.Invalid, "no data folder given")
	}
	if c.Store != "" {
		u, err := url.Parse(c.Store)
		if err != nil || u.Scheme != "postgres" && u.Scheme != "postgresql" || u.Path == "" || u.Path == "/" {
			return nil, coffer.Errorf(op, coffer.Invalid,
				"the store must be given as postgres://user:password@host:port/database")
		}
	}
	if c.Blobs != "" {
		if u, err := url.Parse(c.Blobs); err != nil || u.Scheme != "s3" && u.Scheme != "s3+http" || u.Host == "" {
			return nil, coffer.Errorf(op, coffer.Invalid, "the blobs' place must be given as s3://host:port/bucket")
		}
	}
	return &Disks{config: *c, log: c.Log}, nil
}

// open opens the stores: first those that make nothing, then those that make what is lacking. After a failure nothing
// is there that was not there before, but for tables in an empty database when the bucket cannot be made.
func (d *Disks) open(ctx context.Context) (err error) {
	c := d.config
	var bucket blob.Store
	lacking := false
	if c.Blobs != "" {
		if bucket, err = d.bucket(ctx, false); c.CreateBucket && errors.Is(err, coffer.NotExist) {
			lacking = true
		} else if err != nil {
			return misconfigured(err)
		}
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, d.abandon())
		}
	}()
	if c.Data != "" {
		if d.folder, err = openFolder(c.Data); err != nil {
			return err
		}
	}
	if c.Store != "" {
		err = d.database(ctx)
	} else {
		err = d.embedded()
	}
	switch {
	case err != nil:
		return err
	case lacking:
		if bucket, err = d.bucket(ctx, true); err != nil {
			return misconfigured(err)
		}
	case bucket == nil:
		if d.files, err = files.Open(filepath.Join(c.Data, chunksFolder)); err != nil {
			return inFolder(err)
		}
		bucket = d.files
	}
	d.chunks = &chunks{Store: bucket}
	return nil
}

// bucket opens the bucket, and says in the log what it was found to be.
func (d *Disks) bucket(ctx context.Context, create bool) (blob.Store, error) {
	c := d.config
	b, err := s3.Open(ctx, c.Blobs, s3.Options{
		Key: c.Access.Key, Secret: c.Access.Secret, Token: c.Access.Token, Create: create, Log: d.log,
	})
	if err != nil {
		return nil, err
	}
	d.log.Info("the bucket does what a store needs", "created", create)
	return b, nil
}

// database opens the documents in a database that several nodes may share.
func (d *Disks) database(ctx context.Context) error {
	documents, err := postgres.Open(ctx, d.config.Store, postgres.Options{Now: d.config.Now, Logger: d.log})
	if err != nil {
		return misconfigured(err)
	}
	d.documents = documents
	return nil
}

// embedded opens the documents in the data folder.
func (d *Disks) embedded() error {
	folder := filepath.Join(d.config.Data, documentsFolder)
	// The data folder may be there already and open to others; what the node keeps in it is not.
	if err := errors.Join(os.MkdirAll(folder, 0o700), os.Chmod(folder, 0o700)); err != nil {
		return coffer.E("data folder", coffer.Unavailable, withoutPath(err))
	}
	documents, err := pebble.Open(folder, pebble.Options{Memory: d.config.Memory, Logger: d.log})
	if err != nil {
		return inFolder(err)
	}
	d.documents = documents
	return nil
}

// misconfigured returns an error of a server as one of what the operator wrote, if a server was reached and does not
// know what was asked for, or who asks.
func misconfigured(err error) error {
	switch coffer.KindOf(err) {
	case coffer.NotExist, coffer.Denied:
		return coffer.E("", coffer.Invalid, err)
	}
	return err
}

// inFolder returns an error of a store in the data folder. That a later version wrote it is nothing that the operator
// mistyped.
func inFolder(err error) error {
	if coffer.KindOf(err) == coffer.Invalid {
		return coffer.Errorf("data folder", coffer.Unavailable, reasonOf(err))
	}
	return err
}

// reasonOf returns the innermost reason of an error of ours.
func reasonOf(err error) string {
	for {
		var e *coffer.Error
		if !errors.As(err, &e) || e.Err == nil {
			return err.Error()
		}
		err = e.Err
	}
}

// withoutPath returns what a file system said without the name of the file.
func withoutPath(err error) error {
	var p *fs.PathError
	var l *os.LinkError
	switch {
	case errors.As(err, &p):
		return p.Err
	case errors.As(err, &l):
		return l.Err
	}
	return err
}

// Rebuild makes what the store derives from documents anew, if it can; see [store.Rebuilder]. It is Invalid for one
// that cannot.
func (d *Disks) Rebuild(ctx context.Context, report func(string)) error {
	r, ok := d.documents.(store.Rebuilder)
	if !ok {
		return coffer.Errorf("rebuild", coffer.Invalid, "this store derives nothing that could be made anew")
	}
	return r.Rebuild(ctx, report)
}

// Close closes the disks.
func (d *Disks) Close() error {
	err := d.closeStores()
	if d.folder != nil {
		err = errors.Join(err, d.folder.unlock())
	}
	return err
}

// abandon closes the disks, and removes from the data folder what was made in it if there was nothing before.
func (d *Disks) abandon() error {
	err := d.closeStores()
	if d.folder != nil {
		err = errors.Join(err, d.folder.abandon())
		d.folder = nil
	}
	return err
}

func (d *Disks) closeStores() error {
	var errs []error
	if d.documents != nil {
		errs = append(errs, d.documents.Close())
		d.documents = nil
	}
	if c, ok := d.blobs().(interface{ Close() error }); ok {
		errs = append(errs, c.Close())
		d.chunks = nil
	}
	return errors.Join(errs...)
}

// blobs returns the keeper of chunks below what holds deletions back.
func (d *Disks) blobs() blob.Store {
	if d.chunks == nil {
		return nil
	}
	return d.chunks.Store
}

// setDefaults fills in what was left open.
func (c *Config) setDefaults() {
	if c.Listen == "" {
		c.Listen = DefaultListen
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	c.Admission.setDefaults()
}
