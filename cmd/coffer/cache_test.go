package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cofferhq/coffer"
)

// objectName returns the name of an object in a cache.
func objectName(c byte) string { return strings.Repeat(string(c), 43) }

func TestCache(t *testing.T) {
	if !locks {
		t.Skip("no locks here")
	}
	dir, ctx := filepath.Join(t.TempDir(), "cache"), t.Context()
	there := func(c *cache, name byte) bool {
		t.Helper()
		b, err := c.Load(ctx, objectName(name))
		if err != nil && !errors.Is(err, coffer.NotExist) {
			t.Fatal(err)
		}
		return err == nil && string(b) == "object "+string(name)
	}
	save := func(c *cache, name byte) {
		t.Helper()
		if err := c.Save(ctx, objectName(name), []byte("object "+string(name))); err != nil {
			t.Fatal(err)
		}
	}
	first, leave := openCache(dir, 1<<20)
	save(first, 'a')
	save(first, 'b')
	save(first, 'b')
	if !there(first, 'a') || !there(first, 'b') || there(first, 'c') {
		t.Error("not what was kept")
	}
	if err := first.Delete(ctx, objectName('b')); err != nil || there(first, 'b') {
		t.Errorf("deleted, and there: %v", err)
	}
	if err := first.Delete(ctx, objectName('b')); err != nil {
		t.Errorf("deleted twice: %v", err)
	}
	if info, err := os.Stat(filepath.Join(dir, objectName('a'))); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	leave()
	again, leave := openCache(dir, 1<<20)
	if !there(again, 'a') {
		t.Error("forgotten")
	}
	for _, name := range []string{"", "../" + objectName('a')[3:], "lock", "stale"} {
		if err := again.Save(ctx, name, nil); !errors.Is(err, coffer.Invalid) {
			t.Errorf("saved under %q: %v", name, err)
		}
		if _, err := again.Load(ctx, name); !errors.Is(err, coffer.Invalid) {
			t.Errorf("loaded %q: %v", name, err)
		}
	}

	// While one process has it, another goes without, and what is in it is not to be believed any more.
	none, leaveNone := openCache(dir, 1<<20)
	if none != nil {
		t.Fatal("two have it")
	}
	if there(again, 'a') {
		t.Error("believed, while another process goes without")
	}
	save(again, 'c')
	leave()
	none2, leaveNone2 := openCache(dir, 1<<20)
	if none2 != nil {
		t.Fatal("had, while another process goes without")
	}
	leaveNone()
	leaveNone2()
	last, leave := openCache(dir, 1<<20)
	if last == nil || there(last, 'a') || there(last, 'c') {
		t.Error("believed, after another process went without")
	}
	save(last, 'd')
	leave()
	last, leave = openCache(dir, 1<<20)
	if !there(last, 'd') {
		t.Error("forgotten")
	}
	leave()
}

func TestCacheIsBounded(t *testing.T) {
	if !locks {
		t.Skip("no locks here")
	}
	dir, ctx := t.TempDir(), t.Context()
	const most = 64 << 10
	for round := range 3 {
		c, leave := openCache(dir, most)
		if c == nil {
			t.Fatal("not to be had")
		}
		for i := range byte(26) {
			if err := c.Save(ctx, objectName('A'+i), make([]byte, 4<<10)); err != nil {
				t.Fatal(err)
			}
			if n := cacheSize(dir); n > most {
				t.Fatalf("%d bytes", n)
			}
		}
		if err := c.Save(ctx, objectName('z'), make([]byte, most)); err != nil || cacheSize(dir) > most {
			t.Errorf("something large: %v", err)
		}
		if _, err := c.Load(ctx, objectName('Z')); err != nil {
			t.Errorf("the newest is gone: %v", err)
		}
		switch round {
		case 0:
			leave()
		case 1: // as after a crash
			_ = c.lock.Close()
			if err := os.WriteFile(filepath.Join(dir, ".coffer-left"), []byte("x"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	if _, err := os.Stat(filepath.Join(dir, ".coffer-left")); !errors.Is(err, os.ErrNotExist) {
		t.Error("what a crash left is there still")
	}
}
