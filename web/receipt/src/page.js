export function enhance(section) { section.hidden = false; }
