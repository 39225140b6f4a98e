package main

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"modernc.org/sqlite"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/store"
)

// A lite is a relational schema in SQLite (modernc.org/sqlite), with a log (WAL) that is flushed by every commit
// (synchronous=FULL). What wait share a transaction. It answers with bodies alone, without tags.
type lite struct {
	writer, reader *sql.DB
	dir            string
	groups         *grouper

	// Used by one goroutine at a time.
	addDocument, addTag, addChange, setUsage *sql.Stmt
	usage                                    store.Usage
	turn                                     chan struct{}

	getBody, findBodies, readFeed *sql.Stmt
}

const liteSchema = `
CREATE TABLE vaults (id BLOB PRIMARY KEY, documents INTEGER, bytes INTEGER, changes INTEGER) WITHOUT ROWID;
CREATE TABLE documents (vault BLOB, id BLOB, sequence INTEGER, rev BLOB, body BLOB, PRIMARY KEY (vault, id));
CREATE TABLE tags (vault BLOB, key TEXT, name TEXT, value TEXT, document BLOB, alone INTEGER,
	PRIMARY KEY (vault, key, name, value, document)) WITHOUT ROWID;
CREATE UNIQUE INDEX alone ON tags (vault, key, name, value) WHERE alone;
CREATE TABLE feed (vault BLOB, number INTEGER, document BLOB, sequence INTEGER, rev BLOB, time INTEGER, by TEXT,
	PRIMARY KEY (vault, number)) WITHOUT ROWID;
INSERT INTO vaults VALUES (zeroblob(16), 0, 0, 0);`

// A liteFile is a database by its URL.
type liteFile struct{ url string }

// Connect opens a connection.
func (f liteFile) Connect(context.Context) (driver.Conn, error) { return f.Driver().Open(f.url) }

// Driver returns the driver.
func (f liteFile) Driver() driver.Driver { return new(sqlite.Driver) }

// liteVault is the one vault.
var liteVault = make([]byte, 16)

func openSQLite(ctx context.Context, c sideConfig) (_ side, err error) {
	url := fmt.Sprintf("file:%s?_txlock=immediate&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=busy_timeout(10000)"+
		"&_pragma=cache_size(-%d)", filepath.Join(c.Dir, "documents.sqlite"), c.Memory>>10)
	l := &lite{dir: c.Dir, turn: make(chan struct{}, 1)}
	l.writer = sql.OpenDB(liteFile{url})
	l.writer.SetMaxOpenConns(1)
	if c.Documents == 0 {
		if _, err := l.writer.ExecContext(ctx, liteSchema); err != nil {
			return nil, err
		}
	}
	row := l.writer.QueryRowContext(ctx, "SELECT documents, bytes, changes FROM vaults")
	if err := row.Scan(&l.usage.Documents, &l.usage.Bytes, &l.usage.Changes); err != nil {
		return nil, err
	}
	l.reader = sql.OpenDB(liteFile{url + "&mode=ro"})
	const readers = 4 // each has a cache of its own; more were slower
	l.reader.SetMaxOpenConns(readers)
	l.reader.SetMaxIdleConns(readers)
	for _, s := range []struct {
		to   **sql.Stmt
		db   *sql.DB
		text string
	}{
		{&l.addDocument, l.writer, "INSERT INTO documents VALUES (?, ?, ?, ?, ?)"},
		{&l.addTag, l.writer, "INSERT INTO tags VALUES (?, ?, ?, ?, ?, ?)"},
		{&l.addChange, l.writer, "INSERT INTO feed VALUES (?, ?, ?, ?, ?, ?, ?)"},
		{&l.setUsage, l.writer, "UPDATE vaults SET documents = ?, bytes = ?, changes = ? WHERE id = ?"},
		{&l.getBody, l.reader, "SELECT sequence, body FROM documents WHERE vault = ? AND id = ?"},
		{&l.findBodies, l.reader, "SELECT d.sequence, d.body FROM tags t JOIN documents d ON d.vault = t.vault AND d.id = t.document " +
			"WHERE t.vault = ? AND t.key = ? AND t.name = ? AND t.value = ? ORDER BY t.document"},
		{&l.readFeed, l.reader, "SELECT number, document, sequence, rev, time, by FROM feed WHERE vault = ? AND number > ? " +
			"ORDER BY number LIMIT ?"},
	} {
		if *s.to, err = s.db.PrepareContext(ctx, s.text); err != nil {
			return nil, err
		}
	}
	l.groups = newGrouper(1, func(ds []*coffer.Document) error { return l.commit(ctx, ds) })
	return l, nil
}

