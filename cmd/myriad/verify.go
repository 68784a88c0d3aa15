package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"myriad/api"
	"myriad/kernel"
	"myriad/program"
	"myriad/rack"
)

const verifyLong = `Prove that nothing of this instance of Myriad is left on the machine: no mount
that pins a namespace, no process or cgroup, no file of a platform, and no setting
of the kernel raised for one. What is left is listed, and the exit code is then 1.
An instance is what has one run directory (--run-dir).

It looks at the machine itself and believes no record, but for the one of the
kernel's settings, which says for whom they were raised. A daemon that runs
without any platform is no leftover.`

// cleanness is what verify-clean found.
type cleanness struct {
	Instance  string   `json:"instance"`
	Clean     bool     `json:"clean"`
	Leftovers []string `json:"leftovers"`
}

func (a *app) verifyCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "verify-clean",
		Short: "Prove that nothing is left",
		Long:  verifyLong,
		Example: `  sudo myriad verify-clean
  sudo myriad down --all && sudo myriad verify-clean
  sudo myriad verify-clean -o json | jq -r '.leftovers[]'`,
		Args: args(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error { return a.verify(cmd.Context()) },
	}
}

func (a *app) verify(ctx context.Context) error {
	p, err := a.pnode()
	if err != nil {
		return err
	}
	left, err := p.Leftovers(ctx)
	if err != nil {
		return err
	}
	c := cleanness{Instance: kernel.Instance(a.runDir), Clean: len(left) == 0, Leftovers: append([]string{}, left...)}
	if a.json() {
		if err := a.printJSON(c); err != nil {
			return err
		}
	} else {
		for _, l := range left {
			fmt.Fprintln(a.stdout, l)
		}
		if c.Clean {
			fmt.Fprintln(a.stdout, "clean: nothing is left, and no setting of the kernel is raised")
		}
	}
	if !c.Clean {
		if !a.json() {
			a.note("%s left", plural(len(left), "thing is", "things are"))
			a.hint("\"myriad status\" shows what is up, \"myriad down --all\" removes everything")
		}
		return exitError(exitFailed)
	}
	return nil
}

// pnode looks at the kernel without the daemon.
func (a *app) pnode() (*kernel.Pnode, error) {
	return kernel.Open(kernel.Config{RunDir: a.runDir, Racks: &rack.Starter{RunDir: a.runDir}})
}

// localRemover takes platforms down in this process. What the daemon
// remembers of them it forgets by itself, when it next starts and finds that
// they are not there.
type localRemover struct{ pnode *kernel.Pnode }

func newLocalRemover(a *app) (*localRemover, error) {
	p, err := a.pnode()
	return &localRemover{p}, err
}

func (r *localRemover) platforms(context.Context) ([]string, error) { return r.pnode.Platforms() }

func (r *localRemover) remove(ctx context.Context, name string, each func(*api.Event) error) error {
	total := 0
	var said error
	err := r.pnode.Remove(ctx, name, func(left int) {
		total = max(total, left)
		if total > 0 && said == nil {
			said = each(&api.Event{Type: "progress", Platform: name, Done: total - left, Total: total})
		}
	})
	if err != nil {
		return err
	}
	return errors.Join(said, each(&api.Event{Type: "down", Platform: name}))
}

func (r *localRemover) interrupted(name string) error {
	return fail(program.KindUnavailable, fmt.Sprintf("\"myriad down %s\" goes on from there", name), "interrupted: platform %s is removed in part", name)
}

func (r *localRemover) sweep(ctx context.Context) error {
	if err := r.pnode.Sweep(ctx); err != nil {
		return err
	}
	left, err := r.pnode.Leftovers(ctx)
	if err == nil && len(left) > 0 {
		err = fail(program.KindInternal, "\"myriad verify-clean\" lists them", "%s left after everything was removed", plural(len(left), "thing is", "things are"))
	}
	return err
}
