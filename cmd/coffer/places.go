package main

import (
	"os"
	"path/filepath"
	"regexp"

	"github.com/cofferhq/coffer"
)

// Places are where a profile's things are on this machine, as the XDG base directory specification has it.
type places struct {
	config     string // file: which vault, on which node
	identities string // file, perhaps: names and their keys, as the owner knows them
	keyring    string // file: the keys, protected
	journal    string // folder: what was sent so far of what is not complete, and how far the vault's history is known
	cache      string // folder: sealed objects, for the next time
}

var profileName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)

// checkProfile refuses names that would lead out of the places, or into those of the personal node.
func (p *program) checkProfile() error {
	if !profileName.MatchString(p.Profile) || p.Profile == "node" {
		return failed(coffer.Invalid, "take another name for the profile",
			"a profile's name has up to 64 letters, digits, dots, dashes and underscores, and is not \"node\"")
	}
	return nil
}

// places returns where the profile's things are.
func (p *program) places() (l places, err error) {
	config, err := p.base("XDG_CONFIG_HOME", ".config")
	if err != nil {
		return l, err
	}
	data, err := p.base("XDG_DATA_HOME", ".local", "share")
	if err != nil {
		return l, err
	}
	state, err := p.base("XDG_STATE_HOME", ".local", "state")
	if err != nil {
		return l, err
	}
	cache, err := p.base("XDG_CACHE_HOME", ".cache")
	if err != nil {
		return l, err
	}
	return places{
		config:     filepath.Join(config, p.Profile, "config.json"),
		identities: filepath.Join(config, p.Profile, "identities.json"),
		keyring:    filepath.Join(data, p.Profile, "keyring.json"),
		journal:    filepath.Join(state, p.Profile, "journal"),
		cache:      filepath.Join(cache, p.Profile, "objects"),
	}, nil
}

// nodeData returns where the personal node keeps its data: all profiles share it.
func (p *program) nodeData() (string, error) {
	data, err := p.base("XDG_DATA_HOME", ".local", "share")
	return filepath.Join(data, "node"), err
}

// base returns coffer's folder below one of the base directories. A relative one is passed over, as the specification
// demands.
func (p *program) base(variable string, below ...string) (string, error) {
	if dir := p.env(variable); filepath.IsAbs(dir) {
		return filepath.Join(dir, "coffer"), nil
	}
	home := p.env("HOME")
	if home == "" {
		home = p.env("USERPROFILE")
	}
	if !filepath.IsAbs(home) {
		return "", failed(coffer.Invalid, "set HOME or "+variable, "there is no home directory to keep things in")
	}
	return filepath.Join(append(append([]string{home}, below...), "coffer")...), nil
}

// exists reports whether there is a file, or cannot tell.
func exists(file string) (bool, error) {
	_, err := os.Lstat(file)
	if os.IsNotExist(err) {
		return false, nil
	}
	return err == nil, err
}
