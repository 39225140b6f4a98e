package edv

import (
	"net/http"
	"strconv"
	"time"

	"github.com/cofferhq/coffer"
)

// bufferSize is how much of an answer is gathered before it goes out. A shorter answer goes out whole, with its length.
const bufferSize = 64 << 10

// sendTime is how long a client may take to receive one buffer, or a chunk: a slow one holds a view of the vault open.
// For a whole answer it may take that long, and as much longer for its size as for that of a body.
const (
	sendTime      = time.Minute
	sendChunkTime = 10 * time.Minute
)

// An answer composes a JSON body out of texts and of documents as they are stored, and sends it as it grows.
type answer struct {
	c    *call
	buf  *[]byte
	sent bool
	most time.Time // when all that was sent must have been received
	err  error     // of the connection
}

func (c *call) answer(mediaType string) *answer {
	h := c.Header()
	h["Content-Type"] = []string{mediaType}
	h["Cache-Control"] = fresh
	a := &answer{c: c, buf: c.buffers.Get().(*[]byte)}
	*a.buf = (*a.buf)[:0]
	return a
}

// release gives the buffer back.
func (a *answer) release() { a.c.buffers.Put(a.buf) }

func (a *answer) text(s string) {
	*a.buf = append(*a.buf, s...)
	a.flushFull()
}

func (a *answer) number(n uint64) {
	*a.buf = strconv.AppendUint(*a.buf, n, 10)
}

// bytes adds JSON as it is stored.
func (a *answer) bytes(b []byte) {
	if len(*a.buf)+len(b) <= bufferSize {
		*a.buf = append(*a.buf, b...)
		return
	}
	a.flush()
	if len(b) > bufferSize/2 {
		a.send(b)
	} else {
		*a.buf = append(*a.buf, b...)
	}
}

func (a *answer) flushFull() {
	if len(*a.buf) >= bufferSize-1024 {
		a.flush()
	}
}

func (a *answer) flush() {
	a.send(*a.buf)
	*a.buf = (*a.buf)[:0]
}

func (a *answer) send(b []byte) {
	if a.err != nil {
		return
	}
	if !a.sent {
		a.sent, a.most = true, time.Now().Add(sendTime)
		a.c.WriteHeader(http.StatusOK)
	}
	a.most = a.most.Add(time.Duration(len(b)) * time.Second / slowest)
	a.c.extendDeadline(min(sendTime, time.Until(a.most)))
	_, a.err = a.c.Write(b)
}

// end sends what is left.
func (a *answer) end() error {
	if !a.sent {
		a.c.Header()["Content-Length"] = []string{strconv.Itoa(len(*a.buf))}
	}
	a.flush()
	if a.err != nil {
		return coffer.Errorf("answer", coffer.Unavailable, "the client went away")
	}
	return nil
}

// extendDeadline gives the client so much time for what is written next. A connection without deadlines has none.
func (c *call) extendDeadline(d time.Duration) {
	_ = http.NewResponseController(c.out).SetWriteDeadline(time.Now().Add(d))
}
