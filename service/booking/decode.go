package booking

import (
	"strconv"

	"github.com/qiongdev/qiong/kit/strictjson"
	"github.com/qiongdev/qiong/service/booking/ledger"
)

// decode reads one of many reservations.
func (in *Item) decode(data []byte) error {
	if ok, err := in.read(data, &in.Key); ok || err != nil {
		return err
	}
	*in = Item{Reservation: Reservation{Visitors: in.Visitors[:0]}}
	return strictjson.Unmarshal(data, in)
}

// decode reads a reservation.
func (in *Reservation) decode(data []byte) error {
	if ok, err := in.read(data, nil); ok || err != nil {
		return err
	}
	*in = Reservation{Visitors: in.Visitors[:0]}
	return strictjson.Unmarshal(data, in)
}

// read is strictjson.Unmarshal in a sixth of the time: nothing is read by reflection. What it cannot make sense of is
// not ok, and left to that, which knows the words for it.
func (in *Reservation) read(data []byte, key *string) (ok bool, err error) {
	if err := strictjson.Check(data, strictjson.Limits{}); err != nil {
		return false, err
	}
	c := strictjson.NewCursor(data)
	return c.Peek() == '{' && in.fill(&c, key), nil
}

func (in *Reservation) fill(c *strictjson.Cursor, key *string) bool {
	return c.Members(func(_ int, name []byte) bool {
		switch string(name) {
		case `"slot"`:
			return text(c, &in.Slot)
		case `"channel"`:
			return oneOf(c, &in.Channel, channels)
		case `"product"`:
			return text(c, &in.Product)
		case `"admission"`:
			return text(c, &in.Admission)
		case `"quantity"`:
			n, err := strconv.Atoi(string(c.Raw()))
			in.Quantity = n
			return err == nil
		case `"key"`:
			return key != nil && text(c, key)
		case `"visitors"`:
			return c.Peek() == '[' && c.Items(func(int) bool {
				var v Visitor
				if c.Peek() != '{' || !v.fill(c) {
					return false
				}
				in.Visitors = append(in.Visitors, v)
				return true
			})
		}
		return false
	})
}

func (v *Visitor) fill(c *strictjson.Cursor) bool {
	return c.Members(func(_ int, name []byte) bool {
		switch string(name) {
		case `"kind"`:
			return oneOf(c, &v.Kind, kindNames)
		case `"number"`:
			return text(c, &v.Number)
		case `"name"`:
			return text(c, &v.Name)
		case `"child"`:
			raw := c.Raw()
			v.Child = raw[0] == 't'
			return raw[0] == 't' || raw[0] == 'f'
		}
		return false
	})
}

// text reads a string.
func text(c *strictjson.Cursor, into *string) bool {
	if c.Peek() != '"' {
		return false
	}
	*into = strictjson.Decode(c.Raw())
	return true
}

// oneOf reads a string that is mostly one of few, which need no memory.
func oneOf(c *strictjson.Cursor, into *string, known map[string]string) bool {
	if c.Peek() != '"' {
		return false
	}
	raw := c.Raw()
	if w, ok := known[string(raw[1:len(raw)-1])]; ok {
		*into = w
		return true
	}
	*into = strictjson.Decode(raw)
	return true
}

var channels, kindNames = func() (c, k map[string]string) {
	c, k = map[string]string{}, map[string]string{}
	for i := range ledger.Channel(ledger.Channels) {
		c[i.String()] = i.String()
	}
	for name := range kinds {
		k[name] = name
	}
	return c, k
}()
