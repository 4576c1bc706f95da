import { bad, Code, moved, Refusal, tooLarge } from './refusal.js';
import { fingerprint, keyID, parsePKIX } from './sm.js';
import { checkName, checkOrigin, cut, hexOf, lastTime, parseBase64, parseTime, sameBytes } from './text.js';

const beginKey = '-----BEGIN PUBLIC KEY-----';
const endKey = '-----END PUBLIC KEY-----';
const maxTrust = 1 << 20;
const maxKeys = 1024;

/**
 * parseTrust reads a file of public keys and returns them sorted by origin, name and beginning, each as { name, origin,
 * role, from, until (ms; 0 where there is none), point, id, fingerprint }. People write such files: headers may stand in
 * any order, empty lines and lines that begin with # may stand between the blocks, and lines may end with CR LF. Anything
 * else is refused with its line, so that no key is passed over in silence.
 */
export function parseTrust(text) {
  if (typeof text !== 'string') throw new TypeError('the keys are the text of their file');
  if (text.length > maxTrust || new TextEncoder().encode(text).length > maxTrust) {
    throw tooLarge(`公钥文件超过 ${maxTrust} 字节`, `the file of keys is longer than ${maxTrust} bytes`);
  }
  const keys = [];
  let block = [];
  let begun = 0; // line of the open block; 0 outside of blocks
  text.split('\n').forEach((line, i) => {
    line = line.replace(/[ \t\r]+$/, '');
    if (begun > 0 && line === endKey) {
      keys.push(parseKey(block, begun));
      begun = 0;
      if (keys.length > maxKeys) throw bad('', '公钥太多', 'there are too many keys').at(i + 1);
    } else if (begun > 0) {
      block.push(line);
    } else if (line === beginKey) {
      [begun, block] = [i + 1, []];
    } else if (line !== '' && line[0] !== '#') {
      throw bad('', '不属于任何公钥', 'it belongs to no key').at(i + 1);
    }
  });
  if (begun > 0) throw bad('', '公钥没有结尾', 'the key has no end').at(begun);
  if (keys.length === 0) throw bad('', '没有公钥', 'there is no key');
  return together(keys);
}

/** parseKey reads the lines between BEGIN, which stands at the given line, and END. */
function parseKey(lines, begin) {
  const key = { name: '', origin: '', role: '', from: 0, until: 0 };
  const seen = new Set();
  for (const [i, line] of lines.entries()) {
    if (line === '') {
      if (!['Name', 'Origin', 'Role'].every((name) => seen.has(name))) {
        throw bad('', '需要 Name、Origin 和 Role', 'Name, Origin and Role are needed').at(begin);
      }
      return moved(() => begin + i + 2, () => parsePublic(key, lines.slice(i + 1).join('')));
    }
    const header = cut(line, ':');
    if (header === null || seen.has(header[0])) {
      throw bad('', '公钥的说明行有误或重复', 'a header is wrong, or stands there twice').at(begin + i + 1);
    }
    seen.add(header[0]);
    moved(() => begin + i + 1, () => set(key, header[0], trim(header[1])));
  }
  throw bad('', '需要 Name、Origin 和 Role，之后一个空行', 'Name, Origin and Role are needed, and an empty line after them').at(begin);
}

/** trim takes away the white space of Unicode. String.trim has another idea of it. */
const trim = (text) => text.replace(new RegExp(`^${space}|${space}$`, 'g'), '');
const space = '[\\t-\\r \\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000]+';

function set(key, name, value) {
  switch (name) {
    case 'Name':
      checkName((key.name = value));
      return;
    case 'Origin':
      checkOrigin((key.origin = value));
      return;
    case 'Role':
      key.role = value;
      return;
    case 'From':
    case 'Until': {
      const ms = parseTime(value);
      if (ms === null) throw bad(name, '不是北京时间', 'not a Beijing time');
      key[name.toLowerCase()] = ms;
      return;
    }
  }
  throw bad('', '没有这种说明行', 'there is no such header');
}

function parsePublic(key, text) {
  const der = parseBase64(text);
  if (der === null) throw bad('', '公钥不是 base64', 'the key is not base64');
  const point = parsePKIX(der);
  if (point === null) throw bad('', '不是有效的 SM2 公钥（PKIX）', 'not a valid SM2 public key in PKIX form');
  if (!['agency', 'operator', 'witness'].includes(key.role)) throw bad('Role', '应为 agency、operator 或 witness', 'agency, operator or witness');
  const { from, until } = key;
  if (from < 0 || until < 0 || from > lastTime || until > lastTime || (until !== 0 && until <= from)) {
    throw bad('Until', '应晚于 From', 'later than From');
  }
  return { ...key, point, id: hexOf(keyID(key.name, point)), fingerprint: fingerprint(point) };
}

/**
 * together returns the keys sorted. A name has one role in a log; no key of a log stands there under two names, or one
 * holder could count as two.
 */
function together(keys) {
  keys.forEach((key, i) => {
    for (const other of keys.slice(0, i)) {
      if (key.origin !== other.origin) continue;
      if (key.name !== other.name) {
        if (sameBytes(key.point, other.point)) throw bad('Name', '同一公钥不能有两个名称', 'a public key cannot have two names');
        continue;
      }
      if (key.id === other.id) throw bad('Name', '同一公钥出现两次', 'a key stands there twice');
      if (key.role !== other.role) throw bad('Role', '同一名称不能有两种角色', 'a name cannot have two roles');
    }
  });
  const by = (a, b) => (a < b ? -1 : a > b ? 1 : 0);
  return keys.sort((a, b) => by(a.origin, b.origin) || by(a.name, b.name) || a.from - b.from);
}

/** counts reports whether signatures of a time (ms) count under a key. */
export const counts = (key, ms) => ms >= key.from && (key.until === 0 || ms < key.until);

/** has reports whether any key of a log has the role. */
export const has = (keys, origin, role) => keys.some((key) => key.origin === origin && key.role === role);

/** councilAt returns the names of a log's agencies at a time. */
export function councilAt(keys, origin, ms) {
  return new Set(keys.filter((key) => key.origin === origin && key.role === 'agency' && counts(key, ms)).map((key) => key.name));
}

/** find returns the key of a signature, or throws what is unknown: the name, or this key of it. */
export function find(keys, origin, signature) {
  const named = keys.filter((key) => key.origin === origin && key.name === signature.name);
  const key = named.find((key) => key.id === hexOf(signature.keyID));
  if (key) return key;
  const refusal = named.length > 0
    ? new Refusal(Code.signer, `${named[0].name} 的这把密钥不在信任的公钥之中`, `this key of ${named[0].name} is not among the trusted keys`)
    : new Refusal(Code.signer, '签名者不在信任的公钥之中', 'the signer is not among the trusted keys');
  throw refusal.hinting('向各单位索取现行的公钥文件', 'ask the agencies for their current public keys');
}
