package main

import (
	"context"
	"io"
	"io/fs"
	"slices"
	"strings"
	"time"

	"github.com/alecthomas/kong"
)

// A program is one run of coffer. What it takes from the machine it is handed, so that a test can run it.
type program struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	env            func(string) string
	now            func() time.Time
	umask          fs.FileMode // permissions that new files do not get

	global
	node  string // the one that is asked, once that is known
	early bool   // what is in the vault may be of an earlier format

	passphrase []byte // of the keyring that was opened, if it has one
}

// global are the flags that every subcommand has. Each may be given as an environment variable, too.
type global struct {
	Profile        string `default:"default" placeholder:"NAME" help:"Whose identity and vault to use (COFFER_PROFILE)."`
	JSON           bool   `name:"json" help:"Write results and errors as JSON."`
	Quiet          bool   `short:"q" help:"Write nothing but results and errors."`
	PassphraseFile string `placeholder:"FILE" help:"The passphrase is the file's first line (or set COFFER_PASSPHRASE)."`
	NoProgress     bool   `help:"Show no progress bar."`
}

// commands is the command line as a whole.
type commands struct {
	global

	Up    upCommand    `cmd:"" help:"Set up all that is missing on this machine and run a personal node."`
	Init  initCommand  `cmd:"" help:"Create an identity, or take one over, with a vault on a node."`
	Serve serveCommand `cmd:"" help:"Run a node, without an identity."`

	Put   putCommand   `cmd:"" help:"Store a file, a folder, or an object."`
	Get   getCommand   `cmd:"" help:"Fetch a file, a folder, or an object."`
	Ls    lsCommand    `cmd:"" help:"List what is stored."`
	Mv    mvCommand    `cmd:"" help:"Give a file, an object or a folder another path."`
	Mkdir mkdirCommand `cmd:"" help:"Make a folder."`
	Rm    rmCommand    `cmd:"" help:"Remove a file or a folder from the vault."`
	Find  findCommand  `cmd:"" help:"Find things by words, types, fields, times and what else is known of them."`

	Contact contactCommand `cmd:"" help:"Keep the cards of those with whom you share."`
	Group   groupCommand   `cmd:"" help:"Share with several as with one."`
	Share   shareCommand   `cmd:"" help:"Let others read, or write, an item, a folder, or all of a type."`
	Revoke  revokeCommand  `cmd:"" help:"End the access of others."`
	Grants  grantsCommand  `cmd:"" help:"List what is shared with whom, and until when."`
	Who     whoCommand     `cmd:"" help:"Tell who else can read something, or could, and by what."`
	Link    linkCommand    `cmd:"" help:"Write the link of a share again."`
	Accept  acceptCommand  `cmd:"" help:"Keep what somebody shared with you under a name."`

	Name     nameCommand     `cmd:"" help:"Make a text, or a QR code, by which something can be asked for."`
	Unname   unnameCommand   `cmd:"" help:"End a name: nobody can ask by it any more."`
	Ask      askCommand      `cmd:"" help:"Ask somebody for what a name is of."`
	Asked    askedCommand    `cmd:"" help:"List what you asked for, and the answers."`
	Requests requestsCommand `cmd:"" help:"List what others ask you for."`
	Answer   answerCommand   `cmd:"" help:"Grant, refuse or erase a request."`

	Hub   hubCommand   `cmd:"" help:"Keep typed objects where apps and others find them by what they are."`
	Open  openCommand  `cmd:"" help:"Open a hub address: hub://…"`
	Inbox inboxCommand `cmd:"" help:"Show the messages that others left for you."`
	Reply replyCommand `cmd:"" help:"Answer a message: with words, a permission, a proof."`
	Done  doneCommand  `cmd:"" help:"Put messages away."`
	Send  sendCommand  `cmd:"" help:"Leave somebody a message."`

	Device    deviceCommand    `cmd:"" help:"Add, list and remove devices that have your keys."`
	Keys      keysCommand      `cmd:"" help:"Replace keys, and change what protects them."`
	Recovery  recoveryCommand  `cmd:"" help:"Make a phrase that brings everything back, or use it."`
	Attribute attributeCommand `cmd:"" help:"Choose fields that the node can search for, blinded."`

	Work    workCommand    `cmd:"" help:"Go on encrypting anew what others could read."`
	Status  statusCommand  `cmd:"" help:"Show the vault, what is shared, and what work is left."`
	Verify  verifyCommand  `cmd:"" help:"Check the whole vault: nothing swapped, rolled back, missing, added or forged."`
	Upgrade upgradeCommand `cmd:"" help:"Move what an earlier version of coffer stored into the form of this one."`

	Whoami     whoamiCommand     `cmd:"" help:"Show the identity and where its vault is, or its contact card."`
	Version    versionCommand    `cmd:"" help:"Show the version of this program."`
	Completion completionCommand `cmd:"" help:"Write a completion script for a shell."`
}

const description = `Coffer keeps files and objects in a vault whose keeper cannot read them.

Begin with "coffer up" for a node of your own, or with "coffer init --node URL" for somebody else's.`

// run parses the arguments, carries out the subcommand, and returns the exit code.
func (p *program) run(ctx context.Context, args []string) int {
	var c commands
	exited := -1
	parser, err := kong.New(&c,
		kong.Name("coffer"),
		kong.Description(description),
		kong.Writers(p.stdout, p.stderr),
		kong.Exit(func(code int) { exited = code }),
		kong.Resolvers(kong.ResolverFunc(p.fromEnvironment)),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, NoExpandSubcommands: true}),
	)
	if err != nil {
		return p.fail(err)
	}
	if len(args) == 0 {
		args = []string{"--help"}
	}
	parsed, err := parser.Parse(args)
	p.global = c.global
	switch {
	case exited >= 0: // help was asked for, and given
		return exited
	case err != nil:
		p.JSON = p.JSON || slices.Contains(args, "--json")
		return p.fail(usage(err))
	}
	if err := p.checkProfile(); err != nil {
		return p.fail(err)
	}
	parsed.BindTo(ctx, (*context.Context)(nil))
	if err := parsed.Run(p, parser); err != nil {
		return p.fail(interrupted(ctx, err))
	}
	return exitOK
}

// fromEnvironment gives the global flags their values from the environment: --profile has COFFER_PROFILE.
func (p *program) fromEnvironment(_ *kong.Context, parent *kong.Path, flag *kong.Flag) (any, error) {
	if parent.App == nil || flag.Name == "help" {
		return nil, nil
	}
	if v := p.env("COFFER_" + strings.ToUpper(strings.ReplaceAll(flag.Name, "-", "_"))); v != "" {
		return v, nil
	}
	return nil, nil
}
