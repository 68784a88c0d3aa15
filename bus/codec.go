package bus

import (
	"context"
	"errors"
	"fmt"

	"github.com/fxamacker/cbor/v2"

	"myriad/program"
)

// encoding and decoding are one mode each, for all that crosses the bus.
// Times keep their nanoseconds, and arguments of commands that are no text
// remain what they are. A message is bounded by its bytes, so its arrays need
// no bound of their own.
var (
	encoding = must(cbor.EncOptions{Time: cbor.TimeRFC3339Nano}.EncMode())
	decoding = must(cbor.DecOptions{MaxArrayElements: 1 << 30, MaxMapPairs: 1 << 30, UTF8: cbor.UTF8DecodeInvalid}.DecMode())
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err) // options above that contradict each other
	}
	return v
}

// Encode gives the bytes of v as the bus carries them.
func Encode(v any) ([]byte, error) {
	b, err := encoding.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("encode %T: %w", v, err)
	}
	return b, nil
}

// Decode reads what Encode wrote. Fields that v does not have are passed
// over, so that a newer version may add some.
func Decode(b []byte, v any) error {
	if err := decoding.Unmarshal(b, v); err != nil {
		return &program.Problem{Kind: program.KindInvalid, Rack: -1, Op: fmt.Sprintf("decode %T", v), Cause: err.Error(),
			Remedy: "coordinator and agent may be of different versions"}
	}
	return nil
}

// ProblemOf gives err the form in which it crosses wires: the Problem in it,
// if there is one, else an internal one with its text. It is nil for a nil
// error.
func ProblemOf(err error) *program.Problem {
	var p *program.Problem
	switch {
	case err == nil:
		return nil
	case errors.As(err, &p):
		return p
	case errors.Is(err, context.Canceled):
		return &program.Problem{Kind: program.KindUnavailable, Rack: -1, Op: "call", Cause: "cancelled"}
	case errors.Is(err, context.DeadlineExceeded):
		return &program.Problem{Kind: program.KindUnavailable, Rack: -1, Op: "call", Cause: "no end in time"}
	}
	return &program.Problem{Kind: program.KindInternal, Rack: -1, Op: err.Error()}
}
