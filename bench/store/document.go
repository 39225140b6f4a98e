package main

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"math/rand/v2"
	"strconv"

	"github.com/cofferhq/coffer"
)

// bodySize is how long all bodies are.
const bodySize = 1500

// What the tags of all documents are: names and values as long as those that a MAC of 32 bytes makes.
const (
	tagKey     = "did:key:zExampleOfTheUsualLengthOfAKeyAgreementKey#hmac"
	sharedName = "CUQaxPtSLtd8L3WBAIkJ4DiVJeqoF6bdnhR7lSaPloZ" // its values are shared by ten documents
	commonName = "DUQaxPtSLtd8L3WBAIkJ4DiVJeqoF6bdnhR7lSaPloZ" // its seven values are shared by all
	uniqueName = "EUQaxPtSLtd8L3WBAIkJ4DiVJeqoF6bdnhR7lSaPloZ"
	sharers    = 10
)

// writer is who all changes are by.
const writer = "did:key:z6MkexampleExampleExampleExampleExampleExample"

// noise is what bodies are cut from: nothing can be compressed, and nothing is spent on making it.
var noise = func() []byte {
	b := make([]byte, 1<<20)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(b) // never fails
	return b
}()

// A document is the n-th one, always the same.
func document(n int) *coffer.Document {
	at := n * 7919 % (len(noise) - bodySize)
	return &coffer.Document{ID: idOf(n), Body: noise[at : at+bodySize : at+bodySize], Tags: []coffer.Tag{
		{Key: tagKey, Name: sharedName, Value: sharedValue(n)},
		{Key: tagKey, Name: commonName, Value: blinded('c', n%7)},
		{Key: tagKey, Name: uniqueName, Value: uniqueValue(n), Unique: true},
	}}
}

func idOf(n int) coffer.ObjectID {
	sum := sha256.Sum256(strconv.AppendInt([]byte("id "), int64(n), 10))
	return coffer.ObjectID(sum[:16])
}

func sharedValue(n int) string { return blinded('s', n/sharers) }
func uniqueValue(n int) string { return blinded('u', n) }

func blinded(kind byte, n int) string {
	sum := sha256.Sum256(binary.BigEndian.AppendUint64([]byte{kind}, uint64(n)))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}
