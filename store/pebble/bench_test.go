package pebble

import (
	"bufio"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"testing"
	"time"

	engine "github.com/cockroachdb/pebble/v2"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/store"
	"github.com/cofferhq/coffer/store/storetest"
)

const benchKey = "did:key:zExampleOfTheUsualLengthOfAKeyAgreementKey#hmac"

// benchDocument returns a document of 1.5 kB that cannot be compressed, with three tags, the last one unique.
func benchDocument(i int) *coffer.Document {
	body := make([]byte, 1500)
	rand.Read(body)
	tag := func(name, value string) coffer.Tag {
		return coffer.Tag{Key: benchKey, Name: name, Value: value}
	}
	d := &coffer.Document{ID: coffer.NewObjectID(), Body: body, Tags: []coffer.Tag{
		tag("CUQaxPtSLtd8L3WBAIkJ4DiVJeqoF6bdnhR7lSaPloZ", fmt.Sprintf("RV58Va4904K-18_L5g_vfARXRWEB00knFSGPpukUBro%d", i/10)),
		tag("DUQaxPtSLtd8L3WBAIkJ4DiVJeqoF6bdnhR7lSaPloZ", fmt.Sprintf("SV58Va4904K-18_L5g_vfARXRWEB00knFSGPpukUBro%d", i%7)),
		tag("EUQaxPtSLtd8L3WBAIkJ4DiVJeqoF6bdnhR7lSaPloZ", fmt.Sprintf("TV58Va4904K-18_L5g_vfARXRWEB00knFSGPpukUBro%d", i)),
	}}
	d.Tags[2].Unique = true
	return d
}

// BenchmarkInsert makes durable inserts, beside an engine that is given the same keys and values and nothing else to
// do: by a batch for each document ("own"), or by one for all that wait, as the store does it ("group").
func BenchmarkInsert(b *testing.B) {
	for _, bare := range []string{"own", "group"} {
		b.Run("bare="+bare, func(b *testing.B) { benchmarkInsert(b, bare == "group") })
	}
}

func benchmarkInsert(b *testing.B, grouped bool) {
	for _, o := range []struct {
		name string
		Options
	}{{"default", Options{}}, {"tree", Options{Separate: -1}}, {"64MiB", Options{Memory: 64 << 20}}} {
		for _, writers := range []int{1, 16, 64} {
			b.Run(fmt.Sprintf("%s/writers=%d", o.name, writers), func(b *testing.B) {
				s := on(b, b.TempDir(), o.Options)
				defer s.Close()
				compactions := new(scheduler)
				dir := b.TempDir()
				db, err := engine.Open(dir, engineOptions(dir, o.Options, newHealth(nil), compactions))
				if err != nil {
					b.Fatal(err)
				}
				compactions.start()
				defer db.Close()
				v := coffer.NewVaultID()
				insert := func(i int) error {
					batch := bareBatch(db, v, i)
					defer batch.Close()
					return batch.Commit(engine.Sync)
				}
				if grouped {
					g := newBareGroups(db, v)
					defer g.stop()
					insert = g.insert
				}
				storetest.Duel(b, writers, 500*min(writers, 8), &storetest.Side{Name: "store", Do: func(i int) error {
					_, err := s.Apply(b.Context(), store.Write{Vault: v, By: by, Time: time.Now(), Document: benchDocument(i)})
					return err
				}}, &storetest.Side{Name: "bare", Do: insert})
			})
		}
	}
}

const by = "did:key:z6MkexampleExampleExampleExampleExampleExample"

// bareBatch returns what the store would write for a document.
func bareBatch(db *engine.DB, v coffer.VaultID, i int) *engine.Batch {
	d := benchDocument(i)
	rev := d.Rev()
	size := store.Size(d)
	batch := db.NewBatch()
	set := func(key, value []byte) { _ = batch.Set(key, value, nil) }
	for _, m := range indexOf(d.Tags) {
		key := appendTerm(nil, v, m)
		if m[0] == uniqueTable {
			set(key, d.ID[:])
		} else {
			set(append(key, d.ID[:]...), nil)
		}
	}
	set(appendObject(nil, v, docTable, d.ID), appendRevision(nil, d, rev))
	set(appendObject(nil, v, headTable, d.ID), (&head{present: true, rev: rev, size: size}).append(nil))
	set(appendChange(nil, v, uint64(i)), encodeChange(nil, &coffer.Change{Kind: coffer.Accepted, ID: d.ID, Rev: rev, By: by}))
	set(appendTable(nil, v, usageTable), encodeUsage(nil, store.Usage{Documents: int64(i), Changes: uint64(i)}))
	return batch
}

// bareGroups share commits as a store's groups do, and that is all.
type bareGroups struct {
	db    *engine.DB
	vault coffer.VaultID
	queue chan *bareCall
	full  chan []*bareCall
	ended chan struct{}
}

type bareCall struct {
	batch *engine.Batch
	group *engine.Batch
	done  chan error
}

