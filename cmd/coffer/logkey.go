package main

import (
	"context"
	"errors"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/api/edv"
	"github.com/cofferhq/coffer/ledger"
)

// logKey returns the key with which a node signs what it says of its vaults' histories; empty when it signs nothing.
func logKey(ctx context.Context, client *edv.Client) (string, error) {
	key, err := client.LogKey(ctx)
	switch {
	case errors.Is(err, coffer.NotExist):
		return "", nil
	case err != nil:
		return "", explain(err, "", "cannot ask the node for its log key")
	}
	if _, err := ledger.ParseVerifier(key); err != nil {
		return "", explain(err, "do not use this node", "the node's log key makes no sense")
	}
	return key, nil
}

// A pinnedLog is the log of a vault whose node has signed with one key since this profile knows it. It tells a node that
// has another key now from one whose signature is wrong.
type pinnedLog struct {
	ledger.Log
	client *edv.Client
	key    *ledger.Verifier
	url    string
	config string // the file that the key is in
}

// Checkpoint implements [ledger.Log].
func (l *pinnedLog) Checkpoint(ctx context.Context) ([]byte, error) {
	note, err := l.Log.Checkpoint(ctx)
	if err != nil {
		return note, err
	}
	if _, err := ledger.Open(l.key, ledger.Origin(l.url), note); err == nil {
		return note, nil
	}
	if now, err := l.client.LogKey(ctx); err == nil && now != l.key.String() {
		return nil, failed(coffer.Corrupt, "it may show you another history than before: ask who runs it. If the key was "+
			"replaced on purpose, and you believe that, remove the member logKey from "+l.config,
			"the node's log key changed")
	}
	return note, nil // for the agent to refuse
}

// size returns how many changes the vault's history has, by a checkpoint that the node signs now.
func (l *pinnedLog) size(ctx context.Context) (uint64, error) {
	note, err := l.Checkpoint(ctx)
	if err != nil {
		return 0, err
	}
	c, err := ledger.Open(l.key, ledger.Origin(l.url), note)
	if err != nil {
		return 0, err
	}
	return c.Size, nil
}
