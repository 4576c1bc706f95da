package booking

import (
	"context"
	"fmt"
	"net/http"
	"strconv"

	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/httpapi"
	"github.com/qiongdev/qiong/kit/label"
	"github.com/qiongdev/qiong/kit/lang"
	"github.com/qiongdev/qiong/kit/pages"
)

// proofRow is the receipt of an act as the page shows it. N counts the acts of a booking from 1.
type proofRow struct {
	N                 int
	Act, Words, Tone  string
	Receipt, Original bool
}

// proofRows returns those of a booking; none where they can't be asked for now.
func (b *Booking) proofRows(ctx context.Context, p pages.Page, k *kept) (rows []proofRow) {
	proofs, err := b.receipts(ctx, k.number)
	if err != nil {
		return nil
	}
	for i, r := range proofs {
		row := proofRow{N: i + 1, Act: actWords[r.Act].In(p.Lang), Receipt: r.Receipt != "", Original: r.Original != ""}
		switch {
		case r.Complete:
			row.Words, row.Tone = p.Say("应签者均已签署", "all have signed"), "good"
		case row.Receipt:
			row.Words, row.Tone = p.Say("尚有应签者未签", "some still owe"), "busy"
		default:
			row.Words, row.Tone = p.Say("等待签署", "waiting"), "busy"
		}
		rows = append(rows, row)
	}
	return rows
}

// fileRoutes serves receipts and originals as files, which people keep.
func (b *Booking) fileRoutes() {
	for name, summary := range map[string]lang.Text{
		"receipt": lang.T("下载某一事项的回执", "Download the receipt of an act"), "original": lang.T("下载某一事项的原文", "Download the original of an act"),
	} {
		httpapi.Handle(b.host.API, httpapi.Operation{
			Method: http.MethodGet, Path: base + "/bookings/{id}/" + name + "/{n}", ID: "get-booking-" + name + "-file", Tag: "booking",
			Summary: summary, Grade: label.L2, Produces: "text/plain; charset=utf-8",
		}, b.proofFile(name))
	}
}

func (b *Booking) proofFile(name string) func(http.ResponseWriter, *http.Request) error {
	return func(w http.ResponseWriter, r *http.Request) error {
		k, err := b.load(r.Context(), httpapi.CallFrom(r.Context()).Principal, r.PathValue("id"))
		if err != nil {
			return err
		}
		all, err := b.receipts(r.Context(), k.number)
		if err != nil {
			return err
		}
		n, err := strconv.Atoi(r.PathValue("n"))
		if err != nil || n < 1 || n > len(all) {
			return errs.New(errs.NotFound, "没有此事项", "there is no such act").WithField("n")
		}
		text := all[n-1].Receipt
		if name == "original" {
			text = all[n-1].Original
		}
		if text == "" {
			return errs.New(errs.Unavailable, "此文件暂时没有", "this file is not there yet").WithCode("evidence.unsigned")
		}
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.Header().Set("Content-Disposition", fmt.Sprintf("attachment; filename=%q", fmt.Sprintf("%s-%d.%s", k.number, n, name)))
		_, err = w.Write([]byte(text))
		return err
	}
}
