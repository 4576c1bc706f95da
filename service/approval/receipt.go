package approval

import (
	"context"
	"fmt"
	"net/http"

	"github.com/qiongdev/qiong"
	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/httpapi"
)

// ReceiptView is what proves an act of a case.
type ReceiptView struct {
	_        struct{} `grade:"L1"`
	Record   string   `json:"record" doc:"记录编号 / id of the record"`
	Type     string   `json:"type" doc:"事件类型与版本 / type and version of the event"`
	State    string   `json:"state" enum:"waiting,provisional,complete" doc:"waiting 尚无回执；provisional 尚有应签者未签；complete 应签者均已签"`
	Receipt  string   `json:"receipt,omitempty" doc:"回执文件全文，可用 qiong-verify 离线核验 / the receipt, verified offline by qiong-verify"`
	Original string   `json:"original,omitempty" grade:"L2" doc:"原文文件全文：盐与事件数据 / the original: salt and the event's data"`
}

type receiptsAnswer struct {
	Body struct {
		Items []ReceiptView `json:"items"`
	}
}

// getReceipts answers what proves each act of a case, oldest first.
func (a *Approval) getReceipts(ctx context.Context, in *caseID) (*receiptsAnswer, error) {
	c, _, _, err := a.load(ctx, httpapi.CallFrom(ctx).Principal, in.ID)
	if err != nil {
		return nil, err
	}
	proofs, err := a.host.Proofs(ctx, a.host.Name, c.ID)
	if err != nil {
		return nil, err
	}
	out := &receiptsAnswer{}
	out.Body.Items = make([]ReceiptView, len(proofs))
	for i, p := range proofs {
		out.Body.Items[i] = ReceiptView{Record: p.Record, Type: p.Type, State: stateOf(p), Receipt: string(p.Receipt), Original: string(p.Original)}
	}
	return out, nil
}

func stateOf(p qiong.Proof) string {
	switch {
	case p.Complete:
		return "complete"
	case len(p.Receipt) > 0:
		return "provisional"
	default:
		return "waiting"
	}
}

// receiptFile sends the receipt of one act, or its original.
func (a *Approval) receiptFile(original bool) func(w http.ResponseWriter, r *http.Request) error {
	return func(w http.ResponseWriter, r *http.Request) error {
		c, _, _, err := a.load(r.Context(), httpapi.CallFrom(r.Context()).Principal, r.PathValue("id"))
		if err != nil {
			return err
		}
		proofs, err := a.host.Proofs(r.Context(), a.host.Name, c.ID)
		if err != nil {
			return err
		}
		for _, p := range proofs {
			if p.Record != r.PathValue("record") {
				continue
			}
			body, suffix := p.Receipt, ".receipt"
			if original {
				body, suffix = p.Original, ".original"
			}
			if len(body) == 0 {
				return errs.New(errs.Unavailable, "此文件暂时没有，或已清除", "this file is not there yet, or was erased").WithCode("evidence.unsigned")
			}
			w.Header().Set("Content-Type", "text/plain; charset=utf-8")
			w.Header().Set("Content-Disposition", fmt.Sprintf("attachment; filename=%q", c.ID+"-"+p.Record+suffix))
			_, err = w.Write(body)
			return err
		}
		return errs.New(errs.NotFound, "没有此记录", "there is no such record")
	}
}
