package postgres

import (
	"context"
	"crypto/rand"
	"fmt"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/internal/servers"
	"github.com/cofferhq/coffer/store"
	"github.com/cofferhq/coffer/store/storetest"
)

const (
	benchKey = "did:key:zExampleOfTheUsualLengthOfAKeyAgreementKey#hmac"
	by       = "did:key:z6MkexampleExampleExampleExampleExampleExample"
)

// benchDocument returns a document of 1.5 kB that cannot be compressed, with three tags, the last one unique.
func benchDocument(i int) *coffer.Document {
	body := make([]byte, 1500)
	rand.Read(body)
	tag := func(name, value string) coffer.Tag {
		return coffer.Tag{Key: benchKey, Name: name, Value: value}
	}
	d := &coffer.Document{ID: coffer.NewObjectID(), Body: body, Tags: []coffer.Tag{
		tag("CUQaxPtSLtd8L3WBAIkJ4DiVJeqoF6bdnhR7lSaPloZ", fmt.Sprintf("RV58Va4904K-18_L5g_vfARXRWEB00knFSGPpukUBro%d",
			i/10)),
		tag("DUQaxPtSLtd8L3WBAIkJ4DiVJeqoF6bdnhR7lSaPloZ", fmt.Sprintf("SV58Va4904K-18_L5g_vfARXRWEB00knFSGPpukUBro%d", i%7)),
		tag("EUQaxPtSLtd8L3WBAIkJ4DiVJeqoF6bdnhR7lSaPloZ", fmt.Sprintf("TV58Va4904K-18_L5g_vfARXRWEB00knFSGPpukUBro%d", i)),
	}}
	d.Tags[2].Unique = true
	return d
}

// raw is a program that writes the same rows as this package for documents that are inserted into one vault, in groups
// likewise, and does nothing else: it checks no rule and knows that nobody else writes.
type raw struct {
	pool  *pgxpool.Pool
	vault coffer.VaultID
	queue chan *rawCall
	usage store.Usage
	done  chan struct{}
}

type rawCall struct {
	d     *coffer.Document
	rev   coffer.Rev
	size  int64
	tags  []byte
	index index
	done  chan error
}

func newRaw(b *testing.B, url string) *raw {
	closeStore(b, on(b, url, Options{})) // makes the tables
	pool, err := pgxpool.New(b.Context(), url)
	if err != nil {
		b.Fatal(err)
	}
	r := &raw{pool: pool, vault: coffer.NewVaultID(), queue: make(chan *rawCall, maxGroup), done: make(chan struct{})}
	_, err = pool.Exec(b.Context(), `INSERT INTO vaults VALUES ($1, 0, 0, 0, 0)`, uuid(r.vault))
	if err != nil {
		b.Fatal(err)
	}
	go r.run()
	return r
}

func (r *raw) close() {
	close(r.queue)
	<-r.done
	r.pool.Close()
}

func (r *raw) insert(d *coffer.Document) error {
	c := &rawCall{d: d, rev: d.Rev(), size: store.Size(d), tags: encodeTags(d.Tags), index: indexOf(d.Tags),
		done: make(chan error, 1)}
	r.queue <- c
	return <-c.done
}

func (r *raw) run() {
	defer close(r.done)
	for first := range r.queue {
		runtime.Gosched()
		calls := []*rawCall{first}
	more:
		for len(calls) < maxGroup {
			select {
			case c, ok := <-r.queue:
				if !ok {
					break more
				}
				calls = append(calls, c)
			default:
				break more
			}
		}
		err := r.commit(calls)
		for _, c := range calls {
			c.done <- err
		}
	}
}