func newBareGroups(db *engine.DB, v coffer.VaultID) *bareGroups {
	g := &bareGroups{db, v, make(chan *bareCall, maxGroup), make(chan []*bareCall, 2), make(chan struct{})}
	go g.form()
	go g.settle()
	return g
}

func (g *bareGroups) insert(i int) error {
	c := &bareCall{batch: bareBatch(g.db, g.vault, i), done: make(chan error, 1)}
	g.queue <- c
	return <-c.done
}

func (g *bareGroups) stop() {
	close(g.queue)
	<-g.ended
}

func (g *bareGroups) form() {
	defer close(g.full)
	for c := range g.queue {
		calls, batch := []*bareCall{c}, g.db.NewBatch()
		for c != nil {
			_ = batch.Apply(c.batch, nil)
			_ = c.batch.Close()
			c.group, c = batch, nil
			if len(calls) < maxGroup && batch.Len() < maxGroupBytes {
				select {
				case c = <-g.queue:
					if c != nil {
						calls = append(calls, c)
					}
				default:
				}
			}
		}
		if err := g.db.ApplyNoSyncWait(batch, engine.Sync); err != nil {
			panic(err)
		}
		g.full <- calls
	}
}

func (g *bareGroups) settle() {
	defer close(g.ended)
	for calls := range g.full {
		err := calls[0].group.SyncWait()
		_ = calls[0].group.Close()
		for _, c := range calls {
			c.done <- err
		}
	}
}

// filled returns a store with n documents of benchDocument.
func filled(b *testing.B, o Options, n int) (*Store, coffer.VaultID, []coffer.ObjectID) {
	s := on(b, b.TempDir(), o)
	v := coffer.NewVaultID()
	ids := make([]coffer.ObjectID, 0, n)
	for len(ids) < n {
		writes := make([]store.Write, 100)
		for i := range writes {
			d := benchDocument(len(ids))
			writes[i] = store.Write{Vault: v, By: by, Time: time.Now(), Document: d}
			ids = append(ids, d.ID)
		}
		if _, err := s.Apply(b.Context(), writes...); err != nil {
			b.Fatal(err)
		}
	}
	return s, v, ids
}

// BenchmarkRead reads from vaults of different sizes, beside an engine that is asked for the same keys.
func BenchmarkRead(b *testing.B) {
	for _, n := range []int{10_000, 100_000} {
		s, v, ids := filled(b, Options{}, n)
		random := func(i int) int { return i * 7919 % n }
		b.Run(fmt.Sprintf("get/%d", n), func(b *testing.B) {
			storetest.Duel(b, 4, 2000, &storetest.Side{Name: "store", Do: func(i int) error {
				_, err := s.Get(b.Context(), v, ids[random(i)])
				return err
			}}, &storetest.Side{Name: "bare", Do: func(i int) error {
				_, closer, err := s.db.Get(appendObject(nil, v, docTable, ids[random(i)]))
				if err != nil {
					return err
				}
				return closer.Close()
			}})
		})
		query := func(name string, found, tags int, idsOnly bool) {
			b.Run(fmt.Sprintf("%s/%d", name, n), func(b *testing.B) {
				storetest.Duel(b, 4, 500, &storetest.Side{Name: "store", Do: func(i int) error {
					filter := make(map[string]string)
					for _, t := range benchDocument(random(i)).Tags[:tags] {
						filter[t.Name] = t.Value
					}
					q := coffer.Query{Index: benchKey, Equals: []map[string]string{filter}, IDsOnly: idsOnly}
					got := 0
					for _, err := range s.Query(b.Context(), v, q) {
						if err != nil {
							return err
						}
						got++
					}
					if got < found {
						return fmt.Errorf("%d found, want %d", got, found)
					}
					return nil
				}})
			})
		}
		query("tag", 10, 1, false)
		query("tag-ids", 10, 1, true)
		query("two-tags", 1, 2, false) // meets a list of a seventh of the vault
		_ = s.Close()
	}
}

// killed returns a folder with a store of n documents, whose process was killed while it wrote.
func killed(b *testing.B, n int) string {
	program, err := os.Executable()
	if err != nil {
		b.Skip("no name of this program")
	}
	dir := b.TempDir()
	cmd := exec.Command(program)
	cmd.Env = append(os.Environ(), childDir+"="+dir, childFill+"="+fmt.Sprint(n))
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	_, err = bufio.NewReader(out).ReadString('\n')
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	if err != nil {
		b.Fatal(err)
	}
	return dir
}

// opened opens a store of at least n documents and returns how long that took, up to its first answer.
func opened(b *testing.B, dir string, n int) (*Store, time.Duration) {
	start := time.Now()
	s := on(b, dir, Options{})
	u, err := s.Usage(b.Context(), coffer.VaultID{1})
	if err != nil || u.Documents < int64(n) {
		b.Fatalf("Usage: %+v, %v", u, err)
	}
	return s, time.Since(start)
}

