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
	o, err := p.open(ctx, 1)
	if err != nil {
		return err
	}
	defer o.close()
	h, err := c.hub(ctx, o)
	if err != nil {
		return err
	}
	return o.listObjects(ctx, h, h.Services(ctx))
}
