package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"myriad/kernel/netns"
)

// AccuracyOptions say which tables are made, and how large.
type AccuracyOptions struct {
	Options
	Only      []string // names of AccuracyParts; none: all
	Quick     bool     // few rows, small: to see that everything works
	PlanetLab string   // file of the PlanetLab matrix
}

// accuracyPart is one table.
type accuracyPart struct {
	name, about string
	run         func(context.Context, *accuracy) error
}

var accuracyParts = []accuracyPart{
	{"delay", "round trips of 1 … 500 ms, out and in", delayTable},
	{"rate", "goodput of TCP and UDP at 128 kbit/s … 4 Gbit/s", rateTable},
	{"loss", "losses of 0.1 … 50 %, and bursts", lossTable},
	{"matrix", "50 × 50 random delays, all pairs", matrixTable},
	{"planetlab", "the 490 × 490 PlanetLab matrix, 2,000 pairs", planetlabTable},
	{"scalefree", "scale-free networks of 1,000 … 4,000 elements", scaleFreeTable},
	{"clusters", "conditions of pairs of 40,000 vnodes", clustersTable},
	{"change", "a change of delay on 40,000 vifaces", changeTable},
	{"none", "no conditions, and conditions removed", noneTable},
	{"wheel", "what the holder costs", wheelTable},
}

// AccuracyParts names the tables.
func AccuracyParts() []string {
	var names []string
	for _, p := range accuracyParts {
		names = append(names, p.name)
	}
	return names
}

// accuracy is one call of Accuracy.
type accuracy struct {
	AccuracyOptions
	in    *instance
	meter *stealMeter
	host  Host
	rows  []Row

	mutex   sync.Mutex
	offered map[int]float64 // bit/s that iperf3 sent, by port
}

// Accuracy measures how true link conditions are on this machine. What cannot
// be measured is an error; the other tables are made all the same.
func Accuracy(ctx context.Context, o AccuracyOptions) ([]Row, error) {
	in, err := newInstance(o.Exe)
	if err != nil {
		return nil, err
	}
	defer in.close()
	a := &accuracy{AccuracyOptions: o, in: in, meter: newStealMeter(), host: hostOf()}
	defer a.meter.close()
	var errs []error
	for _, p := range accuracyParts {
		if len(o.Only) > 0 && !slices.Contains(o.Only, p.name) {
			continue
		}
		o.say("accuracy: %s: %s", p.name, p.about)
		if err := p.run(ctx, a); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", p.name, err))
			o.say("accuracy: %v", errs[len(errs)-1])
		}
		if err := a.clear(); err != nil {
			return a.rows, errors.Join(append(errs, err)...)
		}
		if ctx.Err() != nil {
			break
		}
	}
	return a.rows, errors.Join(append(errs, ctx.Err(), in.close())...)
}

// up brings a platform up from text. What conditions there are is enforced by
// what the instance chooses, or MYRIAD_HOLDER.
func (a *accuracy) up(ctx context.Context, name, text string) error {
	file, err := a.in.file(name+".yaml", text)
	if err != nil {
		return err
	}
	if err := a.in.run(ctx, nil, "up", file); err != nil {
		return err
	}
	// While the kernel takes platforms of before apart, packets wait for it.
	return netns.WaitCleanup(ctx)
}

// clear takes all platforms down.
func (a *accuracy) clear() error {
	return a.in.run(context.Background(), nil, "down", "--all")
}

// runs is how often each figure is taken.
func (a *accuracy) runs() int {
	if a.Quick {
		return 1
	}
	return max(a.Runs, 1)
}

// pick is full, or quick where that is asked for.
func pick[T any](a *accuracy, full, quick T) T {
	if a.Quick {
		return quick
	}
	return full
}

// Host is what figures were taken on.
type Host struct {
	Machine string `json:"machine,omitempty"` // CPUs and memory
	Kernel  string `json:"kernel,omitempty"`
	Holder  string `json:"holder,omitempty"` // what kept packets until they were due
}

// hostOf describes this machine.
func hostOf() Host {
	var h Host
	model := "CPU"
	text, _ := os.ReadFile("/proc/cpuinfo") // what cannot be read is left out
	for line := range strings.Lines(string(text)) {
		if k, v, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(k) == "model name" {
			model = strings.TrimSpace(v)
			break
		}
	}
	var info unix.Sysinfo_t
	var uts unix.Utsname
	if unix.Sysinfo(&info) == nil {
		h.Machine = fmt.Sprintf("%d × %s, %.0f GiB", runtime.NumCPU(), model, float64(info.Totalram)*float64(info.Unit)/(1<<30))
	}
	if unix.Uname(&uts) == nil {
		h.Kernel = unix.ByteSliceToString(uts.Release[:])
	}
	return h
}

// String describes the host in one line.
func (h Host) String() string {
	return fmt.Sprintf("%s, Linux %s, holder %s", h.Machine, h.Kernel, h.Holder)
}
