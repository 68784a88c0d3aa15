package link

import (
	"slices"
	"strings"
)

// Profile is conditions that are known by a name: of an access link, as the
// vnode at its end sees it (Out and In), or of the way between two places
// (Way, the same in both directions).
type Profile struct {
	Name    string
	Title   string
	Source  string // where the figures are from, and what was assumed
	Out, In *Conditions
	Way     *Conditions
}

// Access says whether the profile is of an access link.
func (p *Profile) Access() bool { return p.Way == nil }

// Profiles lists the profiles that come with Myriad, by kind and speed.
func Profiles() []Profile { return profiles }

// ProfileNames lists their names.
func ProfileNames() []string {
	names := make([]string, len(profiles))
	for i, p := range profiles {
		names[i] = p.Name
	}
	return names
}

// FindProfile finds a profile by name.
func FindProfile(name string) (Profile, bool) {
	i := slices.IndexFunc(profiles, func(p Profile) bool { return p.Name == name })
	if i < 0 {
		return Profile{}, false
	}
	return profiles[i], true
}

// ParseSides is ParsePatch for changes of a viface, of which profile=NAME may
// be the first setting: it sets all fields, for each direction its own, and none
// clears them. The other settings are of both directions.
func ParseSides(settings []string, files Files) (out, in Patch, err error) {
	if len(settings) > 0 {
		if name, found := strings.CutPrefix(settings[0], "profile="); found {
			p, known := FindProfile(name)
			if name == "none" { // clears all
				p, known = Profile{Way: &Conditions{}}, true
			}
			if !known {
				return out, in, Errors{problem("known: "+strings.Join(ProfileNames(), ", "), "no profile is called %s", quote(name)).of("profile")}
			}
			if !p.Access() {
				p.Out, p.In = p.Way, p.Way
			}
			out, in, settings = PatchOf(*p.Out), PatchOf(*p.In), settings[1:]
		}
	}
	rest, err := ParsePatch(settings, files)
	if err != nil {
		return Patch{}, Patch{}, err
	}
	return out.Then(rest), in.Then(rest), nil
}

// access makes the profile of an access link: its rates, and a round-trip time
// of which half is delay in either direction. More is added to both.
func access(name, title, out, in, rtt, source string, more ...string) Profile {
	half := must(ParseConditions([]string{"delay=" + rtt}, nil)).Delay / 2
	p := Profile{Name: name, Title: title, Source: source}
	for _, side := range []struct {
		rate string
		to   **Conditions
	}{{out, &p.Out}, {in, &p.In}} {
		c := must(ParseConditions(append([]string{"rate=" + side.rate, "delay=" + FormatDelay(half)}, more...), nil))
		*side.to = &c
	}
	return p
}

// way makes the profile of the way between two places.
func way(name, title, rtt, source string, more ...string) Profile {
	half := must(ParseConditions([]string{"delay=" + rtt}, nil)).Delay / 2
	c := must(ParseConditions(append([]string{"delay=" + FormatDelay(half)}, more...), nil))
	return Profile{Name: name, Title: title, Source: source, Way: &c}
}

// must is for settings that this package itself writes.
func must(c Conditions, err error) Conditions {
	if err != nil {
		panic(err)
	}
	return c
}

// Figures are typical, not those of any one subscriber: rates and round trips
// vary by provider, place and hour more than these profiles differ. Round
// trips are those to a near server, divided evenly; where a source has no
// figure, what was assumed is said. Loss is given only where a source says it
// is there without congestion: that of full queues the emulation makes itself.
const (
	webPageTest = "WebPageTest, connectivity profiles (settings/connectivity.ini.sample), which browser tools use too"
	ookla21     = "Ookla Speedtest, medians of the United States, third quarter of 2021"
)

