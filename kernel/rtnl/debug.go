package rtnl

import (
	"fmt"
	"os"
)

var debug = os.Getenv("MYRIAD_NLDEBUG") == "1"

// debugSend prints messages as they leave: operation, name, and the bytes
// after the header.
func debugSend(b *Batch, from, to int) {
	for i := from; i < to; i++ {
		m, _ := next(b.message(i))
		fmt.Fprintf(os.Stderr, "rtnl: #%d %s %s type %d flags %#x % x\n", m.Seq, b.msgs[i].op, b.msgs[i].name, m.Type, m.Flags, m.Body)
	}
}
