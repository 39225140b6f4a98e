package pebble

import (
	"bufio"
	"crypto/rand"
	"fmt"
	"os"
	"os/exec"
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
// do, one batch for each document.
func BenchmarkInsert(b *testing.B) {
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
				storetest.Duel(b, writers, 500*min(writers, 8), &storetest.Side{Name: "store", Do: func(i int) error {
					_, err := s.Apply(b.Context(), store.Write{Vault: v, By: by, Time: time.Now(), Document: benchDocument(i)})
					return err
				}}, &storetest.Side{Name: "bare", Do: func(i int) error { return bareInsert(db, v, i) }})
			})
		}
	}
}

const by = "did:key:z6MkexampleExampleExampleExampleExampleExample"

func bareInsert(db *engine.DB, v coffer.VaultID, i int) error {
	d := benchDocument(i)
	rev := d.Rev()
	size := store.Size(d)
	batch := db.NewBatch()
	defer batch.Close()
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
	return batch.Commit(engine.Sync)
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

// BenchmarkOpen opens a store of 100,000 documents whose process was killed while it wrote.
func BenchmarkOpen(b *testing.B) {
	program, err := os.Executable()
	if err != nil {
		b.Skip("no name of this program")
	}
	dir := b.TempDir()
	cmd := exec.Command(program)
	cmd.Env = append(os.Environ(), childDir+"="+dir, childFill+"=100000")
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
	b.ResetTimer()
	for range b.N {
		b.StopTimer()
		killed := b.TempDir()
		if err := os.CopyFS(killed, os.DirFS(dir)); err != nil {
			b.Fatal(err)
		}
		syscall.Sync() // or the first flush would wait for the copy
		b.StartTimer()
		s := on(b, killed, Options{})
		u, err := s.Usage(b.Context(), coffer.VaultID{1})
		b.StopTimer()
		if err != nil || u.Documents < 100_000 {
			b.Fatalf("Usage: %+v, %v", u, err)
		}
		closeStore(b, s)
		b.StartTimer()
	}
}
