//go:build race

package agent_test

// raced reports that the race detector is at work, which makes everything several times slower.
const raced = true
