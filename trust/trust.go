// Package trust is what lets machines believe each other: a certificate
// authority, the coordinator's certificate, and the token by which others join.
package trust
