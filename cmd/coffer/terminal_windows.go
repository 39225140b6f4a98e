package main

// controllingTerminal is the console that started the program.
const controllingTerminal = "CONIN$"
