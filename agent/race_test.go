//go:build race

package agent

// raced says that the race detector takes memory of its own.
const raced = true
