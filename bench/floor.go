package bench

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
)

// floor runs kernel.Floor in a process of its own, whose memory and threads
// are as fresh as those of the command it stands beside, and gives the seconds
// that making and removing took. The start of the process does not count.
func floor(ctx context.Context, o Options) (up, down float64, err error) {
	cmd := exec.CommandContext(ctx, o.Exe, "bench", "floor", "--vnodes", fmt.Sprint(o.N))
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return 0, 0, fmt.Errorf("kernel floor: %w: %s", err, stderr.String())
	}
	if _, err := fmt.Sscanf(stdout.String(), "up %g down %g", &up, &down); err != nil {
		return 0, 0, fmt.Errorf("kernel floor said %q: %w", stdout.String(), err)
	}
	return up, down, nil
}
