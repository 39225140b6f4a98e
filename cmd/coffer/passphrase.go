package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/term"

	"github.com/cofferhq/coffer"
)

// maxPassphrase bounds what is read as a passphrase.
const maxPassphrase = 1024

// givenPassphrase returns the passphrase from the file of --passphrase-file or from COFFER_PASSPHRASE; nil if there is
// neither.
func (p *program) givenPassphrase() ([]byte, error) {
	if p.PassphraseFile == "" {
		if s := p.env("COFFER_PASSPHRASE"); s != "" {
			return []byte(s), nil
		}
		return nil, nil
	}
	f, err := os.Open(p.PassphraseFile)
	if err != nil {
		return nil, explain(err, "", "cannot read the passphrase file")
	}
	defer f.Close()
	line, err := bufio.NewReader(io.LimitReader(f, maxPassphrase+2)).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, explain(err, "", "cannot read the passphrase file")
	}
	line = strings.TrimRight(line, "\r\n")
	if line == "" || len(line) > maxPassphrase {
		return nil, failed(coffer.Invalid, "", "the first line of the passphrase file must have 1 to %d bytes", maxPassphrase)
	}
	return []byte(line), nil
}

// askPassphrase asks for the passphrase of the keyring.
func (p *program) askPassphrase(ctx context.Context) ([]byte, error) {
	t, err := p.terminal()
	if err != nil {
		return nil, err
	}
	if t == nil {
		return nil, failed(coffer.Locked, "set COFFER_PASSPHRASE or give --passphrase-file FILE",
			"the keyring needs its passphrase, and there is no terminal to ask for it")
	}
	defer t.close()
	return t.ask(ctx, "Passphrase: ")
}

// newPassphrase asks twice for the passphrase of a new keyring. It returns nil if there is no terminal, or if the
// person wants none.
func (p *program) newPassphrase(ctx context.Context) ([]byte, error) {
	t, err := p.terminal()
	if t == nil || err != nil {
		return nil, err
	}
	defer t.close()
	for range 3 {
		first, err := t.ask(ctx, "New passphrase for your keys (empty: none, this machine protects them): ")
		if err != nil || len(first) == 0 {
			return nil, err
		}
		second, err := t.ask(ctx, "The same once more: ")
		if err != nil {
			return nil, err
		}
		if string(first) == string(second) {
			return first, nil
		}
		fmt.Fprintln(t.out, "These differ.")
	}
	return nil, failed(coffer.Invalid, "try again", "the passphrases differed three times")
}

// A terminal is where a person can be asked.
type terminal struct {
	in  *os.File
	out io.Writer
	own bool // in was opened here
}

// terminal returns the person's terminal: standard input, or, while that is in use for data, the one that standard
// error shows. It returns nil if there is none.
func (p *program) terminal() (*terminal, error) {
	if in, ok := p.stdin.(*os.File); ok && isTerminal(in) {
		return &terminal{in: in, out: p.stderr}, nil
	}
	if !isTerminal(p.stderr) {
		return nil, nil
	}
	in, err := os.Open(controllingTerminal)
	if err != nil {
		return nil, nil // nobody to ask
	}
	return &terminal{in: in, out: p.stderr, own: true}, nil
}

// isTerminal reports whether a stream is one.
func isTerminal(stream any) bool {
	f, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

func (t *terminal) close() {
	if t.own {
		_ = t.in.Close()
	}
}

// ask reads a line that is not shown. When ctx ends it leaves the terminal as it was.
func (t *terminal) ask(ctx context.Context, prompt string) ([]byte, error) {
	fd := int(t.in.Fd())
	before, err := term.GetState(fd)
	if err != nil {
		return nil, explain(err, "", "cannot use the terminal")
	}
	type answer struct {
		line []byte
		err  error
	}
	answers := make(chan answer, 1)
	fmt.Fprint(t.out, prompt)
	go func() { // ends with the answer, or with the program: a read of a terminal cannot be called off
		line, err := term.ReadPassword(fd)
		answers <- answer{line, err}
	}()
	select {
	case <-ctx.Done():
		_ = term.Restore(fd, before)
		fmt.Fprintln(t.out)
		return nil, errInterrupted
	case a := <-answers:
		fmt.Fprintln(t.out)
		switch {
		case errors.Is(a.err, io.EOF):
			return nil, nil
		case a.err != nil:
			return nil, explain(a.err, "", "cannot read from the terminal")
		case len(a.line) > maxPassphrase:
			return nil, failed(coffer.Invalid, "", "a passphrase has at most %d bytes", maxPassphrase)
		}
		return a.line, nil
	}
}
