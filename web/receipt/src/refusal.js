/** The codes of refusals. They are those of the Go package kit/receipt. */
export const Code = Object.freeze({
  syntax: 'receipt.syntax', // not in the one form that it must have
  proof: 'receipt.proof', // the record is not in the tree of the checkpoint
  act: 'receipt.act', // the act is not in the batch
  original: 'receipt.original', // the original is not what the record commits to
  origin: 'receipt.origin', // no key of this log is trusted
  signer: 'receipt.signer', // a signer or its key is not trusted
  keyTime: 'receipt.key-time', // a key signed outside of its time
  signature: 'receipt.signature', // a signature does not verify
  quorum: 'receipt.quorum', // too few of the council have signed, or the operator has not
});

/**
 * Refusal says why a receipt proves nothing, in both languages. It never holds a submitted value. Its kind is "invalid",
 * or "too-large" where a file is over its limit.
 */
export class Refusal extends Error {
  constructor(code, zh, en) {
    super(en);
    this.name = 'Refusal';
    this.kind = 'invalid';
    this.code = code;
    this.words = { zh, en };
    this.hint = { zh: '', en: '' };
    this.field = '';
    this.line = 0; // from 1, in the file; 0 where there is none
  }

  /** in returns the words in "zh" or "en", with their place. */
  in(lang) {
    const line = this.line > 0 ? (lang === 'zh' ? `第 ${this.line} 行: ` : `line ${this.line}: `) : '';
    return line + (this.field ? `${this.field}: ` : '') + this.words[lang];
  }

  at(line) {
    this.line = line;
    return this;
  }

  hinting(zh, en) {
    this.hint = { zh, en };
    return this;
  }
}

/** bad is the refusal of what is not in the one form that it must have. */
export function bad(field, zh, en) {
  const refusal = new Refusal(Code.syntax, zh, en);
  refusal.field = field;
  return refusal;
}

/** tooLarge is the refusal of a file over its limit. */
export function tooLarge(zh, en) {
  const refusal = new Refusal(Code.syntax, zh, en);
  refusal.kind = 'too-large';
  return refusal;
}

/** moved runs read, and moves the line of its refusal as place says. */
export function moved(place, read) {
  try {
    return read();
  } catch (error) {
    if (error instanceof Refusal) error.at(place(error.line));
    throw error;
  }
}
