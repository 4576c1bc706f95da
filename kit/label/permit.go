package label

import (
	"strings"
	"unicode/utf8"
)

// BankCard checks a card number: 12 to 19 digits (GB/T 15694 has them end with a Luhn digit), the first not 0.
func BankCard(s string) error {
	switch {
	case len(s) < 12 || len(s) > 19 || !digits(s) || s[0] == '0':
		return invalid("bank-card.format", "银行卡号须为 12 至 19 位数字，不以 0 开头", "a bank card number is 12 to 19 digits, the first not 0")
	case !luhn(s):
		return invalid("bank-card.check", "银行卡号的校验位不符", "the check digit of the bank card number is wrong")
	}
	return nil
}

// Passport checks the shape of a passport of the People's Republic: ordinary (E or G and eight digits, or E, a letter
// without I and O, and seven digits), diplomatic (DE), service (SE), public affairs (PE), of the Hong Kong (K, KJ, H) and
// Macao (M, MA) regions. It has no check digit outside the machine-readable zone.
func Passport(s string) error {
	ok := false
	switch n := len(s); {
	case n == 9 && digits(s[2:]):
		ok = strings.IndexByte("EGKHM", s[0]) >= 0 && digits(s[1:2]) ||
			s[0] == 'E' && capital(s[1]) && s[1] != 'I' && s[1] != 'O' ||
			s[:2] == "DE" || s[:2] == "SE" || s[:2] == "PE" || s[:2] == "KJ" || s[:2] == "MA"
	}
	if !ok {
		return invalid("passport.format", "护照号须为 1 至 2 个大写字母加数字，共 9 位", "a passport number is one or two capital letters, then digits, nine in all")
	}
	return nil
}

// ResidencePermit checks the number of a residence permit of Hong Kong, Macao or Taiwan residents: an identity number
// whose region is 810000, 820000 or 830000.
func ResidencePermit(s string) error {
	if len(s) == 18 && s[:6] != "810000" && s[:6] != "820000" && s[:6] != "830000" {
		return invalid("residence-permit.region", "港澳台居民居住证号须以 810000、820000 或 830000 开头",
			"a residence permit number of Hong Kong, Macao or Taiwan residents begins with 810000, 820000 or 830000")
	}
	return IDCard(s)
}

// HomePermit checks the shape of a mainland travel permit for Hong Kong and Macao residents: H or M and eight digits,
// after which the two digits of the issue may follow.
func HomePermit(s string) error {
	if len(s) != 9 && len(s) != 11 || s[0] != 'H' && s[0] != 'M' || !digits(s[1:]) {
		return invalid("home-permit.format", "港澳居民来往内地通行证号须为 H 或 M 加 8 位数字（可加 2 位换证次数）",
			"a mainland travel permit number is H or M and 8 digits, or 10 with the number of the issue")
	}
	return nil
}

// TaiwanPermit checks the shape of a mainland travel permit for Taiwan residents: eight digits, or ten with the issue.
func TaiwanPermit(s string) error {
	if len(s) != 8 && len(s) != 10 || !digits(s) {
		return invalid("taiwan-permit.format", "台湾居民来往大陆通行证号须为 8 位数字（或带换证次数共 10 位）",
			"a mainland travel permit number for Taiwan residents is 8 digits, or 10 with the number of the issue")
	}
	return nil
}

// ForeignerPermit checks the number of a foreign permanent resident identity card: in the form since 2023 an 18-digit
// identity number that begins with 9; in the older one three capital letters and twelve digits.
func ForeignerPermit(s string) error {
	if len(s) == 15 && capital(s[0]) && capital(s[1]) && capital(s[2]) && digits(s[3:]) {
		return nil
	}
	if len(s) != 18 || s[0] != '9' {
		return invalid("foreigner-permit.format", "外国人永久居留身份证号须为以 9 开头的 18 位，或 3 个大写字母加 12 位数字",
			"a foreign permanent resident number has 18 characters and begins with 9, or is three capital letters and 12 digits")
	}
	return IDCard(s)
}

const (
	provinces   = "京津沪渝冀豫云辽黑湘皖鲁新苏浙赣鄂桂甘晋蒙陕吉闽贵粤青藏川宁琼"
	plateLetter = "ABCDEFGHJKLMNPQRSTUVWXYZ"
	plateSerial = plateLetter + "0123456789"
	newEnergy   = "ABCDEFGHJK"
)

// Plate checks a vehicle registration plate after GA 36: a province's character, a letter of the issuing office, and five
// letters or digits without I and O, whose last may be 挂, 学, 警, 港 or 澳; or, of a new-energy vehicle, six, of which the
// first (a small vehicle's) or the last (a large one's) is A to K without I, and the others are digits but for the second
// of a small vehicle, which may be a letter.
func Plate(s string) error {
	if !isPlate(s) {
		return invalid("plate.format", "车牌号须为省份简称、发牌机关字母加 5 位或 6 位（新能源）序号",
			"a plate is a province's character, a letter, and a serial of 5, or 6 for a new-energy vehicle")
	}
	return nil
}

func isPlate(s string) bool {
	return len(s) > 4 && strings.Contains(provinces, s[:3]) && utf8.RuneCountInString(s[:3]) == 1 &&
		strings.IndexByte(plateLetter, s[3]) >= 0 && serial(s[4:])
}

func serial(s string) bool {
	for _, last := range [...]string{"挂", "学", "警", "港", "澳"} {
		if head, ok := strings.CutSuffix(s, last); ok {
			return len(head) == 4 && strings.Trim(head, plateSerial) == ""
		}
	}
	switch {
	case strings.Trim(s, plateSerial) != "":
		return false
	case len(s) == 5:
		return true
	case len(s) != 6:
		return false
	}
	small := strings.IndexByte(newEnergy, s[0]) >= 0 && digits(s[2:])
	large := strings.IndexByte(newEnergy, s[5]) >= 0 && digits(s[:5])
	return small || large
}

func capital(c byte) bool { return c >= 'A' && c <= 'Z' }

// luhn reports whether the last of digits makes their sum after Luhn a multiple of ten.
func luhn(digits string) bool {
	sum := 0
	for i := range len(digits) {
		d := int(digits[len(digits)-1-i] - '0')
		if i%2 == 1 {
			if d *= 2; d > 9 {
				d -= 9
			}
		}
		sum += d
	}
	return sum%10 == 0
}
