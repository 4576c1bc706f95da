import { bad, moved } from './refusal.js';
import { base64Of, checkName, checkOrigin, concat, cut, lastTime, parseBase64, parseHash, parseNumber } from './text.js';

/** maxSize is the longest receipt, in bytes, that is read. */
export const maxSize = 64 << 10;

const maxSignatures = 64;
const dash = '\xe2\x80\x94 '; // an em dash in UTF-8, and a space

/** checkpointText returns what is signed: three lines. */
export const checkpointText = (c) => `${c.origin}\n${c.size}\n${base64Of(c.root)}\n`;

/** cosigned returns the message of a cosignature (C2SP tlog-cosignature, v1). */
export const cosigned = (c, seconds) => `cosignature/v1\ntime ${seconds}\n${checkpointText(c)}`;

function parseCheckpoint(text) {
  const lines = text.split('\n');
  if (lines.length !== 3) throw bad('checkpoint', '应为三行：日志名、大小、根', 'three lines: origin, size, root');
  moved(() => 1, () => checkOrigin(lines[0]));
  const size = parseNumber(lines[1]);
  if (size === null) throw bad('size', '不是数', 'not a number').at(2);
  const root = parseHash(lines[2]);
  if (root === null) throw bad('root', '不是 32 字节的 base64', 'not 32 bytes in base64').at(3);
  return { origin: lines[0], size, root };
}

/** parseNote reads a checkpoint with its cosignatures: at least one, sorted by name, none of them twice. */
export function parseNote(text) {
  const parts = cut(text, '\n\n');
  if (parts === null || !parts[1].endsWith('\n') || text.length > maxSize) {
    throw bad('checkpoint', '检查点不完整或没有签名', 'the checkpoint is cut or has no signature');
  }
  const checkpoint = parseCheckpoint(parts[0]);
  const lines = parts[1].slice(0, -1).split('\n');
  if (lines.length > maxSignatures) throw bad('signatures', '签名太多', 'there are too many signatures').at(5 + maxSignatures);
  const signatures = lines.map((line, i) => moved(() => 5 + i, () => parseSignature(line)));
  const wrong = signatures.findIndex((s, i) => i > 0 && signatures[i - 1].name >= s.name);
  if (wrong > 0) throw bad('signatures', '签名应按名称排列，每个名称一次', 'signatures are sorted by name, each name once').at(5 + wrong);
  return { checkpoint, signatures };
}

/** parseSignature reads one line without its LF: { name, keyID, time (s), rs }. */
function parseSignature(line) {
  const parts = line.startsWith(dash) ? cut(line.slice(dash.length), ' ') : null;
  const raw = parts && parseBase64(parts[1]);
  if (!raw || raw.length !== 4 + 8 + 64) throw bad('', '不是签名行', 'not the line of a signature');
  const seconds = new DataView(raw.buffer, raw.byteOffset).getBigUint64(4);
  if (seconds > BigInt(lastTime) / 1000n) throw bad('signature', '时间超出范围', 'its time is out of range');
  checkName(parts[0]);
  return { name: parts[0], keyID: raw.slice(0, 4), time: Number(seconds), rs: raw.slice(12) };
}

/** marshalNote is the inverse of parseNote. */
export function marshalNote(note) {
  const lines = note.signatures.map((s) => {
    const time = new Uint8Array(8);
    new DataView(time.buffer).setBigUint64(0, BigInt(s.time));
    return `${dash}${s.name} ${base64Of(concat(s.keyID, time, s.rs))}\n`;
  });
  return `${checkpointText(note.checkpoint)}\n${lines.join('')}`;
}
