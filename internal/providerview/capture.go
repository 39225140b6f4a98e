package providerview

import (
	"bufio"
	"bytes"
	"cmp"
	"io"
	"net"
	"net/http"
	"slices"
	"sync"
)

// A Recorder passes connections on to a node and keeps all that goes either way, as a packet capture does.
type Recorder struct {
	mu    sync.Mutex
	clock int
	conns []*conn
}

// A conn is what went over one connection.
type conn struct{ up, down flow }

// A flow is what went one way.
type flow struct {
	r     *Recorder
	b     []byte
	marks []mark
}

// A mark says when the bytes from an offset on were seen.
type mark struct{ offset, at int }

// Write implements [io.Writer].
func (f *flow) Write(b []byte) (int, error) {
	f.r.mu.Lock()
	defer f.r.mu.Unlock()
	f.r.clock++
	f.marks = append(f.marks, mark{len(f.b), f.r.clock})
	f.b = append(f.b, b...)
	return len(b), nil
}

// Serve passes connections to l on to the node's address, which sees them come from the local address, until l is
// closed.
func (r *Recorder) Serve(l net.Listener, node string, local net.IP) {
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: local}}
	for {
		in, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer in.Close()
			out, err := dialer.Dial("tcp", node)
			if err != nil {
				return
			}
			defer out.Close()
			c := &conn{up: flow{r: r}, down: flow{r: r}}
			r.mu.Lock()
			r.conns = append(r.conns, c)
			r.mu.Unlock()
			go func() {
				defer out.Close()
				_, _ = io.Copy(out, io.TeeReader(in, &c.up)) // what is broken off is recorded as far as it went
			}()
			_, _ = io.Copy(in, io.TeeReader(out, &c.down))
		}()
	}
}

// Now returns a time of the recorder's clock: what is sent from now on comes later.
func (r *Recorder) Now() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.clock++
	return r.clock
}

// Scan looks for the patterns in all that was recorded, and returns how many bytes that is.
func (r *Recorder) Scan(s *Scanner, found map[string]bool) (n int, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range r.conns {
		for _, b := range [][]byte{c.up.b, c.down.b} {
			if err := s.Scan(bytes.NewReader(b), found); err != nil {
				return n, err
			}
			n += len(b)
		}
	}
	return n, nil
}

// An Exchange is a request and its answer.
type Exchange struct {
	At      int // when the request began, by the recorder's clock
	Request *http.Request
	In      []byte // the request's body
	Answer  *http.Response
	Out     []byte // the answer's body
}

// Exchanges returns all requests that were answered, in the order in which they began.
func (r *Recorder) Exchanges() (list []*Exchange, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range r.conns {
		up, down := &counted{r: bytes.NewReader(c.up.b)}, bufio.NewReader(bytes.NewReader(c.down.b))
		requests := bufio.NewReader(up)
		for {
			e := &Exchange{At: c.up.at(int(up.n) - requests.Buffered())}
			if e.Request, err = http.ReadRequest(requests); err == io.EOF {
				break
			} else if err != nil {
				return nil, err
			}
			if e.In, err = io.ReadAll(e.Request.Body); err != nil {
				return nil, err
			}
			if e.Answer, err = http.ReadResponse(down, e.Request); err != nil {
				break // not answered
			}
			if e.Out, err = io.ReadAll(e.Answer.Body); err != nil {
				break
			}
			list = append(list, e)
		}
	}
	slices.SortFunc(list, func(x, y *Exchange) int { return cmp.Compare(x.At, y.At) })
	return list, nil
}

// at returns when the byte at an offset was seen.
func (f *flow) at(offset int) (at int) {
	for _, m := range f.marks {
		if m.offset > offset {
			break
		}
		at = m.at
	}
	return at
}
