package kernel

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"myriad/program"
)

// gateKeyFile is where a pnode's private key is kept, in the run directory.
const gateKeyFile = "wireguard.key"

// WireGuardKey gives the public key of a pnode's WireGuard. The private one is
// in its run directory, and is made there if there is none. It fails where the
// kernel has no WireGuard.
func WireGuardKey(runDir string) ([32]byte, error) {
	if err := inScratch(tryWireGuard)(); err != nil {
		return [32]byte{}, noWireGuard(err)
	}
	key, err := gateKey(runDir)
	if err != nil {
		return [32]byte{}, err
	}
	return key.PublicKey(), nil
}

// noWireGuard says that nothing can be encrypted.
func noWireGuard(err error) error {
	return &program.Problem{Kind: program.KindUnsupported, Rack: -1, Op: "encrypt what goes to other pnodes",
		Cause: fmt.Sprintf("this kernel has no WireGuard (%v)", err), Remedy: "modprobe wireguard, or a kernel with CONFIG_WIREGUARD; or leave out encryption"}
}

// gateKey reads the private key, and makes one if there is none. Of several who
// make one at once, one's is everybody's.
func gateKey(runDir string) (wgtypes.Key, error) {
	path := filepath.Join(runDir, gateKeyFile)
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		if err := makeGateKey(path); err != nil {
			return wgtypes.Key{}, fmt.Errorf("make key of WireGuard: %w", err)
		}
		text, err = os.ReadFile(path)
	}
	if err != nil {
		return wgtypes.Key{}, fmt.Errorf("read key of WireGuard: %w", err)
	}
	key, err := wgtypes.ParseKey(strings.TrimSpace(string(text)))
	if err != nil {
		return wgtypes.Key{}, &program.Problem{Kind: program.KindInvalid, Rack: -1, Op: "read key of WireGuard in " + path, Cause: err.Error(),
			Remedy: "remove that file: another key is made, and told to the coordinator when the agent starts again"}
	}
	return key, nil
}

func makeGateKey(path string) error {
	key, err := wgtypes.GeneratePrivateKey()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), "."+gateKeyFile+"-*") // of mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.WriteString(key.String() + "\n")
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Link(f.Name(), path); !errors.Is(err, fs.ErrExist) {
		return err
	}
	return nil
}