const (
	rawDocuments = `INSERT INTO documents (vault, id, present, sequence, number, rev, size, chunks)
SELECT $1, n.id, true, 0, n.number, n.rev, n.size, 0 FROM unnest($2::uuid[], $3::int8[], $4::bytea[], $5::int8[])
	AS n (id, number, rev, size)`
	rawRevisions = `INSERT INTO revisions (vault, id, sequence, rev, size, parents, tags, body)
SELECT $1, n.id, 0, n.rev, n.size, '', n.tags, n.body
FROM unnest($2::uuid[], $3::bytea[], $4::int8[], $5::bytea[], $6::bytea[]) AS n (id, rev, size, tags, body)`
	rawTags = `INSERT INTO tags (vault, tag, name, id, exclusive)
SELECT $1, n.tag, n.name, n.id, n.exclusive FROM unnest($2::uuid[], $3::uuid[], $4::uuid[], $5::bool[])
	AS n (tag, name, id, exclusive)`
	rawFeed = `INSERT INTO feed (vault, number, kind, id, sequence, rev, author, at)
SELECT $1, n.number, 1, n.id, 0, n.rev, $2, $3 FROM unnest($4::int8[], $5::uuid[], $6::bytea[]) AS n (number, id, rev)`
	rawVault = `UPDATE vaults SET documents = $2, bytes = $3, changes = $4 WHERE vault = $1`
)

func (r *raw) commit(calls []*rawCall) error {
	var ids, tagIDs, tags, names uuids
	var numbers, sizes int8s
	var revs, texts, bodies byteas
	var exclusive flags
	for _, c := range calls {
		r.usage.Documents++
		r.usage.Changes++
		r.usage.Bytes += c.size
		id := uuid(c.d.ID)
		ids, numbers, sizes = append(ids, id), append(numbers, int64(r.usage.Changes)), append(sizes, c.size)
		revs, texts, bodies = append(revs, c.rev[:]), append(texts, c.tags), append(bodies, c.d.Body)
		for _, p := range c.index {
			tagIDs, tags, names = append(tagIDs, id), append(tags, uuid(p.tag)), append(names, uuid(p.name))
			exclusive = append(exclusive, p.exclusive)
		}
	}
	v := uuid(r.vault)
	b := &pgx.Batch{}
	b.Queue("begin")
	b.Queue(rawVault, v, r.usage.Documents, r.usage.Bytes, int64(r.usage.Changes))
	b.Queue(rawDocuments, v, ids, numbers, revs, sizes)
	b.Queue(rawRevisions, v, ids, revs, sizes, texts, bodies)
	b.Queue(rawTags, v, tags, names, tagIDs, exclusive)
	b.Queue(rawFeed, v, []byte(by), time.Now(), numbers, ids, revs)
	b.Queue("commit")
	return r.pool.SendBatch(context.Background(), b).Close()
}

// BenchmarkInsert makes durable inserts, beside raw.
func BenchmarkInsert(b *testing.B) {
	for _, writers := range []int{1, 16, 64} {
		b.Run(fmt.Sprintf("writers=%d", writers), func(b *testing.B) {
			s := on(b, servers.Database(b), Options{})
			s.notifier.off.Store(true) // as in a process that watches alone: raw tells nobody either
			defer s.Close()
			r := newRaw(b, servers.Database(b))
			defer r.close()
			v := coffer.NewVaultID()
			begun := [2]int64{commits(b, s.pool), commits(b, r.pool)}
			storetest.Duel(b, writers, 250*min(writers, 8), &storetest.Side{Name: "store", Do: func(i int) error {
				_, err := s.Apply(b.Context(), store.Write{Vault: v, By: by, Time: time.Now(), Document: benchDocument(i)})
				return err
			}}, &storetest.Side{Name: "raw", Do: func(i int) error { return r.insert(benchDocument(i)) }})
			b.ReportMetric(float64(b.N)/float64(commits(b, s.pool)-begun[0]), "store-group")
			b.ReportMetric(float64(b.N)/float64(commits(b, r.pool)-begun[1]), "raw-group")
		})
	}
}

