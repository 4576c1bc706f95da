import { readFileSync } from 'node:fs';

/** vectors are what every verifier of receipts must answer, in any language. */
export const vectors = JSON.parse(readFileSync(new URL('../../../kit/receipt/testdata/vectors.json', import.meta.url)));

export const bytes = (base64) => new Uint8Array(Buffer.from(base64, 'base64'));
export const unhex = (hex) => new Uint8Array(Buffer.from(hex, 'hex'));

/** pkix returns the PKIX DER of a point in hexadecimal. */
export const pkix = (point) => unhex('3059301306072a8648ce3d020106082a811ccf5501822d034200' + point);

/** good returns the receipt of a good vector, and what it is held to. */
export function good(name) {
  const vector = vectors.good.find((v) => v.name === name);
  return { receipt: bytes(vector.receipt), trust: vectors.trusts[vector.trust], vector };
}

/** options returns those of verify for a vector. */
export const options = (vector) => ({ original: vector.original === undefined ? null : bytes(vector.original) });
