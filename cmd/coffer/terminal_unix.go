//go:build !windows

package main

// controllingTerminal is the terminal that started the program.
const controllingTerminal = "/dev/tty"
