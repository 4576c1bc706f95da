package booking

import (
	"strconv"

	"github.com/qiongdev/qiong/kit/strictjson"
	"github.com/qiongdev/qiong/service/booking/ledger"
)

// decode reads one of many reservations.
func (in *Item) decode(data []byte) error { return in.read(data, true, in) }

// decode is Item.decode without a key.
func (in *Reservation) decode(data []byte) error {
	item := Item{Reservation: *in}
	err := item.read(data, false, &item.Reservation)
	*in = item.Reservation
	return err
}

// read is strictjson.Unmarshal in a sixth of the time: nothing is read by reflection. What it cannot make sense of it
// leaves to that, which knows the words for it; whole is what that fills.
func (in *Item) read(data []byte, keyed bool, whole any) error {
	if err := strictjson.Check(data, strictjson.Limits{}); err != nil {
		return err
	}
	c := strictjson.NewCursor(data)
	if c.Peek() == '{' && in.fill(&c, keyed) {
		return nil
	}
	*in = Item{Reservation: Reservation{Visitors: in.Visitors[:0]}}
	return strictjson.Unmarshal(data, whole)
}

func (in *Item) fill(c *strictjson.Cursor, keyed bool) bool {
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
			return keyed && text(c, &in.Key)
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
