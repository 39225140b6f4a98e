// Command coffer keeps the owner's files and objects in a vault whose keeper cannot read them.
//
// Each subcommand is a file of this package with its name; doc/cli.md describes them all. Keys are in the profile's
// keyring file, everything else about a profile can be had again from the vault.
package main

import (
	"context"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
	"time"
)

// memory is what the program holds itself to, softly: the files it moves may be of any size. A garbage collection is
// cheap here, for little is alive at any time.
const memory = 40 << 20

func main() {
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(memory)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the program at once
	p := &program{
		stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr, env: os.Getenv, now: time.Now, umask: umask(),
	}
	os.Exit(p.run(ctx, os.Args[1:]))
}
