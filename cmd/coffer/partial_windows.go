package main

import (
	"io/fs"
	"os"
)

// umask returns the permissions that new files do not get.
func umask() fs.FileMode { return 0 }

// locks says whether lock can take a file. Here it cannot: downloads start anew, and nothing is cached.
const locks = false

// lock takes no file.
func lock(*os.File) bool { return false }

// lockShared takes no file.
func lockShared(*os.File) {}

// ownersAlone reports whether a file is a regular one.
func ownersAlone(info fs.FileInfo) bool { return info.Mode().IsRegular() }
