package link

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// Patch is a set of fields with new values, such as delay=20ms loss=1%. The
// zero value changes nothing.
type Patch struct {
	set fieldSet
	to  Conditions // the new values; zero values clear fields
}

// fieldSet has a bit for each of fields.
type fieldSet uint32

func (s fieldSet) has(i int) bool { return s>>i&1 != 0 }

// Files gives the contents of a file that a setting refers to. Nil: there are
// no files.
type Files func(path string) ([]byte, error)

// ParsePatch reads settings such as delay=20ms, as on a command line. A value
// of none or 0 clears the field. What they refer to is read by files, which
// may be nil. If anything is wrong, the error is an Errors value.
func ParsePatch(settings []string, files Files) (Patch, error) {
	var p Patch
	var errs Errors
	for _, s := range settings {
		name, text, found := strings.Cut(s, "=")
		switch {
		case !found:
			errs = append(errs, problem("write it as delay=20ms", "%s is not a setting", quote(s)))
		case name == "profile":
			errs = append(errs, problem("give its fields, or set it for vifaces", "cannot be set here").of(name))
		default:
			if err := p.Set(name, text, files); err != nil {
				errs = append(errs, err.(*Error))
			}
		}
	}
	if len(errs) > 0 {
		return Patch{}, errs
	}
	if err := p.clash(); err != nil {
		return Patch{}, Errors{err}
	}
	return p, nil
}

// Set adds one field with its new value; the error is an *Error.
func (p *Patch) Set(field, text string, files Files) error {
	i := fieldIndex(field)
	if i < 0 {
		remedy := "known: " + strings.Join(FieldNames(), ", ")
		if other := OtherName(field); other != "" {
			remedy = "write " + other
		}
		return problem(remedy, "unknown field of link conditions").of(printable(clip(field)))
	}
	if p.set.has(i) {
		return problem("keep one of them", "given twice").of(field)
	}
	if text == "" {
		return problem("write none, or a value such as "+fields[i].Examples[0], "has no value").of(field)
	}
	p.set |= 1 << i
	if text == "none" || text == "0" {
		return nil
	}
	if err := fields[i].parse(&p.to, text, files); err != nil {
		return err.of(field)
	}
	return nil
}

// PatchOf is the patch that sets the named fields to what they are in c; with
// no names, all fields.
func PatchOf(c Conditions, names ...string) Patch {
	if len(names) == 0 {
		return Patch{to: c, set: 1<<len(fields) - 1}
	}
	var p Patch
	for _, name := range names {
		if i := fieldIndex(name); i >= 0 {
			fields[i].copy(&p.to, &c)
			p.set |= 1 << i
		}
	}
	return p
}

// With is the patch that sets what p sets and what other sets; of fields that
// both set, other's values.
func (p Patch) With(other Patch) Patch {
	for i, f := range fields {
		if other.set.has(i) {
			f.copy(&p.to, &other.to)
		}
	}
	p.set |= other.set
	return p
}

// Then is the patch that does what p does, and after it what next does.
func (p Patch) Then(next Patch) Patch { return p.whole().With(next.whole()) }

// whole is p with what it clears without saying so.
func (p Patch) whole() Patch {
	w := p
	for i := range fields {
		if !p.set.has(i) && p.replaces(i) {
			w.set |= 1 << i
		}
	}
	return w
}

// Empty says whether the patch changes nothing.
func (p Patch) Empty() bool { return p.set == 0 }

// Fields gives the names of the fields that the patch sets.
func (p Patch) Fields() []string {
	var names []string
	for i, f := range fields {
		if p.set.has(i) {
			names = append(names, f.Name)
		}
	}
	return names
}

// Apply gives c with the patch's fields changed. A rate takes the place of a
// trace and the other way round, and what means nothing without a field that
// is cleared goes with it: jitter=none also clears the distribution. The
// error, if what comes of it contradicts itself, is an Errors value.
func (p Patch) Apply(c Conditions) (Conditions, error) {
	w := p.whole()
	for i, f := range fields {
		if w.set.has(i) {
			f.copy(&c, &w.to)
		}
	}
	return c, c.Check()
}

