package topo

import (
	"myriad/nodeset"
	"myriad/program"
)

// Placement says on which pnodes the vnodes of a platform go. The zero value
// deals them out evenly.
type Placement struct {
	Policy   Policy
	Together []*nodeset.Set // each on one pnode; those that share a vnode are one
	Apart    []*nodeset.Set // no two vnodes of one on one pnode
	At       []Pin          // of several that speak of a vnode, all hold
	Limits   Limits
	Loss     Loss
}

// Policy is what a placement strives for.
type Policy uint8

// The policies.
const (
	PolicySpread Policy = iota // each pnode gets its share
	PolicyPack                 // as few pnodes as will do
	PolicyLinks                // as spread, and vnodes that are joined by short delays on one pnode
)

// Pin says where vnodes go: to pnodes with some names, or to those of a site.
type Pin struct {
	Nodes  *nodeset.Set
	Pnodes *nodeset.Set // nil: Site says it
	Site   string
}

// Limits is how much of a platform one pnode carries at most. Zero is as much
// as it can.
type Limits struct {
	Vnodes        int
	VnodesPerCore int
	Memory        uint64 // bytes that vnodes take of the kernel
	MemoryShare   int    // of a pnode's memory, in thousandths; the other way to say it
	Vifaces       int
}

// Loss is what becomes of a platform of which a pnode is lost.
type Loss uint8

// The policies of loss.
const (
	LossFail     Loss = iota // it is an error, until the pnode is back
	LossContinue             // the others go on without
	LossReplace              // its vnodes come up again on others
)

// String names the policy as topology files do.
func (l Loss) String() string {
	if int(l) < len(lossNames) {
		return lossNames[l]
	}
	return "unknown"
}

var lossNames = []string{"fail", "continue", "replace"}

// String names the policy as topology files do.
func (p Policy) String() string {
	if int(p) < len(policyNames) {
		return policyNames[p]
	}
	return "unknown"
}

var policyNames = []string{"spread", "pack", "links"}

// Overlay says how frames go from pnode to pnode.
type Overlay struct {
	Kind       program.OverlayKind
	Port       uint16 // UDP
	Encryption Encryption
}

// Encryption is between which pnodes frames are encrypted.
type Encryption uint8

// The degrees of encryption.
const (
	EncryptNone  Encryption = iota
	EncryptSites            // between pnodes of different sites
	EncryptAll
)

// String names the degree as topology files do.
func (e Encryption) String() string {
	if int(e) < len(encryptionNames) {
		return encryptionNames[e]
	}
	return "unknown"
}

var encryptionNames = []string{"none", "sites", "all"}
