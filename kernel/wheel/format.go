package wheel

// tickShift makes nanoseconds into ticks, the unit of departure times.
const tickShift = 10

// dueTick gives the departure time, in ticks, of a frame that is in a holder at
// a time, by the first word of its header: of all times that look the same, the
// one nearest to now. The stage bit is shifted out on both sides, so that the
// difference is one of 31 bits.
func dueTick(word uint32, now int64) int64 {
	ahead := int32(word&^1-uint32(now)<<1) >> 1
	return now + int64(ahead)
}
