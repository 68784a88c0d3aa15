// Package graphml turns networks in GraphML, as those of the Internet Topology
// Zoo (Knight et al., IEEE JSAC 29(9), 2011), into topology files.
package graphml
