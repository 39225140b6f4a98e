package main

import "context"

type hubServicesCommand struct{ hubOf }

// Help says more.
func (hubServicesCommand) Help() string {
	return `Services are described as OpenAPI documents, which say where they are. A hub runs none of them.

Examples:
  coffer hub services --of shop
  coffer hub put openapis.org/Description api.json --interface Services --public      # offer one`
}

// Run lists services.
func (c *hubServicesCommand) Run(ctx context.Context, p *program) error {
	o, h, err := c.open(ctx, p)
	if err != nil {
		return err
	}
	defer o.close()
	return o.listObjects(ctx, h, h.Services(ctx))
}
