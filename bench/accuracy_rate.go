package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"
)

// rateCase is a rate measured by one iperf3 stream.
type rateCase struct {
	name  string
	vnode string
	port  int
	bits  float64 // asked
	udp   bool
	in    bool // the vnode receives
	many  bool // packets are sent many at a time, by our own ends
}

// What a frame of 1,514 bytes carries: TCP segments have 12 bytes of
// timestamps.
const (
	frameBytes   = 1514
	tcpBytes     = 1448
	udpBytes     = 1472
	lowRate      = 2e7 // up to this, rates are measured side by side
	iperfSettle  = 2   // seconds that do not count: slow start, and the queue filling
	lowSettle    = 10  // the same at low rates
	iperfTimeout = 90 * time.Second
)

// rateTable measures the goodput of iperf3, at the receiver, in steady state,
// beside what the rate allows after headers.
func rateTable(ctx context.Context, a *accuracy) error {
	if _, err := exec.LookPath("iperf3"); err != nil {
		return fmt.Errorf("%w (apt-get install iperf3)", err)
	}
	p := newPlatform("rate")
	p.vnodes("far", "", "")
	rates := pick(a, []string{"128kbit", "256kbit", "512kbit", "1mbit", "10mbit", "50mbit", "100mbit", "500mbit", "900mbit", "1gbit", "2gbit", "4gbit"},
		[]string{"1mbit", "50mbit"})
	cases := rateCases(p, rates)
	if err := a.up(ctx, p.name, p.text()); err != nil {
		return err
	}
	addrs, err := a.in.addresses(ctx, p.name, "*")
	if err != nil {
		return err
	}
	got := make([][]reading, len(cases))
	low := 0 // cases of low rates come first
	for low < len(cases) && cases[low].bits <= lowRate {
		low++
	}
	for range a.runs() {
		if err := a.lowRates(ctx, p.name, cases[:low], addrs["far"].String(), got); err != nil {
			return err
		}
		for i := low; i < len(cases); i++ {
			goodput, m, err := calm(ctx, a, func() (float64, error) {
				c, seconds := cases[i], pick(a, 6, 3)
				if c.many {
					return a.flood(ctx, p.name, c, addrs[c.vnode].String(), addrs["far"].String(), seconds)
				}
				return a.iperf(ctx, p.name, c, addrs["far"].String(), iperfSettle, seconds)
			})
			if err != nil {
				return fmt.Errorf("%s: %w", cases[i].name, err)
			}
			a.say("rate: %s: %.4f of what it allows", cases[i].name, goodput/cases[i].expected())
			got[i] = append(got[i], reading{100 * (goodput/cases[i].expected() - 1), m})
		}
	}
	for i, c := range cases {
		row := a.add("rate", c.name, 1, "% off", within("ours", 2), got[i])
		row.Note = fmt.Sprintf("%s of %s Mbit/s", figure(c.expected()*(1+row.Ours/100)/1e6), figure(c.expected()/1e6))
		if offered := a.offered[c.port]; c.udp && !c.many && offered > 0 && offered < c.expected() {
			row.Note += fmt.Sprintf("; iperf3 sent only %s", figure(offered/1e6))
		}
	}
	return nil
}

// rateCases adds a vnode for each rate: what it sends is limited, or for two
// of them what it gets.
func rateCases(p *platform, rates []string) []rateCase {
	var cases []rateCase
	port := 5201
	add := func(rate string, in bool) {
		for _, udp := range []bool{false, true} {
			side, protocol := "out", "TCP"
			if udp {
				protocol = "UDP"
			}
			if in {
				side = "in"
			}
			// A vnode for each: they are measured at the same time.
			vnode, conditions := fmt.Sprintf("%s%s-%s", side, rate, strings.ToLower(protocol)), fmt.Sprintf("{rate: %s}", rate)
			if in {
				p.vnodes(vnode, "", conditions)
			} else {
				p.vnodes(vnode, conditions, "")
			}
			c := rateCase{fmt.Sprintf("%s %s, %s", side, rate, protocol), vnode, port, parseBits(rate), udp, in, false}
			cases = append(cases, c)
			if port++; udp && c.bits >= floodFrom {
				c.name, c.many = c.name+", many at a time", true
				cases = append(cases, c)
			}
		}
	}
	for _, r := range rates {
		add(r, false)
		if r == "1mbit" || r == "100mbit" || r == "1gbit" {
			add(r, true)
		}
	}
	return cases
}

// parseBits reads the rates of this table.
func parseBits(s string) float64 {
	for unit, factor := range map[string]float64{"kbit": 1e3, "mbit": 1e6, "gbit": 1e9} {
		if n := len(s) - len(unit); n > 0 && s[n:] == unit {
			v, _ := strconv.ParseFloat(s[:n], 64)
			return v * factor
		}
	}
	return 0
}

// expected is the goodput that a rate allows.
func (c rateCase) expected() float64 {
	if c.udp {
		return c.bits * udpBytes / frameBytes
	}
	return c.bits * tcpBytes / frameBytes
}

