import assert from 'node:assert/strict';
import test from 'node:test';

import { sm2 } from 'sm-crypto-v2';

import { parsePKIX, sm3, verifySM2 } from '../src/sm.js';
import { hexOf, toBytes } from '../src/text.js';
import { pkix, unhex, vectors } from './vectors.js';

const p = 0xfffffffeffffffffffffffffffffffffffffffff00000000ffffffffffffffffn;
const b = 0x28e9fa9e9d9f5e344d5a9e4bcf6509a7f39789f515ab8f92ddbcbd414d940e93n;
const n = 0xfffffffeffffffffffffffffffffffff7203df6b21c6052b53bbf40939d54123n;

const mod = (a, m) => ((a % m) + m) % m;
const hex32 = (a) => a.toString(16).padStart(64, '0');

function power(base, exponent, m) {
  let result = 1n;
  for (; exponent > 0n; exponent >>= 1n, base = (base * base) % m) if (exponent & 1n) result = (result * base) % m;
  return result;
}

test('SM3 of GB/T 32905, annex A', () => {
  assert.equal(hexOf(sm3(toBytes('abc'))), '66c7f0f462eeedd9d1f2d46bdc10e4e24167c4875cf2f7a2297da02b8f4ba8e0');
  assert.equal(hexOf(sm3(toBytes('abcd'.repeat(16)))), 'debe9ff92275b8a138604889c18e5a4d6fdb70e5387e5765293dcba39c0c5732');
  assert.equal(hexOf(sm3(toBytes('abcd'.repeat(8)), toBytes('abcd'.repeat(8)))), 'debe9ff92275b8a138604889c18e5a4d6fdb70e5387e5765293dcba39c0c5732');
});

test('keys have one form', () => {
  const { public: point } = vectors.keys[0];
  assert.ok(parsePKIX(pkix(point)));
  const x = BigInt('0x' + point.slice(2, 66));
  const y = BigInt('0x' + point.slice(66));
  const refused = {
    'another curve': unhex(hexOf(pkix(point)).replace('2a811ccf5501822d', '2a8648ce3d030107')),
    'compressed': pkix('02' + hex32(x)),
    'hybrid': pkix('06' + point.slice(2)),
    'not on the curve': pkix('04' + hex32(x) + hex32(y ^ 1n)),
    'zero': pkix('04' + '0'.repeat(128)),
    'something follows': pkix(point + '00'),
    'cut': pkix(point.slice(0, -2)),
  };
  for (const [name, der] of Object.entries(refused)) assert.equal(parsePKIX(der), null, name);
});

test('a coordinate beyond the field is refused', () => {
  for (let x = 1n; ; x++) {
    const square = mod(x ** 3n - 3n * x + b, p);
    const y = power(square, (p + 1n) / 4n, p);
    if (mod(y * y, p) !== square) continue;
    assert.ok(parsePKIX(pkix('04' + hex32(x) + hex32(y))), 'a small coordinate');
    assert.equal(parsePKIX(pkix('04' + hex32(x + p) + hex32(y))), null);
    return;
  }
});

test('signatures', () => {
  const { private: secret, public: key } = vectors.keys[0];
  const [point, message] = [unhex(key), toBytes('cosignature/v1\ntime 1\n')];
  const signature = sm2.doSignature(message, secret, { hash: true, publicKey: key });
  const r = BigInt('0x' + signature.slice(0, 64));
  const s = BigInt('0x' + signature.slice(64));
  const verified = (r, s, what = message) => verifySM2(point, what, unhex(hex32(r) + hex32(s)));
  assert.ok(verified(r, s));
  const refused = { 'r = 0': [0n, s], 's = 0': [r, 0n], 'r = n': [n, s], 's = n': [r, n], 'r + s = n': [r, n - r], 'swapped': [s, r], '-s': [r, n - s],
    'the largest': [(1n << 256n) - 1n, (1n << 256n) - 1n] };
  for (const [name, [r, s]] of Object.entries(refused)) assert.equal(verified(r, s), false, name);
  for (const [a, b] of [[r + n, s], [r, s + n]]) if (a < 1n << 256n && b < 1n << 256n) assert.equal(verified(a, b), false);
  assert.equal(verified(r, s, toBytes('cosignature/v1\ntime 2\n')), false);
  assert.equal(verifySM2(unhex(vectors.keys[1].public), message, unhex(signature)), false, 'of another key');
  assert.equal(verifySM2(point, message, unhex(signature.slice(0, -2))), false, 'cut');
  assert.equal(verifySM2(point, message, unhex(signature + '00')), false, 'something follows');

  // The holder of a key can make s·G + t·P the point at infinity, and r = e. That is no signature.
  const e = mod(BigInt('0x' + sm2.getHash(message, key)), n);
  const d = BigInt('0x' + secret);
  const infinite = mod(-e * d * power(1n + d, n - 2n, n), n);
  assert.equal(verified(e, infinite), false, 'at infinity');
});
