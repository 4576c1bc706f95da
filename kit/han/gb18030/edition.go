package gb18030

// change is a two-byte code to which a later edition gave another character: a private-use code point gave way to one
// that Unicode had encoded in the meantime. To the letter of the standard the two change places, and the private-use
// code point takes the four-byte code that its successor had.
type change struct {
	code     uint16
	old, new rune
}

// of2005 is what the edition of 2005 changed, ḿ.
var of2005 = change{0xA8BC, 0xE7C7, 0x1E3F}

// of2022 is what the edition of 2022 changed: vertical punctuation, whose order is not that of Unicode, and eight
// ideographs.
var of2022 = [...]change{
	{0xA6D9, 0xE78D, 0xFE10}, {0xA6DA, 0xE78E, 0xFE12}, {0xA6DB, 0xE78F, 0xFE11}, {0xA6DC, 0xE790, 0xFE13},
	{0xA6DD, 0xE791, 0xFE14}, {0xA6DE, 0xE792, 0xFE15}, {0xA6DF, 0xE793, 0xFE16}, {0xA6EC, 0xE794, 0xFE17},
	{0xA6ED, 0xE795, 0xFE18}, {0xA6F3, 0xE796, 0xFE19}, {0xFE59, 0xE81E, 0x9FB4}, {0xFE61, 0xE826, 0x9FB5},
	{0xFE66, 0xE82B, 0x9FB6}, {0xFE67, 0xE82C, 0x9FB7}, {0xFE6D, 0xE832, 0x9FB8}, {0xFE7E, 0xE843, 0x9FB9},
	{0xFE90, 0xE854, 0x9FBA}, {0xFEA0, 0xE864, 0x9FBB},
}

// Modern returns the character that replaced a private-use code point in the edition of 2005 or 2022, and r itself where
// r is no such code point.
func Modern(r rune) rune {
	if r == of2005.old {
		return of2005.new
	}
	if c := changed(r); c != nil && r == c.old {
		return c.new
	}
	return r
}

// changed returns the change of 2022 that r takes part in, as the old or the new character, or nil.
func changed(r rune) *change {
	if r < 0x9FB4 || r > 0xFE19 || r > 0x9FBB && r < 0xE78D {
		return nil
	}
	for i := range of2022 {
		if c := &of2022[i]; c.old == r || c.new == r {
			return c
		}
	}
	return nil
}

// private reports whether r is for private use.
func private(r rune) bool {
	return r >= 0xE000 && r <= 0xF8FF || r >= 0xF0000 && r <= 0xFFFFD || r >= 0x100000 && r <= 0x10FFFD
}
