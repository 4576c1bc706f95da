package booking

import (
	"fmt"
	"strconv"
	"time"

	"github.com/qiongdev/qiong/kit/beijing"
	"github.com/qiongdev/qiong/kit/lang"
	"github.com/qiongdev/qiong/kit/pages"
	"github.com/qiongdev/qiong/service/booking/ledger"
)

// wording is something in both languages, with the colour that goes with it.
type wording struct {
	lang.Text
	tone string
}

// statusWords are the states of a booking, by name.
var statusWords = map[string]wording{
	ledger.Held.String():      {lang.T("待支付", "awaiting payment"), "warn"},
	ledger.Confirmed.String(): {lang.T("预约成功", "confirmed"), "good"},
	ledger.Entered.String():   {lang.T("已入园", "entered"), "good"},
	ledger.Expired.String():   {lang.T("超时未支付，已释放", "not paid in time, released"), "idle"},
	ledger.Cancelled.String(): {lang.T("已取消", "cancelled"), "idle"},
	ledger.Refunded.String():  {lang.T("时段关闭，已退", "slot closed, paid back"), "bad"},
	ledger.Missed.String():    {lang.T("未到场", "did not come"), "bad"},
}

// actWords are what happens to a booking, by the name of the event.
var actWords = map[string]wording{
	ledger.Booked.String():  {lang.T("提交预约", "Booked"), "good"},
	ledger.Settled.String(): {lang.T("支付完成", "Paid"), "good"},
	ledger.Ended.String():   {lang.T("名额释放", "Places given up"), "bad"},
	ledger.Came.String():    {lang.T("入园", "Entered"), "good"},
	ledger.Absent.String():  {lang.T("未到场", "Did not come"), "bad"},
}

// channelWords are the channels, by name.
var channelWords = map[string]lang.Text{
	ledger.Online.String():  lang.T("线上", "online"),
	ledger.Window.String():  lang.T("人工窗口", "staffed window"),
	ledger.WalkIn.String():  lang.T("现场", "walk-in"),
	ledger.Agency.String():  lang.T("旅行社", "travel agency"),
	ledger.Elderly.String(): lang.T("老年人", "elderly"),
}

// placeWords are the states of a place in a waiting room, by name.
var placeWords = map[string]wording{
	"in-draw":  {lang.T("已进入等候室，等待抽签", "You are in the room and will be drawn"), "busy"},
	"waiting":  {lang.T("排队中", "You are in the queue"), "busy"},
	"admitted": {lang.T("轮到您了", "It is your turn"), "good"},
	"used":     {lang.T("入场凭证已使用", "Your admission has been used"), "idle"},
	"expired":  {lang.T("入场凭证已过期，可重新排队", "Your admission ran out; you may queue again"), "warn"},
	"left":     {lang.T("您已离开等候室", "You have left the room"), "idle"},
	"sold-out": {lang.T("暂无余票；若有退票将继续放行", "Nothing is left; when tickets come back the queue moves on"), "warn"},
}

var dayNames = [...]lang.Text{lang.T("周日", "Sun"), lang.T("周一", "Mon"), lang.T("周二", "Tue"), lang.T("周三", "Wed"), lang.T("周四", "Thu"), lang.T("周五", "Fri"), lang.T("周六", "Sat")}

// dayWords writes a day for people.
func dayWords(p pages.Page, t time.Time) string {
	t = t.In(beijing.Zone)
	if p.Lang == lang.EN {
		return t.Format("Mon 2 January 2006")
	}
	return fmt.Sprintf("%d年%d月%d日 %s", t.Year(), t.Month(), t.Day(), dayNames[t.Weekday()].ZH)
}

// hourWords writes the hours of a slot.
func hourWords(s *ledger.Slot) string {
	from, to := time.Unix(s.Start, 0).In(beijing.Zone), time.Unix(s.End, 0).In(beijing.Zone)
	end := to.Format("15:04")
	if end == "00:00" {
		end = "24:00"
	}
	return from.Format("15:04") + "–" + end
}

// momentWords writes a moment to the minute.
func momentWords(p pages.Page, t time.Time) string {
	t = t.In(beijing.Zone)
	if p.Lang == lang.EN {
		return t.Format("15:04, Mon 2 January")
	}
	return fmt.Sprintf("%d月%d日 %s %s", t.Month(), t.Day(), dayNames[t.Weekday()].ZH, t.Format("15:04"))
}

// people writes how many they are.
func people(p pages.Page, n int) string {
	if p.Lang == lang.EN && n == 1 {
		return "1 person"
	}
	return strconv.Itoa(n) + p.Say(" 人", " people")
}

// yuan writes an amount in fen.
func yuan(fen int64) string {
	if fen%100 == 0 {
		return fmt.Sprintf("¥%d", fen/100)
	}
	return fmt.Sprintf("¥%d.%02d", fen/100, fen%100)
}

// price is yuan, but free where it is nothing.
func price(p pages.Page, fen int64) string {
	if fen == 0 {
		return p.Say("免费", "free")
	}
	return yuan(fen)
}

// spotTitle is a spot's title in the page's language.
func (b *Booking) spotTitle(p pages.Page, name string) string {
	if s := b.spots[name]; s != nil {
		return s.Title.In(p.Lang)
	}
	return name
}

// productTitle is a product's title in the page's language.
func (b *Booking) productTitle(p pages.Page, spot, name string) string {
	if s := b.spots[spot]; s != nil {
		for _, product := range s.Products {
			if product.Name == name {
				return product.Title.In(p.Lang)
			}
		}
	}
	return name
}
