package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"runtime/pprof"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// A process is this program run once more, for one thing that is measured by itself. It is asked and answers in lines of
// JSON, one at a time, and ends when it is asked no more.
type process struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *json.Decoder

	stopped bool
}

// childVariable is in the environment of such a process and says what it is.
const childVariable = "COFFER_BENCH_STORE"

// A handler answers one kind of question.
type handler func(ctx context.Context, arg json.RawMessage) (answer any, err error)

// A servant is what a process does: it makes itself from the first line and then answers.
type servant func(ctx context.Context, config json.RawMessage) (handlers map[string]handler, end func() error, err error)

// servants are the kinds of processes.
var servants = map[string]servant{"side": serveSide, "node": serveNode, "fill": serveFill, "open": serveOpen, "flood": serveFlood}

type question struct {
	Do  string
	Arg json.RawMessage
}

type answer struct {
	Error string          `json:",omitempty"`
	Value json.RawMessage `json:",omitempty"`
}

// start starts a process, and returns when it is ready.
func start(ctx context.Context, kind string, config any) (*process, error) {
	p := &process{cmd: exec.CommandContext(ctx, os.Args[0])}
	p.cmd.Env = append(os.Environ(), childVariable+"="+kind)
	p.cmd.Stderr = os.Stderr
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // an interrupt at the terminal is for the parent
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	p.out = json.NewDecoder(bufio.NewReader(out))
	if err := p.ask("begin", config, nil); err != nil {
		p.kill()
		return nil, fmt.Errorf("%s: %w", kind, err)
	}
	return p, nil
}

// ask asks the process and reads its answer into a value, unless that is nil.
func (p *process) ask(do string, arg, value any) error {
	b, err := json.Marshal(arg)
	if err != nil {
		return err
	}
	if err := json.NewEncoder(p.in).Encode(question{do, b}); err != nil {
		return fmt.Errorf("%s: %w", do, err)
	}
	var a answer
	if err := p.out.Decode(&a); err != nil {
		return fmt.Errorf("%s: the process ended: %w", do, err)
	}
	if a.Error != "" {
		return fmt.Errorf("%s: %s", do, a.Error)
	}
	if value == nil {
		return nil
	}
	return json.Unmarshal(a.Value, value)
}

// stop lets the process end in order. The second time it does nothing.
func (p *process) stop() error {
	if p.stopped {
		return nil
	}
	p.stopped = true
	return errors.Join(p.in.Close(), p.cmd.Wait())
}

// kill ends the process as kill -9 does.
func (p *process) kill() {
	_ = p.cmd.Process.Kill() // it may have ended
	_ = p.cmd.Wait()         // says that it was killed
}

// child is main for a process.
func child(kind string) (code int) {
	out := json.NewEncoder(os.Stdout)
	if err := serve(kind, json.NewDecoder(os.Stdin), out); err != nil {
		_ = out.Encode(answer{Error: err.Error()}) // who asked may have gone
		return 1
	}
	return 0
}

func serve(kind string, in *json.Decoder, out *json.Encoder) (err error) {
	ctx := context.Background()
	var q question
	if err := in.Decode(&q); err != nil {
		return err
	}
	be := servants[kind]
	if be == nil {
		return fmt.Errorf("no such process: %s", kind)
	}
	handlers, end, err := be(ctx, q.Arg)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, end()) }()
	if err := out.Encode(answer{}); err != nil {
		return err
	}
	profile := new(profiling)
	for {
		var q question
		if err := in.Decode(&q); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		do := handlers[q.Do]
		switch q.Do {
		case "cpu":
			do = func(context.Context, json.RawMessage) (any, error) { return cpuTime() }
		case "use":
			do = func(context.Context, json.RawMessage) (any, error) { return used() }
		case "profile":
			do = profile.to
		}
		var a answer
		if do == nil {
			a.Error = "no such question"
		} else if v, err := do(ctx, q.Arg); err != nil {
			a.Error = err.Error()
		} else if a.Value, err = json.Marshal(v); err != nil {
			return err
		}
		if err := out.Encode(a); err != nil {
			return err
		}
	}
}

// use is what a process uses.
type use struct {
	Heap  int64 // bytes that are reached, after a collection
	RSS   int64 // bytes resident, after what is free was given back
	Peak  int64 // the most bytes that were resident
	Files int   // open
}

func used() (u use, err error) {
	runtime.GC()
	debug.FreeOSMemory() // collects once more: what finalizers let go of
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	u.Heap = int64(m.HeapAlloc)
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return u, err
	}
	for line := range strings.Lines(string(status)) {
		f := strings.Fields(line)
		if len(f) < 2 {
			continue
		}
		kib, _ := strconv.ParseInt(f[1], 10, 64)
		switch f[0] {
		case "VmRSS:":
			u.RSS = kib << 10
		case "VmHWM:":
			u.Peak = kib << 10
		}
	}
	files, err := os.ReadDir("/proc/self/fd")
	u.Files = len(files)
	return u, err
}

func cpuTime() (time.Duration, error) {
	var u syscall.Rusage
	err := syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()), err
}

// clockTick is the unit of processor time in /proc/PID/stat; see proc_pid_stat(5).
const clockTick = 10 * time.Millisecond

// processTime returns the processor time that a process of another program has used, and its parent; with that of
// its children that have ended if they are asked for.
func processTime(pid int, children bool) (used time.Duration, parent int, err error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, 0, err
	}
	f := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
	if len(f) < 15 {
		return 0, 0, errors.New("stat of a process is too short")
	}
	parent, err = strconv.Atoi(f[1])
	fields := f[11:13]
	if children {
		fields = f[11:15]
	}
	for _, s := range fields {
		n, _ := strconv.Atoi(s)
		used += time.Duration(n) * clockTick
	}
	return used, parent, err
}

// familyTime returns the processor time of a process and of all its children.
func familyTime(pid int) (time.Duration, error) {
	if pid == 0 {
		return 0, nil
	}
	total, _, err := processTime(pid, true)
	if err != nil {
		return 0, err
	}
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return 0, err
	}
	for _, e := range entries {
		n, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if t, parent, err := processTime(n, false); err == nil && parent == pid { // it may end at any time
			total += t
		}
	}
	return total, nil
}

// profiling writes CPU profiles, one after the other.
type profiling struct{ file *os.File }

// to ends the profile under way and begins one in the named file, unless that is empty.
func (p *profiling) to(_ context.Context, arg json.RawMessage) (_ any, err error) {
	var name string
	if err := json.Unmarshal(arg, &name); err != nil {
		return nil, err
	}
	if p.file != nil {
		pprof.StopCPUProfile()
		err = p.file.Close()
		p.file = nil
	}
	if name == "" || err != nil {
		return nil, err
	}
	if p.file, err = os.Create(name); err != nil {
		return nil, err
	}
	return nil, pprof.StartCPUProfile(p.file)
}
