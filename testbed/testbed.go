// Package testbed makes several pnodes of one machine: network namespaces
// joined by an underlay, in each of which an agent can run.
package testbed
