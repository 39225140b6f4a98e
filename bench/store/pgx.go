package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/store"
	"github.com/cofferhq/coffer/store/postgres"
)

// A hand is a program written by hand on PostgreSQL: it puts the same rows into the same tables as store/postgres, in as
// few round trips as there can be, and leaves the rest out. It reads nothing before it writes, checks nothing but what
// the tables do, and names no revision by its hash. What wait share a commit.
type hand struct {
	*admin
	pool   *pgxpool.Pool
	groups *grouper
}

// The statements of a commit. Together they are one round trip and one transaction.
const (
	handUsage = `UPDATE vaults SET documents = documents + $2, bytes = bytes + $3, changes = changes + $2 WHERE vault = $1`

	handDocuments = `INSERT INTO documents (vault, id, present, sequence, number, rev, size, chunks)
		SELECT $1, u.id, true, 0, v.changes - $2 + u.n, u.rev, u.size, 0
		FROM vaults v, unnest($3::uuid[], $4::bytea[], $5::int8[]) WITH ORDINALITY AS u (id, rev, size, n) WHERE v.vault = $1`

	handRevisions = `INSERT INTO revisions (vault, id, sequence, rev, size, parents, tags, body)
		SELECT $1, u.id, 0, u.rev, u.size, '', u.tags, u.body
		FROM unnest($2::uuid[], $3::bytea[], $4::int8[], $5::bytea[], $6::bytea[]) AS u (id, rev, size, tags, body)`

	handTags = `INSERT INTO tags (vault, tag, name, id, exclusive)
		SELECT $1, u.tag, u.name, u.id, u.exclusive
		FROM unnest($2::uuid[], $3::uuid[], $4::uuid[], $5::bool[]) AS u (tag, name, id, exclusive)`

	handFeed = `INSERT INTO feed (vault, number, kind, id, sequence, rev, author, at)
		SELECT $1, v.changes - $2 + u.n, 1, u.id, 0, u.rev, $3, $4
		FROM vaults v, unnest($5::uuid[], $6::bytea[]) WITH ORDINALITY AS u (id, rev, n) WHERE v.vault = $1`
)

// The statements that read: as much as store/postgres gives.
const (
	handGet = `SELECT sequence, rev, parents, tags, body FROM revisions WHERE vault = $1 AND id = $2 AND superseded IS NULL`

	// Said so that there is no other plan than to look up one after the other, whatever the statistics say of tags.
	handFind = `SELECT t.id, r.sequence, r.rev, r.parents, r.tags, r.body
		FROM (SELECT id FROM tags WHERE vault = $1 AND tag = $2 ORDER BY id LIMIT 1000) t
		CROSS JOIN LATERAL (SELECT * FROM revisions WHERE vault = $1 AND id = t.id AND superseded IS NULL LIMIT 1) r ORDER BY t.id`

	handChanges = `SELECT number, kind, id, sequence, rev, author, at FROM feed WHERE vault = $1 AND number > $2 ORDER BY number LIMIT $3`
)

// openHand lets store/postgres make the tables.
func openHand(ctx context.Context, c sideConfig) (_ side, err error) {
	s, err := postgres.Open(ctx, c.Postgres, postgres.Options{})
	if err != nil {
		return nil, err
	}
	if err := s.Close(); err != nil {
		return nil, err
	}
	h := new(hand)
	if h.pool, err = pgxpool.New(ctx, c.Postgres); err != nil {
		return nil, err
	}
	const vault = "INSERT INTO vaults (vault, documents, bytes, changes, law) VALUES ($1, 0, 0, 0, 0)"
	if _, err := h.pool.Exec(ctx, vault, [16]byte(ourVault)); err != nil {
		h.pool.Close()
		return nil, err
	}
	if h.admin, err = newAdmin(ctx, c.Postgres); err != nil {
		h.pool.Close()
		return nil, err
	}
	// One at a time: each locks the vault's row until it is on the disk.
	h.groups = newGrouper(1, func(ds []*coffer.Document) error { return h.commit(ctx, ds) })
	return h, nil
}

