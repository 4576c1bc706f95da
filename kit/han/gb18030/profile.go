// Package gb18030 promises that Chinese text crosses between UTF-8 and the GB encodings without a character lost.
//
// GB 18030 has a code for each of the 1,112,064 scalar values of Unicode. Its editions of 2000, 2005 and 2022 disagree
// about nineteen characters, and its ancestors GBK and GB 2312 have a part of it: a [Profile] says which of them a text
// is in. What cannot be converted is an [Error] with its byte offset, never a silent question mark; what is legible but
// not the same everywhere (private use, characters that changed between editions) is a [Note] for whoever asks.
//
// [Profile.AppendDecode] and [Profile.AppendEncode] convert what is in memory, [Decoder] and [Encoder] what comes in
// pieces. A Profile is also an encoding.Encoding, and Decoder and Encoder are transform.Transformers.
package gb18030

import (
	"strings"

	"golang.org/x/text/encoding"
)

// Profile is one of the encodings of the family. The zero Profile is V2022.
type Profile uint8

// The profiles.
const (
	// V2022 is GB 18030-2022 as ICU 76 and web browsers exchange it. It writes the codes of 2022 alone, and reads and
	// writes leniently what older systems left behind: the 18 private-use code points that the edition of 2022 retired
	// are encoded as the characters that replaced them, the four-byte codes which those characters had before are
	// decoded, A3A0 is an ideographic space, and the byte 80 is a euro sign.
	V2022 Profile = iota

	// V2005 is GB 18030-2005: the 18 characters of 2022 are still in the private-use area. One to one.
	V2005

	// Strict2022 is GB 18030-2022 to the letter, one to one: every scalar value has one code, and what was encoded comes
	// back as it was. The retired private-use code points have the four-byte codes that their successors had before,
	// A3A0 is U+E5E5 of the user-defined area, and no single byte above 7F is a character.
	Strict2022

	// GBK is the 21,791 two-byte codes of GBK as databases and programs know it (charset gbk of MySQL and MariaDB): no
	// private use, and no euro sign.
	GBK

	// CP936 is GBK as Windows writes it: with the euro sign as the byte 80.
	CP936

	// GB2312 is the 7,445 characters of GB 2312-1980 in their EUC form, mapped as GB 18030 maps them: A1A4 is the middle
	// dot U+00B7 of names, A1AA the dash U+2014 and A3A7 U+FF07, where some old tables have U+30FB, U+2015 and U+00B4.
	GB2312
)

var names = [...]string{"gb18030-2022", "gb18030-2005", "gb18030-2022-strict", "gbk", "cp936", "gb2312"}

// Profiles returns all profiles.
func Profiles() []Profile { return []Profile{V2022, V2005, Strict2022, GBK, CP936, GB2312} }

var _ encoding.Encoding = V2022

// String returns the profile's name, such as "gb18030-2022".
func (p Profile) String() string {
	if int(p) >= len(names) {
		return "unknown"
	}
	return names[p]
}

// Parse returns the profile of a name, whose case and separators do not matter. "gb18030" is V2022, "windows-936" CP936,
// "euc-cn" GB2312.
func Parse(name string) (Profile, bool) {
	name = strings.ToLower(strings.NewReplacer("-", "", "_", "", " ", "").Replace(name))
	switch name {
	case "gb18030":
		return V2022, true
	case "windows936", "ms936":
		return CP936, true
	case "euccn", "gb231280":
		return GB2312, true
	}
	for p, known := range names {
		if name == strings.ReplaceAll(known, "-", "") {
			return Profile(p), true
		}
	}
	return 0, false
}

// NewDecoder returns a decoder for programs that use golang.org/x/text. As that package demands, it replaces what it
// cannot read by U+FFFD and says nothing; use a [Decoder] to be told.
func (p Profile) NewDecoder() *encoding.Decoder {
	return &encoding.Decoder{Transformer: &Decoder{Profile: p, Mode: Replace}}
}

// NewEncoder returns an encoder for programs that use golang.org/x/text. It ends with an [Error] at the first character
// that the profile has no code for, unless wrapped by encoding.ReplaceUnsupported or encoding.HTMLEscapeUnsupported.
func (p Profile) NewEncoder() *encoding.Encoder {
	return &encoding.Encoder{Transformer: &Encoder{Profile: p}}
}

// four reports whether the profile has four-byte codes.
func (p Profile) four() bool { return p <= Strict2022 }
