// Package approval takes applications for one-stop matters (一网通办) and brings each to its end.
//
// It promises that a case whose submission was answered is never lost, that every agency is asked for each step exactly
// once in effect, and that a case ends decided, refused or withdrawn whatever is down on the way: what an agency does
// not answer is asked again, and parked for a person when that is no use.
//
// A submission is one transaction: the case, the saga that decides it, the event, and the idempotency row. Matters are
// YAML files; `qiong approval lint` checks them. Forms and attachments are sealed with SM4-GCM at rest. An applicant
// sees their own cases, officials and the operator all of them; agencies see the parts of a form that a step sends them.
//
// Limits: a form of 1 MiB; per matter the number, size and types of attachments; approval.backlog cases under way,
// beyond which submissions are answered 429 with the time to come back.
//
// Measured figures are in doc/bench.md.
package approval
