import { bad } from './refusal.js';
import { base64Of, cut, hash, isEvent, isID, isName, isWord, lastTime, maxInt, number, parseTime, parseVersion, timeOf, value } from './text.js';

const header = 'qiong-record/v1';
const maxRecord = 4096;
const maxNeeds = 16;

/** parseRecord reads the one form of a record: { id, type, commitment, time (ms), needs, rule, batch (0n where none) }. */
export function parseRecord(text) {
  const lines = text.slice(0, -1).split('\n');
  if (!text.endsWith('\n') || lines.length < 6 || lines.length > 8 || text.length > maxRecord || lines[0] !== header) {
    throw bad('record', '不是记录', 'not a record');
  }
  const record = {
    id: value(lines[1], 'id'),
    type: value(lines[2], 'type'),
    commitment: hash(lines[3], 'commitment'),
    time: time(lines[4]),
    needs: value(lines[5], 'needs').split(','),
    rule: null,
    batch: 0n,
  };
  parseRest(record, lines.slice(6));
  check(record);
  if (marshalRecord(record) !== text) throw bad('record', '不是唯一规定的写法', 'not in the one form that it must have');
  return record;
}

function time(line) {
  const ms = parseTime(value(line, 'time'));
  if (ms === null) throw bad('time', '不是北京时间', 'not a Beijing time');
  return ms;
}

/** parseRest reads the lines that may be absent. */
function parseRest(record, lines) {
  if (lines.length > 0 && lines[0].startsWith('rule ')) record.rule = parseRule(lines.shift().split(' '));
  if (lines.length > 1) throw bad('record', '多出一行', 'there is a line too much');
  if (lines.length === 1) record.batch = number(lines[0], 'batch');
}

/** parseRule reads the words of a line: rule, name/version, outcome, and the clause that failed. */
function parseRule(words) {
  if (words.length !== 3 && words.length !== 4) throw bad('rule', '应为“名称/版本 结果”', 'a name, / and a version, and an outcome');
  const [name, digits] = cut(words[1], '/') ?? [words[1], ''];
  const version = parseVersion(digits);
  if (version === null) throw bad('rule', '版本不是数', 'its version is not a number');
  return { name, version, outcome: words[2], clause: words[3] ?? '' };
}

function check(record) {
  const [name, version] = cut(record.type, '/') ?? ['', ''];
  if (!isID(record.id)) throw bad('id', '应为 1 至 80 个小写字母、数字或 -', '1 to 80 lower-case letters, digits or -');
  if (!isEvent(name) || parseVersion(version) === null) throw bad('type', '应为“事件类型/版本”', 'an event type, / and the version of its data');
  if (record.time < 0 || record.time > lastTime) throw bad('time', '超出 1970 至 9999 年', 'not within the years 1970 to 9999');
  if (record.needs.length > maxNeeds) throw bad('needs', '应为 1 至 16 个名称', '1 to 16 names');
  if (record.batch > maxInt) throw bad('batch', '超出范围', 'out of range');
  if (!record.needs.every((name, i) => isName(name) && (i === 0 || record.needs[i - 1] < name))) {
    throw bad('needs', '名称应按次序排列，不重复', 'names, sorted, none of them twice');
  }
  if (record.rule) checkRule(record.rule);
}

function checkRule(rule) {
  const failed = rule.outcome === 'failed';
  if (!isWord(rule.name)) throw bad('rule', '应为“名称/版本”', 'a name, / and a version');
  if (failed && !isWord(rule.clause)) throw bad('rule', '未说明哪一条款不符', 'it does not say which clause failed');
  if (!failed && rule.clause !== '') throw bad('rule', '只有不符时才有条款', 'there is a clause only where one failed');
  if (!failed && rule.outcome !== 'passed' && rule.outcome !== 'n/a') {
    throw bad('rule', '结果应为 passed、failed 或 n/a', 'its outcome is passed, failed or n/a');
  }
}

/** marshalRecord returns the bytes of a record, which are the data of its leaf, as text. */
export function marshalRecord(record) {
  const { rule } = record;
  return `${header}\nid ${record.id}\ntype ${record.type}\ncommitment ${base64Of(record.commitment)}\n` +
    `time ${timeOf(record.time)}\nneeds ${record.needs.join(',')}\n` +
    (rule ? `rule ${rule.name}/${rule.version} ${rule.outcome}${rule.clause && ' ' + rule.clause}\n` : '') +
    (record.batch > 0n ? `batch ${record.batch}\n` : '');
}
