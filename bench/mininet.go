package bench

import (
	"context"
	_ "embed"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
)

//go:embed mininet.py
var mininetScript []byte

// Mininet measures `up` and `down` of o.N vnodes beside Mininet with as many
// hosts on a Linux bridge.
func Mininet(ctx context.Context, o Options) ([]Row, error) {
	if _, err := exec.LookPath("mn"); err != nil {
		return nil, fmt.Errorf("mininet is not installed (apt-get install mininet bridge-utils): %w", err)
	}
	in, err := newInstance(o.Exe)
	if err != nil {
		return nil, err
	}
	defer in.close()
	file, err := in.file("flat.yaml", flat("bench-mininet", 1, o.N, ""))
	if err != nil {
		return nil, err
	}
	script, err := in.file("peers_on_a_bridge.py", string(mininetScript))
	if err != nil {
		return nil, err
	}
	var up, down []sample
	for run := range o.Runs {
		o.say("mininet: run %d of %d: ours", run+1, o.Runs)
		ours, err := in.timed(ctx, "up", file)
		if err != nil {
			return nil, err
		}
		oursDown, err := in.timed(ctx, "down", "--all")
		if err != nil {
			return nil, err
		}
		o.say("mininet: run %d of %d: Mininet's", run+1, o.Runs)
		theirs, theirsDown, err := runMininet(ctx, script, o.N)
		if err != nil {
			return nil, err
		}
		up = append(up, sample{ours, theirs})
		down = append(down, sample{oursDown, theirsDown})
	}
	const name = "Mininet, Linux bridge"
	return []Row{
		newRow("mininet", "up", o.N, "s", name, atMost("ratio", 1.0/20), up),
		newRow("mininet", "down", o.N, "s", name, atMost("ratio", 1.0/10), down),
	}, in.close()
}

func runMininet(ctx context.Context, script string, n int) (up, down float64, err error) {
	cmd := exec.CommandContext(ctx, "/usr/bin/python3", script, fmt.Sprint(n))
	cmd.Env = append(os.Environ(), "PYTHONDONTWRITEBYTECODE=1")
	// In namespaces of its own, so that what it leaves goes with it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWNS}
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return 0, 0, fmt.Errorf("mininet: %w\n%s", err, tail(stderr.String(), 1000))
	}
	if _, err := fmt.Sscanf(strings.Join(strings.Fields(string(out)), " "), "up %g down %g", &up, &down); err != nil {
		return 0, 0, fmt.Errorf("mininet printed %q: %w", out, err)
	}
	return up, down, nil
}
