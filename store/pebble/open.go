package pebble

import (
	"errors"
	"io/fs"
	"slices"
	"strings"
	"syscall"

	engine "github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/sstable"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/cofferhq/coffer"
)

// format is the version of keys and records that this package writes; see the package's comment for what each brought.
const format = 2

const openOp = "pebble.Open"

// Open opens the store in a folder and makes both if there is none. One of an older format is brought to the present
// one.
//
// It fails with Invalid when the store was written by a later version, or the folder is none: then nothing has changed.
// It fails with Corrupt when what is there is damaged or something else, and with Unavailable when another process has
// the store open, the folder may not be written to, or the disk fails or is full. What it has begun to make is removed.
func Open(dir string, o Options) (*Store, error) {
	if o.FS == nil {
		o.FS = vfs.Default
	}
	h := newHealth(o.Logger)
	p := &place{fs: o.FS, dir: dir}
	if err := p.open(o, h); err != nil {
		p.restore()
		return nil, err
	}
	s := &Store{
		db:      p.db,
		fs:      o.FS,
		disk:    p.disk,
		sync:    !o.NoSync,
		lock:    p.lock,
		health:  h,
		finder:  finder{db: p.db},
		queue:   make(chan *call, maxGroup),
		groups:  make(chan *group, 2),
		stop:    make(chan struct{}),
		idle:    make(chan struct{}),
		settled: make(chan struct{}),
	}
	h.opened.Store(true)
	go s.form()
	go s.settle()
	p.compactions.start()
	return s, nil
}

// A place is the folder that is being opened.
type place struct {
	fs    vfs.FS
	dir   string
	made  []string // folders that were made for it, the outermost first
	lock  *engine.Lock
	fresh bool     // the folder is locked and may be given back as it was
	names []string // what was in it

	db          *engine.DB
	disk        *disk
	compactions *scheduler
}

func (p *place) open(o Options, h *health) error {
	if err := p.make(); err != nil {
		return err
	}
	if err := p.claim(); err != nil {
		return err
	}
	there, err := engine.Peek(p.dir, p.fs)
	if err != nil {
		return openFailure(err)
	}
	if there.Exists {
		if err := p.look(o, h); err != nil {
			return err
		}
		p.fresh = false // from now on, what is new there may be of use
	}
	p.compactions = new(scheduler)
	options := engineOptions(p.dir, o, h, p.compactions)
	options.Lock = p.lock
	p.disk = options.FS.(*disk)
	p.disk.reopening = there.Exists
	if !h.guard(func() { p.db, err = engine.Open(p.dir, options) }) {
		return h.failure(openOp)
	}
	if err != nil {
		return openFailure(err)
	}
	if !h.guard(func() { err = establishFormat(p.db) }) {
		return h.failure(openOp)
	}
	if err != nil {
		h.guard(func() { _ = p.db.Close() })
		return err
	}
	return nil
}

// make makes the folder unless it is there.
func (p *place) make() error {
	info, err := p.fs.Stat(p.dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		for d := p.dir; errors.Is(err, fs.ErrNotExist); _, err = p.fs.Stat(d) {
			p.made = slices.Insert(p.made, 0, d)
			up := p.fs.PathDir(d)
			if up == d {
				break
			}
			d = up
		}
		if err := p.fs.MkdirAll(p.dir, 0o755); err != nil {
			return openFailure(err)
		}
		for _, d := range p.made {
			if err := syncFolder(p.fs, p.fs.PathDir(d)); err != nil {
				return openFailure(err)
			}
		}
	case err != nil:
		return openFailure(err)
	case !info.IsDir():
		return coffer.Errorf(openOp, coffer.Invalid, "there is a file where the store's folder should be")
	}
	return nil
}

// claim locks the folder against other processes, and notes what was in it.
func (p *place) claim() error {
	before, err := p.fs.List(p.dir)
	if err != nil {
		return openFailure(err)
	}
	if p.lock, err = engine.LockDirectory(p.dir, p.fs); err != nil {
		var path *fs.PathError
		if errors.As(err, &path) { // the file could not even be made
			return failure(openOp, err)
		}
		return coffer.Errorf(openOp, coffer.Unavailable, "another process has the store open")
	}
	if p.names, err = p.fs.List(p.dir); err != nil {
		return openFailure(err)
	}
	p.fresh = true
	if !slices.Contains(before, lockName) {
		p.names = slices.DeleteFunc(p.names, func(name string) bool { return name == lockName })
	}
	return nil
}

// lockName is the file that the engine locks.
const lockName = "LOCK"

