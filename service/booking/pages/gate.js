// Checks the codes that a scanner types, one after the other, and says in colour and words whether to open.
const form = document.getElementById('scan');
const { code, people, gate, spot } = form.elements;
const verdict = document.getElementById('verdict');
const past = document.getElementById('past');
const say = form.dataset;

// What this gate is called, and where it stands, stays with the browser.
for (const field of [gate, spot]) {
  const name = `booking.gate.${field.name}`;
  if (localStorage.getItem(name)) field.value = localStorage.getItem(name);
  field.addEventListener('change', () => localStorage.setItem(name, field.value));
}

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
  const item = document.createElement('li'), when = document.createElement('div');
  item.className = tone;
  when.className = 'when';
  when.textContent = new Date().toLocaleTimeString(document.documentElement.lang, { timeZone: 'Asia/Shanghai', hour12: false });
  item.append(text, when);
  past.prepend(item);
  while (past.children.length > 10) past.lastChild.remove();
};

// check asks up to three times with one key: whoever was let in is not counted again.
const check = async (scan) => {
  const key = [...crypto.getRandomValues(new Uint8Array(16))].map((n) => n.toString(16).padStart(2, '0')).join('');
  for (let tries = 1; ; tries++) {
    try {
      const answer = await fetch('/api/booking/gate/enter', {
        method: 'POST',
        headers: { 'Content-Type': 'application/json', 'Idempotency-Key': key, 'Accept-Language': document.documentElement.lang },
        body: JSON.stringify(scan),
      });
      const said = await answer.json();
      if (answer.ok) return said;
      if (answer.status < 500 && answer.status !== 429) return { admitted: false, text: said.detail ?? said.title };
      throw new Error(String(answer.status));
    } catch (err) {
      if (tries === 3) throw err;
      await new Promise((done) => { setTimeout(done, 300 * tries); });
    }
  }
};

const tell = (v) => {
  const tone = v.admitted ? 'in' : 'out', head = `${v.admitted ? '✓' : '✗'} ${v.admitted ? say.in : say.out}`;
  const numbers = [v.admitted && v.people ? say.enter + v.people : '', v.party ? say.party + v.party : '', v.left ? say.left + v.left : ''].filter(Boolean);
  const look = (v.look ?? []).map((name) => say[name.replace(/-(.)/g, (_, c) => c.toUpperCase())]).filter(Boolean).join(' · ');
  show(tone, head, v.admitted ? '' : v.text, look && `☞ ${look}`, ...numbers, v.booking);
  note(v.admitted ? 'good' : 'bad', [head, v.admitted ? '' : v.text, ...numbers, v.booking].filter(Boolean).join(' · '));
  navigator.vibrate?.(v.admitted ? 80 : [200, 100, 200]);
};

let turn = Promise.resolve();
form.addEventListener('submit', (event) => {
  event.preventDefault();
  const scan = { code: code.value.trim(), count: Number(people.value), gate: gate.value.trim() || 'gate' };
  if (spot.value) scan.spot = spot.value;
  code.value = '';
  people.value = '';
  code.focus();
  if (!scan.code) return;
  turn = turn.then(async () => {
    show('', say.checking);
    try {
      tell(await check(scan));
    } catch {
      show('late', say.away);
      note('warn', say.away);
    }
  });
});
document.addEventListener('click', (event) => { if (!event.target.closest('a, button, input, select, summary, label')) code.focus(); });
