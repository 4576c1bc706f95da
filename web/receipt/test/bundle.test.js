import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'node:test';
import { pathToFileURL } from 'node:url';

import { bundle } from '../build.js';
import { good } from './vectors.js';

test('the bundle verifies, and loads nothing', async (t) => {
  const text = await bundle();
  assert.deepEqual(text.match(/\bimport\s*[("'{*][^)]*/g), ['import("crypto"']); // where there is no Web Crypto: in no browser

  const folder = mkdtempSync(join(tmpdir(), 'qiong-receipt-'));
  t.after(() => rmSync(folder, { recursive: true }));
  writeFileSync(join(folder, 'verify.mjs'), text);
  globalThis.document = { getElementById: () => null }; // a page without the verifier's section
  const { verify } = await import(pathToFileURL(join(folder, 'verify.mjs')));

  const { receipt, trust } = good('complete');
  assert.equal(verify(receipt, trust).state, 'complete');
  receipt[0] ^= 1;
  assert.throws(() => verify(receipt, trust), { code: 'receipt.syntax' });
});
