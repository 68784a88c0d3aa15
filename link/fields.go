package link

import (
	"regexp"
	"strings"
	"time"
)

// Field is a field of Conditions as text.
type Field struct {
	Name     string
	What     string   // what messages call a value
	Doc      string   // one or two sentences
	Examples []string // of values
	Pattern  string   // regular expression of values, apart from none and 0
	Switch   bool     // its values are true and false

	parse  func(c *Conditions, text string, files Files) *Error // text is neither empty, none nor 0
	format func(c *Conditions) string                           // "" if it is clear
	copy   func(to, from *Conditions)
}

// Fields describes the fields of conditions, in the order in which they are
// written.
func Fields() []Field { return fields }

// Look explains what is wrong with the form of a value, nil if nothing is:
// whether it is in range, and whether the files it names are good, is seen by
// Patch.Set.
func (f Field) Look(text string) *Error {
	if f.matches(text) {
		return nil
	}
	if err := f.parse(&Conditions{}, text, nil); err != nil {
		return err
	}
	return problem("write "+f.Examples[0], "%s is not %s", quote(text), f.What)
}

func (f Field) matches(text string) bool {
	return text == "none" || text == "0" || regexp.MustCompile(`^(`+f.Pattern+`)$`).MatchString(text)
}

// FilePattern is what the name of a file looks like: it has a slash or a dot, so
// that it cannot be a slip for a word.
const FilePattern = `[^\x00-\x20]*[./][^\x00-\x1f]*`

var fileForm = regexp.MustCompile(`^` + FilePattern + `$`)

var fields = []Field{
	delayField("delay", "a delay", "How long every frame is delayed.", "20ms", func(c *Conditions) *time.Duration { return &c.Delay }),
	delayField("jitter", "a jitter", "How much the delay varies: half the width of a uniform distribution, the standard deviation of the others. A frame is never early: a delay below 0 counts as 0.", "2ms", func(c *Conditions) *time.Duration { return &c.Jitter }),
	{
		Name: "distribution", What: "a distribution", Examples: []string{"normal", "data/wifi.samples"},
		Pattern: `uniform|normal|pareto|paretonormal|` + FilePattern,
		Doc:     "How jitter is distributed: uniform (if left out), normal, pareto, paretonormal, or a text file of delays that were measured, one on a line: of these, only the shape counts.",
		parse:   parseDistribution,
		format: func(c *Conditions) string {
			if c.Distribution == nil {
				return ""
			}
			return c.Distribution.Name
		},
		copy: func(to, from *Conditions) { to.Distribution = from.Distribution },
	},
	switchField("ordered", "Whether jitter leaves frames in their order. If not, one may overtake another, as on real networks of many ways.", func(c *Conditions) *bool { return &c.Ordered }),
	shareField("loss", "How many of the packets are lost, each independently of the others. With burst: in the good state.", "0.1%", func(c *Conditions) *float64 { return &c.Loss }),
	{
		Name: "burst", What: "a burst model", Examples: []string{"1%,20%", "1%,20%,80%"},
		Pattern: sharePattern + `,` + sharePattern + `(,` + sharePattern + `)?`,
		Doc:     "Loss in bursts (Gilbert-Elliott): the chance, at each packet, to go from the good state to the bad one; the chance to go back; and how many are lost in the bad state (100% if left out). 1%,20% makes bursts of 5 packets on average, and a loss of 4.8%.",
		parse:   parseBurst, format: formatBurst,
		copy: func(to, from *Conditions) { to.Burst = from.Burst },
	},
	shareField("corrupt", "How many of the packets have one bit turned over.", "0.01%", func(c *Conditions) *float64 { return &c.Corrupt }),
	shareField("duplicate", "How many of the packets come twice.", "0.1%", func(c *Conditions) *float64 { return &c.Duplicate }),
	shareField("reorder", "How many of the packets are not delayed, so that they overtake others.", "0.5%", func(c *Conditions) *float64 { return &c.Reorder }),
	{
		Name: "rate", What: "a rate", Examples: []string{"10mbit", "512kbit", "1.25MB/s"}, Pattern: bitPattern + `|` + bytePattern,
		Doc: "How much can pass, in bits (kbit, mbit, gbit) or bytes (kB/s, MB/s) of Ethernet frames per second. k is 1,000; mbps and the like are refused, for they are read both ways.",
		parse: func(c *Conditions, text string, _ Files) (err *Error) {
			c.Rate, err = parseRate(text)
			return err
		},
		format: func(c *Conditions) string {
			if c.Rate == 0 {
				return ""
			}
			return FormatRate(c.Rate)
		},
		copy: func(to, from *Conditions) { to.Rate = from.Rate },
	},
	{
		Name: "trace", What: "the name of a trace file", Examples: []string{"data/lte.down"}, Pattern: FilePattern,
		Doc:   "A link whose capacity changes, instead of a rate: a file in the mahimahi format, of which each line is the millisecond at which one packet of 1,500 bytes may leave. It repeats.",
		parse: parseTraceField,
		format: func(c *Conditions) string {
			if c.Trace == nil {
				return ""
			}
			return c.Trace.Name
		},
		copy: func(to, from *Conditions) { to.Trace = from.Trace },
	},
	{
		Name: "queue", What: "a queue", Examples: []string{"50ms", "64KB", "100p"}, Pattern: DelayPattern + `|` + sizePattern + `|[0-9]+p`,
		Doc: "How much may wait for the rate: a time, a number of bytes, or a number of packets. What finds the queue full is dropped. Left out, its size follows from rate and delay.",
		parse: func(c *Conditions, text string, _ Files) (err *Error) {
			c.Queue, err = parseQueue(text)
			return err
		},
		format: func(c *Conditions) string {
			if c.Queue == (Queue{}) {
				return ""
			}
			return c.Queue.String()
		},
		copy: func(to, from *Conditions) { to.Queue = from.Queue },
	},
	switchField("ecn", "Whether packets that allow it are marked (ECN) where they would be dropped for a full queue. Beyond twice the queue, all are dropped.", func(c *Conditions) *bool { return &c.ECN }),
}

