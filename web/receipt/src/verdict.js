// What a verdict looks like. Classes are those of the house's style sheet; the words alone say everything, without it.

/** el returns an element. Texts among its content are never markup. */
function el(name, attributes, ...content) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...content);
  return element;
}

export const said = (text) => el('p', {}, text);

/** refused returns what is shown where nothing is proved: the words, and of a refusal what to do next and its code. */
export function refused(say, words, refusal) {
  const content = [headline('bad', say('invalid'), words)];
  if (refusal?.hint[say.lang]) content.push(said(refusal.hint[say.lang]));
  if (refusal?.code) content.push(el('p', { class: 'hint' }, say('code'), el('code', {}, refusal.code)));
  return content;
}

/** result returns what is shown of a receipt that is valid. own says whether its reader chose the keys. */
export function result(say, r, own) {
  const complete = r.state === 'complete';
  return [
    headline(complete ? 'good' : 'warn', say('valid'), complete ? say('complete') : say('provisional', list(say, r.owed))),
    facts(say, r),
    signatures(say, r),
    el('p', {}, strong(say('proved')), say('provedText', clock(r.by))),
    ...(r.original ? [] : [said(say('commitmentOnly'))]),
    el('p', {}, strong(say('notProved')), say('notProvedText')),
    el('p', { class: 'hint' }, say(own ? 'ownKeys' : 'pageKeys')),
  ];
}

function headline(tone, tag, words) {
  const mark = { good: '✓', warn: '◐', bad: '✗' }[tone];
  return el('p', { class: 'headline ' + tone },
    el('span', { class: 'tag ' + tone }, el('span', { 'aria-hidden': 'true' }, mark + ' '), tag), ' ', strong(words));
}

const strong = (text) => el('strong', {}, text);
const list = (say, names) => names.join(say('comma'));

/** clock returns a time for people: 2026-11-22 20:11:57.123 +08:00, whole seconds without a fraction. */
const clock = (time) => time.replace('T', ' ').replace('.000', '').replace('+', ' +');
const time = (text) => el('time', { datetime: text }, clock(text));

function facts(say, r) {
  const rows = [
    ['record', el('code', {}, r.record.id)],
    ['type', el('code', {}, r.record.type)],
    ['accepted', time(r.record.time)],
    ['rule', r.record.rule && rule(say, r.record.rule)],
    ['batch', r.act ? say('act', r.act.index, r.record.batch) : r.record.batch && say('acts', r.record.batch)],
    ['log', say('place', r.checkpoint.origin, r.index, r.checkpoint.size)],
    ['needed', needed(say, r)],
    ['quorum', say('quorumText', r.quorum.need, r.quorum.have, r.quorum.of)],
    ['original', say(r.original ? 'originalMatches' : 'originalAbsent')],
  ];
  return el('dl', { class: 'facts' }, ...rows.filter(([, value]) => value)
    .flatMap(([name, value]) => [el('dt', {}, say(name)), el('dd', {}, value)]));
}

const rule = (say, { name, version, outcome, clause }) =>
  `${name}/${version}  ${outcome === 'failed' ? say('failed', clause) : say(outcome === 'passed' ? 'passed' : 'notApplicable')}`;

/** needed says of each name whose cosignature the record needs whether it is there. */
function needed(say, r) {
  const names = el('span', { class: 'names' });
  for (const name of r.record.needs) {
    const there = r.signed.includes(name);
    names.append(el('span', { class: 'tag ' + (there ? 'good' : 'warn') }, `${name} ${say(there ? 'signed' : 'owed')}`), ' ');
  }
  return names;
}

/** signatures is a table that narrow screens stack: every cell says what it is. */
function signatures(say, r) {
  const columns = ['name', 'role', 'time', 'fingerprint'];
  const row = (c) => {
    const cells = [c.name, say(c.role), el('span', {}, time(c.time), c.early ? el('span', { class: 'early' }, say('early')) : ''),
      el('code', {}, c.fingerprint)];
    return el('tr', {}, ...cells.map((cell, i) => (i === 0
      ? el('th', { scope: 'row' }, cell) : el('td', { 'data-label': say(columns[i]) }, cell))));
  };
  return el('table', { class: 'stack' },
    el('caption', {}, say('signatures')),
    el('thead', {}, el('tr', {}, ...columns.map((name) => el('th', { scope: 'col' }, say(name))))),
    el('tbody', {}, ...r.cosignatures.map(row)));
}
