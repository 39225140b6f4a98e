// Package coffer is the vocabulary that every other package of this module shares: what is stored (a [Document] in a
// [Vault]), who may do what ([Grant]), whose keys are whose ([Keyring], [Resolver]), and how things fail ([Error]).
//
// It holds form, naming and checking, and nothing else: no I/O, no cryptography beyond naming a revision by its hash,
// and no import outside the standard library.
//
// Start with package agent to keep and find things by name, with package node to offer storage to others, and with
// package api/edv to reach a vault over HTTPS.
package coffer
