/** style returns what the house's style sheet leaves open. A sheet made by script needs no leave of a content policy. */
export function style() {
  const sheet = new CSSStyleSheet();
  sheet.replaceSync(`
    #verify label { margin-top: .7rem; }
    #verify #drop { border: 2px dashed #8a93a5; border-radius: .5rem; padding: 1rem; margin: .8rem 0; text-align: center; }
    #verify #drop.over { border-style: solid; border-color: var(--brand, #0b5cab); background: var(--ground, #f4f6f9); }
    #verify #verdict { display: block; }
    #verify #verdict p { margin: .6rem 0; }
    #verify .headline { border-inline-start: .35rem solid currentColor; padding: .5rem .8rem; background: var(--ground, #f4f6f9); }
    #verify .headline.good { border-color: var(--good, #17692f); }
    #verify .headline.warn { border-color: var(--warn, #7a4b00); }
    #verify .headline.bad { border-color: var(--bad, #a3221a); }
    #verify .names { display: inline-flex; flex-wrap: wrap; gap: .3rem; }
    #verify caption { text-align: start; font-weight: 600; padding-top: .8rem; }
    #verify tbody th { color: inherit; font-size: inherit; }
    #verify .early { display: block; color: var(--warn, #7a4b00); }
  `);
  return sheet;
}
