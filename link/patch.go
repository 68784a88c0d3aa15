package link

// Patch is a set of fields with new values, such as delay=20ms loss=1%.
type Patch struct {
	settings []setting // in the order given, no field twice
}

type setting struct{ field, value string }
