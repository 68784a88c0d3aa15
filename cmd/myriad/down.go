package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"myriad/api"
	"myriad/program"
)

const downLong = `Remove a platform: its processes, vnodes, racks and links, and what the daemon
remembers of it. Without NAME it is the only platform there is. down returns
when the kernel has let go of everything.

It needs neither the file nor a daemon: what is Myriad's is found by its marks
in the kernel. So it is also the way out after any crash. Interrupted, it can be
given again, and goes on; a daemon does so by itself.`

func (a *app) downCmd() *cobra.Command {
	var all bool
	cmd := &cobra.Command{
		Use:   "down [NAME…]",
		Short: "Remove a platform",
		Long:  downLong,
		Example: `  sudo myriad down
  sudo myriad down quickstart
  sudo myriad down --all`,
		ValidArgsFunction: a.completePlatforms,
		RunE: func(cmd *cobra.Command, args []string) error {
			if all && len(args) > 0 {
				return usageError(cmd, "--all and a NAME contradict each other")
			}
			return a.down(cmd.Context(), args, all)
		},
	}
	cmd.Flags().BoolVar(&all, "all", false, "every platform of this instance, and whatever else of it is left")
	return cmd
}

// remover takes platforms down: the daemon, or this process.
type remover interface {
	platforms(ctx context.Context) ([]string, error)
	remove(ctx context.Context, name string, each func(*api.Event) error) error
	// interrupted says what became of a removal when its asker left.
	interrupted(name string) error
	// sweep removes what is left when every platform is removed.
	sweep(ctx context.Context) error
}

func (a *app) down(ctx context.Context, names []string, all bool) error {
	r, err := a.remover(ctx)
	if err != nil {
		return err
	}
	there, err := r.platforms(ctx)
	if err != nil {
		return a.reach(err)
	}
	switch {
	case all:
		names = there
	case len(names) == 0 && len(there) > 1:
		return severalUp(there)
	case len(names) == 0:
		names = there
	}
	if err := missing(names, there); err != nil {
		return err
	}
	if len(names) == 0 {
		a.note("no platform is up")
	}
	var failed []error
	for _, name := range names {
		err := a.removeOne(ctx, r, name)
		if err != nil && ctx.Err() == nil && a.bereft(ctx, &r) {
			err = a.removeOne(ctx, r, name)
		}
		if err != nil {
			failed = append(failed, err)
		}
		if ctx.Err() != nil {
			return errors.Join(failed...)
		}
	}
	if all {
		failed = append(failed, r.sweep(ctx))
	}
	return joined(failed)
}

// missing finds a name that is not there, before anything is removed.
func missing(names, there []string) error {
	for _, name := range names {
		if !slices.Contains(there, name) {
			return fail(program.KindNotFound, "\"myriad status\" lists those that are", "no platform %q is up", name)
		}
	}
	return nil
}

// joined makes one error of several; each is told in full.
func joined(errs []error) error {
	errs = slices.DeleteFunc(errs, func(err error) bool { return err == nil })
	switch len(errs) {
	case 0:
		return nil
	case 1:
		return errs[0]
	}
	whole := &api.Error{Kind: describe(errs[0]).Kind}
	var messages, remedies []string
	for _, err := range errs {
		e := describe(err)
		messages = append(messages, e.Message)
		if !slices.Contains(remedies, e.Remedy) {
			remedies = append(remedies, e.Remedy)
		}
	}
	whole.Message, whole.Remedy = strings.Join(messages, "\n"), strings.Join(remedies, "\n")
	return whole
}

// removeOne takes one platform down and says so.
func (a *app) removeOne(ctx context.Context, r remover, name string) error {
	bar := a.newProgress("down "+name, "vnodes")
	begin := time.Now()
	err := r.remove(ctx, name, func(e *api.Event) error { return a.followEvent(bar, e) })
	bar.finish()
	if ctx.Err() != nil {
		return r.interrupted(name)
	}
	if err != nil {
		e := *describe(a.reach(err))
		e.Message = fmt.Sprintf("remove platform %s: %s", name, e.Message)
		return &e
	}
	if !a.json() {
		fmt.Fprintf(a.stdout, "platform %s: removed in %s\n", name, span(time.Since(begin)))
	}
	return nil
}

// remover is the daemon if there is one, otherwise this process, which then
// needs the daemon's privileges.
func (a *app) remover(ctx context.Context) (remover, error) {
	err := a.greet(ctx)
	if err == nil {
		return &remoteRemover{a}, nil
	}
	if !daemonless(err) {
		return nil, a.reach(err)
	}
	if err := a.carriesForOthers(err); err != nil {
		return nil, err
	}
	if os.Geteuid() != 0 {
		return nil, fail(program.KindPermission, remedyRoot(), "down needs root: no daemon answers, so this process has to look for what is left")
	}
	return newLocalRemover(a)
}

// bereft tells whether the daemon that was asked is no more. What it has not
// done is then this process's to do.
func (a *app) bereft(ctx context.Context, r *remover) bool {
	if _, remote := (*r).(*remoteRemover); !remote || !daemonless(a.greet(ctx)) {
		return false
	}
	local, err := newLocalRemover(a)
	if err == nil {
		*r = local
	}
	return err == nil
}

// remoteRemover is the daemon.
type remoteRemover struct{ *app }

func (r *remoteRemover) platforms(ctx context.Context) ([]string, error) {
	all, err := r.client().Platforms(ctx)
	names := make([]string, len(all))
	for i, p := range all {
		names[i] = p.Name
	}
	return names, err
}

func (r *remoteRemover) remove(ctx context.Context, name string, each func(*api.Event) error) error {
	return r.client().Down(ctx, name, each)
}

// interrupted: a removal under way is carried through.
func (r *remoteRemover) interrupted(name string) error {
	return fail(program.KindUnavailable, "\"myriad status\" shows how far it is", "interrupted: the daemon goes on removing platform %s", name)
}

// sweep has nothing to do in general: what the daemon finds in the kernel it
// lists. What it has overlooked is removed here, unless somebody has begun
// something new meanwhile.
func (r *remoteRemover) sweep(ctx context.Context) error {
	if os.Geteuid() != 0 || !carriers.needsRoot {
		return nil
	}
	local, err := newLocalRemover(r.app)
	if err != nil {
		return err
	}
	left, err := local.pnode.Leftovers(ctx)
	if err != nil || len(left) == 0 {
		return err
	}
	if there, err := r.platforms(ctx); err == nil && len(there) > 0 {
		return nil
	}
	return local.sweep(ctx)
}
