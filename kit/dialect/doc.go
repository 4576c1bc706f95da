// Package dialect promises to read the log lines and comments of a team that mixes slang with Mandarin and English, as
// structured records, by a glossary and never by guessing.
//
// A [Glossary] gives each term of slang a code that programs can count: 埋单 is settle, 在屋里 is logged-in, 赶海 is
// bounced-to-sign-in. It is a data file with a version; a team adds its own terms to those of Qiong, which are an example
// of a glossary and no claim about any language. The longest term or known word counts, so that 埋单率 is not 埋单.
// A term that is negated says so. Terms that are ordinary words too count only beside one of their context words.
//
// Comments mark a term with 【琼】, as in "【琼】 赶海: 会话过期后回到登录页". What is marked, or stands as the value of
// event=, 事件= or 琼=, and is not in the glossary becomes a [Finding] with its offset, as does whatever else can't be
// read in one way.
//
// All offsets are bytes from the start of the line. Lines of JSON are not taken apart: they are records already.
package dialect
