// A table whose rows are kept while what they show is the same, so that focus, selection and what was opened survive an update.

class Table {
  // columns: [{ title, cell(row) → children, order(row) → number or text, kind }]; without an order a column cannot be sorted by.
  constructor(section, caption, columns, sorted, descending) {
    Object.assign(this, { section, columns, sorted, descending: Boolean(descending), rows: [], kept: new Map() });
    this.head = el('tr', { role: 'row' }, columns.map((column, at) => this.header(column, at)));
    this.body = el('tbody', { role: 'rowgroup' });
    this.table = el('table', { role: 'table' }, el('caption', { class: 'unseen' }, caption), el('thead', { role: 'rowgroup' }, this.head), this.body);
    const frame = section.querySelector('.scroll');
    frame.append(this.table);
    this.none = section.querySelector('.none');
    this.count = section.querySelector('h2 .count');
    this.mark();
  }

  header(column, at) {
    if (!column.order) return el('th', { scope: 'col', role: 'columnheader', class: column.kind }, column.title);
    const button = el('button', { type: 'button' }, column.title, el('span', { class: 'arrow', 'aria-hidden': 'true' }));
    button.addEventListener('click', () => {
      this.descending = this.sorted === at ? !this.descending : Boolean(column.descending);
      this.sorted = at;
      this.mark();
      this.draw();
    });
    return el('th', { scope: 'col', role: 'columnheader', class: column.kind }, button);
  }

  mark() {
    [...this.head.children].forEach((header, at) => {
      if (at === this.sorted) header.setAttribute('aria-sort', this.descending ? 'descending' : 'ascending');
      else header.removeAttribute('aria-sort');
    });
  }

  // rows: [{ key, as (what the row looks like, as text), … }]
  show(rows, total) {
    this.rows = rows;
    say(this.count, total === undefined || total === rows.length ? String(rows.length) : `${rows.length} of ${total}`);
    this.draw();
  }

  draw() {
    const order = this.columns[this.sorted].order;
    const by = (one, other) => {
      const [a, b] = [order(one), order(other)];
      const found = typeof a === 'number' ? a - b : String(a).localeCompare(String(b), undefined, { numeric: true });
      return (this.descending ? -found : found) || String(one.key).localeCompare(String(other.key), undefined, { numeric: true });
    };
    const gone = new Set(this.kept.keys());
    let place = this.body.firstElementChild;
    for (const row of [...this.rows].sort(by)) {
      gone.delete(row.key);
      const element = this.row(row);
      if (element === place) place = place.nextElementSibling;
      else this.body.insertBefore(element, place);
    }
    for (const key of gone) {
      this.kept.get(key).element.remove();
      this.kept.delete(key);
    }
    this.table.hidden = this.rows.length === 0;
    if (this.none) this.none.hidden = this.rows.length !== 0;
  }

  row(row) {
    let kept = this.kept.get(row.key);
    if (!kept) {
      kept = { element: el('tr', { role: 'row', 'data-key': row.key }), as: null };
      this.kept.set(row.key, kept);
    }
    if (kept.as !== row.as) {
      kept.as = row.as;
      const opened = [...kept.element.querySelectorAll('details')].map((details) => details.open);
      kept.element.className = row.level || '';
      kept.element.replaceChildren(...this.columns.map((column, at) => {
        const content = el('div', {}, column.cell(row));
        const attributes = { class: `${column.kind || ''}${content.hasChildNodes() ? '' : ' blank'}`, 'data-title': column.title };
        // On a narrow screen these are no table's boxes, and would lose what they mean with that.
        return at === 0 ? el('th', { ...attributes, scope: 'row', role: 'rowheader' }, content) : el('td', { ...attributes, role: 'cell' }, content);
      }));
      kept.element.querySelectorAll('details').forEach((details, at) => { details.open = Boolean(opened[at]); });
    }
    return kept.element;
  }
}

