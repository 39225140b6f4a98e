package node

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/internal/jose"
)

// The control socket is a Unix socket in the data folder, of mode 0600, at which a running node answers whoever may
// read its data anyway: what it is doing, and a request to make a backup. Only this package speaks at it, and the
// protocol may change from one version to the next.

const controlFile = "control.sock"

// controlPrefix is of the hidden folders in which control sockets are made, before they are moved to their place.
const controlPrefix = ".control-"

// maxSocketPath is the length of the longest path that every system takes for a socket.
const maxSocketPath = 100

// maxControl bounds what is sent over the control socket, either way.
const maxControl = 64 << 10

// A control is the node's end of the socket.
type control struct {
	listener net.Listener
	path     string
	server   *http.Server
	gone     sync.Once
}

// newControl makes the socket. What an earlier run left is replaced: the data folder is this node's. Who connects waits
// until it is served.
func (n *Node) newControl() (c *control, err error) {
	data := n.config.Data
	// Made in a folder of its own, nobody else can connect before its mode is set.
	hidden, err := os.MkdirTemp(data, controlPrefix)
	if err != nil {
		return nil, withoutPath(err)
	}
	defer os.RemoveAll(hidden)
	at, done, err := shortened(hidden)
	if err != nil {
		return nil, err
	}
	defer done()
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(at, controlFile), Net: "unix"})
	if err != nil {
		return nil, errors.New("the system makes no socket in the data folder")
	}
	l.SetUnlinkOnClose(false) // it moves
	path := filepath.Join(data, controlFile)
	made := filepath.Join(hidden, controlFile)
	if err := errors.Join(os.Chmod(made, 0o600), os.Rename(made, path)); err != nil {
		return nil, errors.Join(withoutPath(err), l.Close())
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /stats", func(w http.ResponseWriter, r *http.Request) {
		s, err := n.Stats(r.Context(), true)
		answerControl(w, s, err)
	})
	mux.HandleFunc("POST /backup", func(w http.ResponseWriter, r *http.Request) {
		dir, err := io.ReadAll(io.LimitReader(r.Body, maxControl))
		if err == nil && !filepath.IsAbs(string(dir)) {
			err = coffer.Errorf("backup", coffer.Invalid, "the folder must be an absolute path")
		}
		var m *Manifest
		if err == nil {
			n.log.Info("backup begins")
			m, err = n.Backup(r.Context(), string(dir))
			if err == nil {
				n.log.Info("backup ended")
			} else {
				n.log.Error("backup failed", "error", err)
			}
		}
		answerControl(w, m, err)
	})
	return &control{listener: l, path: path, server: &http.Server{
		Handler: mux, ReadHeaderTimeout: 10 * time.Second,
		ErrorLog: slog.NewLogLogger(quiet{n.log.Handler()}, slog.LevelDebug),
	}}, nil
}

// serve answers until ctx ends, and removes the socket.
func (c *control) serve(ctx context.Context) {
	// A backup that is under way ends with its request.
	c.server.BaseContext = func(net.Listener) context.Context { return ctx }
	stop := context.AfterFunc(ctx, func() { _ = c.server.Close() })
	defer stop()
	_ = c.server.Serve(c.listener)
	c.close()
}

// close removes the socket. It may be called again.
func (c *control) close() {
	_ = c.listener.Close()
	c.gone.Do(func() { _ = os.Remove(c.path) }) // once: the next node's may be there then
}

// kindHeader carries the kind of an error over the control socket, as a number.
const kindHeader = "Coffer-Kind"

// answerControl answers with v, or with the error.
func answerControl(w http.ResponseWriter, v any, err error) {
	var b []byte
	if err == nil {
		b, err = jose.Encode(v)
	}
	if err != nil {
		w.Header().Set(kindHeader, strconv.Itoa(int(coffer.KindOf(err))))
		http.Error(w, reasonOf(err), http.StatusInternalServerError)
		return
	}
	_, _ = w.Write(b) // who went away needs no answer
}

// A Running is a node that runs, as another process of the same machine reaches it.
type Running struct{ client *http.Client }

// FindRunning returns the node that runs with a data folder, or NotExist.
func FindRunning(ctx context.Context, data string) (*Running, error) {
	dial := func(ctx context.Context) (net.Conn, error) {
		at, done, err := shortened(data)
		if err != nil {
			return nil, err
		}
		defer done()
		return new(net.Dialer).DialContext(ctx, "unix", filepath.Join(at, controlFile))
	}
	c, err := dial(ctx)
	if err != nil {
		return nil, coffer.Errorf("control socket", coffer.NotExist, "no node is running with the data folder")
	}
	_ = c.Close()
	return &Running{&http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext:       func(ctx context.Context, _, _ string) (net.Conn, error) { return dial(ctx) },
	}}}, nil
}

// Stats asks the node how it is doing.
func (r *Running) Stats(ctx context.Context) (*Stats, error) {
	s := new(Stats)
	return s, r.ask(ctx, http.MethodGet, "/stats", nil, s)
}

// Backup lets the node make a backup in a folder, which is given by its absolute path; see [Disks.Backup]. It is
// broken off when ctx ends.
func (r *Running) Backup(ctx context.Context, dir string) (*Manifest, error) {
	m := new(Manifest)
	return m, r.ask(ctx, http.MethodPost, "/backup", []byte(dir), m)
}

func (r *Running) ask(ctx context.Context, method, path string, body []byte, answer any) error {
	const op = "running node"
	req, err := http.NewRequestWithContext(ctx, method, "http://node"+path, bytes.NewReader(body))
	if err != nil {
		return coffer.E(op, coffer.Other, err)
	}
	resp, err := r.client.Do(req)
	if err != nil {
		if ctx.Err() != nil {
			err = ctx.Err()
		} else {
			err = errors.New("it went away")
		}
		return coffer.E(op, coffer.Unavailable, err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxControl))
	if err != nil {
		return coffer.Errorf(op, coffer.Unavailable, "it went away")
	}
	if resp.StatusCode != http.StatusOK {
		kind, err := strconv.ParseUint(resp.Header.Get(kindHeader), 10, 8)
		if err != nil || kind > uint64(coffer.Unavailable) {
			return coffer.Errorf(op, coffer.Other, "it is of another version")
		}
		return coffer.Errorf(op, coffer.Kind(kind), strings.TrimSpace(string(b)))
	}
	if err := jose.DecodeOpen(b, answer); err != nil {
		return coffer.Errorf(op, coffer.Other, "it is of another version")
	}
	return nil
}

// shortened returns a path to a folder that is short enough for sockets in it, if the system has one, until done is
// called.
func shortened(folder string) (path string, done func(), err error) {
	if len(folder)+len(controlFile) < maxSocketPath {
		return folder, func() {}, nil
	}
	f, err := os.Open(folder)
	if err != nil {
		return "", nil, withoutPath(err)
	}
	path = fmt.Sprintf("/proc/self/fd/%d", f.Fd())
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return "", nil, errors.Join(errors.New("the data folder's path is too long for a socket"), f.Close())
	}
	return path, func() { f.Close() }, nil
}
