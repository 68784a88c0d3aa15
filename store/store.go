// Package store remembers platforms, their plans and what happened, in
// JetStream by way of package bus. What it gives back after a crash is what
// was last put, whole, or what was there before.
package store

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"myriad/bus"
	"myriad/plan"
	"myriad/program"
)

// version is that of the form of records. A record of another one is left
// alone.
const version = 1

// keptEvents is how many events are remembered.
const keptEvents = 1000

// Record is what is remembered of a platform beside its source and plan.
type Record struct {
	Version int
	Name    string
	File    string // name of the topology file
	Digest  string // of its text and files
	Seed    uint64
	Force   bool          // it was brought up also if it would not fit
	Slot    uint8         // of VNIs
	Down    bool          // it is being taken away
	Since   time.Time     // when it was last brought up
	Took    time.Duration // how long that took
	Writes  uint64        // what that changed
	Spread

	// Set by PutPlan: where the source and the plan are, and their digest.
	Object string
	Sum    string
	// Set by Put and PutPlan: where the Spread is, if it is not in the record.
	Beside string `cbor:",omitempty"`
}

// Spread is what a record has of each pnode. Where pnodes are many it is kept
// beside the record, which must be small.
type Spread struct {
	Pnodes  map[string]string // where it is: pnode to Bootup of that machine
	Owed    map[string]bool   // pnodes that have not been heard to follow the plan
	Reports []program.Report  // what each pnode said last
}

// Digest is what tells one text of a topology, with the files that it refers
// to, from another.
func Digest(text string, files map[string][]byte) string {
	all := sha256.New()
	add := func(part []byte) {
		sum := sha256.Sum256(part) // so that no part can look like another's end
		all.Write(sum[:])
	}
	add([]byte(text))
	for _, name := range slices.Sorted(maps.Keys(files)) {
		add([]byte(name))
		add(files[name])
	}
	return hex.EncodeToString(all.Sum(nil))
}

// Event is one thing that happened.
type Event struct {
	Time     time.Time
	Type     string
	Platform string
	Message  string
}

// Platform is a platform that is remembered.
type Platform struct {
	Record
	Plan  *plan.Plan
	Links *Links // nil: the conditions of its links are the plan's
}

// Store is the memory of a coordinator. It is for one goroutine at a time,
// but for Note and Events.
type Store struct {
	records *bus.Bucket
	objects *bus.Objects
	events  *bus.Log
}

// Open opens the store behind a connection, and makes it if need be.
func Open(ctx context.Context, c *bus.Conn) (*Store, error) {
	s := &Store{}
	var err error
	if s.records, err = c.Bucket(ctx, "platforms"); err != nil {
		return nil, err
	}
	if s.objects, err = c.Objects(ctx, "plans"); err != nil {
		return nil, err
	}
	s.events, err = c.Log(ctx, "events", keptEvents)
	return s, err
}

// Platforms gives what is remembered, by name, and what is wrong with those
// that cannot be read: they are left as they are, and harm nobody.
func (s *Store) Platforms(ctx context.Context) ([]Platform, []error) {
	keys, err := s.records.Keys(ctx)
	if err != nil {
		return nil, []error{err}
	}
	slices.Sort(keys)
	var platforms []Platform
	var problems []error
	for _, key := range keys {
		p, err := s.platform(ctx, key)
		if err != nil {
			problems = append(problems, fmt.Errorf("read platform %q: %w", key, err))
			continue
		}
		platforms = append(platforms, *p)
	}
	return platforms, append(problems, s.clean(ctx, platforms, len(problems) == 0))
}

func (s *Store) platform(ctx context.Context, key string) (*Platform, error) {
	b, err := s.records.Get(ctx, key)
	if err != nil {
		return nil, err
	}
	var p Platform
	if err := bus.Decode(b, &p.Record); err != nil {
		return nil, err
	}
	if p.Version != version {
		return nil, fmt.Errorf("record of form %d, where this version reads %d", p.Version, version)
	}
	if p.Name != key || !program.ValidPlatformName(key) {
		return nil, fmt.Errorf("record of %q", p.Name)
	}
	if b, err = s.objects.Get(ctx, p.Object+"/plan"); err != nil {
		return nil, err
	}
	if p.Plan, err = plan.Decode(b); err != nil {
		return nil, err
	}
	if p.Plan.Platform() != key {
		return nil, fmt.Errorf("plan of %q", p.Plan.Platform())
	}
	if p.Beside != "" {
		if b, err = s.objects.Get(ctx, p.Beside); err != nil {
			return nil, err
		}
		if err := bus.Decode(b, &p.Spread); err != nil {
			return nil, err
		}
	}
	p.Links, err = s.links(ctx, &p.Record)
	return &p, err
}

// clean removes objects that no record speaks of: a crash may leave some. It
// removes nothing while there are records that could not be read.
func (s *Store) clean(ctx context.Context, platforms []Platform, all bool) error {
	if !all {
		return nil
	}
	names, err := s.objects.Names(ctx)
	for _, name := range names {
		object := name[:max(strings.LastIndexByte(name, '/'), 0)]
		if name != pnodesObject && !slices.ContainsFunc(platforms, func(p Platform) bool {
			return p.Object == object || p.Beside == name || p.Links != nil && linksObject(p.Name) == object
		}) {
			err = errors.Join(err, s.objects.Delete(ctx, name))
		}
	}
	return err
}

