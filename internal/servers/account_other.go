//go:build !linux

package servers

import (
	"os"
	"syscall"
)

// An account is who a server runs as; here that is always who runs this process.
type account struct{}

func unprivileged(string) (*account, error) { return nil, nil }

func (*account) give(string) error { return nil }

func (*account) attributes() *syscall.SysProcAttr { return nil }

// lock does nothing here: what killed processes left behind stays.
func lock(*os.File) error { return nil }

const locks = false
