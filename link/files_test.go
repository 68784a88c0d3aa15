package link

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"myriad/program"
)

// TestTables compares the tables with the functions of the mathematical
// library, and their bits with those of the machine they were written on.
func TestTables(t *testing.T) {
	for d, want := range map[*Distribution]string{
		Normal(): "47c3702291062d49", Pareto(): "d204322dc8ac24c0", ParetoNormal(): "28a623d5f7695360",
	} {
		h := sha256.New()
		mean, squares := 0.0, 0.0
		for i, v := range d.Values {
			_ = binary.Write(h, binary.LittleEndian, v)
			mean += float64(v) / unit
			squares += float64(v) / unit * float64(v) / unit
			if i > 0 && v < d.Values[i-1] {
				t.Errorf("%s falls at %d", d.Name, i)
			}
		}
		n := float64(program.DistributionSize)
		if len(d.Values) != program.DistributionSize || math.Abs(mean/n) > 1e-6 || math.Abs(squares/n-1) > 1e-6 {
			t.Errorf("%s has %d values, mean %v, variance %v", d.Name, len(d.Values), mean/n, squares/n)
		}
		if got := fmt.Sprintf("%x", h.Sum(nil)[:8]); got != want {
			t.Errorf("%s is %s, want %s", d.Name, got, want)
		}
	}
	for i, z := range normalQuantiles() {
		if want := math.Sqrt2 * math.Erfinv(2*at(i)-1); math.Abs(z-want) > 1e-10 {
			t.Fatalf("normal quantile %d is %v, want %v", i, z, want)
		}
	}
	for i, x := range paretoQuantiles() {
		if want := math.Pow(1-at(i), -1.0/3); math.Abs(x-want) > 1e-12*want {
			t.Fatalf("pareto quantile %d is %v, want %v", i, x, want)
		}
	}
}

func TestParseDistribution(t *testing.T) {
	var b strings.Builder
	b.WriteString("# measured\n\n")
	for i := range 1000 {
		fmt.Fprintf(&b, "%d %v\r\n", (i*7919)%1000, 0.5+float64((i*613)%1000))
	}
	d, err := ParseDistribution("x/y", []byte(b.String()))
	if err != nil || d.Name != "x/y" || len(d.Values) != program.DistributionSize || !slices.IsSorted(d.Values) {
		t.Fatalf("%v, %v", d, err)
	}
	// A uniform one reaches √3 standard deviations.
	if got := float64(d.Values[len(d.Values)-1]) / unit; math.Abs(got-math.Sqrt(3)) > 0.01 {
		t.Errorf("ends at %v", got)
	}
	for text, want := range map[string]string{
		"":                          "too few",
		"1 2 3":                     "too few",
		strings.Repeat("7\n", 100):  "equal numbers only",
		"1\n2\nx\n":                 "f:3: \"x\" is not a number",
		"1\nNaN\n":                  "f:2:",
		"1\n1e300\n":                "f:2:",
		"0x10\n":                    "not a number",
		"\xff\xfe":                  "not text",
		strings.Repeat("x\n", 1000): "and 980 more problems",
	} {
		if _, err := ParseDistribution("f", []byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.20q: %v; want %s", text, err, want)
		}
	}
}

func TestParseTrace(t *testing.T) {
	tr, err := ParseTrace("x/y", []byte("# c\n0\n0\n5\r\n\n20\n"))
	if err != nil || tr.Period != 20 || !slices.Equal(tr.At, []uint32{0, 0, 5, 20}) || tr.Rate() != 4*1514*8*50 {
		t.Errorf("%v, %v", tr, err)
	}
	for text, want := range map[string]string{
		"": "is empty", "0\n0\n": "ends at millisecond 0", "5\n4\n": "f:2: goes back from 5 to 4 ms", "1.5\n": "f:1: \"1.5\" is not a moment",
		"-1\n": "not a moment", "5000000000\n": "not a moment",
	} {
		if _, err := ParseTrace("f", []byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v; want %s", text, err, want)
		}
	}
}