// replaces says whether the patch leaves no room for what field i may be so
// far, although it does not set it.
func (p Patch) replaces(i int) bool {
	given := func(name string) bool {
		j := fieldIndex(name)
		return p.set.has(j) && fields[j].format(&p.to) != ""
	}
	cleared := func(name string) bool {
		j := fieldIndex(name)
		return p.set.has(j) && fields[j].format(&p.to) == ""
	}
	switch fields[i].Name {
	case "rate":
		return given("trace")
	case "trace":
		return given("rate")
	case "distribution", "ordered":
		return cleared("jitter")
	case "queue", "ecn":
		return !given("rate") && !given("trace") && (cleared("rate") || cleared("trace")) // of the two, only one was there
	}
	return false
}

// clash says what of the patch contradicts itself, whatever it is applied to.
func (p Patch) clash() *Error {
	if p.to.Rate != 0 && p.to.Trace != nil {
		return bothRates
	}
	return nil
}

// String writes the patch as ParsePatch reads it; "none" if it is empty.
func (p Patch) String() string {
	var words []string
	for i, f := range fields {
		if p.set.has(i) {
			value := f.format(&p.to)
			if value == "" {
				value = "none"
			}
			words = append(words, f.Name+"="+value)
		}
	}
	if words == nil {
		return "none"
	}
	return strings.Join(words, " ")
}

// wirePatch is a Patch as bytes. Unlike its String, it holds what was in
// files.
type wirePatch struct {
	Fields []string
	To     Conditions
}

// MarshalBinary encodes the patch, with what its files held.
func (p Patch) MarshalBinary() ([]byte, error) {
	return json.Marshal(wirePatch{Fields: p.Fields(), To: p.to})
}

// UnmarshalBinary decodes what MarshalBinary made.
func (p *Patch) UnmarshalBinary(b []byte) error {
	var w wirePatch
	if err := json.Unmarshal(b, &w); err != nil {
		return fmt.Errorf("decode patch: %w", err)
	}
	for _, name := range w.Fields {
		if fieldIndex(name) < 0 {
			return fmt.Errorf("decode patch: no field is called %q", clip(name))
		}
	}
	*p = Patch{}
	if len(w.Fields) > 0 {
		*p = PatchOf(w.To, w.Fields...)
	}
	return nil
}

// ParseConditions reads whole conditions from settings such as delay=20ms.
func ParseConditions(settings []string, files Files) (Conditions, error) {
	p, err := ParsePatch(settings, files)
	if err != nil {
		return Conditions{}, err
	}
	return p.Apply(Conditions{})
}

// String writes the conditions as settings; "none" if there are none.
func (c Conditions) String() string {
	var words []string
	for _, f := range fields {
		if value := f.format(&c); value != "" {
			words = append(words, f.Name+"="+value)
		}
	}
	if words == nil {
		return "none"
	}
	return strings.Join(words, " ")
}

// FieldNames lists the fields of conditions, in the order in which they are
// written.
func FieldNames() []string {
	names := make([]string, len(fields))
	for i, f := range fields {
		names[i] = f.Name
	}
	return names
}

func fieldIndex(name string) int {
	return slices.IndexFunc(fields, func(f Field) bool { return f.Name == name })
}

// OtherName gives the field that other tools call by a name, empty if none.
func OtherName(name string) string { return otherNames[strings.ToLower(name)] }

// otherNames are what other tools call the fields.
var otherNames = map[string]string{
	"bandwidth": "rate", "bw": "rate", "throughput": "rate", "latency": "delay", "corruption": "corrupt",
	"duplication": "duplicate", "dup": "duplicate", "reordering": "reorder", "limit": "queue", "buffer": "queue",
	"dist": "distribution", "gemodel": "burst",
}