// commits returns how many transactions a database has seen, about.
func commits(b *testing.B, pool *pgxpool.Pool) (n int64) {
	time.Sleep(1100 * time.Millisecond) // sessions tell of theirs once a second
	err := pool.QueryRow(b.Context(), `SELECT xact_commit FROM pg_stat_database
		WHERE datname = current_database()`).Scan(&n)
	if err != nil {
		b.Fatal(err)
	}
	return n
}

// BenchmarkReplace replaces documents, each writer its own.
func BenchmarkReplace(b *testing.B) {
	for _, writers := range []int{1, 16, 64} {
		b.Run(fmt.Sprintf("writers=%d", writers), func(b *testing.B) {
			s := on(b, servers.Database(b), Options{})
			defer s.Close()
			v := coffer.NewVaultID()
			own := make(chan *coffer.Document, writers)
			for i := range writers {
				d := benchDocument(i)
				apply(b, s, putting(v, d))
				own <- d
			}
			storetest.Duel(b, writers, 250*min(writers, 8), &storetest.Side{Name: "store", Do: func(i int) error {
				d := <-own
				n := benchDocument(0)
				n.ID, n.Sequence, n.Parents, n.Tags = d.ID, d.Sequence+1, []coffer.Rev{d.Rev()}, d.Tags
				_, err := s.Apply(b.Context(), store.Write{Vault: v, By: by, Time: time.Now(), Document: n})
				own <- n
				return err
			}})
		})
	}
}

// BenchmarkOnce notes names, beside a get, which is the least that any request reads.
func BenchmarkOnce(b *testing.B) {
	for _, writers := range []int{1, 16, 64} {
		b.Run(fmt.Sprintf("writers=%d", writers), func(b *testing.B) {
			s := on(b, servers.Database(b), Options{})
			defer s.Close()
			v, d := coffer.NewVaultID(), benchDocument(0)
			apply(b, s, putting(v, d))
			until := time.Now().Add(time.Hour)
			storetest.Duel(b, writers, 250*min(writers, 8), &storetest.Side{Name: "once", Do: func(int) error {
				_, err := s.Once(b.Context(), coffer.NewObjectID(), until)
				return err
			}}, &storetest.Side{Name: "get", Do: func(int) error {
				_, err := s.Get(b.Context(), v, d.ID)
				return err
			}})
		})
	}
}

// BenchmarkVaults makes durable inserts into a thousand vaults in turn.
func BenchmarkVaults(b *testing.B) {
	for _, writers := range []int{1, 16, 64} {
		b.Run(fmt.Sprintf("writers=%d", writers), func(b *testing.B) {
			s := on(b, servers.Database(b), Options{})
			defer s.Close()
			vaults := make([]coffer.VaultID, 1000)
			for i := range vaults {
				vaults[i] = coffer.NewVaultID()
			}
			var next atomic.Int64
			storetest.Duel(b, writers, 250*min(writers, 8), &storetest.Side{Name: "store", Do: func(i int) error {
				v := vaults[int(next.Add(1))%len(vaults)]
				_, err := s.Apply(b.Context(), store.Write{Vault: v, By: by, Time: time.Now(), Document: benchDocument(i)})
				return err
			}})
		})
	}
}