// syncFolder makes the names in a folder durable.
func syncFolder(fs vfs.FS, dir string) error {
	d, err := fs.OpenDir(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// look reads the format of a store without changing anything: opening to write would begin a new log.
func (p *place) look(o Options, h *health) error {
	options := engineOptions(p.dir, o, h, new(scheduler))
	options.ReadOnly = true
	options.Lock = p.lock
	var err error
	returned := h.guard(func() {
		var db *engine.DB
		if db, err = engine.Open(p.dir, options); err != nil {
			err = openFailure(err)
			return
		}
		var version uint64
		version, err = readFormat(db)
		if closeErr := db.Close(); err == nil && closeErr != nil {
			err = failure(openOp, closeErr)
		}
		if err == nil && version > format {
			err = errLater()
		}
	})
	if !returned {
		return h.failure(openOp)
	}
	return err
}

// restore lets the folder go, and removes what was made in it and for it, unless that may be of use.
func (p *place) restore() {
	if p.fresh {
		now, _ := p.fs.List(p.dir)
		for _, name := range now {
			if !slices.Contains(p.names, name) {
				_ = p.fs.Remove(p.fs.PathJoin(p.dir, name))
			}
		}
	}
	if p.lock != nil {
		_ = p.lock.Close()
	}
	for i := len(p.made) - 1; i >= 0; i-- {
		_ = p.fs.Remove(p.made[i]) // not if another has put something there
	}
}

// openFailure returns an error of the engine, or of the disk, as one of ours.
func openFailure(err error) error {
	switch {
	case strings.Contains(err.Error(), "written in unknown format major version"): // the engine has no type for it
		return errLater()
	case errors.Is(err, syscall.ENOTDIR):
		return coffer.Errorf(openOp, coffer.Invalid, "there is a file where a folder on the way to the store should be")
	}
	return failure(openOp, err)
}

// engineOptions returns the options of the engine for a store in a folder.
func engineOptions(dir string, o Options, h *health, compactions *scheduler) *engine.Options {
	const mib = 1 << 20
	memory := o.Memory
	if memory == 0 {
		memory = 16 * mib
	}
	memory = max(memory, 2*mib)
	fs := o.FS
	if fs == nil {
		fs = vfs.Default
	}
	recent := min(memory/2, 16*mib) // two tables: one is filled while the other is written out
	e := &engine.Options{
		CacheSize:                   memory, // the engine takes the tables of recent writes off it
		MemTableSize:                uint64(recent / 2),
		MemTableStopWritesThreshold: 2,
		L0CompactionThreshold:       4,
		L0StopWritesThreshold:       24,
		LBaseMaxBytes:               32 * mib,
		MaxOpenFiles:                1000,
		FormatMajorVersion:          engine.FormatValueSeparation,
		FS:                          &disk{FS: fs, dir: fs.PathDir(fs.PathJoin(dir, "name")), health: h},
		Logger:                      h,
		EventListener: &engine.EventListener{
			BackgroundError: h.backgroundError, DataCorruption: h.damage,
		},
	}
	e.Experimental.CompactionScheduler = compactions
	for i := range e.Levels {
		e.Levels[i].FilterPolicy = bloom.FilterPolicy(10)
		// Bodies are ciphertext, keys are hashes: trying to compress them is in vain.
		e.Levels[i].Compression = func() *sstable.CompressionProfile { return sstable.NoCompression }
		// A table counts with the documents that are separated from it. Its filter is read as a whole: those of small
		// tables stay in the cache where they are needed, and need not be read anew for each object and each unique tag
		// that is not there. Large ones would make fewer files.
		e.TargetFileSizes[i] = 8 * mib
	}
	if o.Separate >= 0 {
		least := o.Separate
		if least == 0 {
			least = 512
		}
		e.Experimental.ValueSeparationPolicy = func() engine.ValueSeparationPolicy {
			return engine.ValueSeparationPolicy{
				Enabled: true, MinimumSize: least, MaxBlobReferenceDepth: 10, TargetGarbageRatio: 0.2,
			}
		}
	}
	return e
}

// readFormat returns the version that the format record has; 0 if the database holds nothing.
func readFormat(db *engine.DB) (version uint64, err error) {
	value, closer, err := db.Get(formatKey)
	switch {
	case err == nil:
		r := reader{b: value}
		version = r.number()
		damaged := r.end() != nil || version == 0
		if err := closer.Close(); err != nil {
			return 0, failure(openOp, err)
		}
		if damaged {
			return 0, coffer.Errorf(openOp, coffer.Corrupt, "the record of the store's format is damaged")
		}
		return version, nil
	case !errors.Is(err, engine.ErrNotFound):
		return 0, failure(openOp, err)
	}
	it, err := db.NewIter(nil)
	if err != nil {
		return 0, failure(openOp, err)
	}
	used := it.First()
	if err := it.Close(); err != nil {
		return 0, failure(openOp, err)
	}
	if used {
		return 0, coffer.Errorf(openOp, coffer.Corrupt, "the folder holds a database that is not a store")
	}
	return 0, nil
}

// establishFormat writes the present format into a database that holds nothing, or an older format. What is recorded in
// an older form stays as it is: it is part of the present format. The number is durable before anything else is
// written, so that no older version of this program ever meets what it does not know.
func establishFormat(db *engine.DB) error {
	version, err := readFormat(db)
	switch {
	case err != nil:
		return err
	case version > format:
		return errLater()
	case version == format:
		return nil
	}
	if err := db.Set(formatKey, appendNumber(nil, format), engine.Sync); err != nil {
		return failure(openOp, err)
	}
	return nil
}

func errLater() error {
	return coffer.Errorf(openOp, coffer.Invalid, "the store was written by a later version of this program")
}
