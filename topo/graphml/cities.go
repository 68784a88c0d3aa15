package graphml

import (
	_ "embed"
	"fmt"
	"strconv"
	"strings"
	"sync"

	"myriad/link"
)

//go:embed cities.txt
var citiesText string

// city is a place that this package knows.
type city struct {
	at   link.Position
	area []string // plain names of its region and country
}

// gazetteer is the cities that have a name.
type gazetteer struct {
	named map[string][]city // by plain name
	areas map[string]bool   // plain names of regions and countries
}

// cities is read when it is first needed.
var cities = sync.OnceValue(func() *gazetteer {
	g, err := readCities(citiesText)
	if err != nil {
		panic("cities.txt: " + err.Error())
	}
	return g
})

func readCities(text string) (*gazetteer, error) {
	g := &gazetteer{named: map[string][]city{}, areas: map[string]bool{}}
	var country []string
	fresh := false // the country has no city yet
	for i, line := range strings.Split(text, "\n") {
		if line = strings.TrimSpace(line); line == "" || line[0] == '#' {
			continue
		}
		if name, ok := strings.CutPrefix(line, "== "); ok {
			country, fresh = plainNames(name), true
			g.cover(country)
			continue
		}
		region, list, ok := strings.Cut(line, ":")
		if !ok {
			return nil, fmt.Errorf("line %d has no colon", i+1)
		}
		area := plainNames(region)
		g.cover(area)
		for j, entry := range strings.Split(list, ",") {
			c, names, err := readCity(entry)
			if err != nil {
				return nil, fmt.Errorf("line %d: %w", i+1, err)
			}
			c.area = append(append(c.area, area...), country...)
			if j == 0 {
				names = append(names, area...)
			}
			if fresh {
				names = append(names, country...)
				fresh = false
			}
			g.add(c, names)
		}
	}
	return g, nil
}

// readCity reads names and coordinates.
func readCity(entry string) (c city, names []string, err error) {
	words := strings.Fields(entry)
	n := len(words)
	if n < 3 {
		return c, nil, fmt.Errorf("%q is no city", entry)
	}
	latitude, err1 := strconv.ParseFloat(words[n-2], 64)
	longitude, err2 := strconv.ParseFloat(words[n-1], 64)
	c.at = link.Position{Latitude: latitude, Longitude: longitude}
	if err1 != nil || err2 != nil || !c.at.Valid() {
		return c, nil, fmt.Errorf("%q has no coordinates", entry)
	}
	return c, plainNames(strings.Join(words[:n-2], " ")), nil
}

// plainNames cuts names at slashes.
func plainNames(s string) (names []string) {
	for name := range strings.SplitSeq(s, "/") {
		if name = plainName(name); name != "" {
			names = append(names, name)
		}
	}
	return names
}

func (g *gazetteer) cover(area []string) {
	for _, name := range area {
		g.areas[name] = true
	}
}

func (g *gazetteer) add(c city, names []string) {
	for i, name := range names {
		known := false
		for _, earlier := range names[:i] {
			known = known || earlier == name
		}
		if !known {
			g.named[name] = append(g.named[name], c)
		}
	}
}

// find gives the cities that a name may mean: "Lexington, MA" those of the
// area, "Perth2" those of Perth.
func (g *gazetteer) find(name string, areas []string) []city {
	first, rest, _ := strings.Cut(name, ",")
	plain := plainName(first)
	for part := range strings.SplitSeq(rest, ",") {
		areas = append(areas[:len(areas):len(areas)], plainName(part))
	}
	found := g.named[plain]
	if len(plain) <= 2 && first != strings.ToUpper(first) { // NO is Norway, no is not
		return nil
	}
	if len(found) == 0 {
		found = g.named[strings.TrimRight(plain, "0123456789-")]
	}
	for _, area := range areas {
		if g.areas[area] {
			found = within(found, area)
		}
	}
	return found
}

// within keeps the cities of an area.
func within(all []city, area string) (kept []city) {
	for _, c := range all {
		for _, a := range c.area {
			if a == area {
				kept = append(kept, c)
				break
			}
		}
	}
	return kept
}