func delayField(name, what, doc, example string, of func(*Conditions) *time.Duration) Field {
	return Field{
		Name: name, What: what, Doc: doc, Examples: []string{example, "1.5s", "250us"}, Pattern: DelayPattern,
		parse: func(c *Conditions, text string, _ Files) (err *Error) {
			*of(c), err = parseDelay(text)
			return err
		},
		format: func(c *Conditions) string {
			if *of(c) == 0 {
				return ""
			}
			return FormatDelay(*of(c))
		},
		copy: func(to, from *Conditions) { *of(to) = *of(from) },
	}
}

func shareField(name, doc, example string, of func(*Conditions) *float64) Field {
	return Field{
		Name: name, What: "a share", Doc: doc, Examples: []string{example}, Pattern: sharePattern,
		parse: func(c *Conditions, text string, _ Files) (err *Error) {
			*of(c), err = parseShare(text)
			return err
		},
		format: func(c *Conditions) string {
			if *of(c) == 0 {
				return ""
			}
			return FormatShare(*of(c))
		},
		copy: func(to, from *Conditions) { *of(to) = *of(from) },
	}
}

func switchField(name, doc string, of func(*Conditions) *bool) Field {
	return Field{
		Name: name, What: "true or false", Doc: doc, Examples: []string{"true"}, Pattern: "true|false", Switch: true,
		parse: func(c *Conditions, text string, _ Files) *Error {
			switch text {
			case "true":
				*of(c) = true
			case "false":
			default:
				return problem("", "%s is neither true nor false", quote(text))
			}
			return nil
		},
		format: func(c *Conditions) string {
			if !*of(c) {
				return ""
			}
			return "true"
		},
		copy: func(to, from *Conditions) { *of(to) = *of(from) },
	}
}

func parseBurst(c *Conditions, text string, _ Files) *Error {
	parts := strings.Split(text, ",")
	if len(parts) != 2 && len(parts) != 3 {
		return problem("write into the bad state, out of it, and the loss in it, such as 1%,20%,100%", "%s has %d parts, not two or three", quote(text), len(parts))
	}
	b := Burst{Loss: 1}
	for i, to := range []*float64{&b.ToBad, &b.ToGood, &b.Loss}[:len(parts)] {
		p, err := parseShare(parts[i])
		if err != nil {
			return err
		}
		*to = p
	}
	c.Burst = &b
	return b.check()
}

func (b *Burst) check() *Error {
	switch {
	case b.ToBad == 0:
		return problem("write none for no bursts", "the bad state is never reached")
	case b.ToGood == 0:
		return problem("write loss=100% for a link that is down", "the bad state is never left")
	case b.Loss == 0:
		return problem("write none for no bursts", "nothing is lost in the bad state")
	}
	return nil
}

func formatBurst(c *Conditions) string {
	if c.Burst == nil {
		return ""
	}
	parts := []string{FormatShare(c.Burst.ToBad), FormatShare(c.Burst.ToGood), FormatShare(c.Burst.Loss)}
	if c.Burst.Loss == 1 {
		parts = parts[:2]
	}
	return strings.Join(parts, ",")
}

// readFile gives the contents of a file that a setting names.
func readFile(name string, files Files) ([]byte, *Error) {
	if files == nil {
		return nil, problem("name it in a topology file, or send it along", "the file %s cannot be read here", quote(name))
	}
	data, err := files(name)
	if err != nil {
		return nil, problem("", "%s", err)
	}
	return data, nil
}

func parseDistribution(c *Conditions, text string, files Files) *Error {
	switch text {
	case "uniform":
		c.Distribution = nil
		return nil
	case "normal", "pareto", "paretonormal":
		c.Distribution = builtIn(text)
		return nil
	}
	if !fileForm.MatchString(text) {
		return problem("write uniform, normal, pareto, paretonormal, or the name of a file, with a dot or slash in it", "%s is not a distribution", quote(text))
	}
	data, err := readFile(text, files)
	if err != nil {
		return err
	}
	d, e := ParseDistribution(text, data)
	if e != nil {
		return first(e)
	}
	c.Distribution = d
	return nil
}

func parseTraceField(c *Conditions, text string, files Files) *Error {
	if !fileForm.MatchString(text) {
		return problem("the name of a file has a dot or slash in it: write ./"+clip(text), "%s is not the name of a trace file", quote(text))
	}
	data, err := readFile(text, files)
	if err != nil {
		return err
	}
	t, e := ParseTrace(text, data)
	if e != nil {
		return first(e)
	}
	c.Trace = t
	return nil
}

// first is the first problem of an error that this package made.
func first(err error) *Error {
	if es, ok := err.(Errors); ok {
		if more := len(es) - 1; more > 0 {
			e := *es[0]
			e.Msg += "; and more like it"
			return &e
		}
		return es[0]
	}
	return err.(*Error)
}
