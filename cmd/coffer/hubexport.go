package main

import (
	"context"
	"os"
	"path/filepath"
)

type hubExportCommand struct {
	File string `arg:"" help:"Where to; - is standard output."`
	hubPlace
}

// Help says more.
func (hubExportCommand) Help() string {
	return `Objects, permissions, messages and the profile, as they were signed. What is sealed stays sealed: only you, and those
whom you let, can read it.

Examples:
  coffer hub export hub.jsonl
  coffer hub import hub.jsonl --at https://other.example`
}

// Run writes all commits of the owner's hub.
func (c *hubExportCommand) Run(ctx context.Context, p *program) error {
	o, err := p.open(ctx, 1)
	if err != nil {
		return err
	}
	defer o.close()
	h, err := c.own(ctx, o)
	if err != nil {
		return err
	}
	if c.File == "-" {
		_, err := h.ExportTo(ctx, p.stdout)
		return o.explainHub(h, err, "cannot export the hub")
	}
	bar := p.progress("exporting", -1)
	defer bar.done()
	root, err := os.OpenRoot(filepath.Dir(c.File))
	if err != nil {
		return explain(err, "", "cannot write %s", c.File)
	}
	defer root.Close()
	n := 0
	err = replaceFile(root, filepath.Base(c.File), 0o600, func(f *os.File, _ string) (err error) {
		n, err = h.ExportTo(ctx, bar.write(f))
		return err
	})
	if err != nil {
		return o.explainHub(h, err, "cannot export the hub to %s", c.File)
	}
	bar.done()
	if p.Quiet && !p.JSON {
		return nil
	}
	return p.result(struct {
		Commits int    `json:"commits"`
		File    string `json:"file"`
	}{n, c.File}, "exported %d commits to %s", n, printable(c.File))
}
