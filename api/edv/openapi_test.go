package edv

import (
	"slices"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
)

// TestOpenAPI checks that the document is valid OpenAPI, and describes just the routes there are.
func TestOpenAPI(t *testing.T) {
	doc, err := openapi3.NewLoader().LoadFromData(openAPI)
	if err != nil {
		t.Fatal(err)
	}
	if err := doc.Validate(t.Context(), openapi3.IsOpenAPI31OrLater()); err != nil {
		t.Error(err)
	}
	var described, served []string
	for pattern, item := range doc.Paths.Map() {
		for method := range item.Operations() {
			described = append(described, method+" "+pattern)
		}
	}
	byThemselves := []string{"createVault", "findVaults", "revoke", "revokeFromCollection", "openSession"}
	for _, p := range new(Server).routes() {
		for method, r := range p.methods {
			if method == "HEAD" {
				continue
			}
			served = append(served, r.name)
			item := doc.Paths.Find(p.pattern)
			if item == nil || item.GetOperation(method) == nil {
				continue // said below
			}
			operation := item.GetOperation(method)
			signed := r.action != "" || slices.Contains(byThemselves, operation.OperationID)
			if operation.Security == nil || signed != (len(*operation.Security) > 0) {
				t.Errorf("%s: whether it needs authority is described wrongly", r.name)
			}
		}
	}
	slices.Sort(described)
	slices.Sort(served)
	if !slices.Equal(described, served) {
		t.Errorf("described:\n%s\nserved:\n%s", strings.Join(described, "\n"), strings.Join(served, "\n"))
	}
}
