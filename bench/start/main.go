// Command start measures how soon a node answers after it was started on a vault of many documents: after an orderly
// stop, and after kill -9 in the middle of writing.
//
//	go run ./bench/start [-documents 100000] [-rounds 5]
package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/store"
	"github.com/cofferhq/coffer/store/pebble"
)

var (
	documents = flag.Int("documents", 100_000, "documents in the vault")
	rounds    = flag.Int("rounds", 5, "rounds; the median is printed")
	fill      = flag.String("fill", "", "used by the program itself")
)

func main() {
	flag.Parse()
	err := error(nil)
	if *fill != "" {
		err = write(*fill, 1<<30) // until killed
	} else {
		err = measure()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "start:", err)
		os.Exit(1)
	}
}

// write puts n documents of 1.5 kB with three tags into a node's store.
func write(data string, n int) error {
	s, err := pebble.Open(filepath.Join(data, "documents"), pebble.Options{})
	if err != nil {
		return err
	}
	v, body := coffer.NewVaultID(), make([]byte, 1500)
	const group = 200
	for range n / group {
		writes := make([]store.Write, group)
		for i := range writes {
			id := coffer.NewObjectID()
			tag := func(name, value string) coffer.Tag { return coffer.Tag{Key: "urn:hmac", Name: name, Value: value} }
			copy(body, id[:])
			writes[i] = store.Write{Vault: v, By: "did:example", Time: time.Now(), Document: &coffer.Document{
				ID: id, Body: slices.Clone(body), Tags: []coffer.Tag{tag("a", id.String()), tag("b", "x"), tag("c", id.String()[:4])},
			}}
		}
		if _, err := s.Apply(context.Background(), writes...); err != nil {
			return err
		}
	}
	return s.Close()
}

func measure() (err error) {
	dir, err := os.MkdirTemp("", "coffer-start-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	bin, data := filepath.Join(dir, "cofferd"), filepath.Join(dir, "node")
	if out, err := exec.Command("go", "build", "-o", bin, "./cmd/cofferd").CombinedOutput(); err != nil {
		return fmt.Errorf("build: %w\n%s", err, out)
	}
	if err := write(data, *documents); err != nil {
		return err
	}
	var clean, killed []time.Duration
	for range *rounds {
		took, err := ready(bin, data)
		if err != nil {
			return err
		}
		clean = append(clean, took)
		filler := exec.Command(os.Args[0], "-fill", data)
		if err := filler.Start(); err != nil {
			return err
		}
		time.Sleep(1500 * time.Millisecond)
		filler.Process.Kill()
		filler.Wait()
		if took, err = ready(bin, data); err != nil {
			return err
		}
		killed = append(killed, took)
	}
	slices.Sort(clean)
	slices.Sort(killed)
	fmt.Printf("%d documents: ready after an orderly stop in %v, after kill -9 in %v (medians of %d; worst %v, %v)\n",
		*documents, clean[len(clean)/2], killed[len(killed)/2], *rounds, clean[len(clean)-1], killed[len(killed)-1])
	return nil
}

// ready starts a node, returns when it answered its first request, and stops it.
func ready(bin, data string) (time.Duration, error) {
	node := exec.Command(bin, "--listen", "127.0.0.1:0", "--data", data)
	node.Stderr = os.Stderr
	out, err := node.StdoutPipe()
	if err != nil {
		return 0, err
	}
	begin := time.Now()
	if err := node.Start(); err != nil {
		return 0, err
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		return 0, err
	}
	for {
		answer, err := http.Get(strings.TrimSpace(strings.TrimPrefix(line, "listening on ")) + "/readyz")
		if err != nil {
			return 0, err
		}
		answer.Body.Close()
		if answer.StatusCode == http.StatusOK {
			break
		}
	}
	took := time.Since(begin)
	node.Process.Signal(syscall.SIGTERM)
	return took, node.Wait()
}
