package link

import (
	"math"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Limits of what can be asked for.
const (
	MaxDelay = 15 * time.Minute
	MinRate  = 100               // bit/s: two minutes for one packet
	MaxRate  = 1_000_000_000_000 // bit/s
	MaxQueue = 1 << 40           // bytes
	minShare = 1.0 / (1 << 31)   // a smaller one never happens
)

// The patterns of quantities: what they match has a known unit, and may yet be
// out of range. Wherever something can be left out, "none" and 0 say so.
const (
	number       = `[0-9]+(\.[0-9]+)?`
	sharePattern = number + `%`
	bitPattern   = number + `[kKmMgGtT]?[bB][iI][tT](/s)?`
	bytePattern  = number + `([kKMGT]|[KMGT]i)?B/s`
	sizePattern  = number + `([kKMGT]|[KMGT]i)?B`
)

// DelayPattern is what a delay looks like, apart from 0.
const DelayPattern = number + `(ns|us|µs|μs|ms|s)`

// MomentPattern is what a time of a schedule looks like, apart from 0.
const MomentPattern = `(` + number + `(ns|us|µs|μs|ms|s|min|m|h))+`

var (
	delayForm  = regexp.MustCompile(`^` + DelayPattern + `$`)
	momentForm = regexp.MustCompile(`^` + MomentPattern + `$`)
	bitForm    = regexp.MustCompile(`^` + bitPattern + `$`)
	byteForm   = regexp.MustCompile(`^` + bytePattern + `$`)
	sizeForm   = regexp.MustCompile(`^` + sizePattern + `$`)
	numberForm = regexp.MustCompile(`^` + number + `$`)
	packetForm = regexp.MustCompile(`^[0-9]+p$`)
)

// split cuts a quantity into its number and its unit. What is no number is
// explained: kind says what was expected, and example is one.
func split(s, kind, example string) (value float64, unit string, err *Error) {
	end := 0
	for end < len(s) && ('0' <= s[end] && s[end] <= '9' || s[end] == '.') {
		end++
	}
	digits, unit := s[:end], s[end:]
	lower := strings.ToLower(s)
	switch {
	case s == "":
		return 0, "", problem("write "+example, "expected %s, found nothing", kind)
	case s[0] == '-':
		return 0, "", problem("write "+example, "%s is negative, which %s cannot be", quote(s), kind)
	case strings.TrimSpace(s) != s || strings.ContainsAny(s, " \t\n"):
		return 0, "", problem("write it without spaces, such as "+example, "%s has a space in it", quote(s))
	case strings.HasPrefix(unit, ",") && end > 0:
		return 0, "", problem("write "+clip(strings.Replace(s, ",", ".", 1)), "%s has a comma for a decimal point", quote(s))
	case strings.Contains(lower, "nan"), strings.Contains(lower, "inf"):
		return 0, "", problem("write "+example, "%s is not %s", quote(s), kind)
	case len(unit) > 1 && (unit[0] == 'e' || unit[0] == 'E') && strings.ContainsAny(unit[1:2], "+-0123456789"):
		return 0, "", problem("write the digits, such as "+example, "%s has an exponent", quote(s))
	case end == 0 || digits[0] == '.' || digits[end-1] == '.' || strings.Count(digits, ".") > 1:
		return 0, "", problem("write "+example, "%s is not %s", quote(s), kind)
	}
	value, e := strconv.ParseFloat(digits, 64)
	if e != nil || len(digits) > 100 {
		return 0, "", problem("write "+example, "%s is more than any %s", quote(s), strings.TrimPrefix(strings.TrimPrefix(kind, "a "), "an "))
	}
	return value, unit, nil
}

var timeUnits = map[string]float64{
	"ns": 1, "us": 1e3, "µs": 1e3, "μs": 1e3, "ms": 1e6, "s": 1e9, "min": 60e9, "m": 60e9, "h": 3600e9,
}

// ParseDelay reads a duration in ns, us, µs, ms or s, of at most MaxDelay.
// There are no minutes: 20m is more often a slip for 20ms than it is meant.
func ParseDelay(s string) (time.Duration, error) {
	d, err := parseDelay(s)
	if err != nil {
		return 0, err
	}
	return d, nil
}

func parseDelay(s string) (time.Duration, *Error) {
	if s == "0" {
		return 0, nil
	}
	value, unit, err := split(s, "a time", "20ms")
	switch {
	case err != nil:
		return 0, err
	case unit == "":
		return 0, problem("write "+s+"ms or "+s+"s", "%s has no unit: it may be milliseconds or seconds", s)
	case unit == "m" || unit == "M":
		n := s[:len(s)-1]
		return 0, problem("write "+n+"ms, or a number of seconds", "%s may be milliseconds or minutes", s)
	case !delayForm.MatchString(s):
		return 0, problem("units are ns, us, ms and s", "%s is not a unit of time", quote(unit))
	}
	return duration(s, value*timeUnits[unit])
}

// duration is a number of nanoseconds, rounded, that s stands for.
func duration(s string, ns float64) (time.Duration, *Error) {
	switch {
	case ns > float64(MaxDelay):
		return 0, problem("at most 15 minutes can be asked for", "%s is too long", quote(s))
	case ns > 0 && ns < 0.5:
		return 0, problem("nothing is finer than 1ns", "%s is too short", quote(s))
	}
	return time.Duration(math.Round(ns)), nil
}

// MaxMoment is the latest moment of a schedule.
const MaxMoment = 366 * 24 * time.Hour

// ParseMoment reads a time of a schedule: as ParseDelay, also with minutes and
// hours, and composed, such as 1m30s.
func ParseMoment(s string) (time.Duration, error) {
	if s == "0" {
		return 0, nil
	}
	if !momentForm.MatchString(s) {
		value, unit, err := split(s, "a time", "1m30s")
		switch {
		case err != nil:
			return 0, err
		case unit == "" && value > 0:
			return 0, problem("write "+s+"s or "+s+"ms", "%s has no unit: it may be seconds or milliseconds", s)
		case unit == "":
			return 0, nil
		}
		return 0, problem("units are ms, s, m and h, as in 1m30s", "%s is not a time", quote(s))
	}
	total := 0.0
	for _, part := range regexpMomentPart.FindAllStringSubmatch(s, -1) {
		value, _ := strconv.ParseFloat(part[1], 64)
		total += value * timeUnits[part[3]]
	}
	if !(total <= float64(MaxMoment)) {
		return 0, problem("a schedule ends within a year", "%s is too long", quote(s))
	}
	return time.Duration(math.Round(total)), nil
}

var regexpMomentPart = regexp.MustCompile(`(` + number + `)(ns|us|µs|μs|ms|s|min|m|h)`)

// FormatDelay writes a duration so that ParseDelay reads the same.
func FormatDelay(d time.Duration) string {
	switch {
	case d == 0:
		return "0"
	case d < 0:
		return "-" + FormatDelay(-d)
	case d < time.Microsecond:
		return strconv.FormatInt(int64(d), 10) + "ns"
	case d < time.Millisecond:
		return decimal(uint64(d), 3) + "us"
	case d < time.Second:
		return decimal(uint64(d), 6) + "ms"
	}
	return decimal(uint64(d), 9) + "s"
}

// decimal writes n/10^digits, with no more digits than needed.
func decimal(n uint64, digits int) string {
	s := strconv.FormatUint(n, 10)
	for len(s) <= digits {
		s = "0" + s
	}
	whole, part := s[:len(s)-digits], strings.TrimRight(s[len(s)-digits:], "0")
	if part == "" {
		return whole
	}
	return whole + "." + part
}

var scales = map[byte]float64{'k': 1e3, 'm': 1e6, 'g': 1e9, 't': 1e12}

// ParseRate reads a rate in bits or bytes per second, as bit/s. Which of the
// two it is must be plain: mbps, M and the like are refused.
func ParseRate(s string) (uint64, error) {
	r, err := parseRate(s)
	if err != nil {
		return 0, err
	}
	return r, nil
}

func parseRate(s string) (uint64, *Error) {
	if s == "0" {
		return 0, nil
	}
	value, unit, err := split(s, "a rate", "10mbit")
	switch {
	case err != nil:
		return 0, err
	case bitForm.MatchString(s):
		if scale, ok := scales[strings.ToLower(unit)[0]]; ok {
			value *= scale
		}
	case byteForm.MatchString(s):
		value *= 8 * byteScale(strings.TrimSuffix(unit, "/s"))
	default:
		return 0, ambiguousRate(s, unit)
	}
	value = math.Round(value)
	switch {
	case value == 0:
		return 0, problem("write none for no limit, loss: 100% for no traffic", "%s is no rate", quote(s))
	case value < MinRate:
		return 0, problem("the least is 100bit", "%s is too slow: a single packet would take more than two minutes", quote(s))
	case value > MaxRate:
		return 0, problem("the most is 1tbit; none is no limit", "%s is too fast", quote(s))
	}
	return uint64(value), nil
}

// byteScale is how many bytes a unit such as kB or MiB has.
func byteScale(unit string) float64 {
	prefix := strings.TrimSuffix(unit, "B")
	if prefix == "" {
		return 1
	}
	if strings.HasSuffix(prefix, "i") {
		return float64(uint64(1) << (10 * (1 + strings.IndexByte("KMGT", prefix[0]))))
	}
	return scales[strings.ToLower(prefix)[0]]
}

// ambiguousRate explains why a unit is not taken for a rate, and gives the two
// things that it might mean.
func ambiguousRate(s, unit string) *Error {
	n := s[:len(s)-len(unit)]
	lower := strings.ToLower(unit)
	prefix := ""
	if lower != "" {
		if _, ok := scales[lower[0]]; ok {
			prefix = lower[:1]
		}
	}
	upper := strings.ToUpper(prefix)
	if prefix == "k" {
		upper = "k"
	}
	either := "write " + n + prefix + "bit or " + n + upper + "B/s"
	switch rest := strings.TrimPrefix(lower, prefix); {
	case unit == "":
		return problem("write "+n+"mbit or "+n+"kbit", "%s has no unit: it may be Mbit/s, kbit/s or anything else", s)
	case rest == "bps":
		return problem(either, "%s may be %sbits or %sbytes per second: tc reads %s as bytes, most others as bits", s, longPrefix(prefix), longPrefix(prefix), lower)
	case rest == "":
		return problem(either, "%s may be bits or bytes per second", s)
	case rest == "b", rest == "b/s", rest == "ib", rest == "ib/s":
		if strings.HasSuffix(unit, "B") {
			return problem("write "+s+"/s, or "+n+prefix+"bit", "%s is an amount, and may be meant per second, or as bits", s)
		}
		return problem(either, "%s may be bits or bytes: the letter b is used for both", s)
	}
	return problem("units are bit, kbit, mbit, gbit for bits per second; kB/s, MB/s, GB/s for bytes per second", "%s is not a unit of rate", quote(unit))
}

func longPrefix(p string) string {
	return map[string]string{"k": "kilo", "m": "mega", "g": "giga", "t": "tera"}[p]
}

// FormatRate writes a rate so that ParseRate reads the same.
func FormatRate(bits uint64) string { return scaled(bits, "bit", "kbit", "mbit", "gbit", "tbit") }

// scaled writes n in the largest of units, each 1,000 of the one before, of
// which there is at least one.
func scaled(n uint64, units ...string) string {
	if n == 0 {
		return "0"
	}
	i, one := 0, uint64(1)
	for i+1 < len(units) && n >= one*1000 {
		i, one = i+1, one*1000
	}
	return decimal(n, 3*i) + units[i]
}

// ParseShare reads a probability in percent, as 0 … 1.
func ParseShare(s string) (float64, error) {
	p, err := parseShare(s)
	if err != nil {
		return 0, err
	}
	return p, nil
}

func parseShare(s string) (float64, *Error) {
	if s == "0" {
		return 0, nil
	}
	value, unit, err := split(s, "a share", "0.1%")
	switch {
	case err != nil:
		return 0, err
	case unit == "" && value <= 1:
		return 0, problem("write "+s+"% or "+formatPercent(s)+"%", "%s may be a share of 1 or a percentage", s)
	case unit == "":
		return 0, problem("write "+s+"%", "%s has no unit", s)
	case unit != "%":
		return 0, problem("write percent, such as 0.1%", "%s is not a unit of shares", quote(unit))
	case value > 100:
		return 0, problem("100% is always", "%s is more than all", quote(s))
	}
	p, _ := strconv.ParseFloat(strings.TrimSuffix(s, "%")+"e-2", 64) // exact to the last bit, so it can be written again
	if p > 0 && p < minShare {
		return 0, problem("write none", "%s is so little that it would never happen", quote(s))
	}
	return p, nil
}

// formatPercent writes a share, as ParseFloat reads it, in percent.
func formatPercent(share string) string {
	p, _ := strconv.ParseFloat(share, 64)
	return strings.TrimSuffix(FormatShare(p), "%")
}

// FormatShare writes a probability so that ParseShare reads the same.
func FormatShare(p float64) string {
	if p == 0 {
		return "0"
	}
	// Shift the decimal point by two places in the text: a multiplication
	// would round.
	mantissa, exponent, _ := strings.Cut(strconv.FormatFloat(p, 'e', -1, 64), "e")
	digits := strings.Replace(mantissa, ".", "", 1)
	e, _ := strconv.Atoi(exponent)
	point := e + 3
	switch {
	case point <= 0:
		return "0." + strings.Repeat("0", -point) + digits + "%"
	case point >= len(digits):
		return digits + strings.Repeat("0", point-len(digits)) + "%"
	}
	return digits[:point] + "." + digits[point:] + "%"
}

// ParseQueue reads the limit of a queue: a time, a size in bytes, or a number
// of packets such as 100p.
func ParseQueue(s string) (Queue, error) {
	q, err := parseQueue(s)
	if err != nil {
		return Queue{}, err
	}
	return q, nil
}

func parseQueue(s string) (Queue, *Error) {
	if s == "0" {
		return Queue{}, nil
	}
	value, unit, err := split(s, "a queue", "50ms")
	if err != nil {
		return Queue{}, err
	}
	switch {
	case delayForm.MatchString(s):
		d, err := duration(s, value*timeUnits[unit])
		if err == nil && d == 0 {
			err = emptyQueue(s)
		}
		return Queue{Time: d}, err
	case packetForm.MatchString(s):
		if value < 1 {
			return Queue{}, emptyQueue(s)
		} else if value*1514 > MaxQueue {
			return Queue{}, problem("", "%s is more than the limit of %s", quote(s), formatSize(MaxQueue))
		}
		return Queue{Packets: uint32(value)}, nil
	case sizeForm.MatchString(s):
		value = math.Round(value * byteScale(unit))
		if value < 1 {
			return Queue{}, emptyQueue(s)
		} else if value > MaxQueue {
			return Queue{}, problem("", "%s is more than the limit of %s", quote(s), formatSize(MaxQueue))
		}
		return Queue{Bytes: uint64(value)}, nil
	}
	n := s[:len(s)-len(unit)]
	if unit == "" {
		return Queue{}, problem("write "+n+"p, "+n+"kB or "+n+"ms", "%s has no unit: it may be packets, bytes or a time", s)
	}
	return Queue{}, problem("units are p for packets, B, kB, MB, KiB, MiB for bytes, and us, ms, s for a time", "%s is not a unit of queues", quote(unit))
}

func emptyQueue(s string) *Error {
	return problem("a short one is 1p; none is the default", "%s would let nothing wait", quote(s))
}

// formatSize writes a number of bytes so that ParseQueue reads the same.
func formatSize(n uint64) string { return scaled(n, "B", "kB", "MB", "GB", "TB") }

// String writes the queue so that ParseQueue reads the same.
func (q Queue) String() string {
	switch {
	case q.Time != 0:
		return FormatDelay(q.Time)
	case q.Packets != 0:
		return strconv.FormatUint(uint64(q.Packets), 10) + "p"
	case q.Bytes != 0:
		return formatSize(q.Bytes)
	}
	return "0"
}
