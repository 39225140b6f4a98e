package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"

	"github.com/alecthomas/kong"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/node"
)

// Exit codes.
const (
	exitOK      = 0
	exitFailure = 1
	exitUsage   = 2
)

// A program is one run of cofferd. What it takes from the machine it is handed, so that a test can run it.
type program struct {
	stdout, stderr io.Writer
	env            func(string) string
}

// commands is the command line as a whole.
type commands struct {
	Serve   serveCommand   `cmd:"" default:"withargs" help:"Run the node (the default)."`
	Check   checkCommand   `cmd:"" help:"Verify all that a node keeps. It must not be running, unless all is in a database and a bucket."`
	Stats   statsCommand   `cmd:"" help:"Show what a node holds and, if it runs, what it does."`
	Backup  backupCommand  `cmd:"" help:"Copy all that a node keeps to a new folder, while it runs or not."`
	Restore restoreCommand `cmd:"" help:"Make a data folder of a backup, after checking all of it."`
	Version versionCommand `cmd:"" help:"Show the version of this program."`
}

const description = `Keeps vaults for others and cannot read them.

Every flag can be given as an environment variable, too: --quota-bytes as COFFERD_QUOTA_BYTES.`

// run parses the arguments, carries out the subcommand, and returns the exit code.
func run(ctx context.Context, args []string, _ io.Reader, stdout, stderr io.Writer, env func(string) string) int {
	p := &program{stdout: stdout, stderr: stderr, env: env}
	exited := -1
	parser, err := kong.New(&commands{},
		kong.Name("cofferd"),
		kong.Description(description),
		kong.Writers(stdout, stderr),
		kong.Exit(func(code int) { exited = code }),
		kong.Resolvers(kong.ResolverFunc(p.fromEnvironment)),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true}),
		kong.Vars{"listen": node.DefaultListen},
	)
	if err != nil {
		return p.fail(err)
	}
	parsed, err := parser.Parse(args)
	switch {
	case exited >= 0: // help was asked for, and given
		return exited
	case err != nil:
		fmt.Fprintf(stderr, "cofferd: %v; see \"cofferd --help\"\n", err)
		return exitUsage
	}
	parsed.BindTo(ctx, (*context.Context)(nil))
	if err := parsed.Run(p); err != nil {
		return p.fail(err)
	}
	return exitOK
}

// fail writes the error to stderr and returns the exit code that stands for it.
func (p *program) fail(err error) int {
	fmt.Fprintf(p.stderr, "cofferd: %v\n", err)
	if errors.Is(err, coffer.Invalid) {
		return exitUsage
	}
	return exitFailure
}

// fromEnvironment gives flags their values from the environment.
func (p *program) fromEnvironment(_ *kong.Context, _ *kong.Path, flag *kong.Flag) (any, error) {
	v := p.env("COFFERD_" + strings.ToUpper(strings.ReplaceAll(flag.Name, "-", "_")))
	if v == "" || flag.Name == "help" {
		return nil, nil
	}
	return v, nil
}

// logger returns a logger to stderr in the format.
func (p *program) logger(format string, level slog.Level) *slog.Logger {
	options := &slog.HandlerOptions{Level: level}
	if format == "json" {
		return slog.New(slog.NewJSONHandler(p.stderr, options))
	}
	return slog.New(slog.NewTextHandler(p.stderr, options))
}
