package link

import (
	"math"
	"slices"
	"strconv"
	"strings"
	"sync"

	"myriad/program"
)

// Distributions have mean 0 and standard deviation 1, so that the delay asked
// for is the mean and the jitter the standard deviation. Tables are the same
// to the bit on any machine: they are made with additions, multiplications,
// divisions and square roots only, each rounded by itself (a conversion keeps
// compilers from fusing two into one).

// unit is 1 in the tables of Distribution.
const unit = 1 << 16

// Normal is the normal distribution, truncated where its table ends, at 3.67
// standard deviations.
var Normal = sync.OnceValue(func() *Distribution { return standard("normal", normalQuantiles()) })

// Pareto is the Pareto distribution of shape 3: most frames are a little
// early, and a few very late.
var Pareto = sync.OnceValue(func() *Distribution { return standard("pareto", paretoQuantiles()) })

// ParetoNormal is a quarter of a normal and three quarters of a Pareto
// distribution, quantile by quantile: the shape of many ways through the
// Internet.
var ParetoNormal = sync.OnceValue(func() *Distribution {
	n, p := standardise(normalQuantiles()), standardise(paretoQuantiles())
	for i := range n {
		n[i] = float64(0.25*n[i]) + float64(0.75*p[i])
	}
	return standard("paretonormal", n)
})

func builtIn(name string) *Distribution {
	switch name {
	case "normal":
		return Normal()
	case "pareto":
		return Pareto()
	}
	return ParetoNormal()
}

// at is the probability that value i of a table stands for: the middle of its
// part.
func at(i int) float64 { return (float64(i) + 0.5) / program.DistributionSize }

// paretoQuantiles inverts 1 - x^-3.
func paretoQuantiles() []float64 {
	q := make([]float64, program.DistributionSize)
	for i := range q {
		v := 1 / (1 - at(i))
		x := v
		for range 100 { // Newton's method, from above: it only falls
			next := (float64(2*x) + v/float64(x*x)) / 3
			if next >= x {
				break
			}
			x = next
		}
		q[i] = x
	}
	return q
}

// normalQuantiles inverts the normal distribution by Newton's method.
func normalQuantiles() []float64 {
	const n = program.DistributionSize
	q := make([]float64, n)
	z := 0.0
	for i := n / 2; i < n; i++ {
		for range 20 {
			area, density := normal(z)
			step := (at(i) - area) / density
			if z += step; math.Abs(step) < 1e-13 {
				break
			}
		}
		q[i], q[n-1-i] = z, -z
	}
	return q
}

// normal gives the area and the density of the normal distribution at z ≥ 0.
func normal(z float64) (area, density float64) {
	square := float64(z * z)
	density = 0.39894228040143267794 * expNegative(square/2)
	term, sum := z, z
	for i := 3.0; term > sum*1e-18; i += 2 {
		term = float64(term*square) / i
		sum += term
	}
	return 0.5 + float64(density*sum), density
}

// expNegative is e^-x for small x ≥ 0.
func expNegative(x float64) float64 {
	const halvings = 6
	y := x / (1 << halvings)
	term, sum := 1.0, 1.0
	for i := 1.0; term > 1e-18; i++ {
		term = float64(term*y) / i
		sum += term
	}
	for range halvings {
		sum = float64(sum * sum)
	}
	return 1 / sum
}

// standardise moves and stretches values to mean 0 and standard deviation 1.
// They must not all be equal.
func standardise(values []float64) []float64 {
	n := float64(len(values))
	mean := 0.0
	for _, v := range values {
		mean += v
	}
	mean /= n
	squares := 0.0
	for _, v := range values {
		squares += float64((v - mean) * (v - mean))
	}
	sd := math.Sqrt(squares / n)
	out := make([]float64, len(values))
	for i, v := range values {
		out[i] = (v - mean) / sd
	}
	return out
}

// standard makes a table of quantiles.
func standard(name string, quantiles []float64) *Distribution {
	d := &Distribution{Name: name, Values: make([]int32, len(quantiles))}
	for i, q := range standardise(quantiles) {
		d.Values[i] = int32(math.Round(float64(q * unit)))
	}
	return d
}

// Samples of a distribution: more say no more in its table.
const (
	minSamples = 10
	maxSamples = 10_000_000
	maxSample  = 1e15
)

// ParseDistribution reads delays that were measured as a distribution of
// jitter: numbers with spaces or line breaks between them, and comments after
// a #. Of the numbers only the shape counts, so their unit does not matter.
// The tables that come with tc's netem can be read too.
func ParseDistribution(name string, data []byte) (*Distribution, error) {
	f := findings{file: name}
	var samples []float64
	f.eachLine(data, func(line int, text string) bool {
		for field := range strings.FieldsSeq(text) {
			x, err := strconv.ParseFloat(field, 64)
			if err != nil || !(math.Abs(x) <= maxSample) || strings.ContainsAny(field, "xXpP_") {
				f.at(line, 0, "write one number on each line, without a unit", "%s is not a number", quote(field))
				continue
			}
			samples = append(samples, x)
		}
		return len(samples) <= maxSamples
	})
	if f.count == 0 {
		slices.Sort(samples)
		switch {
		case len(samples) > maxSamples:
			f.at(1, 0, "take every tenth of them: a table has 4,096 values", "has more than %d numbers", maxSamples)
		case len(samples) < minSamples:
			f.at(1, 0, "give at least 10, better 1,000", "has %d numbers, too few for a distribution", len(samples))
		case samples[0] == samples[len(samples)-1]:
			f.at(1, 0, "leave out the jitter if there is none", "has equal numbers only: they have no distribution")
		}
	}
	if err := f.err(); err != nil {
		return nil, err
	}
	quantiles := make([]float64, program.DistributionSize)
	for i := range quantiles {
		quantiles[i] = quantile(samples, at(i))
	}
	if quantiles[0] == quantiles[len(quantiles)-1] {
		f.at(1, 0, "leave out the jitter if there is next to none", "has next to no numbers that differ")
		return nil, f.err()
	}
	return standard(name, quantiles), nil
}

// quantile interpolates sorted samples: sample i of n stands for (i+0.5)/n.
func quantile(samples []float64, p float64) float64 {
	x := float64(p*float64(len(samples))) - 0.5
	switch i := int(math.Floor(x)); {
	case i < 0:
		return samples[0]
	case i+1 >= len(samples):
		return samples[len(samples)-1]
	default:
		return samples[i] + float64((samples[i+1]-samples[i])*(x-float64(i)))
	}
}
