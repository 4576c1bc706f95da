package approval

import (
	"encoding/json"

	"github.com/qiongdev/qiong/kit/auth"
	"github.com/qiongdev/qiong/kit/beijing"
	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/lang"
	"github.com/qiongdev/qiong/kit/saga"
)

// Status is where a case stands.
type Status string

// The statuses, as stored.
const (
	Draft      Status = "draft"
	Processing Status = "processing"
	Decided    Status = "decided"
	Refused    Status = "refused"
	Withdrawn  Status = "withdrawn"
)

// Text returns the status in words.
func (s Status) Text() lang.Text {
	switch s {
	case Draft:
		return lang.T("草稿", "draft")
	case Processing:
		return lang.T("办理中", "in progress")
	case Decided:
		return lang.T("已办结", "decided")
	case Refused:
		return lang.T("不予办理", "refused")
	case Withdrawn:
		return lang.T("已撤回", "withdrawn")
	}
	return lang.T(string(s), string(s))
}

// Case is an application (办件) as its row has it.
type Case struct {
	ID        string
	Matter    string
	Version   int
	Owner     string
	Status    Status
	Subject   string
	form      []byte // sealed
	formSM3   []byte
	Reason    string
	Rev       int64
	Created   int64
	Submitted int64
	Decided   int64
}

// reasonWithdrawn is the saga's reason when the applicant took the case back.
const reasonWithdrawn = "withdrawn"

// visible reports whether p may see c. Auditors read the record elsewhere, not the applications.
func (c *Case) visible(p *auth.Principal) bool {
	return c.Owner == p.ID || p.Is(auth.Official, auth.Operator)
}

func notFound() error {
	return errs.New(errs.NotFound, "没有这个办件", "there is no such case").WithCode("approval.no-case")
}

// CaseView is a case as its API shows it.
type CaseView struct {
	_          struct{}        `grade:"L1"`
	ID         string          `json:"id" doc:"办件编号 / number of the case"`
	Matter     string          `json:"matter"`
	Version    int             `json:"version"`
	Status     Status          `json:"status" grade:"L2" enum:"draft,processing,decided,refused,withdrawn"`
	StatusText string          `json:"statusText" grade:"L2" doc:"状态，按请求的语言 / the status in the language asked for"`
	Subject    string          `json:"subject" grade:"L2,mask=2-2"`
	Reason     string          `json:"reason,omitempty" grade:"L2" doc:"不予办理或撤回的原因 / why it was refused or withdrawn"`
	Created    beijing.Time    `json:"created"`
	Submitted  beijing.Time    `json:"submitted,omitzero"`
	Decided    beijing.Time    `json:"decided,omitzero"`
	Steps      []StepView      `json:"steps,omitempty"`
	Withdraw   bool            `json:"canWithdraw" doc:"现在能否撤回 / whether it can be withdrawn now"`
	Form       json.RawMessage `json:"form,omitempty" grade:"L3" doc:"表单 / the form"`
	FormSM3    string          `json:"formSm3,omitempty" doc:"表单的 SM3 摘要（十六进制）/ SM3 of the form in hex"`
	Files      []FileView      `json:"attachments,omitempty"`
}

// StepView is a step of a case.
type StepView struct {
	_          struct{}        `grade:"L1"`
	Name       string          `json:"name"`
	Title      string          `json:"title"`
	Agency     string          `json:"agency"`
	AgencyName string          `json:"agencyName"`
	Status     string          `json:"status" grade:"L2" doc:"waiting, asked, pending, done, refused, skipped, undoing, undone"`
	StatusText string          `json:"statusText" grade:"L2"`
	Parked     bool            `json:"parked,omitempty" doc:"待人工处理 / waits for a person"`
	Reason     string          `json:"reason,omitempty" grade:"L2"`
	Calls      int             `json:"calls,omitempty" doc:"已请求次数 / requests made"`
	Began      beijing.Time    `json:"began,omitzero"`
	Ended      beijing.Time    `json:"ended,omitzero"`
	Issued     json.RawMessage `json:"issued,omitempty" grade:"L3" doc:"该部门签发的内容 / what the agency issued"`
}

// FileView is an attachment.
type FileView struct {
	_       struct{}     `grade:"L1"`
	ID      string       `json:"id"`
	Name    string       `json:"name" grade:"L2"`
	Type    string       `json:"type"`
	Size    int64        `json:"size" doc:"字节 / bytes"`
	SM3     string       `json:"sm3"`
	Created beijing.Time `json:"created"`
}

// view shows c, its saga where it has one, in l.
func view(c *Case, m *Matter, in *saga.Instance, l lang.Lang) CaseView {
	v := CaseView{
		ID: c.ID, Matter: c.Matter, Version: c.Version, Status: c.Status, StatusText: c.Status.Text().In(l),
		Subject: c.Subject, Reason: c.Reason, Created: beijing.Time(c.Created), Submitted: beijing.Time(c.Submitted),
		Decided: beijing.Time(c.Decided),
	}
	if in == nil || m == nil {
		return v
	}
	v.Withdraw = c.Status == Processing && saga.CanCancel(m.saga, in) && !in.Cancel
	for i := range in.Steps {
		st := &in.Steps[i]
		s, _ := m.Step(st.Name)
		sv := StepView{
			Name: st.Name, Title: s.Title.In(l), Agency: s.Agency, AgencyName: m.AgencyTitle(s.Agency).In(l),
			Status: string(st.Status), StatusText: saga.StatusText(*st).In(l), Parked: st.Parked, Reason: st.Reason,
			Calls: st.Calls, Began: beijing.Time(st.BeganAt), Ended: beijing.Time(st.EndedAt), Issued: st.Output,
		}
		if st.Status == saga.StepWaiting {
			sv.Status = "waiting"
		}
		v.Steps = append(v.Steps, sv)
	}
	return v
}

// Events that approval publishes. Their data hold no personal data beyond the subject.
const (
	EventSubmitted = "approval.case.submitted"
	EventDecided   = "approval.case.decided"
	EventRefused   = "approval.case.refused"
	EventWithdrawn = "approval.case.withdrawn"
	EventRetrying  = "approval.step.retrying"
	EventParked    = "approval.step.parked"
)

// CaseEvent is the data of the events about a case.
type CaseEvent struct {
	_       struct{} `grade:"L1"`
	Case    string   `json:"case"`
	Matter  string   `json:"matter"`
	Version int      `json:"version"`
	Owner   string   `json:"owner" grade:"L2,pii=account"`
	Subject string   `json:"subject" grade:"L2"`
	FormSM3 string   `json:"formSm3"`
	Reason  string   `json:"reason,omitempty" grade:"L2"`
	// Issued is the SM3 of what each step issued, in hex, by step.
	Issued map[string]string `json:"issued,omitempty"`
}

// StepEvent is the data of the events about a step.
type StepEvent struct {
	_        struct{} `grade:"L1"`
	Case     string   `json:"case"`
	Matter   string   `json:"matter"`
	Owner    string   `json:"owner" grade:"L2,pii=account"`
	Subject  string   `json:"subject" grade:"L2"`
	Step     string   `json:"step"`
	Agency   string   `json:"agency"`
	Reason   string   `json:"reason,omitempty" grade:"L2"`
	Attempts int      `json:"attempts,omitempty"`
}
