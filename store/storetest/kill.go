package storetest

import (
	"bytes"
	"os/exec"
	"testing"
	"time"

	"github.com/cofferhq/coffer/store"
)

// killRounds is how often [Kill] kills.
const killRounds = 5

// Kill starts a child that writes to a disk, kills it with SIGKILL at a random moment, opens the store on the same disk
// and looks for all that the child said to be durable, five times over. The command, new each time, is to run a program
// that opens the store and calls [Write] with the seed and its standard output. What open opens is closed before the
// next round.
func Kill(t *testing.T, command func(seed uint64) *exec.Cmd, open func() store.Store) {
	r := rng(t)
	seed := r.Uint64()
	l := newLoadOf(seed)
	var all []told
	for round := range killRounds {
		cmd := command(seed)
		var said bytes.Buffer
		cmd.Stderr = &said
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		hangs := time.AfterFunc(2*patience, func() { _ = cmd.Process.Kill() })
		until := 1 + r.IntN(rounds(1000))
		n, err := lines(out, func(line string) error {
			a, err := parseTold(line)
			all = append(all, a)
			if until--; until == 0 {
				_ = cmd.Process.Kill()
			}
			return err
		})
		if err != nil {
			_ = cmd.Process.Kill()
		}
		_ = cmd.Wait()
		if !hangs.Stop() {
			t.Fatalf("round %d: the child hung after %d commits", round, n)
		}
		if err != nil || until > 0 {
			t.Fatalf("round %d: the child ended after %d commits: %v\n%s", round, n, err, &said)
		}
		start := time.Now()
		s := open()
		took := time.Since(start)
		l.verify(t, s, all)
		if err := s.Close(); err != nil {
			t.Fatalf("Close: %v", err)
		}
		t.Logf("round %d: %d commits acknowledged, opened in %v", round, n, took)
	}
}
