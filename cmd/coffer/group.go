package main

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/agent"
)

// groupCommand is "coffer group".
type groupCommand struct {
	Put groupPutCommand `cmd:"" help:"Make a group, or add members, who can read what the group was granted."`
	Ls  groupLsCommand  `cmd:"" help:"List your groups."`
	Rm  groupRmCommand  `cmd:"" help:"Remove members, or the whole group: they lose what the group was granted."`
}

type groupPutCommand struct {
	Name string   `arg:"" help:"What you call the group."`
	Who  []string `arg:"" help:"Contacts, by name or identifier, or cards (which are added as contacts)."`
}

// Help says more.
func (groupPutCommand) Help() string {
	return `New members get a link for each thing that was shared with the group.

Examples:
  coffer group put board Bob Carol
  coffer share minutes --group board
  coffer group put board Dan             # writes Dan's link`
}

type groupLsCommand struct{}

type groupRmCommand struct {
	Name  string   `arg:"" help:"What you call the group."`
	Who   []string `arg:"" optional:"" help:"Who is to leave it. Without: all, and the group goes."`
	Later bool     `help:"Do not encrypt anew now what they could read; \"coffer work\" does."`
}

// Help says more.
func (groupRmCommand) Help() string {
	return `Their access ends at once. Then what they could read is encrypted anew, as with "coffer revoke".

Examples:
  coffer group rm board Carol
  coffer group rm board --later`
}

// A group is how results describe one.
type group struct {
	Name    string   `json:"name"`
	Members []string `json:"members"` // identifiers
}

// group returns the group with a name.
func (o *owner) group(ctx context.Context, name string) (agent.Group, error) {
	g, err := o.Group(ctx, name)
	if errors.Is(err, coffer.NotExist) {
		return g, failed(coffer.NotExist, `see those that there are with "coffer group ls"`, "there is no group %s", name)
	}
	return g, explain(err, "", "cannot look for the group %s", name)
}

// Run adds members to a group.
func (c *groupPutCommand) Run(ctx context.Context, p *program) error {
	o, err := p.open(ctx, 1)
	if err != nil {
		return err
	}
	defer o.close()
	contacts, err := o.contacts(ctx, c.Who)
	if err != nil {
		return err
	}
	g, err := o.Group(ctx, c.Name)
	if err != nil && !errors.Is(err, coffer.NotExist) {
		return explain(err, "", "cannot look for the group %s", c.Name)
	}
	g.Name = c.Name
	var added []string
	for _, m := range contacts {
		added = append(added, m.DID)
		if !slices.Contains(g.Members, m.DID) {
			g.Members = append(g.Members, m.DID)
		}
	}
	if err := o.PutGroup(ctx, g); err != nil {
		return explain(err, "", "cannot keep the group %s", c.Name)
	}
	// Also for those who were members already: a run that was interrupted may have left them without.
	shares, err := o.ShareGroup(ctx, c.Name, added...)
	if err != nil {
		return explain(err, "run the same command again", "not all that the group was granted could be shared")
	}
	o.hint(ctx)
	if !p.Quiet || p.JSON {
		if err := p.result(group{g.Name, g.Members}, "%s: %s", printable(g.Name), printable(o.callNames(ctx, g.Members))); err != nil {
			return err
		}
	}
	for _, s := range shares {
		r := o.granted(ctx, s.Grant)
		if err := p.result(share{r, s.Link}, "%s  %s  %s", printable(r.Name), printable(r.what()), s.Link); err != nil {
			return err
		}
	}
	return nil
}

// callNames returns what the owner calls several.
func (o *owner) callNames(ctx context.Context, who []string) string {
	var list []string
	for _, w := range who {
		list = append(list, o.callName(ctx, w))
	}
	return strings.Join(list, ", ")
}

// Run lists the groups by name.
func (groupLsCommand) Run(ctx context.Context, p *program) error {
	o, err := p.open(ctx, 1)
	if err != nil {
		return err
	}
	defer o.close()
	var all []agent.Group
	for g, err := range o.Groups(ctx) {
		if err != nil {
			return explain(err, "", "cannot list the groups")
		}
		all = append(all, g)
	}
	slices.SortFunc(all, func(a, b agent.Group) int { return strings.Compare(a.Name, b.Name) })
	t := p.table()
	for _, g := range all {
		if err := t.row(group{g.Name, g.Members}, g.Name, o.callNames(ctx, g.Members)); err != nil {
			return err
		}
	}
	return t.flush()
}

// Run removes members from a group, or the group.
func (c *groupRmCommand) Run(ctx context.Context, p *program) error {
	o, err := p.open(ctx, chunksAtOnce)
	if err != nil {
		return err
	}
	defer o.close()
	g, err := o.group(ctx, c.Name)
	if err != nil {
		return err
	}
	leaving := slices.Clone(g.Members)
	if len(c.Who) > 0 {
		leaving = nil
		contacts, err := o.contacts(ctx, c.Who)
		if err != nil {
			return err
		}
		for _, m := range contacts {
			if !slices.Contains(g.Members, m.DID) {
				return failed(coffer.NotExist, "", "%s is not in the group %s", o.callName(ctx, m.DID), c.Name)
			}
			leaving = append(leaving, m.DID)
		}
	}
	// Access first, then the list: after an interruption, the same command finds them in it still.
	for _, m := range leaving {
		ended, err := o.Revoke(ctx, agent.RevokeOptions{Group: c.Name, With: m})
		if err != nil && !errors.Is(err, coffer.NotExist) {
			return explain(err, "run the same command again", "access cannot be ended")
		}
		if err := o.ended(ctx, ended); err != nil {
			return err
		}
	}
	g.Members = slices.DeleteFunc(slices.Clone(g.Members), func(m string) bool { return slices.Contains(leaving, m) })
	if len(c.Who) == 0 {
		err = o.RemoveGroup(ctx, c.Name)
	} else {
		err = o.PutGroup(ctx, g)
	}
	if err != nil {
		return explain(err, "run the same command again", "cannot change the group %s", c.Name)
	}
	if !p.Quiet || p.JSON {
		if err := p.result(group{g.Name, append([]string{}, g.Members...)}, "%s: %s", printable(g.Name),
			printable(o.callNames(ctx, g.Members))); err != nil {
			return err
		}
	}
	return o.workNow(ctx, c.Later)
}