// tagOf names a tag, or a tag's name, as a column does.
func tagOf(texts ...string) [16]byte {
	b := append(make([]byte, 0, 256), tagKey...)
	for _, t := range texts {
		b = append(b, t...)
	}
	sum := sha256.Sum256(b)
	return [16]byte(sum[:16])
}

// commit inserts the documents in one transaction.
func (h *hand) commit(ctx context.Context, ds []*coffer.Document) error {
	var total int64
	n := len(ds)
	ids, revs, sizes := make([][16]byte, n), make([][]byte, n), make([]int64, n)
	kept, bodies := make([][]byte, n), make([][]byte, n)
	var tags, names, holders [][16]byte
	var exclusive []bool
	for i, d := range ds {
		ids[i], revs[i], sizes[i], bodies[i] = [16]byte(d.ID), noise[:32], store.Size(d), d.Body
		total += sizes[i]
		for j := range d.Tags {
			t := &d.Tags[j]
			tags, names = append(tags, tagOf(t.Name, t.Value)), append(names, tagOf(t.Name))
			holders, exclusive = append(holders, [16]byte(d.ID)), append(exclusive, t.Unique)
			kept[i] = append(append(append(kept[i], t.Key...), t.Name...), t.Value...)
		}
	}
	vault := [16]byte(ourVault)
	var b pgx.Batch
	b.Queue(handUsage, vault, int64(n), total)
	b.Queue(handDocuments, vault, int64(n), ids, revs, sizes)
	b.Queue(handRevisions, vault, ids, revs, sizes, kept, bodies)
	b.Queue(handTags, vault, tags, names, holders, exclusive)
	b.Queue(handFeed, vault, int64(n), []byte(writer), time.Now(), ids, revs)
	return h.pool.SendBatch(ctx, &b).Close()
}

func (h *hand) insert(_ context.Context, n int) error { return h.groups.insert(n) }

func (h *hand) load(ctx context.Context, from, to int) error {
	return h.commit(ctx, documents(from, to))
}

func (h *hand) get(ctx context.Context, n int) error {
	var sequence int64
	var rev, parents, tags, body []byte
	err := h.pool.QueryRow(ctx, handGet, [16]byte(ourVault), [16]byte(idOf(n))).Scan(&sequence, &rev, &parents, &tags, &body)
	if err != nil {
		return err
	}
	return sized(body)
}

func (h *hand) find(ctx context.Context, name, value string) (found int, err error) {
	rows, err := h.pool.Query(ctx, handFind, [16]byte(ourVault), tagOf(name, value))
	if err != nil {
		return 0, err
	}
	defer rows.Close()
	for rows.Next() {
		var id [16]byte
		var sequence int64
		var rev, parents, tags, body []byte
		if err := errors.Join(rows.Scan(&id, &sequence, &rev, &parents, &tags, &body), sized(body)); err != nil {
			return found, err
		}
		found++
	}
	return found, rows.Err()
}

func (h *hand) unique(ctx context.Context, n int) (int, error) {
	return h.find(ctx, uniqueName, uniqueValue(n))
}

func (h *hand) shared(ctx context.Context, n int) (int, error) {
	return h.find(ctx, sharedName, sharedValue(n))
}

func (h *hand) changes(ctx context.Context, after int) (read int, err error) {
	rows, err := h.pool.Query(ctx, handChanges, [16]byte(ourVault), int64(after), page)
	if err != nil {
		return 0, err
	}
	defer rows.Close()
	for rows.Next() {
		var number, kind, sequence int64
		var id [16]byte
		var rev, author []byte
		var at time.Time
		if err := rows.Scan(&number, &kind, &id, &sequence, &rev, &author, &at); err != nil {
			return read, err
		}
		read++
	}
	return read, rows.Err()
}

func (h *hand) stored(context.Context) (int64, error) { return 0, nil }
func (h *hand) server() int                           { return h.pid }

// Close closes the connections.
func (h *hand) Close() error {
	h.groups.Close()
	h.pool.Close()
	return h.close()
}
