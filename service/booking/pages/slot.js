// Sums up what a booking costs, and keeps a second tap from sending the form again (its key books once in any case).
const form = document.querySelector('form.book');
const total = document.getElementById('total');

if (form && total) {
  const sum = () => {
    const fen = Number(form.querySelector('[name=product]:checked')?.dataset.fen ?? 0);
    const people = Number(form.querySelector('[name=quantity]')?.value ?? form.querySelectorAll('fieldset').length);
    const amount = fen * people;
    total.textContent = amount === 0 ? total.dataset.free : `¥${(amount / 100).toFixed(amount % 100 ? 2 : 0)}`;
  };
  form.addEventListener('change', sum);
  sum();
  total.parentElement.hidden = false;
  let sent = false;
  form.addEventListener('submit', (event) => {
    if (sent) event.preventDefault();
    sent = true;
  });
  addEventListener('pageshow', () => { sent = false; });
}

const wrong = document.getElementById('problem');
if (wrong) (form?.querySelector('[aria-invalid=true]') ?? wrong).focus();
