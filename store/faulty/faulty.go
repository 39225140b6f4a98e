// Package faulty puts in front of tests what goes wrong in the world, on command: a disk for the storage engine that
// fails, tears, fills up, is slow and loses what was not flushed ([Disk]); a network that cuts, stalls and refuses
// ([Proxy]); and stores that fail before or after they did what they were asked to ([Store], [Blobs]).
//
// A [Faults] says what fails. A [Rule] is added to it while everything runs, and taken away again.
package faulty

import (
	"context"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// An Op is an operation that a [Rule] may be for.
type Op string

// The operations of a [Disk].
const (
	Create Op = "create" // a new file
	Reuse  Op = "reuse"  // an old file is to be overwritten under a new name
	Open   Op = "open"
	Read   Op = "read"
	Write  Op = "write"
	Sync   Op = "sync" // of a file or a folder
	Rename Op = "rename"
	Link   Op = "link"
	Remove Op = "remove"
	Mkdir  Op = "mkdir"
	List   Op = "list" // of a disk and of blobs
)

// The operations of a [Store].
const (
	Apply      Op = "Apply"
	Get        Op = "Get" // of a store and of blobs
	Query      Op = "Query"
	Count      Op = "Count"
	Changes    Op = "Changes"
	Revision   Op = "Revision"
	Compact    Op = "Compact"
	Chunk      Op = "Chunk"
	Usage      Op = "Usage"
	Check      Op = "Check"
	Watch      Op = "Watch"
	Once       Op = "Once"
	Rebuild    Op = "Rebuild"
	Checkpoint Op = "Checkpoint"
	Stats      Op = "Stats"
)

// The operations of [Blobs], besides Get and List.
const (
	Put       Op = "Put"
	Delete    Op = "Delete"
	DeleteAll Op = "DeleteAll"
)

// A Rule says which operations are struck, and how. The zero Rule strikes every one and does nothing to it.
type Rule struct {
	Ops   []Op   // all of them if empty
	Name  string // of a disk, only files whose names contain it; of blobs, keys
	Skip  int    // so many of these pass first
	Times int    // so many are struck then; all that follow if zero

	Err   error                          // what a struck operation fails with; it goes on if nil
	Late  bool                           // it fails after it was carried out
	Part  bool                           // it fails in the middle: a part of what is written or read passes
	Delay time.Duration                  // it waits so long first, or until its context ends
	Hook  func(op Op, name string) error // is called first, may take its time; its error counts as Err if there is one
}

// Faults are the rules that hold at present. The first one that strikes an operation counts. All methods may be called
// concurrently. The zero Faults are none.
type Faults struct {
	mu    sync.Mutex
	rules []*Fault
}

// A Fault is a rule that holds.
type Fault struct {
	Rule
	faults *Faults
	seen   int // under the faults' lock
	hits   atomic.Int64
	struck chan struct{}
}

// Fail adds a rule.
func (f *Faults) Fail(r Rule) *Fault {
	fault := &Fault{Rule: r, faults: f, struck: make(chan struct{})}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.rules = append(f.rules, fault)
	return fault
}

// Heal takes all rules away.
func (f *Faults) Heal() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.rules = nil
}

// Heal takes the rule away. Operations that it has struck already go on with it.
func (f *Fault) Heal() {
	f.faults.mu.Lock()
	defer f.faults.mu.Unlock()
	f.faults.rules = slices.DeleteFunc(f.faults.rules, func(other *Fault) bool { return other == f })
}

// Hits returns how many operations the rule has struck.
func (f *Fault) Hits() int { return int(f.hits.Load()) }

// Struck returns a channel that is closed when the rule strikes first.
func (f *Fault) Struck() <-chan struct{} { return f.struck }

// A blow is what a rule does to one operation. The zero blow does nothing.
type blow struct {
	err        error
	late, part bool
}

// early reports whether the operation is not to be carried out at all.
func (b blow) early() bool { return b.err != nil && !b.late && !b.part }

// after returns the error of an operation that was carried out.
func (b blow) after(err error) error {
	if err == nil && b.late {
		return b.err
	}
	return err
}

// strike asks the rules what becomes of an operation, and waits if they say so. It is named by all of names.
func (f *Faults) strike(ctx context.Context, op Op, names ...string) blow {
	fault := f.match(op, names)
	if fault == nil {
		return blow{}
	}
	err := fault.Err
	name := ""
	if len(names) > 0 {
		name = names[0]
	}
	if fault.Hook != nil {
		if hookErr := fault.Hook(op, name); hookErr != nil {
			err = hookErr
		}
	}
	if fault.Delay > 0 {
		wait := time.NewTimer(fault.Delay)
		defer wait.Stop()
		select {
		case <-wait.C:
		case <-ctx.Done():
		}
	}
	return blow{err, fault.Late && err != nil, fault.Part && err != nil}
}

func (f *Faults) match(op Op, names []string) *Fault {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, r := range f.rules {
		if len(r.Ops) > 0 && !slices.Contains(r.Ops, op) {
			continue
		}
		if r.Name != "" && !slices.ContainsFunc(names, func(name string) bool { return strings.Contains(name, r.Name) }) {
			continue
		}
		r.seen++
		if r.seen <= r.Skip || r.Times > 0 && r.seen > r.Skip+r.Times {
			continue
		}
		if r.hits.Add(1) == 1 {
			close(r.struck)
		}
		return r
	}
	return nil
}
