package call

// The ways in which stored states and entries are read: by hand, and by
// encoding/json, which tells what is right.
var (
	ReadState    = readState
	ReadAnyState = readAnyState
	ReadEntry    = readEntry
)

// PrintOf is what copies of an entry are known by.
var PrintOf = printOf

// Stored is what Encode makes JSON of.
func (s State) Stored() State { return s.stored() }

// Stored is what EncodeLog makes JSON of.
func (e Entry) Stored() Entry { return e.stored() }
