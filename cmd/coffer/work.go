package main

import (
	"context"
)

type workCommand struct{}

// Help says more.
func (workCommand) Help() string {
	return `After a share ended, what could be read by it is encrypted anew. This goes on with what is left of that, on
whichever device it was begun, until nothing is. It may be interrupted at any time.

Examples:
  coffer status
  coffer work`
}

// Run encrypts anew what is left.
func (workCommand) Run(ctx context.Context, p *program) error {
	o, err := p.open(ctx, chunksAtOnce)
	if err != nil {
		return err
	}
	defer o.close()
	done, err := o.work(ctx)
	if err != nil {
		return err
	}
	if p.Quiet && !p.JSON {
		return nil
	}
	text := "nothing is left to do"
	if done > 0 {
		text = "encrypted anew: " + objectsText(done)
	}
	return p.result(struct {
		Done int `json:"done"`
		Left int `json:"left"`
	}{done, 0}, "%s", text)
}

// workNow encrypts anew what a share that ended leaves to be done, unless that is for later.
func (o *owner) workNow(ctx context.Context, later bool) error {
	if later {
		o.hint(ctx)
		return nil
	}
	done, err := o.work(ctx)
	if done > 0 && err == nil && !o.program.JSON {
		o.program.note("Encrypted anew: %s.", objectsText(done))
	}
	return err
}

// work encrypts anew what is left, and shows how far it is. It returns how many objects it did.
func (o *owner) work(ctx context.Context) (done int, err error) {
	bar := o.program.counted("encrypting anew")
	defer bar.done()
	first, before := true, 0
	err = o.Work(ctx, func(now, left int) {
		if first || now < before { // the next job begins
			before, first = now, false
		}
		done += now - before
		before = now
		bar.at(done, done+left)
	})
	bar.done()
	if ctx.Err() != nil {
		return done, &failure{
			message: "interrupted: access ended, and not all is encrypted anew yet", next: `"coffer work" goes on`,
			err: errInterrupted,
		}
	}
	return done, explain(err, `access ended all the same; "coffer work" goes on`, "cannot encrypt all of it anew")
}