func TestParseSeries(t *testing.T) {
	ms, err := ParseSeries("x/y", "rate", []byte("# c\n0 10mbit\n1.5 none\n2s delay=3ms loss=1%\n"), nil)
	if err != nil || len(ms) != 3 || ms[1].At != 1500*time.Millisecond || ms[2].Set.String() != "delay=3ms loss=1%" || ms[1].Set.String() != "rate=none" {
		t.Errorf("%v, %v", ms, err)
	}
	for text, want := range map[string]string{
		"": "is empty", "1 5\n": "f:1: rate: 5 has no unit", "2 1mbit\n1 1mbit\n": "goes back from 2s to 1s", "1\n": "no value",
		"1 1mbit 2mbit\n": "more than one value", "-1 1mbit\n": "negative", "99999999999 1mbit\n": "too long",
	} {
		if _, err := ParseSeries("f", "rate", []byte(text), nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v; want %s", text, err, want)
		}
	}
	if _, err := ParseSeries("f", "", []byte("1 5ms\n"), nil); err == nil || !strings.Contains(err.Error(), "does not say which field") {
		t.Errorf("no field: %v", err)
	}
}

func TestParseMatrix(t *testing.T) {
	ms := MatrixOptions{Unit: time.Millisecond}
	rtt := MatrixOptions{Unit: time.Second, RTT: true, Missing: MissingNone}
	groups := MatrixOptions{Unit: time.Millisecond, Diagonal: true}
	for _, test := range []struct {
		text string
		o    MatrixOptions
		want string // entries in µs, or part of the error
	}{
		{"0 1\n2 0\n", ms, "-1 1000 2000 -1"},
		{"0\t1.5\r\n2\t0", ms, "-1 1500 2000 -1"},
		{" 0,1\n2 , 7\n", ms, "-1 1000 2000 -1"},
		{"0;1;\n2;0;\n", ms, "-1 1000 2000 -1"},
		{"0\t1\t\n2\t0\t\n", ms, "-1 1000 2000 -1"},
		{"0 0.3 0\n0.5 0 -\nNA 1e-3 0\n", rtt, "-1 150000 -1 250000 -1 -1 -1 500 -1"},
		{",1\n,\n", rtt, "-1 500000 -1 -1"},
		{"0.2 1\n2 0\n", groups, "200 1000 2000 -1"},
		{"# comment\n5\n", ms, "-1"},
		{"", ms, "f:1: is empty"},
		{"0 1\n", ms, "has 1 rows of 2 columns: it is not square"},
		{"0 1\n2 0 3\n", ms, "f:2: row 2 has 3 columns, where row 1 has 2"},
		{"0 1\n2\n", ms, "f:2: row 2 has 1 columns"},
		{"0 x\n2 0\n", ms, "f:1:3: row 1, column 2: \"x\" is not a number"},
		{"0 -1\n2 0\n", ms, "f:1:3: row 1, column 2: -1 is negative"},
		{"0 nan\n2 0\n", ms, "row 1, column 2: is NaN"},
		{"0 inf\n2 0\n", ms, "column 2: inf is more than 15 minutes"},
		{"0 1e99\n2 0\n", ms, "column 2: 1e99 is more than 15 minutes"},
		{"0 1e9\n2 0\n", ms, "column 2: 1e9 is 277h46m40s, more than 15 minutes"},
		{"0 1e300\n2 0\n", ms, "more than 15 minutes"},
		{"0 900001\n2 0\n", ms, "is 15m0.001s, more than 15 minutes"},
		{"0\t1,5\n2\t0\n", ms, "write the decimal point as a point"},
		{"0 0\n- 0\n", ms, "row 1, column 2 is missing or 0, the first of 2 such entries"},
		{"0 1ms\n2 0\n", ms, "without units"},
		{"0 0x1\n2 0\n", ms, "not a number"},
		{"\xff", ms, "not text"},
	} {
		m, err := ParseMatrix("f", []byte(test.text), test.o)
		got := ""
		if err != nil {
			got = err.Error()
		} else {
			for _, d := range m.Delay {
				if d < 0 {
					d = -1000
				}
				got += fmt.Sprint(float64(d)/1000, " ")
			}
		}
		if err == nil && strings.TrimSpace(got) != test.want || err != nil && !strings.Contains(got, test.want) {
			t.Errorf("%q: got %s; want %s", test.text, got, test.want)
		}
	}
}

