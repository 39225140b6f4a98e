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
	Path      string `arg:"" optional:"" help:"Folder or file; without it, all at the top. Or NAME:PATH, or LINK:PATH, of a share."`
	Long      bool   `short:"l" help:"Show size, time of change and type, too."`
	Recursive bool   `short:"r" help:"Show what is in the folders below, too."`
}

// Help says more.
func (lsCommand) Help() string {
	return `Examples:
  coffer ls -l tax
  coffer ls -r
  coffer ls Shared              # shares that were accepted
  coffer ls album:              # what is in one of them`
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
	Author     string          `json:"author,omitempty"` // who wrote the content, where that was read
}

func newItem(i agent.Info) item {
	return item{i.Path, i.Type, i.MIME, i.Size, i.Modified, i.ID, i.Sequence, i.Author}
}

// Run lists a folder, or shows a file.
func (c *lsCommand) Run(ctx context.Context, p *program) error {
	o, err := p.open(ctx, 1)
	if err != nil {
		return err
	}
	defer o.close()
	s, err := o.spot(ctx, c.Path)
	if err != nil {
		return err
	}
	there, err := s.stat(ctx)
	if errors.Is(err, coffer.NotExist) {
		return s.missing(c.Path, err)
	}
	if err != nil {
		return s.explain(err, "", "cannot look at %s", shown(c.Path))
	}
	found := []agent.Info{there}
	if there.IsFolder() {
		list := s.agent.List
		if c.Recursive {
			list = s.agent.Walk
		}
		if found, err = collect(list(ctx, there.Path)); err != nil {
			return s.explain(err, "", "cannot list %s", shown(c.Path))
		}
	}
	return p.list(s, found, c.Long)
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
func (p *program) list(s *spot, found []agent.Info, long bool) error {
	w := tabwriter.NewWriter(p.stdout, 0, 8, 2, ' ', tabwriter.AlignRight)
	row := &program{stdout: w, global: p.global}
	for _, i := range found {
		it := s.item(i)
		name := printable(it.Path)
		if i.IsFolder() {
			name += "/"
		}
		var err error
		switch {
		case p.JSON:
			err = writeJSON(p.stdout, it)
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
