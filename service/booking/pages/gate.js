// Checks the codes that a scanner types, one after the other, and says in colour and words whether to open.
const form = document.getElementById('scan');
const code = document.getElementById('code');
const people = document.getElementById('people');
const verdict = document.getElementById('verdict');
const past = document.getElementById('past');
const say = form.dataset;

const show = (tone, head, ...lines) => {
  verdict.className = tone;
  const title = document.createElement('b');
  title.textContent = head;
  verdict.replaceChildren(title, ...lines.filter(Boolean).map((text) => {
    const line = document.createElement('p');
    line.textContent = text;
    return line;
  }));
};

const note = (tone, text) => {
  const item = document.createElement('li');
  item.className = tone;
  const when = document.createElement('div');
  when.className = 'when';
  when.textContent = new Date().toLocaleTimeString(document.documentElement.lang);
  item.append(text, when);
  past.prepend(item);
  while (past.children.length > 10) past.lastChild.remove();
};

const check = async (text, count) => {
  const answer = await fetch('/api/booking/gate/enter', {
    method: 'POST',
    headers: { 'Content-Type': 'application/json', 'Accept-Language': document.documentElement.lang },
    body: JSON.stringify(count > 0 ? { code: text, count } : { code: text }),
  });
  const said = await answer.json();
  if (!answer.ok) return { admitted: false, text: said.detail ?? said.title };
  return said;
};

let turn = Promise.resolve();
form.addEventListener('submit', (event) => {
  event.preventDefault();
  const text = code.value.trim(), count = Number(people.value);
  code.value = '';
  people.value = '';
  code.focus();
  if (!text) return;
  turn = turn.then(async () => {
    show('', say.checking);
    try {
      const v = await check(text, count);
      const party = v.party ? `${v.party} ${say.people}` : '';
      const left = v.left ? `${say.left} ${v.left}` : '';
      const head = v.admitted ? say.in : say.out;
      show(v.admitted ? 'in' : 'out', `${v.admitted ? '✓' : '✗'} ${head}`, v.text, [party, left].filter(Boolean).join(' · '), v.booking);
      note(v.admitted ? 'good' : 'bad', [head, v.text, party, v.booking].filter(Boolean).join(' · '));
      navigator.vibrate?.(v.admitted ? 80 : [200, 100, 200]);
    } catch {
      show('late', say.away);
      note('warn', say.away);
    }
  });
});
document.addEventListener('click', (event) => { if (!event.target.closest('a, button, input, summary')) code.focus(); });
