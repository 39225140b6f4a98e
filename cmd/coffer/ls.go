package main

import (
	"context"
	"errors"
	"iter"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/agent"
)

type lsCommand struct {
	Path      string `arg:"" optional:"" help:"Folder or file; without it, all at the top."`
	Long      bool   `short:"l" help:"Show size, time of change and type, too."`
	Recursive bool   `short:"r" help:"Show what is in the folders below, too."`
}

// An item is how results describe an object.
type item struct {
	Path       string          `json:"path"`
	Type       string          `json:"type"`
	MIME       string          `json:"mime,omitempty"`
	Size       int64           `json:"size"`
	Modified   time.Time       `json:"modified,omitzero"`
	DocumentID coffer.ObjectID `json:"documentId"`
	Sequence   uint64          `json:"sequence"`
	Readers    []string        `json:"readers,omitempty"` // ids of the keys that can open it
}

func newItem(i agent.Info) item {
	return item{i.Path, i.Type, i.MIME, i.Size, i.Modified, i.ID, i.Sequence, i.Readers}
}

// Run lists a folder, or shows a file.
func (c *lsCommand) Run(ctx context.Context, p *program) error {
	o, err := p.open(ctx, 1)
	if err != nil {
		return err
	}
	defer o.close()
	list := o.List
	if c.Recursive {
		list = o.Walk
	}
	there, err := o.Stat(ctx, c.Path)
	if errors.Is(err, coffer.NotExist) {
		return failed(coffer.NotExist, `see what there is with "coffer ls -r"`, "there is no %s in the vault", c.Path)
	}
	if err != nil {
		return explain(err, "", "cannot look at %s", shown(c.Path))
	}
	found := []agent.Info{there}
	if there.IsFolder() {
		if found, err = collect(list(ctx, c.Path)); err != nil {
			return explain(err, "", "cannot list %s", shown(c.Path))
		}
	}
	return p.list(found, c.Long)
}

// collect returns what the sequence yields, sorted by path.
func collect(seq iter.Seq2[agent.Info, error]) (found []agent.Info, err error) {
	for i, err := range seq {
		if err != nil {
			return nil, err
		}
		found = append(found, i)
	}
	slices.SortFunc(found, func(a, b agent.Info) int { return strings.Compare(a.Path, b.Path) })
	return found, nil
}

// list writes a line for each object.
func (p *program) list(found []agent.Info, long bool) error {
	w := tabwriter.NewWriter(p.stdout, 0, 8, 2, ' ', tabwriter.AlignRight)
	row := &program{stdout: w, global: p.global}
	for _, i := range found {
		name := printable(i.Path)
		if i.Path == "" {
			name = i.ID.String()
		}
		if i.IsFolder() {
			name += "/"
		}
		var err error
		switch {
		case p.JSON:
			err = writeJSON(p.stdout, newItem(i))
		case long:
			size := "-"
			if !i.IsFolder() && i.Size >= 0 {
				size = bytesText(i.Size)
			}
			err = row.result(nil, "%s\t%s\t%s\t %s", size, timeText(i.Modified), printable(i.Type), name)
		default:
			err = p.result(nil, "%s", name)
		}
		if err != nil {
			return err
		}
	}
	return w.Flush()
}
