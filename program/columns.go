package program

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// columnOf writes n numbers; nothing if all are zero.
func columnOf(n int, at func(int) uint64) []byte {
	zero := true
	for i := 0; i < n && zero; i++ {
		zero = at(i) == 0
	}
	if zero {
		return nil
	}
	return denseColumn(n, at)
}

// denseColumn writes n numbers, zeros too.
func denseColumn(n int, at func(int) uint64) []byte {
	if n == 0 {
		return nil
	}
	out := make([]byte, 0, n)
	for i := range n {
		out = binary.AppendUvarint(out, at(i))
	}
	return out
}

// readColumns calls row with each of n rows of some columns.
func readColumns(n int, row func([]uint64) error, columns ...[]byte) error {
	values, absent := make([]uint64, len(columns)), make([]bool, len(columns))
	for j, c := range columns {
		absent[j] = len(c) == 0
	}
	for range n {
		for j := range columns {
			if absent[j] {
				continue
			}
			v, size := binary.Uvarint(columns[j])
			if size <= 0 {
				return errors.New("a column is too short")
			}
			values[j], columns[j] = v, columns[j][size:]
		}
		if err := row(values); err != nil {
			return err
		}
	}
	for _, c := range columns {
		if len(c) > 0 {
			return errors.New("a column is too long")
		}
	}
	return nil
}

// momentsOf writes sorted moments as differences.
func momentsOf(at []uint32) []byte {
	before := uint32(0)
	return denseColumn(len(at), func(i int) uint64 {
		d := at[i] - before
		before = at[i]
		return uint64(d)
	})
}

func moments(data []byte) ([]uint32, error) {
	var at []uint32
	for sum := uint64(0); len(data) > 0; {
		d, size := binary.Uvarint(data)
		if size <= 0 || d > 1<<32-1 || sum+d > 1<<32-1 {
			return nil, errors.New("the moments of a trace end in between, or after 2^32 ms")
		}
		sum += d
		at, data = append(at, uint32(sum)), data[size:]
	}
	return at, nil
}

// words writes 32-bit words in little-endian order.
func words[T ~uint32 | ~int32](values []T) []byte {
	out := make([]byte, 4*len(values))
	for i, v := range values {
		binary.LittleEndian.PutUint32(out[4*i:], uint32(v))
	}
	return out
}

func fromWords[T ~uint32 | ~int32](data []byte) ([]T, error) {
	if len(data)%4 != 0 {
		return nil, fmt.Errorf("%d bytes are no words", len(data))
	}
	if len(data) == 0 {
		return nil, nil
	}
	out := make([]T, len(data)/4)
	for i := range out {
		out[i] = T(binary.LittleEndian.Uint32(data[4*i:]))
	}
	return out, nil
}
