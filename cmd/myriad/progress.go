package main

import (
	"fmt"
	"io"
	"time"

	"github.com/schollz/progressbar/v3"
)

// logEvery is the time between two lines of progress where there is no
// terminal to redraw.
const logEvery = 5 * time.Second

// progress shows how far something is on standard error: a bar on a terminal,
// a line every few seconds in a log, nothing for programs.
type progress struct {
	what string // verb phrase: "bring up demo"
	unit string // vnodes, pairs
	w    io.Writer
	bar  *progressbar.ProgressBar
	tty  bool
	off  bool
	now  func() time.Time

	begin     time.Time
	first     int // done at the beginning
	done, all int
	said      time.Time // last line in a log
}

func (a *app) newProgress(what, unit string) *progress {
	_, tty := isTerminal(a.stderr)
	return &progress{what: what, unit: unit, w: a.stderr, tty: tty, off: a.json(), now: time.Now}
}

// set says that done of all are finished.
func (p *progress) set(done, all int) {
	now := p.now()
	if p.begin.IsZero() {
		p.begin, p.said, p.first = now, now, done
	}
	p.done, p.all = done, all
	switch {
	case p.off:
	case p.tty:
		p.draw()
	case now.Sub(p.said) >= logEvery:
		p.said = now
		fmt.Fprintf(p.w, "myriad: %s\n", p)
	}
}

// String is the line for a log.
func (p *progress) String() string {
	s := fmt.Sprintf("%s: %s of %s %s", p.what, count(p.done), count(p.all), p.unit)
	made, took := p.done-p.first, p.now().Sub(p.begin)
	if made <= 0 || took <= 0 {
		return s
	}
	rate := float64(made) / took.Seconds()
	left := time.Duration(float64(p.all-p.done) / rate * float64(time.Second))
	return s + fmt.Sprintf(", %s/s, %s left", count(int(rate)), left.Round(time.Second))
}

func (p *progress) draw() {
	if p.bar == nil {
		p.bar = progressbar.NewOptions(p.all,
			progressbar.OptionSetWriter(p.w),
			progressbar.OptionSetDescription(p.what),
			progressbar.OptionShowCount(),
			progressbar.OptionShowIts(),
			progressbar.OptionSetItsString(p.unit),
			progressbar.OptionSetPredictTime(true),
			progressbar.OptionThrottle(100*time.Millisecond),
			progressbar.OptionSetWidth(24),
			progressbar.OptionClearOnFinish(),
			progressbar.OptionSetTheme(progressbar.ThemeASCII),
		)
	}
	if p.bar.GetMax() != p.all {
		p.bar.ChangeMax(p.all)
	}
	_ = p.bar.Set(min(p.done, p.all)) // it can only fail for more than all
}

// finish clears the bar, so that what is written next begins a line.
func (p *progress) finish() {
	if p.bar != nil {
		_ = p.bar.Clear()
		p.bar = nil
	}
}
