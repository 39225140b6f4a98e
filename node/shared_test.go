package node_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/internal/servers"
	"github.com/cofferhq/coffer/node"
)

// TestDatabaseClock opens a node whose clock is far from its database's: it is told, and nothing is made.
func TestDatabaseClock(t *testing.T) {
	database := servers.Database(t)
	for name, off := range map[string]time.Duration{"ahead": time.Hour, "behind": -time.Hour} {
		data := filepath.Join(t.TempDir(), "data")
		n, err := node.Open(t.Context(), node.Config{
			Data: data, Store: database, Listen: "127.0.0.1:0", Now: func() time.Time { return time.Now().Add(off) },
		})
		if err == nil {
			n.Close()
		}
		if !errors.Is(err, coffer.Unavailable) || !strings.Contains(err.Error(), "clocks") {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := os.Lstat(data); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: the data folder was made: %v", name, err)
		}
	}
}

// TestCheckBesideNode checks shared disks while the node that uses them replaces and removes chunks: what comes and
// goes meanwhile is no fault.
func TestCheckBesideNode(t *testing.T) {
	c := node.Config{Store: servers.Database(t), Blobs: servers.Bucket(t), CreateBucket: true,
		Data: filepath.Join(t.TempDir(), "d")}
	r := start(t, c)
	v := r.vault(t, nil)
	stop := make(chan struct{})
	done := make(chan error, 1)
	go func() {
		for {
			id := coffer.NewObjectID()
			err := errors.Join(insert(t.Context(), v, id), chunks(t.Context(), v, id, 3))
			if err == nil {
				_, err = coffer.Erase(t.Context(), v, id)
			}
			select {
			case <-stop:
				done <- err
				return
			default:
				if err != nil {
					done <- err
					return
				}
			}
		}
	}()
	d, err := node.OpenDisks(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if !d.Shared() {
		t.Error("it is not shared")
	}
	for range 20 {
		if err := d.Check(t.Context(), func(what string) { t.Errorf("found: %s", what) }, nil); err != nil {
			t.Fatal(err)
		}
	}
	close(stop)
	if err := <-done; err != nil {
		t.Error(err)
	}
}