// PutPlan remembers a platform with a new source, the files that it refers to,
// and a plan. They are written
// to the one of two places that the record of before does not speak of, so
// that a crash leaves it whole.
func (s *Store) PutPlan(ctx context.Context, r *Record, source string, files map[string][]byte, p *plan.Plan) error {
	old, err := s.record(ctx, r.Name)
	if err != nil {
		return err
	}
	encoded := p.Encode()
	sum := sha256.New()
	sum.Write([]byte(Digest(source, files)))
	sum.Write(encoded)
	if r.Sum = hex.EncodeToString(sum.Sum(nil)); r.Sum == old.Sum {
		return s.Put(ctx, r)
	}
	r.Beside = old.Beside
	if r.Object = r.Name + "/0"; r.Object == old.Object {
		r.Object = r.Name + "/1"
	}
	if err := s.objects.Put(ctx, r.Object+"/source", []byte(source)); err != nil {
		return err
	}
	if err := s.objects.Put(ctx, r.Object+"/plan", encoded); err != nil {
		return err
	}
	if len(files) > 0 {
		b, err := bus.Encode(files)
		if err == nil {
			err = s.objects.Put(ctx, r.Object+"/files", b)
		}
		if err != nil {
			return err
		}
	}
	if err := s.put(ctx, r); err != nil {
		return err
	}
	_ = s.drop(ctx, old.Object) // what is left is removed by clean
	return nil
}

// Put remembers a platform of which source and plan are known already.
func (s *Store) Put(ctx context.Context, r *Record) error {
	old, err := s.record(ctx, r.Name)
	if err != nil {
		return err
	}
	r.Object, r.Sum, r.Beside = old.Object, old.Sum, old.Beside
	return s.put(ctx, r)
}

// mostRecord is how large a record may be: the bus carries 1 MB.
const mostRecord = 512 << 10

// put writes a record, whose Beside is that of before. If it is too large, its
// Spread goes to the one of two places that the record of before does not
// speak of.
func (s *Store) put(ctx context.Context, r *Record) error {
	r.Version = version
	was := r.Beside
	r.Beside = ""
	b, err := bus.Encode(r)
	if err == nil && len(b) > mostRecord {
		small := *r
		small.Spread = Spread{}
		if small.Beside = r.Name + "/spread/0"; small.Beside == was {
			small.Beside = r.Name + "/spread/1"
		}
		r.Beside = small.Beside
		var beside []byte
		if beside, err = bus.Encode(r.Spread); err == nil {
			err = s.objects.Put(ctx, small.Beside, beside)
		}
		if err == nil {
			b, err = bus.Encode(small)
		}
	}
	if err != nil {
		return err
	}
	if err := s.records.Put(ctx, r.Name, b); err != nil || was == "" {
		return err
	}
	_ = s.objects.Delete(ctx, was) // what is left is removed by clean
	return nil
}

// Source gives the text that a platform was last brought up from, the name of
// its file, and the files that it refers to.
func (s *Store) Source(ctx context.Context, name string) (file, text string, files map[string][]byte, err error) {
	r, err := s.record(ctx, name)
	if err != nil {
		return "", "", nil, err
	}
	b, err := s.objects.Get(ctx, r.Object+"/source")
	if err != nil {
		return "", "", nil, err
	}
	encoded, err := s.objects.Get(ctx, r.Object+"/files")
	if absent(err) {
		return r.File, string(b), nil, nil
	}
	if err == nil {
		err = bus.Decode(encoded, &files)
	}
	return r.File, string(b), files, err
}

// absent tells whether something is not remembered.
func absent(err error) bool {
	p := bus.ProblemOf(err)
	return p != nil && p.Kind == program.KindNotFound
}

// record reads a record; it is empty if there is none, or none that can be
// read: that is written over.
func (s *Store) record(ctx context.Context, name string) (Record, error) {
	b, err := s.records.Get(ctx, name)
	if p := bus.ProblemOf(err); p != nil {
		if p.Kind == program.KindNotFound {
			err = nil
		}
		return Record{}, err
	}
	var r Record
	if bus.Decode(b, &r) != nil || r.Version != version {
		return Record{}, nil
	}
	return r, nil
}

func (s *Store) drop(ctx context.Context, object string) error {
	if object == "" {
		return nil
	}
	return errors.Join(s.objects.Delete(ctx, object+"/source"), s.objects.Delete(ctx, object+"/plan"), s.objects.Delete(ctx, object+"/files"))
}

// Forget removes all that is remembered of a platform but its events.
func (s *Store) Forget(ctx context.Context, name string) error {
	r, err := s.record(ctx, name)
	if err != nil {
		return err
	}
	if err := s.records.Delete(ctx, name); err != nil {
		return err
	}
	if r.Beside != "" {
		err = s.objects.Delete(ctx, r.Beside)
	}
	return errors.Join(err, s.drop(ctx, r.Object), s.ForgetLinks(ctx, name))
}

// Note remembers an event.
func (s *Store) Note(ctx context.Context, e Event) error {
	b, err := bus.Encode(e)
	if err != nil {
		return err
	}
	return s.events.Append(ctx, b)
}

// Events calls f with the events that are remembered, oldest first, until f
// says no. What cannot be read is passed over.
func (s *Store) Events(ctx context.Context, f func(Event) bool) error {
	return s.events.Read(ctx, func(b []byte) bool {
		var e Event
		return bus.Decode(b, &e) != nil || f(e)
	})
}
