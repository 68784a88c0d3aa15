package main

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"slices"
	"strings"
	"syscall"

	"myriad/api"
	"myriad/daemon"
	"myriad/nodeset"
	"myriad/program"
)

// client reaches the daemon of this instance.
func (a *app) client() *api.Client { return api.NewClient(a.socket()) }

// socket is where the daemon answers.
func (a *app) socket() string { return daemon.Socket(a.runDir) }

// daemonless says whether err means that no daemon answers.
func daemonless(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) || errors.Is(err, syscall.ECONNREFUSED)
}

// greet asks whether a daemon answers.
func (a *app) greet(ctx context.Context) error {
	_, err := a.client().Version(ctx)
	return err
}

// reach improves what a person reads when the daemon cannot be reached.
func (a *app) reach(err error) error {
	switch {
	case err == nil:
		return nil
	case daemonless(err):
		if err := a.carriesForOthers(err); err != nil {
			return err
		}
		if err := a.notYet(); err != nil {
			return err
		}
		return fail(program.KindUnavailable, "bring a platform up with \"myriad up FILE\", which starts a daemon, or run \"myriad serve\"\n"+
			"the daemon of another instance is reached with --run-dir", "no daemon answers at %s", a.socket())
	case errors.Is(err, syscall.EINVAL) && len(a.socket()) > daemon.MaxSocketPath:
		return fail(program.KindInvalid, "choose a shorter --run-dir", "the path of the socket %s has %d bytes, and Linux takes %d", a.socket(), len(a.socket()), daemon.MaxSocketPath)
	case errors.Is(err, fs.ErrPermission) && os.Geteuid() != 0:
		return fail(program.KindPermission, remedyRoot(), "the daemon at %s is root's", a.socket())
	}
	return err
}

// carriesForOthers is an error where no daemon answers because this machine
// carries vnodes for a coordinator elsewhere: then that one is to be asked.
func (a *app) carriesForOthers(err error) error {
	if !daemonless(err) {
		return nil
	}
	h := daemon.HolderOf(a.runDir)
	if h.Role != daemon.RoleAgent {
		return nil
	}
	at := ""
	if h.Bus != "" {
		at = " at " + h.Bus
	}
	return fail(program.KindConflict, "give the command on the coordinator's machine; \"myriad agent --stop\" ends the agent", "this machine carries vnodes for the coordinator%s (agent, process %d)", at, h.Pid)
}

// notYet is an error where a daemon has the run directory of which none
// answers: it is still beginning, or ending.
func (a *app) notYet() error {
	h := daemon.HolderOf(a.runDir)
	if h.Role != daemon.RoleDaemon {
		return nil
	}
	return fail(program.KindUnavailable, "ask again; its log says what it waits for, such as a bus that is away", "the daemon here, process %d, does not answer yet", h.Pid)
}

// onePlatform is the name of the platform that a command works on: the one
// asked for, or the only one there is.
func (a *app) onePlatform(ctx context.Context) (string, error) {
	if a.platform != "" {
		return a.platform, nil
	}
	platforms, err := a.client().Platforms(ctx)
	if err != nil {
		return "", a.reach(err)
	}
	switch len(platforms) {
	case 0:
		return "", fail(program.KindNotFound, "bring one up with \"myriad up FILE\"", "no platform is up")
	case 1:
		return platforms[0].Name, nil
	}
	names := make([]string, len(platforms))
	for i, p := range platforms {
		names[i] = p.Name
	}
	return "", severalUp(names)
}

// severalUp asks for a choice between platforms.
func severalUp(names []string) error {
	return fail(program.KindInvalid, "choose one of them by its name (--platform, where it is no argument)", "several platforms are up: %s", strings.Join(slices.Sorted(slices.Values(names)), ", "))
}

// names gives the vnodes of the platform, and how many each group has.
func (a *app) names(ctx context.Context) (*nodeset.Set, map[string]int, error) {
	platform, err := a.onePlatform(ctx)
	if err != nil {
		return nil, nil, err
	}
	n, err := a.client().Nodes(ctx, platform, "")
	if err != nil {
		return nil, nil, err
	}
	groups := map[string]int{}
	for name, members := range n.Groups {
		set, err := nodeset.Parse(members, nil)
		if err != nil {
			return nil, nil, err
		}
		groups[name] = set.Len()
	}
	names, err := nodeset.Parse(n.Nodes, nil)
	return names, groups, err
}
