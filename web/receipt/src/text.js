// Texts are held as strings of one character a byte, as they stand in the file: what is compared is bytes, and no
// decoder can take two different files for the same text.

import { bad } from './refusal.js';

/** maxInt is the largest number that a size or an index may be. */
export const maxInt = (1n << 63n) - 1n;

/** bytesOf returns the Uint8Array of what a caller gave as bytes. */
export function bytesOf(data) {
  if (data instanceof Uint8Array) return data;
  if (data instanceof ArrayBuffer) return new Uint8Array(data);
  if (ArrayBuffer.isView(data)) return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  throw new TypeError('bytes are a Uint8Array or an ArrayBuffer');
}

/** textOf returns one character a byte. */
export function textOf(bytes) {
  let text = '';
  for (let at = 0; at < bytes.length; at += 8192) text += String.fromCharCode(...bytes.subarray(at, at + 8192));
  return text;
}

/** toBytes is the inverse of textOf. */
export function toBytes(text) {
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  return bytes;
}

export function concat(...parts) {
  const all = new Uint8Array(parts.reduce((length, part) => length + part.length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}

export const sameBytes = (a, b) => a.length === b.length && a.every((byte, i) => byte === b[i]);

export const hexOf = (bytes) => Array.from(bytes, (b) => b.toString(16).padStart(2, '0')).join('');

/** base64Of returns standard base64 with padding. */
export const base64Of = (bytes) => btoa(textOf(bytes));

/** parseBase64 reads what base64Of writes and nothing else; otherwise it returns null. */
export function parseBase64(text) {
  if (!/^[A-Za-z0-9+/]*={0,2}$/.test(text) || text.length % 4 !== 0) return null;
  const bytes = toBytes(atob(text));
  return base64Of(bytes) === text ? bytes : null;
}

/** parseHash reads 32 bytes in base64; otherwise it returns null. */
export function parseHash(text) {
  const bytes = text.length === 44 ? parseBase64(text) : null;
  return bytes !== null && bytes.length === 32 ? bytes : null;
}

/** cut returns what stands before and after the first separator, or null where there is none. */
export function cut(text, separator) {
  const at = text.indexOf(separator);
  return at < 0 ? null : [text.slice(0, at), text.slice(at + separator.length)];
}

/** value cuts "key value". */
export function value(text, key) {
  if (!text.startsWith(key + ' ')) throw bad(key, '缺少这一行', 'this line is missing');
  return text.slice(key.length + 1);
}

/** parseNumber reads digits without leading zeros and sign, below 2^63; otherwise it returns null. */
export function parseNumber(digits) {
  if (!/^(0|[1-9][0-9]{0,18})$/.test(digits)) return null;
  const n = BigInt(digits);
  return n <= maxInt ? n : null;
}

/** number reads "key 123". */
export function number(text, key) {
  const n = parseNumber(value(text, key));
  if (n === null) throw bad(key, '不是数', 'not a number');
  return n;
}

/** parseVersion reads a number from 1 to 2^31-1; otherwise it returns null. */
export function parseVersion(digits) {
  const n = parseNumber(digits ?? '');
  return n !== null && n > 0n && n < 1n << 31n ? Number(n) : null;
}

/** hash reads "key base64". */
export function hash(text, key) {
  const h = parseHash(value(text, key));
  if (h === null) throw bad(key, '不是 32 字节的 base64', 'not 32 bytes in base64');
  return h;
}

const made = (text, form, most) => text.length <= most && form.test(text);

export const isID = (text) => made(text, /^[a-z0-9]([a-z0-9-]*[a-z0-9])?$/, 80);
export const isEvent = (text) => made(text, /^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$/, 80);
export const isWord = (text) => made(text, /^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$/, 64);
export const isName = (text) => made(text, /^[a-z0-9]([a-z0-9./-]*[a-z0-9])?$/, 64);
export const isOrigin = (text) => made(text, /^[!-*,-~]+$/, 200);

export function checkName(name) {
  if (!isName(name)) throw bad('name', '名称应为 1 至 64 个小写字母、数字或 . / -', 'a name is 1 to 64 lower-case letters, digits or . / -');
}

export function checkOrigin(origin) {
  if (!isOrigin(origin)) {
    throw bad('origin', '日志名应为 1 至 200 个可见 ASCII 字符，不含 +', "an origin is 1 to 200 visible ASCII characters without +");
  }
}

const beijing = 8 * 60 * 60 * 1000; // ms ahead of UTC

/** lastTime is 9999-12-31T23:59:59.999+08:00, the last time that a record or a cosignature may name, in ms. */
export const lastTime = 253402271999999;

/** timeOf returns 2024-06-15T09:23:45.123+08:00 for milliseconds since the Unix epoch. */
export const timeOf = (ms) => new Date(ms + beijing).toISOString().slice(0, -1) + '+08:00';

/** parseTime reads what timeOf writes, for years 0000 to 9999; otherwise it returns null. */
export function parseTime(text) {
  if (!/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+08:00$/.test(text)) return null;
  const ms = Date.parse(text);
  return !Number.isNaN(ms) && timeOf(ms) === text ? ms : null; // Date.parse makes 1 March of 30 February
}
