package kernel

// For tests from outside.

// GateKey is the private key of a pnode.
func GateKey(runDir string) ([32]byte, error) { return gateKey(runDir) }

// GatePublic is the public key of a pnode, whether or not the kernel can use it.
func GatePublic(runDir string) ([32]byte, error) {
	key, err := gateKey(runDir)
	return key.PublicKey(), err
}

// GateName and GateMetric mark what a platform has in the underlay.
func (p *Pnode) GateName(platform string) string   { return p.gateName(platform) }
func (p *Pnode) GateMetric(platform string) uint32 { return p.gateMetric(platform) }
