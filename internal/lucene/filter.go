package lucene

import "encoding/json"

// A Filter is a query that is asked of JSON objects.
type Filter struct{ query *Query }

// ParseFilter is [Parse] for a Filter.
func ParseFilter(s string) (*Filter, error) {
	q, err := Parse(s)
	if err != nil {
		return nil, err
	}
	return &Filter{q}, nil
}

// Match reports whether the members of a JSON object, as [Fields.JSON] reads them, meet the query; it fails as that does.
func (f *Filter) Match(object json.RawMessage) (bool, error) {
	var d Fields
	if err := d.JSON([]byte(object)); err != nil {
		return false, err
	}
	return f.query.Match(&d), nil
}
