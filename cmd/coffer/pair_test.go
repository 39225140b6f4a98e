package main

import (
	"bufio"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"
)

// A pairing is "coffer device pair" at work.
type pairing struct {
	cmd *exec.Cmd
	out *bufio.Reader
}

// pairCommand is the script command "pair": it starts "coffer device pair" and sets CODE and TEXT to what it shows.
// "pair wait" waits until it ends well, and sets JOINED to the device that it says joined.
func pairCommand(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) == 1 && args[0] == "wait" {
		p := ts.Value(pairing{}).(*pairing)
		line, err := p.out.ReadString('\n')
		ts.Check(err)
		ts.Check(p.cmd.Wait())
		var joined struct{ Name string }
		ts.Check(json.Unmarshal([]byte(line), &joined))
		ts.Setenv("JOINED", joined.Name)
		return
	}
	if neg {
		ts.Fatalf("usage: pair [flags], pair wait")
	}
	program := ""
	for _, dir := range filepath.SplitList(ts.Getenv("PATH")) {
		if _, err := os.Stat(filepath.Join(dir, "coffer")); err == nil {
			program = filepath.Join(dir, "coffer")
			break
		}
	}
	p := ts.Value(pairing{}).(*pairing)
	p.cmd = exec.Command(program, append([]string{"device", "pair", "--json"}, args...)...)
	p.cmd.Dir = ts.MkAbs(".")
	for _, name := range []string{
		"HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME", "XDG_CACHE_HOME", "COFFER_PROFILE",
		"COFFER_PASSPHRASE", "DBUS_SESSION_BUS_ADDRESS",
	} {
		p.cmd.Env = append(p.cmd.Env, name+"="+ts.Getenv(name))
	}
	p.cmd.Stderr = io.Discard
	out, err := p.cmd.StdoutPipe()
	ts.Check(err)
	ts.Check(p.cmd.Start())
	ts.Defer(func() { _ = p.cmd.Process.Kill() })
	p.out = bufio.NewReader(out)
	line, err := p.out.ReadString('\n')
	ts.Check(err)
	var shown struct{ Code, Text string }
	ts.Check(json.Unmarshal([]byte(line), &shown))
	if strings.Count(shown.Code, "-") != 5 {
		ts.Fatalf("no code: %s", line)
	}
	ts.Setenv("CODE", shown.Code)
	ts.Setenv("TEXT", shown.Text)
}
