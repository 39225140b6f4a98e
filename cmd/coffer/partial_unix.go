//go:build !windows

package main

import (
	"io/fs"
	"os"
	"syscall"
)

// umask returns the permissions that new files do not get. It is called before anything makes files.
func umask() fs.FileMode {
	old := syscall.Umask(0o77)
	syscall.Umask(old)
	return fs.FileMode(old) & fs.ModePerm
}

// locks says whether lock can take a file.
const locks = true

// lock takes a file for this process, until it is closed or the process ends, and reports whether it got it.
func lock(f *os.File) bool {
	return syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == nil
}

// lockShared takes a file as many processes can at once, and waits until none has it alone.
func lockShared(f *os.File) { _ = syscall.Flock(int(f.Fd()), syscall.LOCK_SH) }

// ownersAlone reports whether a file is a regular one of this user's that nobody else has access to.
func ownersAlone(info fs.FileInfo) bool {
	s, ok := info.Sys().(*syscall.Stat_t)
	return ok && info.Mode().IsRegular() && info.Mode().Perm()&0o77 == 0 && int(s.Uid) == os.Geteuid() && s.Nlink == 1
}
