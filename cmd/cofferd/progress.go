package main

import (
	"encoding/json"
	"fmt"
	"os"
	"time"

	"golang.org/x/term"
)

// json writes v as a line to stdout.
func (p *program) json(v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	_, err = p.stdout.Write(append(b, '\n'))
	return err
}

// A progress is a line on the terminal that says how far long work has come. On what is no terminal it shows nothing.
type progress struct {
	to    *os.File // nil shows nothing
	begun time.Time
	last  time.Time
	width int // of what is shown
}

// Work that takes less than progressAfter shows no progress; a line stands for progressEvery.
const (
	progressAfter = time.Second
	progressEvery = 200 * time.Millisecond
)

// progress begins to show progress on stderr, if that is a terminal.
func (p *program) progress() *progress {
	f, ok := p.stderr.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		f = nil
	}
	return &progress{to: f, begun: time.Now()}
}

// show replaces the line.
func (s *progress) show(text string) {
	now := time.Now()
	if s.to == nil || now.Sub(s.begun) < progressAfter || now.Sub(s.last) < progressEvery {
		return
	}
	s.clear()
	s.last = now
	text = fmt.Sprintf("%s (%v)", text, now.Sub(s.begun).Round(time.Second))
	s.width = len(text)
	fmt.Fprint(s.to, text)
}

// clear removes the line, so that something else can be written.
func (s *progress) clear() {
	if s.to == nil || s.width == 0 {
		return
	}
	fmt.Fprintf(s.to, "\r%*s\r", s.width, "")
	s.width = 0
}
