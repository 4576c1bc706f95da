package label

import (
	"fmt"
	"strings"
	"time"
)

// Fakes must satisfy every check of shape and sum, belong to nobody, and be known at sight. Both kinds therefore lie in
// a region that does not exist: 90xxxx. GB/T 2260 gives no province a code that begins with 9. Identity numbers of
// foreign permanent residents do begin with 9, but their second and third digits are a province's code, and no
// province's code begins with 0. Regions 00xxxx are no choice, since IDCard, like many systems, refuses a leading 0;
// 100000 is none either, since national bodies have it in their credit codes.
const (
	fakeRegion = "90"       // of identity numbers; four digits follow
	fakeCredit = "91900000" // of credit codes: an enterprise (91) registered in region 900000
)

// How many fakes there are.
const (
	days, sequences, regions = 20454, 1000, 10000 // the days from 1950-01-01 to 2005-12-31

	fakeIDCards     = days * sequences * regions
	fakeCreditCodes = 31 * 31 * 31 * 31 * 31 * 31 * 31 * 31
)

// FakeIDCard returns an identity number that passes [IDCard] and belongs to nobody: of an adult born from 1950 to 2005,
// in an unassigned region. Seeds that differ by less than 2×10^11 give different numbers.
func FakeIDCard(seed uint64) string {
	n := scatter(seed, fakeIDCards)
	day, n := n%days, n/days
	sequence, region := n%sequences, n/sequences
	birth := time.Date(1950, 1, 1+int(day), 0, 0, 0, 0, time.UTC).Format("20060102")
	s := fmt.Sprintf("%s%04d%s%03d", fakeRegion, region, birth, sequence)
	return s + string(checkMod11(s))
}

// FakeCreditCode returns a social credit code that passes [CreditCode] and belongs to nobody; the organization's number
// within it passes GB 11714. Seeds that differ by less than 8×10^11 give different codes.
func FakeCreditCode(seed uint64) string {
	n := scatter(seed, fakeCreditCodes)
	body := make([]byte, 8)
	for i := range body {
		body[i] = creditAlphabet[n%31]
		n /= 31
	}
	s := fakeCredit + string(body) + string(checkOrganization(string(body)))
	return s + string(checkMod31(s))
}

// IsFake reports whether s is a number that [FakeIDCard] or [FakeCreditCode] may have made. No real number is.
func IsFake(s string) bool {
	return strings.HasPrefix(s, fakeRegion) && IDCard(s) == nil ||
		strings.HasPrefix(s, fakeCredit) && CreditCode(s) == nil
}

// scatter maps seed into [0, n) so that neighbours land far apart and no two seeds of one run of n meet: it multiplies
// modulo n by a prime that divides no n used here. The product stays below 2^64 for n below 2^40.
func scatter(seed, n uint64) uint64 {
	const prime = 15_485_863
	return seed % n * prime % n
}
