package faulty

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/url"
	"sync"
	"testing"
	"time"
)

// Bounds on a proxy: a test that passes them has gone astray.
const (
	maxLinks = 512
	block    = 16 << 10 // bytes that are passed on at a time, in each direction of each connection
)

// dialTime bounds how long the proxy waits for what is behind it.
const dialTime = 10 * time.Second

// A Proxy stands between a client and a server that talk over TCP, and does to their connections what networks do. All
// methods may be called concurrently.
type Proxy struct {
	target   string
	listener net.Listener
	all      sync.WaitGroup
	done     chan struct{} // closed by Close

	mu      sync.Mutex
	links   map[*link]struct{}
	stalled chan struct{} // closed when bytes flow again; nil while they do
	refuse  bool
	delay   time.Duration
	left    [2]int64 // bytes until a cut, by direction, of all connections together; negative is none
	rng     *rand.Rand
	percent int
	passed  [2]int64
	cuts    int
}

// A Direction is where bytes go.
type Direction int

// The directions.
const (
	ToServer Direction = iota
	ToClient
)

// A link is a connection through the proxy.
type link struct {
	ends [2]net.Conn // where bytes go to, by direction
	once sync.Once
	done chan struct{}
}

// cut ends both connections at once, without the word that nothing follows.
func (l *link) cut() {
	l.once.Do(func() {
		close(l.done)
		for _, c := range l.ends {
			if tcp, ok := c.(*net.TCPConn); ok {
				_ = tcp.SetLinger(0)
			}
			_ = c.Close()
		}
	})
}

// NewProxy starts a proxy on the loopback interface before the server at an address, host:port. It ends with the test.
func NewProxy(t testing.TB, target string) *Proxy {
	t.Helper()
	listener, err := new(net.ListenConfig).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatalf("proxy: %v", err)
	}
	p := &Proxy{
		target: target, listener: listener, done: make(chan struct{}),
		links: make(map[*link]struct{}), left: [2]int64{-1, -1},
	}
	p.all.Go(p.serve)
	t.Cleanup(p.Close)
	return p
}

// Before starts a proxy before the server that a URL names and returns it with the URL of that server through the
// proxy.
func Before(t testing.TB, rawURL string) (p *Proxy, through string) {
	t.Helper()
	u, err := url.Parse(rawURL)
	if err != nil || u.Port() == "" {
		t.Fatalf("proxy: not a URL with a port: %v", err)
	}
	p = NewProxy(t, u.Host)
	u.Host = p.Addr()
	return p, u.String()
}

// Addr returns where the proxy listens, host:port.
func (p *Proxy) Addr() string { return p.listener.Addr().String() }

// Cut cuts all connections now.
func (p *Proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cutAll()
}

func (p *Proxy) cutAll() {
	for l := range p.links {
		l.cut()
		p.cuts++
	}
	clear(p.links)
}

// CutAfter cuts all connections when n more bytes, of all of them together, have passed in one direction; they
// are still sent. It does so once.
func (p *Proxy) CutAfter(d Direction, n int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.left[d] = max(n, 0)
}

// CutAtRandom cuts a connection before each block that it passes on with a chance of so many per cent. Zero ends that.
func (p *Proxy) CutAtRandom(rng *rand.Rand, percent int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rng, p.percent = rng, percent
}

// Delay lets each block wait so long.
func (p *Proxy) Delay(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.delay = d
}

// Stall lets nothing pass any more, or lets it pass again. Connections stay, and new ones are accepted.
func (p *Proxy) Stall(stall bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case stall && p.stalled == nil:
		p.stalled = make(chan struct{})
	case !stall && p.stalled != nil:
		close(p.stalled)
		p.stalled = nil
	}
}

// Refuse cuts new connections at once, or accepts them again.
func (p *Proxy) Refuse(refuse bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refuse = refuse
}

