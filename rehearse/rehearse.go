// Package rehearse runs a coordinator with thousands of agents on vnodes in
// memory, to see what the control plane costs at scales beyond the machine.
package rehearse
