package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/api/hub"
	"github.com/cofferhq/coffer/ident"
)

// A daemon is a cofferd that runs.
type daemon struct {
	cmd      *exec.Cmd
	base     string
	resolver *ident.Resolver
	dids     []string // of the hub
}

// start builds cofferd and runs it.
func start(ctx context.Context, dir string) (*daemon, error) {
	bin := filepath.Join(dir, "cofferd")
	if out, err := exec.CommandContext(ctx, "go", "build", "-o", bin, "./cmd/cofferd").CombinedOutput(); err != nil {
		return nil, fmt.Errorf("build: %w\n%s", err, out)
	}
	d := &daemon{cmd: exec.Command(bin, "--listen", "127.0.0.1:0", "--data", filepath.Join(dir, "data"),
		"--log-level", "error")}
	d.cmd.Stderr = os.Stderr
	stdout, err := d.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := d.cmd.Start(); err != nil {
		return nil, err
	}
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		return nil, errors.Join(err, d.stop())
	}
	d.base = strings.TrimSpace(strings.TrimPrefix(line, "listening on "))
	if d.resolver, err = ident.New(ident.Options{}); err == nil {
		err = d.describe()
	}
	if err != nil {
		return nil, errors.Join(err, d.stop())
	}
	return d, nil
}

// describe asks the hub for its identifiers.
func (d *daemon) describe() error {
	said, err := hub.Describe(context.Background(), nil, d.base+"/.identity")
	if err != nil {
		return err
	}
	d.dids = said.DIDs
	return nil
}

func (d *daemon) stop() error {
	if err := d.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	return d.cmd.Wait()
}

// ticks is how many a second /proc counts in: what Linux tells programs on every machine.
const ticks = 100

// cpu returns what the process has used of the processor.
func (d *daemon) cpu() (time.Duration, error) {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(d.cmd.Process.Pid) + "/stat")
	if err != nil {
		return 0, err
	}
	// The second field is a name in parentheses; user and system time are the fourteenth and fifteenth.
	_, rest, _ := strings.Cut(string(b), ") ")
	fields := strings.Fields(rest)
	if len(fields) < 13 {
		return 0, errors.New("/proc says nothing")
	}
	user, errUser := strconv.ParseInt(fields[11], 10, 64)
	system, errSystem := strconv.ParseInt(fields[12], 10, 64)
	return time.Duration(user+system) * (time.Second / ticks), errors.Join(errUser, errSystem)
}

// did returns the identifier of the hub that begins with a method's name.
func (d *daemon) did(method string) string {
	for _, did := range d.dids {
		if strings.HasPrefix(did, "did:"+method+":") {
			return did
		}
	}
	return ""
}

// client returns a client of the hub under the identifier of a method.
func (d *daemon) client(ctx context.Context, method string, as hub.Requester, through http.RoundTripper) (coffer.Hub, error) {
	identity, err := d.resolver.Resolve(ctx, d.did(method))
	if err != nil {
		return nil, err
	}
	return hub.NewClient(hub.ClientOptions{
		URL: d.base + "/.identity", Hub: identity, Requester: as, Key: d.resolver.MessageKey, Now: time.Now,
		HTTP: &http.Client{Transport: through},
	})
}
