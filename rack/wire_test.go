package rack

import (
	"crypto/sha256"
	"fmt"
	"reflect"
	"strings"
	"testing"
)

// wireShape is the digest of every type that is said on the wire. Where this
// test fails the wire has changed: raise Wire, unless racks of before still
// understand all of it and are understood, and note the new digest here.
const wireShape = "2 41edb6f8b099"

func TestWireShape(t *testing.T) {
	var text strings.Builder
	seen := map[reflect.Type]bool{}
	for _, v := range []any{Request{}, Input{}, Reply{}} {
		describeType(&text, reflect.TypeOf(v), seen)
	}
	if got := fmt.Sprintf("%d %.6x", Wire, sha256.Sum256([]byte(text.String()))); got != wireShape {
		t.Errorf("the wire is %q, not %q as noted; it now is\n%s", got, wireShape, text.String())
	}
}

// describeType writes what a type looks like to the codec, and all that it is
// made of.
func describeType(w *strings.Builder, t reflect.Type, seen map[reflect.Type]bool) {
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Array, reflect.Map:
		describeType(w, t.Elem(), seen)
		return
	}
	if seen[t] || !strings.HasPrefix(t.PkgPath(), "myriad/") {
		return
	}
	seen[t] = true
	fmt.Fprintf(w, "%s %s\n", t, t.Kind())
	if t.Kind() != reflect.Struct {
		return
	}
	for i := range t.NumField() {
		f := t.Field(i)
		fmt.Fprintf(w, "\t%s %s %q\n", f.Name, f.Type, f.Tag.Get("cbor"))
	}
	for i := range t.NumField() {
		describeType(w, t.Field(i).Type, seen)
	}
}
