package main

import (
	"runtime"
	"runtime/debug"
)

type versionCommand struct{}

// Run writes the version that the program was built from.
func (versionCommand) Run(p *program) error {
	v := struct {
		Version string `json:"version"`
		Commit  string `json:"commit,omitempty"`
		Go      string `json:"go"`
		System  string `json:"system"`
	}{Version: "unknown", Go: runtime.Version(), System: runtime.GOOS + "/" + runtime.GOARCH}
	if info, ok := debug.ReadBuildInfo(); ok {
		v.Version = info.Main.Version
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				v.Commit = s.Value
			}
		}
	}
	return p.result(v, "coffer %s (%s, %s)", v.Version, v.Go, v.System)
}