var profiles = []Profile{
	access("modem", "Telephone modem, 56k", "30kbit", "49kbit", "120ms", webPageTest+": Dial"),
	access("edge", "Mobile telephone, 2.5G (EDGE)", "200kbit", "240kbit", "840ms", webPageTest+": Edge"),
	access("3g-slow", "Mobile telephone, 3G, poor", "400kbit", "400kbit", "400ms", webPageTest+": 3GSlow"),
	access("3g", "Mobile telephone, 3G", "768kbit", "1.6mbit", "300ms", webPageTest+": 3G"),
	access("lte", "Mobile telephone, 4G", "6.3mbit", "21.3mbit", "56ms",
		"Opensignal, State of Mobile Network Experience: USA, May 2019: means of 21.3 Mbit/s down and 6.3 up; latency 44 to 66 ms by place. Jitter is assumed.",
		"jitter=5ms", "ordered=true"),
	access("5g", "Mobile telephone, 5G below 6 GHz", "21.1mbit", "166mbit", "40ms",
		"Ookla Speedtest, medians of the world, third quarter of 2021: 166.13 Mbit/s down, 21.08 up. Latency and jitter are assumed, a little below those of lte: Opensignal saw no significant difference when 5G was new.",
		"jitter=4ms", "ordered=true"),
	access("dsl", "ADSL2+", "1mbit", "11.3mbit", "37ms",
		"FCC, Measuring Broadband America 2016, as Verizon publishes it for its DSL of 7 to 15 Mbit/s: 11.32 down, 37 ms. Upload is the rate sold."),
	access("vdsl", "VDSL2", "10mbit", "50mbit", "20ms",
		"Rates are those of a usual contract on profile 17a (ITU-T G.993.2). The round trip is assumed: between those measured for DSL and for fibre."),
	access("cable", "Television cable (DOCSIS 3.0 and 3.1)", "10mbit", "200mbit", "20ms",
		"The mean rate sold by the providers measured in the FCC's Measuring Broadband America, eleventh report (2020), was 193.9 Mbit/s. Upload and round trip are assumed: those of a usual contract, and between those measured for DSL and for fibre."),
	access("fibre", "Fibre to the home (GPON)", "880mbit", "940mbit", "11.6ms",
		"Verizon Fios: rates sold; round trip as measured by the FCC, Measuring Broadband America 2016, for its tiers of 50 to 75 Mbit/s (11.55 ms)."),
	access("wifi", "WiFi, in a busy place", "100mbit", "100mbit", "6ms",
		"Sui et al., Characterizing and Improving WiFi Latency in Large-Scale Operational Networks, MobiSys 2016: round trip over the WiFi hop of 47,000 devices, median 3 ms, 90th percentile 20 ms, 99th 250 ms. This one has a median of 3.5 ms and a 90th percentile of 17; its tail ends earlier. The rate is assumed.",
		"jitter=8ms", "distribution=pareto", "ordered=true"),
	access("starlink", "Satellites in low orbit (Starlink)", "13.5mbit", "87mbit", "44ms",
		ookla21+": 87.25 Mbit/s down, 13.54 up, latency 44 ms. Jitter is from measurements in Belgium in 2022 (Michel et al., IMC 2022): quartiles of the round trip at 40, 50 and 60 ms.",
		"jitter=10ms", "distribution=normal", "ordered=true"),
	access("geo", "Satellite in geostationary orbit", "3mbit", "18.8mbit", "629ms",
		ookla21+", Viasat: 18.75 Mbit/s down, 2.96 up, latency 629 ms. Of that, up to 558 ms are propagation (RFC 2488)."),

	way("transatlantic", "New York to London", "74ms",
		"Usual round trips are 70 to 80 ms; the shortest cable, Hibernia Express, has 58.95 ms, and Verizon's service level agreement says at most 90."),
	way("transpacific", "Los Angeles to Tokyo", "106ms",
		"Usual round trips are 100 to 115 ms; 9,600 km of cable are 96."),
	way("continent", "From one end of a continent to the other", "60ms",
		"New York to San Francisco: 4,130 km of great circle, at 2/3 of the speed of light and stretched 1.5 times, as long-haul fibre usually is."),
	way("zones", "Between two data centres of a region", "1ms",
		"Propagation in 100 km of fibre, the greatest distance that large clouds state for zones of a region."),
	way("rack", "Between two servers of a data centre", "0.2ms",
		"Guo et al., Pingmesh, SIGCOMM 2015: round trips between servers' programs of 0.2 to 0.3 ms in the median, of which most is in the servers. No rate: it would be above what is emulated."),
}
