package bench

import "fmt"

// Options are common to every bench.
type Options struct {
	Exe    string // the myriad command under measurement
	N      int    // scale
	Runs   int    // repetitions, each beside its own reference
	Pnodes int    // of benches of several
	// Say is told what goes on; nil is silence.
	Say func(line string)
}

func (o Options) say(format string, args ...any) {
	if o.Say != nil {
		o.Say(fmt.Sprintf(format, args...))
	}
}
