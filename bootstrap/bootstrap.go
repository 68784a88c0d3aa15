// Package bootstrap puts agents onto machines over SSH, and takes them away
// again.
package bootstrap
