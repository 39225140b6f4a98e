package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestMain lets the scripts run this test binary as coffer, with the race detector if the test has it: each command of
// a script is a process of its own.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"coffer": main})
}

// TestScripts runs the stories in testdata against the provider's real program on real sockets. Besides the commands
// of testscript they have:
//
//	node start [FLAG…]         starts cofferd; its origin is in $NODE, behind a gate that passes everything on
//	node stop, node kill       ends it with SIGTERM, or with SIGKILL; "node start" starts it again as it was
//	node check                 runs cofferd check
//	other …                    the same for another node, whose origin is in $OTHER
//	gate N                     lets N more bytes pass to the node, and then nothing
//	gate from N                the same for what comes from the node
//	gate reached               waits until they have passed
//	gate open                  lets everything pass, and counts from zero
//	gate below N               fails unless fewer bytes than N passed to the node since it was opened
//	gate from below N          the same for what came from the node
//	exits CODE COMMAND…        runs a command that must end with this exit code
//	take VARIABLE MEMBER       sets a variable to a member of the JSON object that is on stdout, which is a text; of
//	                           several objects, to that of the last one that has it
//	big FILE N SEED            writes a file of N bytes that the seed determines
//	pair [flags]               starts "coffer device pair"; its code is in $CODE, and $TEXT; see pair_test.go
//	web identities FILE …      writes an identities.json with people whose documents say where their hubs are
//	web publish …, web copy …  keeps public objects in those hubs, and copies hubs; see open_test.go
//	readme                     runs what README.md says to type; see readme_test.go
//	running                    waits for "coffer up" in the background; its origin is in $ADDRESS
//	watched                    runs coffer under the race detector from here on, if the test has it; for stories of
//	                           commands that do several things at once. It takes three times as long as the program
func TestScripts(t *testing.T) {
	programs := build(t)
	cofferd := filepath.Join(programs, "cofferd")
	watchedPath := os.Getenv("PATH")
	testscript.Run(t, testscript.Params{
		Dir: "testdata",
		Setup: func(e *testscript.Env) error {
			for name, dir := range map[string]string{
				"HOME": "home", "XDG_CONFIG_HOME": "config", "XDG_DATA_HOME": "data", "XDG_STATE_HOME": "state",
				"XDG_CACHE_HOME": "cache",
			} {
				e.Setenv(name, filepath.Join(e.WorkDir, ".person", dir))
			}
			e.Setenv("DBUS_SESSION_BUS_ADDRESS", "unix:path="+filepath.Join(e.WorkDir, "no-bus")) // no OS keychain
			e.Setenv("PATH", programs+string(filepath.ListSeparator)+watchedPath)
			// With the race detector, each command would else wait for a second at its end.
			e.Setenv("GORACE", "atexit_sleep_ms=10")
			e.Values[pairing{}] = new(pairing)
			for variable, key := range map[string]any{"NODE": nodeProcess{}, "OTHER": otherNode{}} {
				g, err := newGate()
				if err != nil {
					return err
				}
				origin := "http://" + g.listener.Addr().String()
				data := filepath.Join(e.WorkDir, "."+strings.ToLower(variable))
				n := &nodeProcess{program: cofferd, data: data, origin: origin, gate: g}
				e.Values[key] = n
				e.Setenv(variable, origin)
				e.Defer(func() {
					n.end(syscall.SIGKILL)
					g.close()
				})
			}
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"node": nodeCommand(nodeProcess{}), "other": nodeCommand(otherNode{}), "gate": gateCommand, "exits": exitsCommand,
			"take": takeCommand, "big": bigCommand, "running": runningCommand, "pair": pairCommand, "web": webCommand,
			"readme": readmeCommand,
			"watched": func(ts *testscript.TestScript, neg bool, args []string) {
				if neg || len(args) != 0 {
					ts.Fatalf("usage: watched")
				}
				ts.Setenv("PATH", watchedPath)
			},
		},
		Condition: func(name string) (bool, error) {
			if name == "root" {
				return os.Geteuid() == 0, nil
			}
			return false, fmt.Errorf("unknown condition %q", name)
		},
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
	})
}

// build builds coffer and cofferd as they are shipped, once, and returns their folder.
func build(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if out, err := exec.Command("go", "build", "-o", dir, ".", "../cofferd").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	return dir
}

