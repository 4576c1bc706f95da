import { cut, parseBase64, textOf } from './text.js';

const header = 'qiong-original/v1\nsalt ';
const saltSize = 16;

/** isOriginal reports whether a file begins as an original does: its form, a salt, an empty line. */
export function isOriginal(file) {
  const head = textOf(file.subarray(0, header.length + 24 + 2)); // 24 characters of base64 are 16 bytes
  const parts = head.startsWith(header) ? cut(head.slice(header.length), '\n\n') : null;
  const salt = parts && parseBase64(parts[0]);
  return salt !== null && salt.length === saltSize;
}