// commit inserts the documents in one transaction.
func (l *lite) commit(ctx context.Context, ds []*coffer.Document) (err error) {
	l.turn <- struct{}{}
	defer func() { <-l.turn }()
	tx, err := l.writer.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback() // of no effect after Commit
	addDocument, addTag := tx.StmtContext(ctx, l.addDocument), tx.StmtContext(ctx, l.addTag)
	addChange, u := tx.StmtContext(ctx, l.addChange), l.usage
	exec := func(s *sql.Stmt, args ...any) {
		if err == nil {
			_, err = s.ExecContext(ctx, args...)
		}
	}
	now := time.Now().UnixMilli()
	for _, d := range ds {
		rev := noise[:32]
		u.Changes++
		u.Documents++
		u.Bytes += store.Size(d)
		exec(addDocument, liteVault, d.ID[:], int64(0), rev, d.Body)
		for i := range d.Tags {
			t := &d.Tags[i]
			exec(addTag, liteVault, t.Key, t.Name, t.Value, d.ID[:], t.Unique)
		}
		exec(addChange, liteVault, int64(u.Changes), d.ID[:], int64(0), rev, now, writer)
	}
	exec(tx.StmtContext(ctx, l.setUsage), u.Documents, u.Bytes, int64(u.Changes), liteVault)
	if err != nil {
		return err
	}
	if err := tx.Commit(); err != nil {
		return err
	}
	l.usage = u
	return nil
}

func (l *lite) insert(_ context.Context, n int) error { return l.groups.insert(n) }

func (l *lite) load(ctx context.Context, from, to int) error {
	return l.commit(ctx, documents(from, to))
}

func (l *lite) get(ctx context.Context, n int) error {
	id := idOf(n)
	var sequence int64
	var body []byte
	if err := l.getBody.QueryRowContext(ctx, liteVault, id[:]).Scan(&sequence, &body); err != nil {
		return err
	}
	return sized(body)
}

func (l *lite) find(ctx context.Context, name, value string) (found int, err error) {
	rows, err := l.findBodies.QueryContext(ctx, liteVault, tagKey, name, value)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var sequence int64
		var body []byte
		if err := rows.Scan(&sequence, &body); err != nil {
			return found, err
		}
		if err := sized(body); err != nil {
			return found, err
		}
		found++
	}
	return found, rows.Err()
}

func (l *lite) unique(ctx context.Context, n int) (int, error) {
	return l.find(ctx, uniqueName, uniqueValue(n))
}

func (l *lite) shared(ctx context.Context, n int) (int, error) {
	return l.find(ctx, sharedName, sharedValue(n))
}

func (l *lite) changes(ctx context.Context, after int) (read int, err error) {
	rows, err := l.readFeed.QueryContext(ctx, liteVault, after, page)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var number, sequence, at int64
		var id, rev []byte
		var by string
		if err := rows.Scan(&number, &id, &sequence, &rev, &at, &by); err != nil {
			return read, err
		}
		read++
	}
	return read, rows.Err()
}

func (l *lite) rest(ctx context.Context) error {
	_, err := l.writer.ExecContext(ctx, "PRAGMA wal_checkpoint(TRUNCATE)")
	return err
}

func (l *lite) disk(context.Context) (int64, error)   { return folderSize(l.dir) }
func (l *lite) stored(context.Context) (int64, error) { return 0, nil }
func (l *lite) server() int                           { return 0 }

// Close closes the database.
func (l *lite) Close() error {
	l.groups.Close()
	return errors.Join(l.reader.Close(), l.writer.Close())
}