// BenchmarkOpen opens a store of 100,000 documents whose process was killed while it wrote.
func BenchmarkOpen(b *testing.B) {
	dir := killed(b, 100_000)
	b.ResetTimer()
	for range b.N {
		b.StopTimer()
		again := b.TempDir()
		if err := os.CopyFS(again, os.DirFS(dir)); err != nil {
			b.Fatal(err)
		}
		syscall.Sync() // or the first flush would wait for the copy
		b.StartTimer()
		s, _ := opened(b, again, 100_000)
		b.StopTimer()
		closeStore(b, s)
		b.StartTimer()
	}
}

// BenchmarkMillion fills a store with 1,000,000 documents, kills its process while it writes on, and measures: opening it
// then and after an orderly end, the bytes it takes on the disk for each that it holds, and its queries beside those of a
// store of 10,000. It takes minutes, and 4 GB: run it with -benchtime 1x. COFFER_PEBBLE_DOCUMENTS may say fewer.
func BenchmarkMillion(b *testing.B) {
	many, few := 1_000_000, 10_000
	if n, err := strconv.Atoi(os.Getenv("COFFER_PEBBLE_DOCUMENTS")); err == nil {
		many = n
	}
	dir, small := killed(b, many), b.TempDir()
	syscall.Sync()
	s, wasKilled := opened(b, dir, many)
	closeStore(b, s)
	s, clean := opened(b, dir, many)
	for quiet := 0; quiet < 20; quiet++ {
		if s.db.Metrics().Compact.NumInProgress > 0 {
			quiet = 0
		}
		time.Sleep(100 * time.Millisecond)
	}
	ratio := func() float64 {
		stats, err := s.Stats(b.Context())
		if err != nil {
			b.Fatal(err)
		}
		return float64(stats.Disk) / float64(stats.Bytes)
	}
	before, start := ratio(), time.Now()
	if err := s.db.Compact(b.Context(), []byte{0}, []byte{0xff}, false); err != nil {
		b.Fatal(err)
	}
	took, after := time.Since(start), ratio()
	files := s.db.Metrics()
	closeStore(b, s)
	b.Run("store", func(b *testing.B) {
		b.ReportMetric(0, "ns/op")
		b.ReportMetric(wasKilled.Seconds()*1000, "open-killed-ms")
		b.ReportMetric(clean.Seconds()*1000, "open-clean-ms")
		b.ReportMetric(before, "disk/byte")
		b.ReportMetric(after, "compacted-disk/byte")
		b.ReportMetric(took.Seconds(), "compaction-s")
		b.ReportMetric(float64(files.Table.Local.LiveCount), "tables")
		b.ReportMetric(float64(files.BlobFiles.LiveCount), "document-files")
	})

	s = on(b, small, Options{})
	for i := 0; i < few; {
		writes := make([]store.Write, 100)
		for j := range writes {
			writes[j] = putting(coffer.VaultID{1}, benchDocument(i))
			i++
		}
		apply(b, s, writes...)
	}
	if err := s.db.Compact(b.Context(), []byte{0}, []byte{0xff}, false); err != nil {
		b.Fatal(err)
	}
	closeStore(b, s)
	for _, mib := range []int64{16, 64} {
		b.Run(fmt.Sprintf("%dMiB", mib), func(b *testing.B) {
			o := Options{Memory: mib << 20}
			large, small := on(b, dir, o), on(b, small, o)
			defer closeStore(b, large)
			defer closeStore(b, small)
			benchmarkQueries(b, large, many, small, few)
		})
	}
}

// benchmarkQueries makes queries in a store with many documents of benchDocument and in one with few, by turns. It says
// something with -benchtime 10000x and more.
func benchmarkQueries(b *testing.B, large *Store, many int, small *Store, few int) {
	for _, q := range []struct {
		name    string
		tags    int
		from    int // the first of those tags
		idsOnly bool
	}{{"tag", 1, 0, false}, {"tag-ids", 1, 0, true}, {"unique", 1, 2, false}, {"two-tags", 2, 0, false}} {
		do := func(s *Store, n int) func(i int) error {
			return func(i int) error {
				filter := make(map[string]string)
				for _, t := range benchDocument(i * 7919 % n).Tags[q.from : q.from+q.tags] {
					filter[t.Name] = t.Value
				}
				got := 0
				for _, err := range s.Query(b.Context(), coffer.VaultID{1}, coffer.Query{
					Index: benchKey, Equals: []map[string]string{filter}, IDsOnly: q.idsOnly,
				}) {
					if err != nil {
						return err
					}
					got++
				}
				if got == 0 {
					return errors.New("nothing found")
				}
				return nil
			}
		}
		b.Run(q.name, func(b *testing.B) {
			storetest.Duel(b, 4, 500, &storetest.Side{Name: "few", Do: do(small, few)},
				&storetest.Side{Name: "many", Do: do(large, many)})
		})
	}
}
