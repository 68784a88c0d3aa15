package graphml

import (
	"math"
	"regexp"
	"strconv"
	"strings"
)

const maxRate = 1e12

// rateUnits are bit/s in units, by how people write them, without /s and
// plurals.
var rateUnits = map[string]float64{
	"": 1, "bit": 1, "b": 1,
	"k": 1e3, "kb": 1e3, "kbit": 1e3, "m": 1e6, "mb": 1e6, "mbit": 1e6,
	"g": 1e9, "gb": 1e9, "gbit": 1e9, "t": 1e12, "tb": 1e12, "tbit": 1e12,
}

// The ways in which labels of links state a rate. The first that fits holds.
var (
	// OC-192c, STM16, OC3: multiples of the basic rates of SONET and SDH.
	sonet = regexp.MustCompile(`(?i)\b(?:(\d{1,3})\s*[x×*]\s*)?(OC|STM)[- ]?(\d{1,4})c?\b`)
	// 10 Gbps, 2x10G, 34/45 Mbit/s, 2.5Gb/s; of two rates the greater.
	plain = regexp.MustCompile(`(?i)(?:\b(\d{1,3})\s*[x×*]\s*|\b)(?:\d+(?:\.\d+)?\s*[/-]\s*)?(\d+(?:\.\d+)?)\s*([kmgt])(?:b(?:it)?s?(?:ps|/s(?:ec)?)?|igabits?)?(?:\s*/s)?(?:E|igE|b?E)?\b`)
	// DS3, T1, E3
	digital = regexp.MustCompile(`(?i)\b(?:(\d{1,3})\s*[x×*]\s*)?(DS-?[013]|T-?[13]|E-?[134])\b`)
)

var digitalRates = map[string]float64{
	"DS0": 64e3, "DS1": 1.544e6, "T1": 1.544e6, "DS3": 44.736e6, "T3": 44.736e6, "E1": 2.048e6, "E3": 34.368e6, "E4": 139.264e6,
}

// rateIn finds a rate in words, in bit/s.
func rateIn(label string) (uint64, bool) {
	if len(label) > 1000 {
		return 0, false
	}
	var rate float64
	times := ""
	if m := sonet.FindStringSubmatch(label); m != nil {
		n, _ := strconv.ParseFloat(m[3], 64)
		rate, times = n*51.84e6, m[1]
		if strings.EqualFold(m[2], "STM") {
			rate *= 3
		}
	} else if m := plain.FindStringSubmatch(label); m != nil {
		rate, _ = strconv.ParseFloat(m[2], 64)
		rate *= rateUnits[strings.ToLower(m[3])]
		times = m[1]
	} else if m := digital.FindStringSubmatch(label); m != nil {
		rate, times = digitalRates[strings.ToUpper(strings.ReplaceAll(m[2], "-", ""))], m[1]
	}
	if n, err := strconv.Atoi(times); err == nil {
		rate *= float64(n)
	}
	if rate < 1 || rate > maxRate {
		return 0, false
	}
	return uint64(math.Round(rate)), true
}
