// Command with runs a command with the real servers beside it that tests need, names them to it in the environment (see
// package servers), and ends them with it. A server that is not installed is left out, with a word. The exit code is that
// of the command.
//
//	go run ./internal/servers/with -quick go test ./...
//
// With -quick PostgreSQL never waits for the disk: nothing that a test can see is otherwise, unless it measures time.
package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"

	"github.com/cofferhq/coffer/internal/servers"
)

func main() { os.Exit(run(os.Args[1:])) }

// interrupted is the exit code of what was asked to end before it began.
const interrupted = 130

func run(args []string) (code int) {
	var settings []string
	if len(args) > 0 && args[0] == "-quick" {
		args, settings = args[1:], []string{"fsync=off"}
	}
	if len(args) == 0 {
		fmt.Fprintln(os.Stderr, "with: which command?")
		return 2
	}
	// From here on nothing but SIGKILL ends this program before the servers.
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)

	cmd := exec.Command(args[0], args[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr, cmd.Env = os.Stdin, os.Stdout, os.Stderr, environment()
	for _, kind := range []struct {
		variable string
		start    func() (*servers.Server, error)
	}{
		{servers.PostgresVariable, func() (*servers.Server, error) { return servers.StartPostgres(settings...) }},
		{servers.S3Variable, servers.StartS3},
	} {
		s, err := kind.start()
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
		cmd.Env = append(cmd.Env, kind.variable+"="+s.URL)
	}
	select {
	case <-signals:
		return interrupted
	default:
	}
	if err := cmd.Start(); err != nil {
		fmt.Fprintln(os.Stderr, "with:", err)
		return 1
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for {
		select {
		case s := <-signals:
			// A terminal sends an interrupt to all of its processes: the command has it already.
			if s != os.Interrupt {
				_ = cmd.Process.Signal(s) // or it has ended
			}
		case err := <-ended:
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
	}
}

// environment is that of this process without what would lead a client of PostgreSQL elsewhere than to our server.
func environment() (env []string) {
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "PG") {
			env = append(env, v)
		}
	}
	return env
}