// BenchmarkRead reads from vaults of different sizes, beside a program that asks for the same rows and makes nothing of
// them.
func BenchmarkRead(b *testing.B) {
	for _, n := range []int{10_000, 100_000} {
		url := servers.Database(b)
		s := on(b, url, Options{})
		v := coffer.NewVaultID()
		ids := make([]coffer.ObjectID, 0, n)
		for len(ids) < n {
			writes := make([]store.Write, 500)
			for i := range writes {
				d := benchDocument(len(ids))
				writes[i] = store.Write{Vault: v, By: by, Time: time.Now(), Document: d}
				ids = append(ids, d.ID)
			}
			apply(b, s, writes...)
		}
		pool, err := pgxpool.New(b.Context(), url)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := pool.Exec(b.Context(), "ANALYZE"); err != nil {
			b.Fatal(err)
		}
		random := func(i int) int { return i * 7919 % n }
		b.Run(fmt.Sprintf("get/%d", n), func(b *testing.B) {
			storetest.Duel(b, 4, 2000, &storetest.Side{Name: "store", Do: func(i int) error {
				_, err := s.Get(b.Context(), v, ids[random(i)])
				return err
			}}, &storetest.Side{Name: "raw", Do: func(i int) error {
				var body, tags []byte
				return pool.QueryRow(b.Context(), `SELECT tags, body FROM revisions WHERE vault = $1 AND id = $2 AND sequence = 0`,
					uuid(v), uuid(ids[random(i)])).Scan(&tags, &body)
			}})
		})
		b.Run(fmt.Sprintf("tag/%d", n), func(b *testing.B) {
			storetest.Duel(b, 4, 500, &storetest.Side{Name: "store", Do: func(i int) error {
				t := benchDocument(random(i)).Tags[0]
				q := coffer.Query{Index: benchKey, Equals: []map[string]string{{t.Name: t.Value}}, Limit: 100}
				return expectDocuments(10, func(yield func() bool) error {
					for _, err := range s.Query(b.Context(), v, q) {
						if err != nil || !yield() {
							return err
						}
					}
					return nil
				})
			}}, &storetest.Side{Name: "raw", Do: func(i int) error {
				t := benchDocument(random(i)).Tags[0]
				rows, err := pool.Query(b.Context(), `SELECT r.tags, r.body FROM tags t JOIN revisions r ON r.vault = t.vault
					AND r.id = t.id
					WHERE t.vault = $1 AND t.tag = $2 ORDER BY t.id LIMIT 100`, uuid(v), uuid(termOf(t.Key, t.Name, t.Value)))
				if err != nil {
					return err
				}
				var body, tags []byte
				return expectDocuments(10, func(yield func() bool) error {
					_, err := pgx.ForEachRow(rows, []any{&tags, &body}, func() error {
						yield()
						return nil
					})
					return err
				})
			}})
		})
		query := func(name string, found int, q func(tags []coffer.Tag) coffer.Query) {
			b.Run(fmt.Sprintf("%s/%d", name, n), func(b *testing.B) {
				storetest.Duel(b, 4, 500, &storetest.Side{Name: "store", Do: func(i int) error {
					return expectDocuments(found, func(yield func() bool) error {
						for _, err := range s.Query(b.Context(), v, q(benchDocument(random(i)).Tags)) {
							if err != nil || !yield() {
								return err
							}
						}
						return nil
					})
				}})
			})
		}
		query("tag-ids", 10, func(t []coffer.Tag) coffer.Query {
			return coffer.Query{Index: benchKey, Equals: []map[string]string{{t[0].Name: t[0].Value}}, IDsOnly: true}
		})
		query("two-tags", 1, func(t []coffer.Tag) coffer.Query { // meets a list of a seventh of the vault
			return coffer.Query{Index: benchKey, Equals: []map[string]string{{t[0].Name: t[0].Value, t[1].Name: t[1].Value}}}
		})
		query("page", 100, func(t []coffer.Tag) coffer.Query { return coffer.Query{Limit: 100} })
		b.Run(fmt.Sprintf("check/%d", n), func(b *testing.B) {
			for range b.N {
				if err := s.Check(b.Context(), func(what string) { b.Errorf("Check: %s", what) }, nil); err != nil {
					b.Fatal(err)
				}
			}
		})
		pool.Close()
		_ = s.Close()
	}
}

// expectDocuments counts what is yielded.
func expectDocuments(n int, all func(yield func() bool) error) error {
	got := 0
	if err := all(func() bool { got++; return true }); err != nil {
		return err
	}
	if got < n {
		return fmt.Errorf("%d documents, want %d", got, n)
	}
	return nil
}
