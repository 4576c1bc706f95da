package label

import (
	"regexp"
	"slices"
	"strings"

	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/lang"
)

// Class is what law makes of a category, beyond its grade.
type Class string

// The classes.
const (
	Public        Class = "public"    // made public by its owner's office
	Business      Class = "business"  // of an organization or a system
	Personal      Class = "personal"  // personal information
	Sensitive     Class = "sensitive" // sensitive personal information
	ImportantData Class = "important" // important data
	CoreData      Class = "core"      // core data
)

// least is the lowest grade that data of a class may have. It is the house's rule, and a catalogue can only raise it.
var least = map[Class]Grade{Public: L1, Business: L1, Personal: L2, Sensitive: L3, ImportantData: Important, CoreData: Core}

// Category is a kind of data that tags may name.
type Category struct {
	Name  string // such as id_card
	Text  lang.Text
	Class Class
	Grade Grade              // the lowest that a field of this category may have
	Mask  Mask               // where the tag gives none
	Check func(string) error // whether a whole value is well formed; nil where nobody can tell
	Names []string           // names that fields of this category tend to have, in small letters and digits alone
}

// Catalog is a list of categories. It does not change, and may be used by many at once.
type Catalog struct {
	categories []Category // by name
}

// Categories returns all categories in the order of their names.
func (c *Catalog) Categories() []Category { return slices.Clone(c.categories) }

// Category returns the category of a name.
func (c *Catalog) Category(name string) (Category, bool) {
	i, ok := slices.BinarySearchFunc(c.categories, name, func(k Category, n string) int { return strings.Compare(k.Name, n) })
	if !ok {
		return Category{}, false
	}
	return c.categories[i], true
}

// Resolve checks t against the catalogue and fills in the mask of its category. It refuses a category that is not
// there and a grade below the least of the category.
func (c *Catalog) Resolve(t Tag) (Tag, error) {
	if t.Category == "" {
		return t, nil
	}
	k, ok := c.Category(t.Category)
	switch {
	case !ok:
		return t, errs.Newf(errs.Invalid, "分类目录中没有 %s", "the catalogue has no category %s", t.Category).WithCode("grade.category")
	case t.Grade < k.Grade:
		return t, errs.Newf(errs.Invalid, "%s 的级别不得低于 %s", "the grade of %s is at least %s", t.Category, k.Grade).WithCode("grade.low")
	}
	if t.Mask.IsZero() {
		t.Mask = k.Mask
	}
	return t, nil
}

// Suggest returns the category whose fields tend to bear a name: idCard, id_card and ID-Card are one.
func (c *Catalog) Suggest(field string) (Category, bool) {
	name := plain(field)
	for _, k := range c.categories {
		if slices.Contains(k.Names, name) {
			return k, true
		}
	}
	return Category{}, false
}

// plain returns the letters and digits of a field's name, small; Han characters stay.
func plain(field string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r >= 0x2e80:
			return r
		case r >= 'A' && r <= 'Z':
			return r + 'a' - 'A'
		}
		return -1
	}, field)
}

// with returns a catalogue that has added, too; a category of the same name is replaced.
func (c *Catalog) with(added []Category) *Catalog {
	all := slices.DeleteFunc(slices.Clone(c.categories), func(k Category) bool {
		return slices.ContainsFunc(added, func(a Category) bool { return a.Name == k.Name })
	})
	all = append(all, added...)
	slices.SortFunc(all, func(a, b Category) int { return strings.Compare(a.Name, b.Name) })
	return &Catalog{all}
}

// matches returns a check that takes values which pattern matches whole.
func matches(pattern *regexp.Regexp) func(string) error {
	return func(s string) error {
		if !pattern.MatchString(s) {
			return invalid("category.pattern", "不符合该类别的格式", "not of the form of this category")
		}
		return nil
	}
}

// Builtin returns the catalogue of the house.
func Builtin() *Catalog { return (&Catalog{}).with(builtin()) }

