// Command with runs a command with the real servers beside it that tests need, and ends them with it. It names them in
// the environment; see package servers. A server that is not installed is left out, with a word.
//
//	go run ./internal/servers/with go test ./...
package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"syscall"

	"github.com/cofferhq/coffer/internal/servers"
)

func main() { os.Exit(run(os.Args[1:])) }

func run(args []string) (code int) {
	if len(args) == 0 {
		fmt.Fprintln(os.Stderr, "with: which command?")
		return 2
	}
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr, cmd.Env = os.Stdin, os.Stdout, os.Stderr, os.Environ()
	for variable, start := range map[string]func() (*servers.Server, error){
		servers.PostgresVariable: func() (*servers.Server, error) { return servers.StartPostgres() },
		servers.S3Variable:       servers.StartS3,
	} {
		s, err := start()
		if errors.Is(err, servers.ErrLacking) {
			fmt.Fprintln(os.Stderr, "with:", err)
			continue
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, "with:", err)
			return 1
		}
		defer func() {
			if err := s.Stop(); err != nil {
				fmt.Fprintln(os.Stderr, "with:", err)
				code = max(code, 1)
			}
		}()
		cmd.Env = append(cmd.Env, variable+"="+s.URL)
	}
	// An interrupt is for the command, too; the servers end after it.
	signal.Ignore(os.Interrupt, syscall.SIGTERM)
	err := cmd.Run()
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		return max(exit.ExitCode(), 1)
	case err != nil:
		fmt.Fprintln(os.Stderr, "with:", err)
		return 1
	}
	return 0
}
