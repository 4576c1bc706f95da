package label

import (
	"strings"

	"github.com/qiongdev/qiong/kit/errs"
)

// IDCard checks a citizen identity number (GB 11643): 18 characters; six digits of region, the first not 0; a date of
// birth that exists; three digits of sequence; a check character after ISO 7064 MOD 11-2, whose X is a capital. The
// region is checked for its shape alone, since codes that were withdrawn long ago live on in people's numbers.
func IDCard(s string) error {
	switch {
	case len(s) != 18 || !digits(s[:17]) || !digits(s[17:]) && s[17] != 'X' && s[17] != 'x':
		return invalid("id-card.format", "身份证号须为 17 位数字加 1 位数字或大写 X", "an identity number is 17 digits, then a digit or a capital X")
	case s[17] == 'x':
		return invalid("id-card.format", "身份证号末位的 X 须大写", "the X at the end of an identity number is a capital letter")
	case s[0] == '0':
		return invalid("id-card.region", "身份证号的地区码不成立", "the region code of the identity number is not possible")
	case !birthday(s[6:14]):
		return invalid("id-card.date", "身份证号中的出生日期不存在", "the date of birth in the identity number does not exist")
	case s[17] != checkMod11(s[:17]):
		return invalid("id-card.check", "身份证号的校验码不符", "the check character of the identity number is wrong")
	}
	return nil
}

// UpgradeIDCard returns the 18-digit form of an identity number of the first generation: 15 digits, which give a year of
// birth in two and have no check character. The century is the nineteen-hundreds: no other was ever meant.
func UpgradeIDCard(s string) (string, error) {
	if len(s) != 15 || !digits(s) {
		return "", invalid("id-card.format", "第一代身份证号须为 15 位数字", "an identity number of the first generation is 15 digits")
	}
	s = s[:6] + "19" + s[6:]
	s += string(checkMod11(s))
	if err := IDCard(s); err != nil {
		return "", err
	}
	return s, nil
}

// CreditCode checks a unified social credit code (GB 32100): 18 digits and capitals without I, O, S, V and Z, of which
// the third to eighth are digits of region, and a check character modulo 31.
func CreditCode(s string) error {
	switch {
	case len(s) != 18 || strings.Trim(s, creditAlphabet) != "":
		return invalid("credit-code.format", "统一社会信用代码须为 18 位数字或大写字母（不含 I、O、S、V、Z）",
			"a social credit code is 18 digits or capital letters other than I, O, S, V and Z")
	case !digits(s[2:8]):
		return invalid("credit-code.region", "统一社会信用代码的第 3 至 8 位须为数字", "characters 3 to 8 of a social credit code are digits")
	case s[17] != checkMod31(s[:17]):
		return invalid("credit-code.check", "统一社会信用代码的校验码不符", "the check character of the social credit code is wrong")
	}
	return nil
}

// Phone checks the shape of a mainland mobile number: 11 digits that begin with 13 to 19, without a country code.
func Phone(s string) error {
	if len(s) != 11 || !digits(s) || s[0] != '1' || s[1] < '3' {
		return invalid("phone.format", "手机号须为 11 位数字，以 13 至 19 开头，不带国家代码",
			"a mobile number is 11 digits that begin with 13 to 19, without a country code")
	}
	return nil
}

func invalid(code, zh, en string) error { return errs.New(errs.Invalid, zh, en).WithCode(code) }

func digits(s string) bool { return strings.Trim(s, "0123456789") == "" }

// birthday reports whether s is an existing day, YYYYMMDD, from the year 1800 on. Whether it lies in the future is for
// those to say who know what day it is. time.Parse would do, but finding numbers in text asks often.
func birthday(s string) bool {
	year, month, day := decimal(s[:4]), decimal(s[4:6]), decimal(s[6:8])
	days := 31
	switch month {
	case 4, 6, 9, 11:
		days = 30
	case 2:
		days = 28
		if year%4 == 0 && year%100 != 0 || year%400 == 0 {
			days = 29
		}
	}
	return year >= 1800 && month >= 1 && month <= 12 && day >= 1 && day <= days
}

// decimal returns the value of digits.
func decimal(digits string) (n int) {
	for i := range len(digits) {
		n = n*10 + int(digits[i]-'0')
	}
	return n
}

// checkMod11 returns the check character of ISO 7064 MOD 11-2 for digits: weights 2^(17-i) modulo 11 from the left.
func checkMod11(digits string) byte {
	sum := 0
	for i := range len(digits) {
		sum = (sum + int(digits[i]-'0')) * 2 % 11
	}
	return "10X98765432"[sum]
}

const creditAlphabet = "0123456789ABCDEFGHJKLMNPQRTUWXY"

// checkMod31 returns the check character of GB 32100: weights 3^i modulo 31 from the left.
func checkMod31(s string) byte {
	sum, weight := 0, 1
	for i := range len(s) {
		sum += strings.IndexByte(creditAlphabet, s[i]) * weight
		weight = weight * 3 % 31
	}
	return creditAlphabet[(31-sum%31)%31]
}

// checkOrganization returns the check character of GB 11714, the ninth of an organization's own number, which stands
// within a social credit code.
func checkOrganization(s string) byte {
	weights := [8]int{3, 7, 9, 10, 5, 8, 4, 2}
	sum := 0
	for i, w := range weights {
		value := int(s[i] - '0')
		if s[i] >= 'A' {
			value = int(s[i]-'A') + 10
		}
		sum += value * w
	}
	return "0X987654321"[sum%11]
}
