package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"time"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/agent"
	"github.com/cofferhq/coffer/ledger"
)

type verifyCommand struct {
	Path          string `arg:"" optional:"" help:"Report only what is wrong with this, and below it."`
	Contents      bool   `help:"Read all contents of files, too, not just what describes them."`
	Clean         bool   `help:"Erase uploads that were abandoned for a day, and parts of the search index that are not in use."`
	Evidence      string `placeholder:"FILE" help:"If the node showed two histories: write the proof of it, for others, to FILE."`
	CheckEvidence string `placeholder:"FILE" help:"Instead: check such a proof, without the node."`
}

// Help says more.
func (verifyCommand) Help() string {
	return `Every object of the vault is looked at, and the vault's history is read from its beginning: what was swapped,
rolled back, removed, added, forged or withheld is named, and the exit code is then 8. What is left over or kept by
other programs is named, and is no fault.

Examples:
  coffer verify
  coffer verify --contents tax
  coffer verify --clean
  coffer verify --evidence fork.json
  coffer verify --check-evidence fork.json`
}

// A finding is the result for one thing that is not as it should be.
type finding struct {
	Kind    agent.FindingKind `json:"kind"`
	What    string            `json:"what"`
	Path    string            `json:"path,omitempty"`
	ID      string            `json:"id,omitempty"`
	Detail  string            `json:"detail,omitempty"`
	Since   time.Time         `json:"since,omitzero"`
	Cleaned bool              `json:"cleaned,omitempty"`
}

// Run checks the vault, or a proof.
func (c *verifyCommand) Run(ctx context.Context, p *program) error {
	if c.CheckEvidence != "" {
		return c.check(p)
	}
	o, err := p.open(ctx, chunksAtOnce)
	if err != nil {
		return err
	}
	defer o.close()
	if c.Path != "" {
		if _, err := o.Stat(ctx, c.Path); err != nil && !errors.Is(err, coffer.Corrupt) {
			return explain(err, `see what there is with "coffer ls -r"`, "cannot look at %s", c.Path)
		}
	}
	bar := p.counted("checking")
	defer bar.done()
	wrong, t := 0, p.table()
	options := agent.VerifyOptions{
		Path: c.Path, Contents: c.Contents, Clean: c.Clean, Progress: func(done, total int) { bar.at(done, total) },
	}
	for f, err := range o.Verify(ctx, options) {
		if err != nil {
			return explain(err, "", "cannot check all of the vault")
		}
		bar.clear()
		if !f.Harmless() {
			wrong++
		}
		if err := c.evidence(&f); err != nil {
			return err
		}
		r := finding{Kind: f.Kind, What: f.What, Path: f.Path, Since: f.Since, Cleaned: f.Cleaned}
		if f.ID != (coffer.ObjectID{}) {
			r.ID = f.ID.String()
		}
		if f.Err != nil {
			r.Detail = reason(f.Err)
		}
		detail := r.Detail
		if r.Cleaned {
			detail = "erased"
		}
		of := f.What
		if f.Path != "" {
			of += " " + f.Path
		}
		if err := t.row(r, string(f.Kind), of, r.ID, detail); err != nil {
			return err
		}
	}
	bar.done()
	if err := t.flush(); err != nil {
		return err
	}
	if wrong > 0 {
		return failed(coffer.Corrupt, "what is named is not as you or those who may write left it",
			"%d things are wrong with the vault", wrong)
	}
	p.note("Everything is in order.")
	return nil
}

// evidence keeps the proof that comes with a finding, if it is wanted.
func (c *verifyCommand) evidence(f *agent.Finding) error {
	if c.Evidence == "" || f.Fault == nil || f.Fault.Evidence == nil {
		return nil
	}
	b, err := f.Fault.Evidence.Encode()
	if err != nil {
		return err
	}
	if err := os.WriteFile(c.Evidence, b, 0o666); err != nil {
		return failed(kindOf(err), "", "cannot write %s: %v", c.Evidence, withoutPath(err))
	}
	return nil
}

// check checks a proof by what the profile knows: the vault's URL, and the key with which its node signs.
func (c *verifyCommand) check(p *program) error {
	file, err := os.Open(c.CheckEvidence)
	if err != nil {
		return failed(kindOf(err), "", "cannot read %s: %v", c.CheckEvidence, withoutPath(err))
	}
	defer file.Close()
	b, err := io.ReadAll(io.LimitReader(file, ledger.MaxEvidence+1))
	if err != nil {
		return failed(kindOf(err), "", "cannot read %s: %v", c.CheckEvidence, withoutPath(err))
	}
	profile, err := p.loadProfile()
	if err != nil {
		return err
	}
	if profile.LogKey == "" {
		return failed(coffer.NotExist, "", "the profile does not know with which key its node signs")
	}
	key, err := ledger.ParseVerifier(profile.LogKey)
	if err != nil {
		return explain(err, "", "the profile's log key makes no sense")
	}
	e, err := ledger.DecodeEvidence(b)
	if err == nil {
		err = e.Check(key, ledger.Origin(profile.Vault))
	}
	if err != nil {
		return explain(err, "", "this proves nothing against the node")
	}
	return p.result(json.RawMessage(`{"proven":true}`),
		"It proves that the node signed two histories of the vault that cannot both be true.")
}