// Heal ends all that the proxy does to connections. Those that were cut stay cut.
func (p *Proxy) Heal() {
	p.Stall(false)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refuse, p.delay, p.percent, p.left = false, 0, 0, [2]int64{-1, -1}
}

// Passed returns how many bytes have passed in a direction.
func (p *Proxy) Passed(d Direction) int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.passed[d]
}

// Cuts returns how many connections were cut, those of [Proxy.Refuse] not counted.
func (p *Proxy) Cuts() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.cuts
}

// Close ends the proxy and everything on it.
func (p *Proxy) Close() {
	p.mu.Lock()
	select {
	case <-p.done:
	default:
		close(p.done)
	}
	p.mu.Unlock()
	_ = p.listener.Close()
	p.Cut()
	p.all.Wait()
}

func (p *Proxy) serve() {
	for {
		client, err := p.listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue // the client was gone before it was accepted
		}
		p.all.Go(func() { p.connect(client) })
	}
}

// connect takes a client to the server and passes on what they say until one end is closed.
func (p *Proxy) connect(client net.Conn) {
	l := &link{ends: [2]net.Conn{ToClient: client}, done: make(chan struct{})}
	if !p.welcome() {
		l.ends[ToServer] = client
		l.cut()
		return
	}
	server, err := (&net.Dialer{Timeout: dialTime}).Dial("tcp", p.target)
	if err != nil {
		_ = client.Close()
		return
	}
	l.ends[ToServer] = server
	p.mu.Lock()
	select {
	case <-p.done:
		l.cut()
	default:
		p.links[l] = struct{}{}
	}
	p.mu.Unlock()
	var both sync.WaitGroup
	both.Go(func() { p.pass(l, ToServer) })
	both.Go(func() { p.pass(l, ToClient) })
	both.Wait()
	l.cut()
	p.mu.Lock()
	delete(p.links, l)
	p.mu.Unlock()
}

func (p *Proxy) welcome() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return !p.refuse && len(p.links) < maxLinks
}

// pass passes on what goes in one direction.
func (p *Proxy) pass(l *link, d Direction) {
	from, to := l.ends[1-d], l.ends[d]
	b := make([]byte, block)
	for {
		n, err := from.Read(b)
		if n > 0 {
			n, cut := p.judge(l, d, n)
			if n > 0 {
				if _, err := to.Write(b[:n]); err != nil {
					l.cut()
					return
				}
			}
			if cut {
				p.Cut()
				return
			}
		}
		switch {
		case errors.Is(err, io.EOF): // the other direction may go on
			if tcp, ok := to.(*net.TCPConn); ok {
				_ = tcp.CloseWrite()
			}
			return
		case err != nil:
			l.cut()
			return
		}
	}
}

// judge waits as long as it has to, and says how many of n bytes may pass, and whether all connections are cut then.
func (p *Proxy) judge(l *link, d Direction, n int) (pass int, cut bool) {
	for {
		p.mu.Lock()
		stalled, delay := p.stalled, p.delay
		p.mu.Unlock()
		if stalled == nil {
			if delay > 0 {
				wait := time.NewTimer(delay)
				defer wait.Stop()
				select {
				case <-wait.C:
				case <-l.done:
				}
			}
			break
		}
		select {
		case <-stalled:
		case <-l.done:
			return 0, false
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.percent > 0 && p.rng.IntN(100) < p.percent {
		if _, there := p.links[l]; there {
			p.cuts++
			delete(p.links, l)
		}
		l.cut()
		return 0, false
	}
	if left := p.left[d]; left >= 0 {
		if int64(n) >= left {
			n, cut = int(left), true
			p.left[d] = -1
		} else {
			p.left[d] -= int64(n)
		}
	}
	p.passed[d] += int64(n)
	return n, cut
}

// String says what the proxy has done.
func (p *Proxy) String() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return fmt.Sprintf("%d bytes to the server, %d to the client, %d connections cut", p.passed[0], p.passed[1], p.cuts)
}
