import { leafHash, rootFrom } from './merkle.js';
import { cosigned } from './note.js';
import { isOriginal } from './original.js';
import { parse } from './receipt.js';
import { marshalRecord } from './record.js';
import { Code, Refusal } from './refusal.js';
import { sm3, verifySM2 } from './sm.js';
import { base64Of, bytesOf, hexOf, sameBytes, timeOf, toBytes } from './text.js';
import { councilAt, counts, find, has, parseTrust } from './trust.js';

/** maxSkew (ms) is how far clocks may be apart before a cosignature is called early. */
const maxSkew = 10 * 60 * 1000;

/**
 * verify returns what a receipt proves to a reader who trusts the keys of a file, or throws a Refusal that says what is
 * wrong. Where an original is given, it is the bytes of its file, and must be what the receipt commits to.
 *
 * The result has the fields of the Go package's Result in JSON; index, size and batch, and an act's index, are BigInts.
 */
export function verify(receiptBytes, trustText, { original = null } = {}) {
  const receipt = parse(receiptBytes);
  const keys = parseTrust(trustText);
  verifyProof(receipt);
  if (receipt.act) verifyAct(receipt);
  if (original !== null) verifyOriginal(receipt, bytesOf(original));
  const { record, act, note, index } = receipt;
  const { cosignatures, quorum, by } = attest(keys, note);
  for (const c of cosignatures) if (c.ms < record.time - maxSkew) c.early = true;
  const signed = record.needs.filter((name) => cosignatures.some((c) => c.name === name));
  const owed = record.needs.filter((name) => !signed.includes(name));
  return {
    state: owed.length === 0 ? 'complete' : 'provisional',
    record: shownRecord(record),
    ...(act && { act: { index: act.index, commitment: base64Of(act.commitment) } }),
    index,
    signed,
    owed,
    original: original !== null,
    checkpoint: { ...note.checkpoint, root: base64Of(note.checkpoint.root) },
    cosignatures: cosignatures.map(({ ms, ...c }) => ({ ...c, time: timeOf(ms) })),
    quorum,
    by: timeOf(by),
  };
}

/** shownRecord returns a record with its texts as they stand in the file, without what is absent. */
function shownRecord({ id, type, commitment, time, needs, rule, batch }) {
  const shown = { id, type, commitment: base64Of(commitment), time: timeOf(time), needs };
  if (rule) {
    shown.rule = { ...rule };
    if (rule.clause === '') delete shown.rule.clause;
  }
  if (batch > 0n) shown.batch = batch;
  return shown;
}

function verifyProof({ record, index, path, note: { checkpoint } }) {
  const root = rootFrom(leafHash(toBytes(marshalRecord(record))), index, checkpoint.size, path);
  if (root === null || !sameBytes(root, checkpoint.root)) {
    throw new Refusal(Code.proof, '记录不在检查点的日志之中', 'the record is not in the log of the checkpoint');
  }
}

function verifyAct({ record, act }) {
  const root = rootFrom(leafHash(act.commitment), act.index, record.batch, act.path);
  if (root === null || !sameBytes(root, record.commitment)) {
    throw new Refusal(Code.act, '这一项不在该批次之中', 'the act is not in the batch');
  }
}

function verifyOriginal({ record, act }, file) {
  if (!act && record.batch > 0n) {
    throw new Refusal(Code.original, '回执属于整个批次，没有单一的原件', 'the receipt is of a whole batch, which has no one original');
  }
  if (sameBytes(sm3(file), (act ?? record).commitment)) return;
  const refusal = new Refusal(Code.original, '原件与回执不符', 'the original is not what the receipt commits to');
  if (!isOriginal(file)) {
    refusal.hinting('原件以 qiong-original/v1 和一行盐开头，须一字节不差',
      'an original begins with qiong-original/v1 and a line with its salt, and every byte of it counts');
  }
  throw refusal;
}

/**
 * attest verifies every signature of a note: each must be of a trusted key, within its time, and right. One that is not,
 * even beside enough others, refuses the note.
 */
function attest(keys, { checkpoint, signatures }) {
  const { origin } = checkpoint;
  if (!has(keys, origin, 'agency') && !has(keys, origin, 'operator')) {
    throw new Refusal(Code.origin, '信任的公钥中没有这本日志的部门或运营者', 'no agency or operator of this log is among the trusted keys')
      .hinting('向各单位索取这本日志的公钥文件', 'ask the agencies for the public keys of this log');
  }
  const cosignatures = signatures.map((signature) => {
    const key = find(keys, origin, signature);
    const ms = signature.time * 1000;
    if (!counts(key, ms)) {
      throw new Refusal(Code.keyTime, `${key.name} 的签名不在其密钥的有效期内`, `${key.name} signed outside of its key's time`);
    }
    if (!verifySM2(key.point, toBytes(cosigned(checkpoint, signature.time)), signature.rs)) {
      throw new Refusal(Code.signature, `${key.name} 的签名验证不通过`, `the signature of ${key.name} does not verify`);
    }
    return { name: key.name, role: key.role, keyId: hexOf(signature.keyID), fingerprint: key.fingerprint, ms };
  });
  return { cosignatures, ...count(keys, origin, cosignatures) };
}

/**
 * count holds the signatures to the quorum: of a council more than two thirds, of one operator itself. The council's
 * members are those at the time of their first signature: who joined or left later does not change what an old note is
 * worth.
 */
function count(keys, origin, cosignatures) {
  const timesOf = (chosen) => cosignatures.filter(chosen).map((c) => c.ms).sort((a, b) => a - b);
  const council = has(keys, origin, 'agency');
  let times = timesOf((c) => c.role === (council ? 'agency' : 'operator'));
  const quorum = { have: times.length, need: 1, of: 1 };
  if (council && times.length > 0) {
    const members = councilAt(keys, origin, times[0]);
    times = timesOf((c) => members.has(c.name));
    Object.assign(quorum, { have: times.length, need: Math.floor((members.size * 2) / 3) + 1, of: members.size });
  }
  if (times.length < quorum.need) throw short(council, quorum);
  return { quorum, by: times[quorum.need - 1] };
}

function short(council, { have, need, of }) {
  if (!council) return new Refusal(Code.quorum, '运营者没有签名', 'the operator has not signed');
  if (have === 0) return new Refusal(Code.quorum, '没有部门签名', 'no agency has signed');
  return new Refusal(Code.quorum, `签名的部门有 ${have} 个，不足法定的 ${need} 个（共 ${of} 个）`,
    `${have} agencies have signed, where ${need} are needed (of ${of})`);
}