// A nodeProcess is a node of a script: a process, and the gate before it.
type nodeProcess struct {
	program, data string
	origin        string
	flags         string // of its start
	gate          *gate
	cmd           *exec.Cmd // nil while it does not run
}

// otherNode is the key of the second node of a script; that of the first is nodeProcess.
type otherNode struct{}

// start starts cofferd behind the gate. Its port is found beforehand, for it says the gate's origin, not its own
// address: somebody else may take the port meanwhile, so it is tried again.
func (n *nodeProcess) start(ts *testscript.TestScript) (err error) {
	for range 5 {
		var l net.Listener
		if l, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
			return err
		}
		address := l.Addr().String()
		l.Close()
		if err = n.startAt(ts, address); err == nil {
			n.gate.lead(address)
			return nil
		}
	}
	return err
}

func (n *nodeProcess) startAt(ts *testscript.TestScript, address string) error {
	cmd := exec.Command(n.program,
		append(strings.Fields(n.flags), "--listen", address, "--data", n.data, "--origin", n.origin)...)
	cmd.Dir = ts.MkAbs(".")
	cmd.Env = []string{}
	log, err := os.OpenFile(n.data+".log", os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close() // the process has its own
	cmd.Stderr = log
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil || line != "listening on "+n.origin+"\n" {
		said, _ := os.ReadFile(n.data + ".log")
		return fmt.Errorf("cofferd wrote %q and ends with %v\n%s", line, cmd.Wait(), said)
	}
	n.cmd = cmd
	return nil
}

func (n *nodeProcess) end(s syscall.Signal) error {
	if n.cmd == nil {
		return nil
	}
	cmd := n.cmd
	n.cmd = nil
	if err := cmd.Process.Signal(s); err != nil {
		return err
	}
	err := cmd.Wait()
	if s == syscall.SIGKILL {
		return nil
	}
	return err
}

func nodeCommand(key any) func(*testscript.TestScript, bool, []string) {
	return func(ts *testscript.TestScript, neg bool, args []string) {
		ts.Value(key).(*nodeProcess).command(ts, neg, args)
	}
}

func (n *nodeProcess) command(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 || len(args) > 1 && args[0] != "start" {
		ts.Fatalf("usage: node start [flags]|stop|kill|check")
	}
	switch args[0] {
	case "start":
		if len(args) > 1 {
			n.flags = strings.Join(args[1:], " ")
		}
		ts.Check(n.start(ts))
	case "stop":
		ts.Check(n.end(syscall.SIGTERM))
	case "kill":
		ts.Check(n.end(syscall.SIGKILL))
	case "check":
		ts.Check(ts.Exec(n.program, "check", "--data", n.data))
	default:
		ts.Fatalf("usage: node start|stop|kill|check")
	}
}

// A gate stands before the node and can hold back what clients send and get, so that a script can interrupt them where
// it wants.
type gate struct {
	listener net.Listener
	wg       sync.WaitGroup

	mu      sync.Mutex
	changed *sync.Cond
	leads   string
	to      flow // from clients to the node
	from    flow
	closed  bool
	conns   map[net.Conn]bool
}

// A flow is what passes a gate in one direction.
type flow struct {
	passed int64 // bytes since the gate was opened
	limit  int64 // how many may pass; -1 is any number
}

func (f flow) full() bool { return f.limit >= 0 && f.passed >= f.limit }

var open = flow{limit: -1}

func newGate() (*gate, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	g := &gate{listener: l, to: open, from: open, conns: make(map[net.Conn]bool)}
	g.changed = sync.NewCond(&g.mu)
	g.wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			g.wg.Go(func() { g.pass(c) })
		}
	})
	return g, nil
}

func (g *gate) lead(address string) {
	g.mu.Lock()
	g.leads = address
	g.mu.Unlock()
}

func (g *gate) pass(client net.Conn) {
	defer client.Close()
	g.mu.Lock()
	to := g.leads
	g.mu.Unlock()
	server, err := net.Dial("tcp", to)
	if err != nil {
		return
	}
	defer server.Close()
	if !g.keep(client, server) {
		return
	}
	g.wg.Go(func() {
		g.copy(client, server, &g.from)
		client.Close()
	})
	g.copy(server, client, &g.to)
}

func (g *gate) copy(to, from net.Conn, f *flow) {
	buf := make([]byte, 4096)
	for {
		n, err := from.Read(buf)
		if n == 0 || !g.take(f, int64(n)) {
			return
		}
		if _, err := to.Write(buf[:n]); err != nil {
			return
		}
		if err != nil {
			return
		}
	}
}