// TestMatrixErrors has more problems than are told one by one.
func TestMatrixErrors(t *testing.T) {
	var b strings.Builder
	for range 100 {
		b.WriteString(strings.Repeat("-5 ", 100) + "\n")
	}
	_, err := ParseMatrix("f", []byte(b.String()), MatrixOptions{Unit: time.Millisecond})
	var all Errors
	if !errors.As(err, &all) || len(all) != maxFindings+1 || !strings.Contains(err.Error(), "and 9980 more problems") {
		t.Errorf("got %v", err)
	}
	if _, err := ParseMatrix("f", []byte(strings.Repeat("1 ", MaxMatrix+1)), MatrixOptions{Unit: 1}); err == nil {
		t.Error("a row may be as long as it likes")
	}
	if _, err := ParseMatrix("f", []byte(strings.Repeat("1\n", MaxMatrix+1)), MatrixOptions{Unit: 1}); err == nil {
		t.Error("there may be any number of rows")
	}
}

// TestHostile parses large files that nobody wrote for us to read, soon.
func TestHostile(t *testing.T) {
	for name, text := range map[string]string{
		"bad cells on one line": strings.Repeat("x ", 1<<16),
		"bad cells":             strings.Repeat("x\n", 1<<16),
		"commas":                strings.Repeat(",", 1<<18),
		"one long cell":         strings.Repeat("1", 1<<18),
		"one long comment":      "#" + strings.Repeat("x", 1<<18),
		"zeros":                 strings.Repeat(strings.Repeat("0 ", 1400)+"\n", 1400),
		"dates":                 strings.Repeat("1 delay=1ms\n", 1<<16),
	} {
		start := time.Now()
		_, err1 := ParseMatrix("f", []byte(text), MatrixOptions{Unit: time.Second})
		_, err2 := ParseTrace("f", []byte(text))
		_, err3 := ParseDistribution("f", []byte(text))
		_, err4 := ParsePositions("f", []byte(text))
		_, err5 := ParseSeries("f", "rate", []byte(text), nil)
		took := time.Since(start)
		t.Logf("%s: %v", name, took.Round(time.Millisecond))
		if took > 20*time.Second {
			t.Errorf("%s: took %v", name, took)
		}
		for _, err := range []error{err1, err2, err3, err4, err5} {
			if err != nil && len(err.Error()) > 10000 {
				t.Errorf("%s: the error has %d bytes", name, len(err.Error()))
			}
		}
	}
}

// TestMatrixRoundTrip writes matrices in every form and reads them.
func TestMatrixRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 8).Draw(t, "n")
		separator := rapid.SampledFrom([]string{" ", "\t", ",", ";", ", ", "   "}).Draw(t, "separator")
		var b strings.Builder
		want := make([]time.Duration, n*n)
		for i := range n * n {
			us := rapid.IntRange(1, 9e8).Draw(t, "us")
			if want[i] = time.Duration(us) * time.Microsecond; i%(n+1) == 0 {
				want[i] = -1
			}
			fmt.Fprint(&b, us)
			if (i+1)%n == 0 {
				b.WriteString("\n")
			} else {
				b.WriteString(separator)
			}
		}
		m, err := ParseMatrix("f", []byte(b.String()), MatrixOptions{Unit: time.Microsecond})
		if err != nil || m.N != n || !slices.Equal(m.Delay, want) {
			t.Fatalf("%q: %v, %v", b.String(), m, err)
		}
	})
}