// lowRates measures rates that cost next to nothing side by side, each between
// vnodes of its own but for the server's: they need long to be exact.
func (a *accuracy) lowRates(ctx context.Context, platform string, cases []rateCase, far string, got [][]reading) error {
	values, errs := make([]float64, len(cases)), make([]error, len(cases))
	at := monotonic()
	var wait sync.WaitGroup
	for i, c := range cases {
		wait.Go(func() {
			values[i], errs[i] = a.iperf(ctx, platform, c, far, pick(a, lowSettle, iperfSettle), pick(a, 50, 5))
		})
	}
	wait.Wait()
	steal, busy := a.meter.since(at)
	for i, c := range cases {
		if errs[i] != nil {
			return fmt.Errorf("%s: %w", c.name, errs[i])
		}
		a.say("rate: %s: %.4f of what it allows", c.name, values[i]/c.expected())
		got[i] = append(got[i], reading{100 * (values[i]/c.expected() - 1), mood{steal: steal, busy: busy}})
	}
	return nil
}

// iperfReport is what we read of iperf3's JSON.
type iperfReport struct {
	Error     string
	Intervals []struct {
		Sum iperfSum
	}
}

type iperfSum struct {
	Seconds float64
	Bytes   float64
}

// iperf measures the goodput of one stream in bit/s, at its receiver.
func (a *accuracy) iperf(ctx context.Context, platform string, c rateCase, far string, settle, seconds int) (float64, error) {
	ctx, cancel := context.WithTimeout(ctx, iperfTimeout)
	defer cancel()
	log := func(end string) string { return filepath.Join(a.in.dir, fmt.Sprintf("iperf-%d-%s.json", c.port, end)) }
	for _, end := range []string{"client", "server"} {
		if err := os.RemoveAll(log(end)); err != nil {
			return 0, err
		}
	}
	port := strconv.Itoa(c.port)
	server := a.in.command(ctx, "exec", "-p", platform, "far", "--", "iperf3", "-s", "-1", "-p", port, "-J", "--logfile", log("server"))
	if err := server.Start(); err != nil {
		return 0, err
	}
	defer func() {
		_ = server.Cancel()
		_ = server.Wait() // its end is ours to cause: its status says nothing
	}()
	time.Sleep(500 * time.Millisecond) // the server is listening
	args := []string{"exec", "-p", platform, c.vnode, "--", "iperf3", "-c", far, "-p", port, "-J", "--logfile", log("client"),
		"-t", strconv.Itoa(settle + seconds), "--connect-timeout", "5000"}
	if c.udp {
		args = append(args, "-u", "-b", fmt.Sprintf("%.0f", 1.1*c.bits), "-l", strconv.Itoa(udpBytes))
	} else if c.bits < 1e6 {
		args = append(args, "-l", "1448") // a block of 128 KB would take seconds
	}
	receiver := "server"
	if c.in {
		args, receiver = append(args, "-R"), "client"
	}
	var stderr bytes.Buffer
	client := a.in.command(ctx, args...)
	client.Stderr = &stderr
	err := client.Run()
	text, _ := os.ReadFile(log("client"))
	if err != nil {
		return 0, fmt.Errorf("iperf3: %w: %s%s", err, stderr.String(), tail(string(text), 300))
	}
	if !c.in { // the server writes when it has ended, nearly always by itself
		late := time.AfterFunc(5*time.Second, func() { _ = server.Cancel() })
		_ = server.Wait()
		late.Stop()
		if text, err = os.ReadFile(log(receiver)); err != nil {
			return 0, err
		}
	}
	sender := "client"
	if c.in {
		sender = "server"
		late := time.AfterFunc(5*time.Second, func() { _ = server.Cancel() })
		_ = server.Wait()
		late.Stop()
	}
	sent, _ := os.ReadFile(log(sender))
	if v, err := goodput(sent, settle); err == nil { // else it is only not noted
		a.note(c.port, v)
	}
	return goodput(text, settle)
}

// note remembers what was offered in a case.
func (a *accuracy) note(port int, bits float64) {
	a.mutex.Lock()
	defer a.mutex.Unlock()
	if a.offered == nil {
		a.offered = map[int]float64{}
	}
	a.offered[port] = bits
}

// goodput is the mean of whole intervals after the stream has settled. The last
// one may be cut short. (iperf3's own --omit confuses the interval after it.)
func goodput(text []byte, settle int) (float64, error) {
	var r iperfReport
	if err := json.Unmarshal(text, &r); err != nil {
		return 0, fmt.Errorf("iperf3 said %q: %w", tail(string(text), 200), err)
	}
	if r.Error != "" && len(r.Intervals) < settle+2 {
		return 0, fmt.Errorf("iperf3: %s", r.Error)
	}
	bits, seconds, at := 0.0, 0.0, 0.0
	for i, v := range r.Intervals {
		if at += v.Sum.Seconds; at < float64(settle)+0.5 || i == len(r.Intervals)-1 || v.Sum.Seconds < 0.5 {
			continue
		}
		bits += 8 * v.Sum.Bytes
		seconds += v.Sum.Seconds
	}
	if seconds == 0 {
		return 0, fmt.Errorf("iperf3 gave no interval that counts: %s", tail(string(text), 300))
	}
	return bits / seconds, nil
}
