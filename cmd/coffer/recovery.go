package main

import (
	"bufio"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/agent"
	"github.com/cofferhq/coffer/keyring"
)

// recoveryCommand is "coffer recovery".
type recoveryCommand struct {
	New     recoveryNewCommand     `cmd:"" help:"Show 24 words that bring everything back, once, in the place of earlier ones."`
	Restore recoveryRestoreCommand `cmd:"" help:"Make this a device of the identity that the words stand for."`
	Status  recoveryStatusCommand  `cmd:"" help:"Say whether there is a phrase, and since when."`
	Rm      recoveryRmCommand      `cmd:"" help:"Make the phrase one that opens nothing."`
}

type recoveryNewCommand struct {
	Yes bool `help:"Do not ask to type two of the words back."`
}

// Help says more.
func (recoveryNewCommand) Help() string {
	return `Write the words down, on paper, with the vault's URL. Who has both has everything. They stay good when keys are
rotated.

Examples:
  coffer recovery new`
}

type recoveryRestoreCommand struct {
	Vault string `arg:"" help:"The vault's URL, as you noted it."`
	Name  string `placeholder:"NAME" help:"What this device is called. Default: the name of the machine."`
	protector
}

// Help says more.
func (recoveryRestoreCommand) Help() string {
	return `The words are asked for, or read from standard input. Remove the devices that you lost afterwards.

Examples:
  coffer recovery restore https://vault.example/edvs/z19x…
  coffer device rm laptop`
}

type recoveryStatusCommand struct{}

type recoveryRmCommand struct{}

// maxPhrase bounds what is read as a phrase.
const maxPhrase = 4096

// Run makes a phrase.
func (c *recoveryNewCommand) Run(ctx context.Context, p *program) error {
	o, err := p.open(ctx, 1)
	if err != nil {
		return err
	}
	defer o.close()
	words := keyring.NewPhrase()
	phrase, err := keyring.ParsePhrase(words)
	if err != nil {
		return err
	}
	if err := p.result(struct {
		Phrase string `json:"phrase"`
		Vault  string `json:"vault"`
	}{words, o.profile.Vault}, "%s\n\nvault  %s", numbered(words), o.profile.Vault); err != nil {
		return err
	}
	if !c.Yes {
		if err := p.typedBack(ctx, strings.Fields(words)); err != nil {
			return err
		}
	}
	if err := o.SetRecovery(ctx, phrase, o.profile.Node); err != nil {
		return explain(err, "the words are good for nothing; begin again", "cannot leave the keys for the phrase")
	}
	p.note("Write down the words and the vault's URL. They are not shown again.")
	return nil
}

// numbered returns the words with their numbers, four in a line.
func numbered(words string) string {
	var b strings.Builder
	for i, w := range strings.Fields(words) {
		switch {
		case i > 0 && i%4 == 0:
			b.WriteByte('\n')
		case i > 0:
			b.WriteString("  ")
		}
		b.WriteString(padded(i+1) + " " + w + strings.Repeat(" ", max(0, 8-len(w))))
	}
	return b.String()
}

func padded(n int) string {
	s := strings.Repeat(" ", 1) + string(rune('0'+n%10))
	if n >= 10 {
		s = string(rune('0'+n/10)) + string(rune('0'+n%10))
	}
	return s
}

// typedBack asks for two of the words, so that they were written down.
func (p *program) typedBack(ctx context.Context, words []string) error {
	t, err := p.terminal()
	if err != nil {
		return err
	}
	if t == nil {
		return failed(coffer.Invalid, "give --yes", "there is no terminal to ask whether the words were written down")
	}
	defer t.close()
	first := rand.IntN(len(words))
	second := (first + 1 + rand.IntN(len(words)-1)) % len(words)
	for _, i := range []int{first, second} {
		line, err := t.ask(ctx, "Word number "+strings.TrimSpace(padded(i+1))+": ")
		if err != nil {
			return err
		}
		if !strings.EqualFold(strings.TrimSpace(string(line)), words[i]) {
			return failed(coffer.Invalid, "begin again; those words are good for nothing", "that is not the word")
		}
	}
	return nil
}

// Run makes a profile out of the words.
func (c *recoveryRestoreCommand) Run(ctx context.Context, p *program) error {
	l, err := p.places()
	if err != nil {
		return err
	}
	if err := p.vacant(l); err != nil {
		return err
	}
	if _, err := originOf(c.Vault); err != nil {
		return err
	}
	words, err := p.readPhrase(ctx)
	if err != nil {
		return err
	}
	phrase, err := keyring.ParsePhrase(words)
	if err != nil {
		return explain(err, "look at what you wrote down", "that is not a recovery phrase")
	}
	found, err := agent.Recover(ctx, nodes{p}, c.Vault, phrase)
	if errors.Is(err, coffer.NotExist) {
		return explain(err, "check the vault's URL", "nothing is left there for these words")
	}
	if err != nil {
		return explain(err, "", "cannot restore")
	}
	o, err := p.inherit(ctx, l, found, &c.protector)
	if err != nil {
		return err
	}
	defer o.close()
	place, err := o.named(c.Name, func(name string) (string, error) { return o.AddDevice(ctx, name) })
	if err != nil {
		return err
	}
	o.profile.Place = place
	if err := p.saveProfile(o.profile); err != nil {
		return err
	}
	p.note(`Remove the devices that you lost: "coffer device ls", "coffer device rm NAME". The words stay good.`)
	return p.result(newIdentity(p, o.profile), "%s", o.profile.text(p.Profile))
}

// readPhrase reads the words from the terminal, which does not show them, or from standard input.
func (p *program) readPhrase(ctx context.Context) (string, error) {
	if isTerminal(p.stdin) {
		t, err := p.terminal()
		if err != nil || t == nil {
			return "", err
		}
		defer t.close()
		line, err := t.ask(ctx, "The 24 words, which are not shown: ")
		return string(line), err
	}
	b, err := io.ReadAll(io.LimitReader(bufio.NewReader(p.stdin), maxPhrase+1))
	if err == nil && len(b) > maxPhrase {
		err = failed(coffer.Invalid, "", "that is no recovery phrase: it is too long")
	}
	return string(b), explain(err, "", "cannot read the words")
}

// Run says since when there is a phrase.
func (recoveryStatusCommand) Run(ctx context.Context, p *program) error {
	o, err := p.open(ctx, 1)
	if err != nil {
		return err
	}
	defer o.close()
	since, err := o.Recovery(ctx)
	if errors.Is(err, coffer.NotExist) {
		return failed(coffer.NotExist, `make one with "coffer recovery new"`, "there is no recovery phrase")
	}
	if err != nil {
		return explain(err, "", "cannot look for the recovery phrase")
	}
	return p.result(struct {
		Since time.Time `json:"since"`
	}{since}, "a recovery phrase was made %s", timeText(since))
}

// Run makes the phrase one that opens nothing.
func (recoveryRmCommand) Run(ctx context.Context, p *program) error {
	o, err := p.open(ctx, 1)
	if err != nil {
		return err
	}
	defer o.close()
	if err := o.EndRecovery(ctx); err != nil {
		return explain(err, "", "cannot end the recovery phrase")
	}
	p.note("The recovery phrase opens nothing any more.")
	return nil
}
