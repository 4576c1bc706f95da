/**
 * Verifies Qiong receipts in a browser or in Node.js, offline, as the Go package kit/receipt does: the same results, the
 * same refusals. The formats stand in doc/formats/receipt.md, checkpoint.md and trust.md.
 *
 * A receipt proves existence, integrity, order and who cosigned. It is no official seal, and it proves nothing about what
 * was false before it was recorded.
 */
export { Code, Refusal } from './refusal.js';
export { parseTrust } from './trust.js';
export { verify } from './verify.js';
