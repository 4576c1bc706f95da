package ticket

// Tally brings the journals of all gates together: it counts every entry once however often it is uploaded, and finds
// the bookings of which more people came in than belong to the party, as happens where two gates without a network see
// the same code. It belongs to one caller at a time.
type Tally struct {
	cursors  map[journalKey]Cursor
	bookings map[uint64]uint32 // people
}

type journalKey struct {
	gate    uint32
	journal [8]byte
}

// Double is a booking with more people inside than its party, found at one entry.
type Double struct {
	Entry Entry // with which there were too many
	Total int   // people of the booking with that entry
	Over  int   // how many of this entry's people were too many
}

// NewTally returns an empty tally.
func NewTally() *Tally {
	return &Tally{cursors: map[journalKey]Cursor{}, bookings: map[uint64]uint32{}}
}

// Known restores a tally from what was stored of it: the cursors, and the number of people of each booking.
func (t *Tally) Known(cursors []Cursor, people map[uint64]int) {
	for _, c := range cursors {
		t.cursors[journalKey{c.Gate, c.Journal}] = c
	}
	for booking, n := range people {
		t.bookings[booking] = uint32(n)
	}
}

// Cursor returns up to where a journal was uploaded: what lies behind it is still to be sent. head is the journal's head.
func (t *Tally) Cursor(head []byte) (Cursor, error) {
	c, err := parseHead(head)
	if err != nil {
		return c, err
	}
	if known, ok := t.cursors[journalKey{c.Gate, c.Journal}]; ok {
		return known, nil
	}
	return c, nil
}

// Add takes in records of the journal with a head, from any place up to its cursor on, and returns the entries that are
// new, the doubles among them, and the cursor behind them. The errors are those of [Cursor.Read]; after one, nothing was
// taken in.
func (t *Tally) Add(head, records []byte) (entries []Entry, doubles []Double, end Cursor, err error) {
	c, err := t.Cursor(head)
	if err != nil {
		return nil, nil, c, err
	}
	entries, end, err = c.Read(records)
	if err != nil {
		return nil, nil, c, err
	}
	for _, e := range entries {
		t.bookings[e.Booking] += uint32(e.People)
		total := int(t.bookings[e.Booking])
		if over := total - int(e.Party); over > 0 {
			doubles = append(doubles, Double{Entry: e, Total: total, Over: min(over, int(e.People))})
		}
	}
	t.cursors[journalKey{c.Gate, c.Journal}] = end
	return entries, doubles, end, nil
}

// People returns how many people of a booking have entered.
func (t *Tally) People(booking uint64) int { return int(t.bookings[booking]) }
