import assert from 'node:assert/strict';
import test from 'node:test';

import { parseTrust, Refusal, verify } from '../src/index.js';
import { good, vectors } from './vectors.js';

const council = vectors.trusts.council;
const blocks = council.split(/(?<=-----END PUBLIC KEY-----\n)\n?/).filter(Boolean);
const [first] = blocks;

test('files of keys', () => {
  const keys = parseTrust(council);
  assert.deepEqual(keys.map((k) => [k.name, k.role, k.fingerprint]), vectors.keys.filter((k) => keys.some((key) => key.fingerprint === k.fingerprint))
    .map((k) => [k.name, k.name.startsWith('witness') ? 'witness' : 'agency', k.fingerprint]));
});

test('what people write is read', () => {
  const same = {
    'CR LF': council.replaceAll('\n', '\r\n'),
    'notes between': '# 取自各单位网站\n\n' + blocks.reverse().join('# …\n\n'),
    'white space': council.replaceAll('Name: ', 'Name:\u3000').replaceAll('Role: agency', 'Role:agency  '),
    'another order of headers': council.replaceAll(/(Name: .*\n)(Origin: .*\n)/g, '$2$1'),
  };
  for (const [name, text] of Object.entries(same)) assert.deepEqual(parseTrust(text), parseTrust(council), name);
});

test('files of keys that are refused', () => {
  const refused = {
    'nothing': ['', 0],
    'notes alone': ['# nothing\n', 0],
    'a line between': [first + 'x\n', 9],
    'a mark of byte order': ['\ufeff' + first, 1],
    'no end': [first.replace('-----END PUBLIC KEY-----\n', ''), 1],
    'no name': [first.replace(/Name: .*\n/, ''), 1],
    'a header twice': [first.replace(/(Name: .*\n)/, '$1$1'), 3],
    'another header': [first.replace('Role:', 'Rôle:'), 4],
    'another role': [first.replace('agency', 'agent'), 6],
    'a wrong name': [first.replace(/Name: .*/, 'Name: Customs'), 2],
    'a wrong origin': [first.replace(/Origin: .*/, 'Origin: a b'), 3],
    'no Beijing time': [first.replace('Role:', 'From: 2026-02-30T00:00:00.000+08:00\nRole:'), 4],
    'an end before its beginning': [first.replace('Role:', 'From: 2026-02-03T00:00:00.000+08:00\nUntil: 2026-02-02T00:00:00.000+08:00\nRole:'), 8],
    'no base64': [first.replace('MFk', '!Fk'), 6],
    'no key': [first.replace('MFk', 'MFl'), 6],
    'no empty line': [first.replace('\n\n', '\n'), 5],
    'a key twice': [first + first, 0],
    'a key of two names': [first + first.replace(/Name: .*/, 'Name: other'), 0],
    'two roles': [first + blocks[1].replace(/Name: .*/, first.match(/Name: .*/)[0]).replace('agency', 'witness'), 0],
    'too large': ['#'.repeat(1 << 20) + '\n', 0],
  };
  for (const [name, [text, line]] of Object.entries(refused)) {
    assert.throws(() => parseTrust(text), (error) => {
      assert.ok(error instanceof Refusal, `${name}: ${error.stack}`);
      assert.deepEqual([error.code, error.line], ['receipt.syntax', line], name);
      return true;
    }, name);
  }
});

test('the council counts at the time of its first signature', () => {
  const { receipt, trust } = good('complete');
  const named = (name) => trust.match(new RegExp(`-----BEGIN PUBLIC KEY-----\nName: ${name}\n(?:.+\n|\n)*?-----END PUBLIC KEY-----\n`))[0];
  const until = (name, time) => trust.replace(named(name), named(name).replace('Role:', `Until: ${time}\nRole:`));
  assert.deepEqual(verify(receipt, trust).quorum, { have: 3, need: 3, of: 4 });
  assert.deepEqual(verify(receipt, until('clearing', '2026-11-22T20:00:00.000+08:00')).quorum, { have: 3, need: 3, of: 3 });
  assert.throws(() => verify(receipt, until('customs', '2026-11-22T20:00:00.000+08:00')), { code: 'receipt.key-time' });
});

test('wrong types are defects of the caller, not refusals', () => {
  const { receipt, trust } = good('complete');
  assert.throws(() => verify('text', trust), TypeError);
  assert.throws(() => verify(receipt, receipt), TypeError);
  assert.throws(() => verify(receipt, trust, { original: 'text' }), TypeError);
  assert.equal(verify(receipt.buffer, trust).state, 'complete');
});
