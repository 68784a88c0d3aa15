// Package myriad is the root of the Myriad module: it holds no code, only the
// tests that keep the layout of the packages below it as ARCHITECTURE.md
// describes it. The command is in cmd/myriad.
package myriad
