package servers

import (
	"fmt"
	"os"
	"os/user"
	"strconv"
	"syscall"
)

// An account is who a server runs as; nil is who runs this process.
type account struct{ user, group int }

// unprivileged returns the account with the name when this process is root's, as which a server may refuse to run.
func unprivileged(name string) (*account, error) {
	if os.Getuid() != 0 {
		return nil, nil
	}
	u, err := user.Lookup(name)
	if err != nil {
		return nil, err
	}
	uid, err := strconv.Atoi(u.Uid)
	if err != nil {
		return nil, fmt.Errorf("user %s: %w", name, err)
	}
	gid, err := strconv.Atoi(u.Gid)
	if err != nil {
		return nil, fmt.Errorf("user %s: %w", name, err)
	}
	return &account{uid, gid}, nil
}

// give makes a file or folder the account's.
func (a *account) give(path string) error {
	if a == nil {
		return nil
	}
	return os.Chown(path, a.user, a.group)
}

// attributes makes a process run as the account, and end in order when we end, however that happens.
func (a *account) attributes() *syscall.SysProcAttr {
	attributes := &syscall.SysProcAttr{Pdeathsig: syscall.SIGINT}
	if a != nil {
		attributes.Credential = &syscall.Credential{Uid: uint32(a.user), Gid: uint32(a.group)}
	}
	return attributes
}

// lock locks a file for as long as a process has it open. It is an error when somebody else has locked it.
func lock(f *os.File) error { return syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) }

// locks is whether lock does what it says.
const locks = true
