// SM2 and SM3 (GB/T 32918, GB/T 32905), on the library sm-crypto-v2, which computes on the curves of noble-curves. What
// that library leaves to its caller stands here: ranges of numbers, the one form of a key, and the point at infinity.

import { sm2, sm3 as sm3Hex } from 'sm-crypto-v2';

import { concat, hexOf, toBytes } from './text.js';

const fromHex = (hex) => Uint8Array.from(hex.match(/../g), (pair) => parseInt(pair, 16));

/** sm3 returns the 32 bytes of the hash over the parts. */
export const sm3 = (...parts) => fromHex(sm3Hex(parts.length === 1 ? parts[0] : concat(...parts)));

/** n is the order of the curve. */
const n = 0xfffffffeffffffffffffffffffffffff7203df6b21c6052b53bbf40939d54123n;

const pkixHead = '3059301306072a8648ce3d020106082a811ccf5501822d034200';

/**
 * parsePKIX returns the point (65 bytes: 0x04, x, y) of an SM2 public key in PKIX DER, and null where it is none: another
 * form, a coordinate out of range, a point that is not on the curve.
 */
export function parsePKIX(der) {
  const hex = hexOf(der);
  if (hex.length !== 182 || !hex.startsWith(pkixHead + '04')) return null;
  try {
    if (!sm2.verifyPublicKey(hex.slice(pkixHead.length))) return null;
  } catch {
    return null; // the library throws for most of what is no point
  }
  return der.slice(26);
}

/** fingerprint returns what people compare: the first 8 bytes of the SM3 of a key's PKIX DER, in hexadecimal. */
export const fingerprint = (point) => hexOf(sm3(fromHex(pkixHead), point).subarray(0, 8));

/** compressed returns 0x02 or 0x03, then x. */
export const compressed = (point) => concat([2 + (point[64] & 1)], point.subarray(1, 33));

/**
 * verifySM2 reports whether r ‖ s (64 bytes, big-endian, each from 1 to n-1) is the SM2 signature of a message under the
 * default id, 1234567812345678.
 */
export function verifySM2(point, message, signature) {
  const hex = hexOf(signature);
  const r = BigInt('0x' + hex.slice(0, 64));
  const s = BigInt('0x' + hex.slice(64));
  if (hex.length !== 128 || r === 0n || s === 0n || r >= n || s >= n) return false;
  const key = hexOf(point);
  const digest = sm2.getHash(message, key); // SM3(Z ‖ message)
  // The library takes the first coordinate of the point at infinity for 0, and so would accept r = e: a signature that
  // only the key's holder can make, and that no other verifier accepts. No other point with that coordinate is known.
  if (r === BigInt('0x' + digest) % n) return false;
  return sm2.doVerifySignature(fromHex(digest), hex, key);
}

/**
 * prepare makes what a first verification would have to wait for, some 50 ms: the library's table of multiples of the
 * base point.
 */
export const prepare = () => verifySM2(base, new Uint8Array(), new Uint8Array(64).fill(1));

/** base is the base point of the curve. */
const base = fromHex('0432c4ae2c1f1981195f9904466a39c9948fe30bbff2660be1715a4589334c74c7' +
  'bc3736a2f4f6779c59bdcee36b692153d0a9877cc62a474002df32e52139f0a0');

const signatureType = 'qiong.dev/sm2-sm3-cosignature/v1';

/** keyID returns the 4 bytes that tell the keys of a name from each other (C2SP signed-note). */
export const keyID = (name, point) => sm3(toBytes(`${name}\n\xff${signatureType}\x00`), compressed(point)).slice(0, 4);
