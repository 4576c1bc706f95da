package saga

import (
	"fmt"
	"strings"

	"github.com/qiongdev/qiong/kit/lang"
)

// Mermaid draws a definition as a Mermaid flowchart, or a running instance of it where in is given.
func Mermaid(d *Definition, in *Instance, l lang.Lang) string {
	var b strings.Builder
	b.WriteString("flowchart LR\n")
	fmt.Fprintf(&b, "  begin((%s))\n", lang.T("开始", "start").In(l))
	from := []string{"begin"}
	n := 0
	for _, stage := range d.Stages {
		var to []string
		for _, s := range stage {
			n++
			id := fmt.Sprintf("s%d", n)
			open, shut := "[", "]"
			if s.Pivot {
				open, shut = "{{", "}}"
			}
			fmt.Fprintf(&b, "  %s%s%q%s\n", id, open, label(s, in, l), shut)
			if in != nil {
				fmt.Fprintf(&b, "  class %s %s\n", id, class(in.Step(s.Name)))
			}
			to = append(to, id)
		}
		for _, f := range from {
			fmt.Fprintf(&b, "  %s --> %s\n", f, strings.Join(to, " & "))
		}
		from = to
	}
	fmt.Fprintf(&b, "  %s --> finish((%s))\n", strings.Join(from, " & "), lang.T("办结", "end").In(l))
	if in != nil {
		b.WriteString("  classDef done fill:#d7f0dd,stroke:#1a7f37\n  classDef active fill:#dbeafe,stroke:#1d4ed8\n" +
			"  classDef stuck fill:#fde2e1,stroke:#b42318\n  classDef undone fill:#eee,stroke:#666\n  classDef idle fill:#fff,stroke:#999\n")
	}
	return b.String()
}

// label names a step, who is asked, and where it stands. Mermaid ends a quoted label at a quotation mark.
func label(s Step, in *Instance, l lang.Lang) string {
	text := s.Title.In(l)
	if text == "" {
		text = s.Name
	}
	if s.Participant != "" {
		text += "<br/>" + s.Participant
	}
	if in != nil {
		st := in.Step(s.Name)
		text += "<br/>" + StatusText(*st).In(l)
		if st.Calls > 1 {
			text += fmt.Sprintf(" ×%d", st.Calls)
		}
	}
	return strings.NewReplacer(`"`, "'", "\\", "/", "\n", " ").Replace(text)
}

func class(st *StepState) string {
	switch {
	case st.Parked:
		return "stuck"
	case st.Status == StepDone || st.Status == StepSkipped:
		return "done"
	case st.Status == StepAsked || st.Status == StepPending || st.Status == StepUndoing:
		return "active"
	case st.Status == StepUndone || st.Status == StepRefused:
		return "undone"
	}
	return "idle"
}

// StatusText says where a step stands, for people.
func StatusText(st StepState) lang.Text {
	if st.Parked {
		return lang.T("停放，待人工处理", "parked, waits for a person")
	}
	switch st.Status {
	case StepAsked:
		if st.Attempts > 0 {
			return lang.T("重试中", "retrying")
		}
		return lang.T("办理中", "in progress")
	case StepPending:
		return lang.T("已受理，待答复", "accepted, answer to come")
	case StepDone:
		return lang.T("已办结", "done")
	case StepRefused:
		return lang.T("不予办理", "refused")
	case StepSkipped:
		return lang.T("人工跳过", "skipped by hand")
	case StepUndoing:
		return lang.T("撤销中", "being undone")
	case StepUndone:
		return lang.T("已撤销", "undone")
	}
	return lang.T("等待", "waiting")
}