func TestDistance(t *testing.T) {
	paris, york, south := Position{48.8566, 2.3522}, Position{40.7128, -74.006}, Position{-90, 0}
	if d := Distance(paris, york); math.Abs(d-5837) > 2 || d != Distance(york, paris) {
		t.Errorf("Paris to New York: %v km", d)
	}
	if d := Distance(Position{90, 0}, south); math.Abs(d-math.Pi*earthRadius) > 1e-6 {
		t.Errorf("pole to pole: %v km", d)
	}
	if d := Distance(Position{0, 179.9}, Position{0, -179.9}); math.Abs(d-22.24) > 0.01 {
		t.Errorf("over the date line: %v km", d)
	}
	if d := Propagation(1000, 0, 0); d != 5003*time.Microsecond {
		t.Errorf("1,000 km take %v", d)
	}
	if d := Propagation(1000, 1, 2); d != 6671*time.Microsecond {
		t.Errorf("1,000 km take %v", d)
	}
}

func TestParsePositions(t *testing.T) {
	places, err := ParsePositions("f", []byte("node,lat,lon\n\"n[1,3]\",1.5,-2\nn[4,5]\t3\t4\n@x;5;6\n"))
	if err != nil || len(places) != 3 || places[0].Nodes != "n[1,3]" || places[1].Position != (Position{3, 4}) || places[2].Nodes != "@x" {
		t.Errorf("%v, %v", places, err)
	}
	for text, want := range map[string]string{
		"": "is empty", "a,1\n": "not a position", "a,x,1\n": "write degrees", "a,91,0\n": "no place", "a,NaN,0\n": "no place", ",1,2\n": "not a position",
	} {
		if _, err := ParsePositions("f", []byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v; want %s", text, err, want)
		}
	}
}

// FuzzFiles parses anything as a file of each kind: no panic, and sound errors.
func FuzzFiles(f *testing.F) {
	for _, seed := range []string{"0 1\n2 0\n", "0,1,\n2,,0", "10s delay=20ms\n11 loss=1%", "a,1,2", "1\n2\n3\n4\n5\n6\n7\n8\n9\n10\n", "\ufeff# x\n1", "0;1\n2;0\n"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var errs []error
		_, err := ParseDistribution("f", data)
		errs = append(errs, err)
		_, err = ParseTrace("f", data)
		errs = append(errs, err)
		_, err = ParseSeries("f", "delay", data, nil)
		errs = append(errs, err)
		_, err = ParsePositions("f", data)
		errs = append(errs, err)
		m, err := ParseMatrix("f", data, MatrixOptions{Unit: time.Millisecond, RTT: true, Missing: MissingNone})
		if err == nil && len(m.Delay) != m.N*m.N {
			t.Errorf("%d entries of %d rows", len(m.Delay), m.N)
		}
		for _, err := range append(errs, err) {
			var all Errors
			if err == nil {
				continue
			}
			if !errors.As(err, &all) || len(all) == 0 || len(all) > maxFindings+1 {
				t.Fatalf("error is %v", err)
			}
			for _, e := range all {
				if e.File != "f" || e.Line < 1 || e.Msg == "" {
					t.Errorf("problem is %#v", e)
				}
			}
		}
	})
}

func BenchmarkParseMatrix(b *testing.B) {
	var text strings.Builder
	for i := range 490 * 490 {
		fmt.Fprintf(&text, "%d.%d\t", 1+i%300, i%97)
		if i%490 == 489 {
			text.WriteString("\n")
		}
	}
	data := []byte(text.String())
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ParseMatrix("f", data, MatrixOptions{Unit: time.Millisecond}); err != nil {
			b.Fatal(err)
		}
	}
}
