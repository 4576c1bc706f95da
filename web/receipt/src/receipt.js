import { marshalNote, maxSize, parseNote } from './note.js';
import { marshalRecord, parseRecord } from './record.js';
import { bad, moved, tooLarge } from './refusal.js';
import { base64Of, bytesOf, cut, hash, number, parseBase64, parseHash, textOf, toBytes } from './text.js';

const header = 'c2sp.org/tlog-proof@v1\n';
const maxPath = 63; // a tree has at most 2^63 leaves

/**
 * parse reads a receipt (C2SP tlog-proof) and throws a Refusal unless it is in its one form: { record, act, index, path,
 * note }. It says nothing about whether the receipt is true: that is for verify.
 */
export function parse(data) {
  const bytes = bytesOf(data);
  if (bytes.length > maxSize) throw tooLarge(`回执超过 ${maxSize} 字节`, `the receipt is longer than ${maxSize} bytes`);
  const text = textOf(bytes);
  if (!text.startsWith(header)) throw bad('', '不是回执', 'not a receipt').at(1);
  const parts = cut(text.slice(header.length), '\n\n');
  const lines = parts ? parts[0].split('\n') : [];
  if (lines.length < 2) throw bad('', '回执不完整', 'the receipt is cut');
  const receipt = {
    ...moved(() => 2, () => parseExtra(lines[0])),
    index: moved(() => 3, () => number(lines[1], 'index')),
    path: moved((line) => line + 3, () => parseHashes(lines.slice(2))),
    note: moved((line) => line + 2 + lines.length, () => parseNote(parts[1])),
  };
  if (receipt.index >= receipt.note.checkpoint.size) throw bad('index', '序号超出日志的大小', 'the index is outside the log');
  // Every parser above takes one form only. That the whole comes out byte for byte does not hang on each of them.
  if (marshal(receipt) !== text) throw bad('', '不是唯一规定的写法', 'not in the one form that it must have');
  return receipt;
}

/** parseExtra reads the line of the record, and of the act where there is one. */
function parseExtra(line) {
  const raw = line.startsWith('extra ') ? parseBase64(line.slice(6)) : null;
  if (raw === null) throw bad('extra', '不是 base64', 'not base64');
  const text = textOf(raw);
  const parts = cut(text, '\n\n');
  if (parts === null) return { record: parseRecord(text), act: null };
  const record = parseRecord(parts[0] + '\n');
  return { record, act: parseAct(parts[1], record) };
}

/** parseAct reads the second part of the extra data: one act of a batch. */
function parseAct(text, record) {
  const lines = text.replace(/\n$/, '').split('\n');
  if (lines.length < 2) throw bad('act', '批次中的一项不完整', 'the act is cut');
  const act = { index: number(lines[0], 'act'), commitment: hash(lines[1], 'commitment'), path: lines.slice(2).map(parseHash) };
  if (act.path.length > maxPath || act.path.includes(null)) throw bad('act', '路径有误', 'its path is wrong');
  if (act.index >= record.batch) throw bad('act', '不是该批次中的一项', 'not an act of this batch');
  return act;
}

/** parseHashes reads one hash a line. */
function parseHashes(lines) {
  if (lines.length > maxPath) throw bad('path', '路径太长', 'the path is too long').at(maxPath + 1);
  return lines.map((line, i) => {
    const h = parseHash(line);
    if (h === null) throw bad('path', '不是 32 字节的 base64', 'not 32 bytes in base64').at(i + 1);
    return h;
  });
}

const lines = (hashes) => hashes.map((h) => base64Of(h) + '\n').join('');

function marshal({ record, act, index, path, note }) {
  let extra = marshalRecord(record);
  if (act) extra += `\nact ${act.index}\ncommitment ${base64Of(act.commitment)}\n${lines(act.path)}`;
  return `${header}extra ${base64Of(toBytes(extra))}\nindex ${index}\n${lines(path)}\n${marshalNote(note)}`;
}
