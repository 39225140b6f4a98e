package faulty

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"time"
)

// echo starts a server that says what it is told, and returns where it listens.
func echo(t *testing.T) string {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() {
				defer c.Close()
				_, _ = io.Copy(c, c)
			})
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		all.Wait()
	})
	return l.Addr().String()
}

// dial connects to a proxy.
func dial(t *testing.T, p *Proxy) *net.TCPConn {
	t.Helper()
	c, err := net.Dial("tcp", p.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if err := c.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return c.(*net.TCPConn)
}

// says says something and returns what comes back until there is as much or the connection ends.
func says(c net.Conn, text string) (string, error) {
	if _, err := c.Write([]byte(text)); err != nil {
		return "", err
	}
	b := make([]byte, len(text))
	n, err := io.ReadFull(c, b)
	return string(b[:n]), err
}

func TestProxyPasses(t *testing.T) {
	p := NewProxy(t, echo(t))
	c := dial(t, p)
	if got, err := says(c, "hello"); got != "hello" || err != nil {
		t.Fatalf("%q, %v", got, err)
	}
	if err := c.CloseWrite(); err != nil { // one side has said all, and hears the rest
		t.Fatal(err)
	}
	if rest, err := io.ReadAll(c); len(rest) != 0 || err != nil {
		t.Errorf("%q, %v", rest, err)
	}
	if to, from := p.Passed(ToServer), p.Passed(ToClient); to != 5 || from != 5 {
		t.Errorf("%v", p)
	}
	long := make([]byte, 1<<20)
	c = dial(t, p)
	go func() { _, _ = c.Write(long) }()
	if n, err := io.CopyN(io.Discard, c, int64(len(long))); err != nil {
		t.Errorf("%d bytes, %v", n, err)
	}
}

func TestProxyCuts(t *testing.T) {
	p := NewProxy(t, echo(t))
	cut := func(c net.Conn) {
		t.Helper()
		if n, err := c.Read(make([]byte, 1)); err == nil || n != 0 {
			t.Errorf("the connection is there: %d, %v", n, err)
		} else if late := net.Error(nil); errors.As(err, &late) && late.Timeout() {
			t.Error("nobody is told that it was cut")
		}
	}
	one, two := dial(t, p), dial(t, p)
	for _, c := range []net.Conn{one, two} {
		if _, err := says(c, "a"); err != nil {
			t.Fatal(err)
		}
	}
	p.Cut()
	cut(one)
	cut(two)
	for _, d := range []Direction{ToServer, ToClient} {
		c := dial(t, p)
		if _, err := says(c, "a"); err != nil {
			t.Fatal(err)
		}
		p.CutAfter(d, 3)
		before := p.Passed(d)
		got, err := says(c, "12345")
		if err == nil || len(got) > 3 || p.Passed(d)-before != 3 {
			t.Errorf("%q, %v, %v", got, err, p)
		}
		if got, err := says(dial(t, p), "again"); got != "again" || err != nil { // it does so once
			t.Errorf("%q, %v", got, err)
		}
	}
	p.CutAtRandom(rand.New(rand.NewPCG(1, 1)), 50)
	before, survived := p.Cuts(), 0
	for range 40 {
		if _, err := says(dial(t, p), "x"); err == nil {
			survived++
		}
	}
	if survived == 0 || p.Cuts() == before {
		t.Errorf("%d of 40 survive, %v", survived, p)
	}
	p.Heal()
	for range 10 {
		if _, err := says(dial(t, p), "x"); err != nil {
			t.Error(err)
		}
	}
}

func TestProxyHolds(t *testing.T) {
	p := NewProxy(t, echo(t))
	c := dial(t, p)
	p.Delay(20 * time.Millisecond)
	start := time.Now()
	if _, err := says(c, "slow"); err != nil || time.Since(start) < 40*time.Millisecond {
		t.Errorf("%v after %v", err, time.Since(start))
	}
	p.Heal()
	p.Stall(true)
	answered := make(chan error, 1)
	go func() {
		_, err := says(c, "held up")
		answered <- err
	}()
	select {
	case err := <-answered:
		t.Errorf("answered: %v", err)
	case <-time.After(30 * time.Millisecond):
	}
	p.Stall(false)
	if err := <-answered; err != nil {
		t.Error(err)
	}
	p.Refuse(true)
	if refused, err := net.Dial("tcp", p.Addr()); err == nil { // that may hear of it only when it says something
		if _, err := says(refused, "x"); err == nil {
			t.Error("a new connection is not refused")
		}
		_ = refused.Close()
	}
	if _, err := says(c, "x"); err != nil {
		t.Errorf("an old one is refused: %v", err)
	}
	p.Refuse(false)
	if _, err := says(dial(t, p), "x"); err != nil {
		t.Error(err)
	}
	p.Stall(true) // and ends with connections that are held up
	_, _ = c.Write([]byte("x"))
	p.Close()
}

func TestBefore(t *testing.T) {
	address := echo(t)
	p, through := Before(t, "postgres://user:word@"+address+"/name?a=b")
	if want := "postgres://user:word@" + p.Addr() + "/name?a=b"; through != want {
		t.Errorf("%s, want %s", through, want)
	}
	if _, err := says(dial(t, p), "x"); err != nil {
		t.Error(err)
	}
}

// TestProxyWithoutServer is before nothing.
func TestProxyWithoutServer(t *testing.T) {
	l, err := new(net.ListenConfig).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	_ = l.Close()
	p := NewProxy(t, address)
	if _, err := says(dial(t, p), "x"); err == nil {
		t.Error("somebody answered")
	}
}
