package ledger

import (
	"errors"
	"testing"

	"github.com/cofferhq/coffer"
)

func TestCursorNamesOnePlaceOfOneVault(t *testing.T) {
	v, w := coffer.NewVaultID(), coffer.NewVaultID()
	for _, n := range []uint64{0, 1, 255, 1 << 40, 1<<64 - 1} {
		c := Cursor(v, n)
		got, err := Place(v, c)
		if err != nil || got != n {
			t.Errorf("Place(Cursor(%d)) = %d, %v", n, got, err)
		}
		if n == 0 {
			continue
		}
		if _, err := Place(w, c); !errors.Is(err, coffer.Invalid) {
			t.Errorf("another vault's cursor: %v, want Invalid", err)
		}
	}
}

func FuzzPlace(f *testing.F) {
	v := coffer.VaultID{1, 2, 3}
	f.Add(string(Cursor(v, 7)))
	f.Add("")
	f.Add("AAAAAAAAAAAAAAAA")
	f.Add("AAAAAAAA\nAAAAAA\n")
	f.Fuzz(func(t *testing.T, s string) {
		n, err := Place(v, coffer.Cursor(s))
		if err == nil && string(Cursor(v, n)) != s {
			t.Errorf("%q read as %d, which is written %q", s, n, Cursor(v, n))
		}
	})
}

func TestFeedWakesAllWhoWaitAndForgetsThem(t *testing.T) {
	var f Feed
	v := coffer.NewVaultID()
	a, stopA := f.Wait(v)
	b, stopB := f.Wait(v)
	other, stopOther := f.Wait(coffer.NewVaultID())
	defer stopOther()
	f.Grew(v)
	<-a
	<-b
	select {
	case <-other:
		t.Error("a follower of another vault was woken")
	default:
	}
	c, stopC := f.Wait(v)
	stopA()
	stopB()
	f.Grew(v)
	<-c
	stopC()
	d, stopD := f.Wait(v)
	stopD()
	if len(f.waiting) != 1 {
		t.Errorf("%d vaults remembered, want 1", len(f.waiting))
	}
	f.Grew(v)
	select {
	case <-d:
		t.Error("woken after it stopped waiting")
	default:
	}
}