func builtin() []Category {
	say := lang.T
	return []Category{
		{"id_card", say("公民身份号码", "citizen identity number"), Sensitive, L3, Keep(3, 4), IDCard, list("idcard idcardno idnumber idno identityno identitynumber sfzh shenfenzheng gmsfhm zjhm")},
		{"residence_permit", say("港澳台居民居住证号", "residence permit number (Hong Kong, Macao, Taiwan)"), Sensitive, L3, Keep(3, 4), ResidencePermit, list("residencepermit residencepermitno")},
		{"foreigner_permit", say("外国人永久居留身份证号", "foreign permanent resident number"), Sensitive, L3, Keep(3, 4), ForeignerPermit, list("foreignerpermit permanentresidentno")},
		{"home_permit", say("港澳居民来往内地通行证号", "mainland travel permit number (Hong Kong, Macao)"), Sensitive, L3, Keep(1, 3), HomePermit, list("homepermit mainlandtravelpermit")},
		{"taiwan_permit", say("台湾居民来往大陆通行证号", "mainland travel permit number (Taiwan)"), Sensitive, L3, Keep(1, 3), TaiwanPermit, list("taiwanpermit")},
		{"passport", say("护照号码", "passport number"), Sensitive, L3, Keep(1, 3), Passport, list("passport passportno passportnumber")},
		{"bank_card", say("银行卡号", "bank card number"), Sensitive, L3, Keep(4, 4), BankCard, list("bankcard bankcardno cardno bankaccount accountno accountnumber")},
		{"biometric", say("生物识别信息", "biometric information"), Sensitive, L4, MaskDrop, nil, list("face faceimage fingerprint voiceprint iris")},
		{"health", say("医疗健康信息", "health information"), Sensitive, L4, MaskAll, nil, list("diagnosis medicalrecord bloodtype")},
		{"location", say("行踪轨迹", "whereabouts"), Sensitive, L3, MaskAll, nil, list("track trajectory whereabouts")},
		{"minor", say("不满十四周岁未成年人信息", "information about a minor under fourteen"), Sensitive, L3, MaskAll, nil, nil},
		{"secret", say("鉴别信息", "credentials"), Sensitive, L4, MaskDrop, nil, list("password passwd secret token credential")},
		{"name", say("姓名", "a person's name"), Personal, L2, Keep(1, 0), nil, list("personname fullname realname username xingming xm")},
		{"phone", say("手机号码", "mobile number"), Personal, L2, Keep(3, 4), Phone, list("phone phoneno phonenumber mobile mobileno tel telephone sjhm")},
		{"email", say("电子邮箱", "e-mail address"), Personal, L2, Keep(1, 4), nil, list("email mail")},
		{"address", say("住址", "a person's address"), Personal, L2, Keep(6, 0), nil, list("address homeaddress residence zhuzhi")},
		{"birthday", say("出生日期", "date of birth"), Personal, L2, Keep(4, 0), nil, list("birthday birthdate dateofbirth")},
		{"plate", say("车辆号牌", "vehicle plate"), Personal, L2, Keep(2, 2), Plate, list("plate plateno platenumber licenseplate licenceplate cphm")},
		{"ip", say("网络地址", "network address"), Personal, L2, MaskAll, nil, list("ip ipaddress clientip remoteaddr")},
		{"account", say("账号标识", "account identifier"), Personal, L2, Keep(2, 2), nil, list("userid openid accountid")},
		{"credit_code", say("统一社会信用代码", "unified social credit code"), Business, L1, Keep(2, 4), CreditCode, list("creditcode socialcreditcode uscc tyshxydm")},
		{"organization", say("组织信息", "about an organization"), Business, L1, Keep(2, 2), nil, nil},
		{"system", say("系统运行信息", "about the running of a system"), Business, L1, MaskDrop, nil, nil},
		{"important", say("重要数据", "important data"), ImportantData, Important, MaskDrop, nil, nil},
		{"core", say("核心数据", "core data"), CoreData, Core, MaskDrop, nil, nil},
	}
}

func list(words string) []string { return strings.Fields(words) }
