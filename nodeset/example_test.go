package nodeset_test

import (
	"fmt"
	"log"

	"myriad/nodeset"
)

func Example() {
	s, err := nodeset.Parse("peer[1-40000]!peer[100-199,40000]", nil)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(s, s.Len(), s.Contains("peer150"))
	// Output: peer[1-99,200-39999] 39899 false
}

// groups is the simplest Resolver: one source, all groups in memory.
type groups map[string]*nodeset.Set

func (g groups) Group(_, name string) (*nodeset.Set, error) {
	if s, ok := g[name]; ok {
		return s, nil
	}
	return nil, fmt.Errorf("no group %q", name)
}

func (g groups) Groups(string) (names []string, _ error) {
	for name := range g {
		names = append(names, name)
	}
	return names, nil
}

func (g groups) All(string) (all *nodeset.Set, _ error) {
	for _, s := range g {
		all = nodeset.Union(all, s)
	}
	return all, nil
}

func ExampleParse() {
	g := groups{
		"clients": nodeset.Of("client1", "client2"),
		"servers": nodeset.Of("server1", "server2", "spare"),
	}
	for _, expr := range []string{"@servers!spare", "@*", "server*", "r[1-2]n[01-04]!r1n02", "n[5-1]"} {
		s, err := nodeset.Parse(expr, g)
		if err != nil {
			fmt.Println(err)
			continue
		}
		fmt.Println(s)
	}
	// Output:
	// server[1-2]
	// client[1-2],server[1-2],spare
	// server[1-2]
	// r2n[01-04],r1n[01,03-04]
	// parse node set "n[5-1]" at byte 2: 5-1 runs backwards; write the smaller number first
}

func ExampleSet_All() {
	for name := range nodeset.Of("n10", "n9", "n1").All() {
		fmt.Println(name)
	}
	// Output:
	// n1
	// n9
	// n10
}

func ExampleSet_Split() {
	s, err := nodeset.Parse("peer[1-40000]", nil)
	if err != nil {
		log.Fatal(err)
	}
	for _, part := range s.Split(3) {
		fmt.Println(part)
	}
	// Output:
	// peer[1-13334]
	// peer[13335-26667]
	// peer[26668-40000]
}
