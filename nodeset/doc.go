// Package nodeset is the language in which people name many nodes at once, and
// the algebra of the sets that it stands for. It is ClusterShell's language,
// so that expressions, habits and scripts carry over.
//
// # Language
//
//	n[1-5,7]                 n1 n2 n3 n4 n5 n7
//	n[0-10/5]                n0 n5 n10
//	n[08-10]                 n08 n09 n10: padding is part of a name
//	r[1-2]n[01-04]           eight names, in two dimensions
//	n[1-3]0                  n10 n20 n30: digits that touch a bracket belong to the number
//	a,b  a!b  a&b  a^b       union, difference, intersection, symmetric difference, from left to right
//	a!b c                    white space ends an expression; several are united
//	@group  @source:group    the nodes of a group
//	@*  @source:*  @@source  all nodes; the names of all groups
//	n*-ib?                   all nodes that match
//
// Three things may surprise, and are as in ClusterShell. "n1" and "n01" are
// different nodes. Operators have no precedence: a,b!c is (a,b)!c. And digits
// before a bracket are put before the bounds of its ranges, so n1[1-20] is
// n[11-120], not n[11-19,110-120].
//
// # Representation
//
// A Set keeps ranges. Names are grouped by shape, which is their text without
// indexes; within a shape, an index is one integer that also holds its padding
// (see rank), and a dimension is a sorted list of ranges of them, each with
// what may follow (see axis). Union, difference, intersection and Len go
// through ranges and never through names. Names appear in All alone.
//
// How a set is written, and in which order All yields it, is defined by what
// ClusterShell 1.9's nodeset -f and -e do. In one dimension that is a matter of
// order and padding (see folder). In several, it is the outcome of a certain
// course of joining boxes (see boxes), which is found here without going
// through single names.
//
// # Differences from ClusterShell 1.9
//
//   - White space between names separates them, as nodeset does when it reads
//     its standard input. Within one argument ClusterShell makes it part of a
//     name.
//   - Negative numbers in brackets are refused. ClusterShell counts n[-5] and
//     n-5 as two nodes of the same name; here a set is one of names.
//   - Only what is documented is a number: ClusterShell reads n[1-2-3], n[+1],
//     n[1_0] and n[]5 by accident of its parser. Digits are ASCII.
//   - Without a Resolver, groups and wildcards are errors instead of names.
//   - A name is text from its 33rd index on, and so is a string of more than 18
//     digits; brackets there are refused.
//   - An expression may stand for at most 1,000,000,000 names and take a bounded
//     amount of work, whatever is in it; the error says what to reduce.
//   - A set of several dimensions of which more than 262,144 rows would have to
//     be compared (names that differ in their last index make a row) is folded
//     from larger pieces: the same names, perhaps in other boxes.
//   - Steps are read, never written: folding is as without --autostep.
package nodeset
