package agent

import (
	"context"
	"errors"
	"slices"

	"github.com/cofferhq/coffer"
)

// ShareGroup shares with contacts what the group was granted and still is: each thing until the grants of it end that
// last longest, and what they have of it already not again. The links come with the shares; none if there is nothing to
// share. All of it is shared, or nothing. NotExist if somebody is no contact.
func (a *Agent) ShareGroup(ctx context.Context, group string, members ...string) (shares []Share, err error) {
	if group == "" {
		return nil, coffer.Errorf("group", coffer.Invalid, "no name")
	}
	err = a.commit(ctx, func(ctx context.Context, t *txn) error {
		shares = nil
		list, err := t.grants(ctx)
		if err != nil {
			return err
		}
		of := slices.Clone(list.all)
		of = slices.DeleteFunc(of, func(g *grantRecord) bool {
			return g.Group != group || !g.lasts() || !t.now.Before(g.Until)
		})
		slices.SortStableFunc(of, func(x, y *grantRecord) int { return y.Until.Compare(x.Until) })
		for _, m := range members {
			var has []*grantRecord
			for _, g := range of {
				if g.With == m {
					has = append(has, g)
				}
			}
			for _, g := range of {
				if slices.ContainsFunc(has, g.same) {
					continue
				}
				has = append(has, g)
				o := ShareOptions{With: m, Group: group, Actions: g.Actions, Until: g.Until, Fields: g.Fields, typ: g.Type}
				path, err := t.granted(ctx, g)
				if errors.Is(err, coffer.NotExist) {
					continue // it is gone
				} else if err != nil {
					return err
				}
				s, err := t.share(ctx, path, o)
				if err != nil {
					return err
				}
				shares = append(shares, *s)
			}
		}
		return nil
	})
	return shares, err
}

// same reports whether two grants are for the same, but to other readers or for another time.
func (g *grantRecord) same(o *grantRecord) bool {
	id := func(g *grantRecord) coffer.ObjectID {
		if g.Source != (coffer.ObjectID{}) {
			return g.Source // each reader has an excerpt of his own
		}
		return g.Scope
	}
	return id(g) == id(o) && slices.Equal(g.Actions, o.Actions) && slices.Equal(g.Fields, o.Fields)
}

// granted returns the path of what a grant is for, or of the object that it is a part of: it may have been moved since.
func (v *view) granted(ctx context.Context, g *grantRecord) (string, error) {
	if g.Source == (coffer.ObjectID{}) {
		return v.find(ctx, g)
	}
	return v.find(ctx, &grantRecord{Scope: g.Source, Path: g.Path})
}

// RemoveGroup forgets a group. It changes no grants. NotExist if there is none with the name.
func (a *Agent) RemoveGroup(ctx context.Context, name string) error {
	return a.remove(ctx, recordPath(groupFolder, name), false)
}