// keep remembers connections that close must end.
func (g *gate) keep(conns ...net.Conn) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, c := range conns {
		g.conns[c] = true
	}
	return !g.closed
}

// take waits until n bytes may pass.
func (g *gate) take(f *flow, n int64) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	for !g.closed && f.full() {
		g.changed.Wait()
	}
	f.passed += n
	g.changed.Broadcast()
	return !g.closed
}

func (g *gate) set(to, from int64) {
	g.mu.Lock()
	g.to, g.from = flow{limit: to}, flow{limit: from}
	g.changed.Broadcast()
	g.mu.Unlock()
}

// reached waits until as much has passed as may.
func (g *gate) reached() error {
	timeout := time.AfterFunc(30*time.Second, g.changed.Broadcast)
	defer timeout.Stop()
	end := time.Now().Add(30 * time.Second)
	g.mu.Lock()
	defer g.mu.Unlock()
	for !g.to.full() && !g.from.full() {
		if time.Now().After(end) {
			return fmt.Errorf("only %d bytes came, and %d back", g.to.passed, g.from.passed)
		}
		g.changed.Wait()
	}
	return nil
}

func (g *gate) close() {
	g.mu.Lock()
	g.closed = true
	for c := range g.conns {
		c.Close()
	}
	g.changed.Broadcast()
	g.mu.Unlock()
	g.listener.Close()
	g.wg.Wait()
}

func gateCommand(ts *testscript.TestScript, neg bool, args []string) {
	g := ts.Value(nodeProcess{}).(*nodeProcess).gate
	f := &g.to
	from := len(args) > 1 && args[0] == "from"
	if from {
		f, args = &g.from, args[1:]
	}
	switch {
	case neg || len(args) == 0:
		ts.Fatalf("usage: gate [from] N|reached|open|below N")
	case args[0] == "reached":
		ts.Check(g.reached())
	case args[0] == "open":
		g.set(-1, -1)
	case args[0] == "below" && len(args) == 2:
		limit := number(ts, args[1])
		g.mu.Lock()
		defer g.mu.Unlock()
		ts.Logf("%d bytes passed", f.passed)
		if f.passed >= limit {
			ts.Fatalf("%d bytes passed, want fewer than %d", f.passed, limit)
		}
	case from:
		g.set(-1, number(ts, args[0]))
	default:
		g.set(number(ts, args[0]), -1)
	}
}

func exitsCommand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE COMMAND...")
	}
	want, got := int(number(ts, args[0])), 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		var exit *exec.ExitError
		if !errors.As(err, &exit) {
			ts.Fatalf("%v", err)
		}
		got = exit.ExitCode()
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}

func takeCommand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: take VARIABLE MEMBER")
	}
	var value string
	for line := range strings.Lines(ts.ReadFile("stdout")) {
		var object map[string]any
		ts.Check(json.Unmarshal([]byte(line), &object))
		if text, ok := object[args[1]].(string); ok && text != "" {
			value = text
		}
	}
	if value == "" {
		ts.Fatalf("stdout has no text as member %s", args[1])
	}
	ts.Setenv(args[0], value)
}

func bigCommand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: big FILE N SEED")
	}
	b := make([]byte, number(ts, args[1]))
	var seed [32]byte
	copy(seed[:], args[2])
	if _, err := rand.NewChaCha8(seed).Read(b); err != nil {
		ts.Fatalf("%v", err)
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), b, 0o600))
}

func runningCommand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 0 {
		ts.Fatalf("usage: running")
	}
	config := filepath.Join(ts.Getenv("XDG_CONFIG_HOME"), "coffer")
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		var kept personalNode
		b, err := os.ReadFile(filepath.Join(config, "node.json"))
		if err != nil || json.Unmarshal(b, &kept) != nil {
			continue
		}
		if _, err := os.Stat(filepath.Join(config, "default", "config.json")); err != nil {
			continue
		}
		if c, err := net.Dial("tcp", kept.Listen); err == nil {
			c.Close()
			ts.Setenv("ADDRESS", "http://"+kept.Listen)
			return
		}
	}
	ts.Fatalf("coffer up does not get ready")
}

func number(ts *testscript.TestScript, s string) int64 {
	n, err := strconv.ParseInt(strings.ReplaceAll(s, "_", ""), 10, 64)
	ts.Check(err)
	return n
}
