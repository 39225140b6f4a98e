package main

import (
	"context"
	"encoding/json"
)

func (p *program) database(*string) (func() error, error) { panic(1) }
func (p *program) manyVaults(ctx context.Context) error   { return nil }
func (p *program) opening(ctx context.Context) error      { return nil }
func (p *program) flood(ctx context.Context) error        { return nil }
func serveNode(ctx context.Context, config json.RawMessage) (handlers map[string]handler, end func() error, err error) {
	return
}
func serveFill(ctx context.Context, config json.RawMessage) (handlers map[string]handler, end func() error, err error) {
	return
}
func serveOpen(ctx context.Context, config json.RawMessage) (handlers map[string]handler, end func() error, err error) {
	return
}
func serveFlood(ctx context.Context, config json.RawMessage) (handlers map[string]handler, end func() error, err error) {
	return
}
