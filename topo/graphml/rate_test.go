package graphml

import "testing"

func TestRateIn(t *testing.T) {
	for label, want := range map[string]uint64{
		"OC-192c":              9_953_280_000,
		"OC3":                  155_520_000,
		"STM-16":               2_488_320_000,
		"2 x OC-48":            4_976_640_000,
		"< 10 Gbps":            10e9,
		"< 10Gbps":             10e9,
		"2.5 Gbit/s":           25e8,
		"34/45 Mbit/s":         45e6,
		"Lit Fibre (10 Gbps)":  10e9,
		"155 Mbps":             155e6,
		"310 Mbps":             310e6,
		"2x10G":                20e9,
		"4*1Gbps":              4e9,
		"10GE":                 10e9,
		"100 Mb/s":             100e6,
		"512 kbps":             512e3,
		"1 GigE":               1e9,
		"T1":                   1_544_000,
		"DS-3 line":            44_736_000,
		"1Q 2003":              0,
		"Completion 2007-2008": 0,
		"SDH":                  0,
		"Optic Fiber":          0,
		"Lit Fibre":            0,
		"":                     0,
		"3 Manchester":         0,
		"10 Gold":              0,
		"999999 Tbps":          0,
	} {
		if got, ok := rateIn(label); got != want || ok != (want > 0) {
			t.Errorf("%q: %d, %v, want %d", label, got, ok, want)
		}
	}
}
